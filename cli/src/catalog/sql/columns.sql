-- Columns of tables, views and foreign tables that came with no extension.
SELECT n.nspname AS schema,
    c.relname AS table,
    a.attname AS name,
    a.atttypid::int8 AS type,
    pg_catalog.format_type(a.atttypid, a.atttypmod) AS type_name
FROM pg_catalog.pg_attribute a
JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = ANY ('{r,p,v,m,f}'::char[]) AND c.oid > 16383::oid
    AND a.attnum > 0::int2 AND NOT a.attisdropped
    AND n.nspname !~ '^pg_|^information_schema$'::text
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend x WHERE x.classid = 1259::oid AND x.objid = c.oid
        AND x.deptype = 'e'::char)
ORDER BY n.nspname, c.relname, a.attnum
