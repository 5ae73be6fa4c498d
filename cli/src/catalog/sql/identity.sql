-- Who answers. A role may be kept from asking.
SELECT (pg_catalog.pg_control_system()).system_identifier::text AS system_identifier,
    pg_catalog.pg_postmaster_start_time()::text AS started
