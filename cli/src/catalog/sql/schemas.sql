-- The schemas of users.
SELECT n.nspname AS name
FROM pg_catalog.pg_namespace n
WHERE n.nspname !~ '^pg_|^information_schema$'::text
ORDER BY n.nspname
