-- The extensions that could be created.
SELECT a.name AS name FROM pg_catalog.pg_available_extensions() a
