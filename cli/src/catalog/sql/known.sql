-- The settings that the server knows, and what a new session has.
SELECT s.name, s.reset_val AS value FROM pg_catalog.pg_settings s
