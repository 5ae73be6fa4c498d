-- Every type but temporary ones. `watched` is what the library watches: base types, domains, enums, ranges, multiranges
-- and stand-alone composites.
SELECT t.oid::int8 AS oid,
    t.typarray::int8 AS array,
    n.nspname AS schema,
    t.typname AS name,
    t.typtype AS kind,
    COALESCE(c.relkind, ''::char) AS relation,
    t.typcategory AS category,
    t.typlen::int4 AS length,
    CASE WHEN t.typlen = (-1)::int2 THEN t.typelem::int8 ELSE 0::int8 END AS element,
    t.typsend::oid <> 0::oid AND t.typreceive::oid <> 0::oid AS binary,
    COALESCE((SELECT pg_catalog.concat_ws(' ', p.probin, p.prosrc) FROM pg_catalog.pg_proc p
        WHERE p.oid = t.typreceive::oid), '') AS format,
    t.oid > 16383::oid
        AND (t.typtype = ANY ('{b,d,e,m,r}'::char[])
            AND NOT (t.typelem <> 0::oid AND t.typlen = (-1)::int2)
            OR t.typtype = 'c'::char AND c.relkind = 'c'::char) AS watched,
    (SELECT e.extname FROM pg_catalog.pg_depend x JOIN pg_catalog.pg_extension e ON e.oid = x.refobjid
        WHERE x.classid = 1247::oid AND x.objid = t.oid AND x.deptype = 'e'::char
        AND x.refclassid = 3079::oid) AS extension,
    t.typbasetype::int8 AS base,
    CASE WHEN t.typtype = 'd'::char THEN pg_catalog.format_type(t.typbasetype, t.typtypmod) END AS base_name,
    t.typnotnull AS not_null,
    CASE WHEN t.typtype = 'd'::char THEN t.typdefault END AS default_value,
    (SELECT pg_catalog.concat_ws('.', cn.nspname, l.collname) FROM pg_catalog.pg_collation l
        JOIN pg_catalog.pg_namespace cn ON cn.oid = l.collnamespace
        WHERE l.oid = t.typcollation AND t.typtype = 'd'::char) AS collation,
    CASE WHEN t.typtype = 'e'::char THEN (SELECT pg_catalog.array_agg(e.enumlabel::text ORDER BY e.enumsortorder)
        FROM pg_catalog.pg_enum e WHERE e.enumtypid = t.oid) END AS labels,
    CASE WHEN t.typtype = 'd'::char THEN (SELECT
            pg_catalog.array_agg(pg_catalog.pg_get_constraintdef(k.oid) ORDER BY k.conname)
        FROM pg_catalog.pg_constraint k WHERE k.contypid = t.oid AND k.contype = 'c'::char) END AS constraints,
    CASE WHEN c.relkind = 'c'::char THEN (SELECT
            pg_catalog.json_agg(pg_catalog.json_build_array(a.attname, a.atttypid::int8,
                pg_catalog.concat(pg_catalog.format_type(a.atttypid, a.atttypmod),
                    (SELECT pg_catalog.concat(' COLLATE ', l.collname) FROM pg_catalog.pg_collation l
                        WHERE l.oid = a.attcollation AND l.oid <> 100::oid))) ORDER BY a.attnum)
        FROM pg_catalog.pg_attribute a
        WHERE a.attrelid = c.oid AND a.attnum > 0::int2 AND NOT a.attisdropped) END AS fields,
    (SELECT pg_catalog.json_build_array(g.rngsubtype::int8, pg_catalog.format_type(g.rngsubtype, NULL),
            (SELECT l.collname FROM pg_catalog.pg_collation l WHERE l.oid = g.rngcollation),
            (SELECT o.opcname FROM pg_catalog.pg_opclass o WHERE o.oid = g.rngsubopc))
        FROM pg_catalog.pg_range g WHERE {of_range}) AS range
FROM pg_catalog.pg_type t
JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
LEFT JOIN pg_catalog.pg_class c ON c.oid = t.typrelid
WHERE n.nspname !~ '^pg_(toast_)?temp_'::text
