-- What a server says of itself. Every role may ask that.
SELECT pg_catalog.current_setting('server_version_num')::int4 AS version_number,
    pg_catalog.split_part(pg_catalog.current_setting('server_version'), ' ', 1) AS version,
    pg_catalog.current_database() AS database,
    d.oid::int8 AS database_oid,
    pg_catalog."current_user"() AS role,
    pg_catalog.pg_encoding_to_char(d.encoding) AS encoding,
    d.datcollate AS collate,
    d.datctype AS ctype,
    pg_catalog.host(pg_catalog.inet_server_addr()) AS address,
    pg_catalog.inet_server_port() AS port,
    pg_catalog.pg_is_in_recovery() AS in_recovery,
    pg_catalog.current_setting('default_transaction_read_only') = 'on'::text AS read_only,
    pg_catalog.pg_backend_pid() AS backend
FROM pg_catalog.pg_database d
WHERE d.datname = pg_catalog.current_database()
