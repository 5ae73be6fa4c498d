-- Functions that came with no extension and that have a user-defined type in their signature.
SELECT n.nspname AS schema,
    p.proname AS name,
    pg_catalog.array_append(p.proargtypes::oid[], p.prorettype)::int8[] AS types
FROM pg_catalog.pg_proc p
JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
WHERE p.oid > 16383::oid
    AND n.nspname !~ '^pg_|^information_schema$'::text
    AND 16383::oid < ANY (pg_catalog.array_append(p.proargtypes::oid[], p.prorettype))
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend x WHERE x.classid = 1255::oid AND x.objid = p.oid
        AND x.deptype = 'e'::char)
ORDER BY n.nspname, p.proname
