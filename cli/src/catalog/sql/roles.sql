-- Roles, without those that come with the server, and the roles that each is a member of.
SELECT r.rolname AS name,
    r.rolsuper AS is_superuser,
    r.rolcanlogin AS may_login,
    r.rolbypassrls AS bypasses_rls,
    r.rolname = pg_catalog."current_user"() AS is_own,
    COALESCE((SELECT pg_catalog.array_agg(g.rolname::text ORDER BY g.rolname) FROM pg_catalog.pg_auth_members m
        JOIN pg_catalog.pg_roles g ON g.oid = m.roleid WHERE m.member = r.oid), '{}'::text[]) AS member_of
FROM pg_catalog.pg_roles r
WHERE r.rolname !~ '^pg_'::text
ORDER BY r.rolname
