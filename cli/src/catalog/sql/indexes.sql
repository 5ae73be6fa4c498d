-- Indexes that are not valid.
SELECT n.nspname AS schema, c.relname AS name, t.relname AS table
FROM pg_catalog.pg_index i
JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
JOIN pg_catalog.pg_class t ON t.oid = i.indrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE NOT i.indisvalid AND n.nspname !~ '^pg_|^information_schema$'::text
ORDER BY n.nspname, c.relname
