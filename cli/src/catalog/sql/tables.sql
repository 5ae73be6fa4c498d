-- Tables, views, sequences and foreign tables that came with no extension.
SELECT n.nspname AS schema,
    c.relname AS name,
    c.relkind AS kind,
    c.relkind = ANY ('{r,p}'::char[]) AND c.relpersistence = 'p'::char
        AND CASE c.relreplident::text WHEN 'f'::text THEN false WHEN 'n'::text THEN true
            WHEN 'i'::text THEN NOT EXISTS (SELECT
                FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid AND i.indisreplident)
            ELSE NOT EXISTS (SELECT FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid AND i.indisprimary)
            END AS lacks_identity,
    EXISTS (SELECT FROM pg_catalog.pg_publication p WHERE (p.pubupdate OR p.pubdelete)
        AND (p.puballtables OR EXISTS (SELECT FROM pg_catalog.pg_publication_tables m WHERE m.pubname = p.pubname
            AND m.schemaname = n.nspname AND m.tablename = c.relname))) AS is_published
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = ANY ('{r,p,v,m,f,S}'::char[]) AND c.oid > 16383::oid
    AND n.nspname !~ '^pg_|^information_schema$'::text
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend x WHERE x.classid = 1259::oid AND x.objid = c.oid
        AND x.deptype = 'e'::char)
ORDER BY n.nspname, c.relname
