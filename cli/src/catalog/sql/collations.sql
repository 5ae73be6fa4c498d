-- Collations that are used or were created: their versions as recorded, and as the operating system has them now.
SELECT pg_catalog.concat_ws('.', n.nspname, l.collname) AS name,
    l.collversion AS recorded,
    pg_catalog.pg_collation_actual_version(l.oid) AS actual,
    l.collprovider AS provider
FROM pg_catalog.pg_collation l
JOIN pg_catalog.pg_namespace n ON n.oid = l.collnamespace
WHERE l.oid > 16383::oid
    OR l.oid = ANY (ARRAY(SELECT a.attcollation FROM pg_catalog.pg_attribute a
        WHERE a.attrelid > 16383::oid AND a.attcollation <> 0::oid))
ORDER BY 1
