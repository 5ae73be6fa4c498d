-- Which types the server compares with each other.
SELECT o.oprleft::int8 AS left, o.oprright::int8 AS right
FROM pg_catalog.pg_operator o
WHERE o.oprname = '='::name AND o.oprleft <> 0::oid
