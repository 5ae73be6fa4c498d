-- The version of the locale that the database has: recorded, and as the operating system has it now.
SELECT {provider} AS provider, {locale} AS locale, {recorded} AS recorded, {actual} AS actual
FROM pg_catalog.pg_database d
WHERE d.datname = pg_catalog.current_database()
