-- Sequences, the columns that they fill, and whether the highest value of the column is in an index.
SELECT n.nspname AS schema,
    c.relname AS name,
    s.seqincrement AS increment,
    CASE WHEN pg_catalog.has_sequence_privilege(c.oid, 'SELECT, USAGE')
        THEN pg_catalog.pg_sequence_last_value(c.oid::regclass) END AS last,
    pg_catalog.has_sequence_privilege(c.oid, 'SELECT, USAGE') AS is_visible,
    o.table_schema, o.table_name, o.column_name, COALESCE(o.is_indexed, false) AS is_indexed,
    COALESCE(o.may_select, false) AS may_select
FROM pg_catalog.pg_sequence s
JOIN pg_catalog.pg_class c ON c.oid = s.seqrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN LATERAL (
    SELECT tn.nspname AS table_schema, t.relname AS table_name, a.attname AS column_name,
        pg_catalog.has_column_privilege(t.oid, a.attnum, 'SELECT') AS may_select,
        a.atttypid = ANY ('{20,21,23}'::oid[]) AND EXISTS (SELECT FROM pg_catalog.pg_index i
            JOIN pg_catalog.pg_class ic ON ic.oid = i.indexrelid JOIN pg_catalog.pg_am m ON m.oid = ic.relam
            WHERE i.indrelid = t.oid AND i.indisvalid AND i.indpred IS NULL AND m.amname = 'btree'::name
            AND i.indkey[0] = a.attnum) AS is_indexed
    FROM pg_catalog.pg_depend x
    LEFT JOIN pg_catalog.pg_attrdef f ON x.classid = 2604::oid AND f.oid = x.objid
    JOIN pg_catalog.pg_class t ON t.oid = COALESCE(f.adrelid, x.refobjid) AND t.relkind = ANY ('{r,p}'::char[])
    JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace
    JOIN pg_catalog.pg_attribute a ON a.attrelid = t.oid AND a.attnum::int4 = COALESCE(f.adnum::int4, x.refobjsubid)
    WHERE x.classid = 2604::oid AND x.refclassid = 1259::oid AND x.refobjid = c.oid AND x.deptype = 'n'::char
        OR x.classid = 1259::oid AND x.objid = c.oid AND x.refclassid = 1259::oid
            AND x.deptype = ANY ('{a,i}'::char[])
    ORDER BY x.classid, t.oid, a.attnum
    LIMIT 1::int8
) o ON true
WHERE n.nspname !~ '^pg_|^information_schema$'::text
ORDER BY n.nspname, c.relname
