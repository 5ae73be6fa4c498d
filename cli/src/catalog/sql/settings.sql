-- What ALTER DATABASE and ALTER ROLE have set for this database and its roles.
SELECT d.datname IS NOT NULL AS of_database,
    r.rolname AS role,
    pg_catalog.split_part(c.setting, '=', 1) AS name,
    pg_catalog.substr(c.setting, pg_catalog.strpos(c.setting, '=') + 1) AS value
FROM pg_catalog.pg_db_role_setting s
CROSS JOIN LATERAL pg_catalog.unnest(s.setconfig) c (setting)
LEFT JOIN pg_catalog.pg_database d ON d.oid = s.setdatabase
LEFT JOIN pg_catalog.pg_roles r ON r.oid = s.setrole
WHERE (s.setdatabase = 0::oid OR d.datname = pg_catalog.current_database())
    AND (s.setrole = 0::oid OR r.rolname IS NOT NULL)
ORDER BY d.datname IS NOT NULL, r.rolname, c.setting
