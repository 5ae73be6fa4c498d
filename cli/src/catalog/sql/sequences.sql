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
LEFT JOIN (
    SELECT DISTINCT ON (d.sequence) d.sequence, tn.nspname AS table_schema, t.relname AS table_name,
        a.attname AS column_name, pg_catalog.has_column_privilege(t.oid, a.attnum, 'SELECT') AS may_select,
        a.atttypid = ANY ('{20,21,23}'::oid[]) AND EXISTS (SELECT FROM pg_catalog.pg_index i
            JOIN pg_catalog.pg_class ic ON ic.oid = i.indexrelid JOIN pg_catalog.pg_am m ON m.oid = ic.relam
            WHERE i.indrelid = t.oid AND i.indisvalid AND i.indpred IS NULL AND m.amname = 'btree'::name
            AND i.indkey[0] = a.attnum) AS is_indexed
    FROM (SELECT x.objid AS sequence, x.refobjid AS relation, x.refobjsubid AS number, 0 AS rank
        FROM pg_catalog.pg_depend x JOIN pg_catalog.pg_sequence q ON q.seqrelid = x.objid
        WHERE x.classid = 1259::oid AND x.refclassid = 1259::oid AND x.deptype = ANY ('{a,i}'::char[])
        UNION ALL
        SELECT x.refobjid, f.adrelid, f.adnum::int4, 1
        FROM pg_catalog.pg_depend x JOIN pg_catalog.pg_attrdef f ON f.oid = x.objid
        WHERE x.classid = 2604::oid AND x.refclassid = 1259::oid AND x.deptype = 'n'::char) d
    JOIN pg_catalog.pg_class t ON t.oid = d.relation AND t.relkind = ANY ('{r,p}'::char[])
    JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace
    JOIN pg_catalog.pg_attribute a ON a.attrelid = t.oid AND a.attnum::int4 = d.number
    ORDER BY d.sequence, d.rank, t.oid, a.attnum
) o ON o.sequence = c.oid
WHERE n.nspname !~ '^pg_|^information_schema$'::text
ORDER BY n.nspname, c.relname
