-- Functions that have a user-defined type in their signature. Not those of extensions, nor what a type itself needs.
SELECT n.nspname AS schema,
    p.proname AS name,
    pg_catalog.array_append(p.proargtypes::oid[], p.prorettype)::int8[] AS types
FROM pg_catalog.pg_proc p
JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
WHERE p.oid > 16383::oid
    AND n.nspname !~ '^pg_|^information_schema$'::text
    AND 16383::oid < ANY (pg_catalog.array_append(p.proargtypes::oid[], p.prorettype))
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend x WHERE x.classid = 1255::oid AND x.objid = p.oid
        AND x.deptype = ANY ('{e,i}'::char[]))
    AND p.oid <> ALL (ARRAY(SELECT DISTINCT f.oid FROM pg_catalog.pg_type t
        CROSS JOIN LATERAL pg_catalog.unnest(ARRAY[t.typinput, t.typoutput, t.typreceive, t.typsend,
            t.typmodin, t.typmodout, t.typanalyze]::oid[]) f (oid) WHERE f.oid > 16383::oid))
ORDER BY n.nspname, p.proname
