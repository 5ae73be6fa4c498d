-- Who may do what with the database, and with its schemas, tables, columns, sequences, functions and types. What an
-- owner may do is here too.
WITH objects AS (
    SELECT 'database'::text AS kind, NULL::text AS schema, ''::text AS name,
        COALESCE(d.datacl, pg_catalog.acldefault('d'::char, d.datdba)) AS acl
    FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()
    UNION ALL
    SELECT 'schema', n.nspname::text, ''::text, COALESCE(n.nspacl, pg_catalog.acldefault('n'::char, n.nspowner))
    FROM pg_catalog.pg_namespace n WHERE n.nspname !~ '^pg_|^information_schema$'::text
    UNION ALL
    SELECT CASE c.relkind::text WHEN 'S'::text THEN 'sequence' ELSE 'table' END, n.nspname::text, c.relname::text,
        COALESCE(c.relacl,
            pg_catalog.acldefault(CASE c.relkind::text WHEN 'S'::text THEN 's'::char ELSE 'r'::char END, c.relowner))
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind = ANY ('{r,p,v,m,f,S}'::char[]) AND c.oid > 16383::oid
        AND n.nspname !~ '^pg_|^information_schema$'::text
        AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend x WHERE x.classid = 1259::oid AND x.objid = c.oid
            AND x.deptype = 'e'::char)
    UNION ALL
    SELECT 'column', n.nspname::text, pg_catalog.concat_ws('.', c.relname, a.attname), a.attacl
    FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE a.attacl IS NOT NULL AND NOT a.attisdropped AND c.oid > 16383::oid
        AND n.nspname !~ '^pg_|^information_schema$'::text
    UNION ALL
    SELECT 'function', n.nspname::text,
        pg_catalog.concat(p.proname, '(', pg_catalog.pg_get_function_identity_arguments(p.oid), ')'), p.proacl
    FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
    WHERE p.proacl IS NOT NULL AND p.oid > 16383::oid AND n.nspname !~ '^pg_|^information_schema$'::text
    UNION ALL
    SELECT 'type', n.nspname::text, t.typname::text, t.typacl
    FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
    WHERE t.typacl IS NOT NULL AND t.oid > 16383::oid AND n.nspname !~ '^pg_|^information_schema$'::text
)
SELECT o.kind, o.schema, o.name, g.rolname AS role,
    pg_catalog.array_agg(a.privilege_type ORDER BY a.privilege_type) AS may
FROM objects o
CROSS JOIN LATERAL pg_catalog.aclexplode(o.acl) a
LEFT JOIN pg_catalog.pg_roles g ON g.oid = a.grantee
WHERE g.rolname IS NOT NULL OR a.grantee = 0::oid
GROUP BY o.kind, o.schema, o.name, g.rolname
ORDER BY o.kind, o.schema, o.name, g.rolname
