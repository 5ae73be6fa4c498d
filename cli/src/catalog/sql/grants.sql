-- Who may do what with the database, and with its schemas, tables, columns, sequences, functions, types and languages.
-- What an owner may do is here too, and so are the defaults: everybody may execute a function until that is revoked. If
-- nobody may do anything, that is a row too. Functions and types of extensions are here only if they have other
-- permissions than the default.
WITH objects AS (
    SELECT 'database'::text AS kind, NULL::text AS schema, ''::text AS name, NULL::text AS column,
        COALESCE(d.datacl, pg_catalog.acldefault('d'::char, d.datdba)) AS acl
    FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()
    UNION ALL
    SELECT 'language', NULL::text, l.lanname::text, NULL::text,
        COALESCE(l.lanacl, pg_catalog.acldefault('l'::char, l.lanowner))
    FROM pg_catalog.pg_language l WHERE l.lanpltrusted
    UNION ALL
    SELECT 'schema', n.nspname::text, ''::text, NULL::text,
        COALESCE(n.nspacl, pg_catalog.acldefault('n'::char, n.nspowner))
    FROM pg_catalog.pg_namespace n WHERE n.nspname !~ '^pg_|^information_schema$'::text
    UNION ALL
    SELECT CASE c.relkind::text WHEN 'S'::text THEN 'sequence' ELSE 'table' END, n.nspname::text, c.relname::text,
        NULL::text, COALESCE(c.relacl,
            pg_catalog.acldefault(CASE c.relkind::text WHEN 'S'::text THEN 's'::char ELSE 'r'::char END, c.relowner))
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind = ANY ('{r,p,v,m,f,S}'::char[]) AND c.oid > 16383::oid
        AND n.nspname !~ '^pg_|^information_schema$'::text
        AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend x WHERE x.classid = 1259::oid AND x.objid = c.oid
            AND x.deptype = 'e'::char)
    UNION ALL
    SELECT 'column', n.nspname::text, c.relname::text, a.attname::text, a.attacl
    FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE a.attacl IS NOT NULL AND NOT a.attisdropped AND c.oid > 16383::oid
        AND n.nspname !~ '^pg_|^information_schema$'::text
    UNION ALL
    SELECT 'function', n.nspname::text,
        pg_catalog.concat(pg_catalog.quote_ident(p.proname), '(',
            pg_catalog.pg_get_function_identity_arguments(p.oid), ')'),
        NULL::text, COALESCE(p.proacl, pg_catalog.acldefault('f'::char, p.proowner))
    FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
    WHERE p.oid > 16383::oid AND n.nspname !~ '^pg_|^information_schema$'::text
        AND (p.proacl IS NOT NULL OR NOT EXISTS (SELECT FROM pg_catalog.pg_depend x WHERE x.classid = 1255::oid
            AND x.objid = p.oid AND x.deptype = 'e'::char))
    UNION ALL
    SELECT 'type', n.nspname::text, t.typname::text, NULL::text,
        COALESCE(t.typacl, pg_catalog.acldefault('T'::char, t.typowner))
    FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
    LEFT JOIN pg_catalog.pg_class c ON c.oid = t.typrelid
    WHERE t.oid > 16383::oid AND n.nspname !~ '^pg_|^information_schema$'::text
        AND NOT (t.typelem <> 0::oid AND t.typlen = (-1)::int2)
        AND (t.typacl IS NOT NULL OR (t.typtype = ANY ('{b,d,e,r}'::char[]) OR c.relkind = 'c'::char)
            AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend x WHERE x.classid = 1247::oid AND x.objid = t.oid
                AND x.deptype = 'e'::char))
)
SELECT o.kind, o.schema, o.name, o.column, g.rolname AS role,
    COALESCE(pg_catalog.array_agg(a.privilege_type ORDER BY a.privilege_type)
        FILTER (WHERE a.privilege_type IS NOT NULL), '{}'::text[]) AS may
FROM objects o
LEFT JOIN LATERAL pg_catalog.aclexplode(o.acl) a ON true
LEFT JOIN pg_catalog.pg_roles g ON g.oid = a.grantee
WHERE g.rolname IS NOT NULL OR a.grantee IS NULL OR a.grantee = 0::oid
GROUP BY o.kind, o.schema, o.name, o.column, g.rolname
ORDER BY o.kind, o.schema, o.name, o.column, g.rolname
