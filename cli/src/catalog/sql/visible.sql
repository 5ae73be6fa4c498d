-- The types that the session finds by their bare names. Asked before the search path is set to nothing.
SELECT t.oid::int8 AS oid
FROM pg_catalog.pg_type t
WHERE t.oid > 16383::oid AND pg_catalog.pg_type_is_visible(t.oid)
