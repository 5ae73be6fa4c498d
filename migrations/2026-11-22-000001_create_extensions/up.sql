-- hstore and citext, in an order that depends on the server, so that the two types get other OIDs on another server:
-- hstore first before PostgreSQL 12, citext first from 12 on.
--
-- For another pair of servers, say the order yourself:
--     PGOPTIONS='-c hot_upgrade.extension_order=citext,hstore' diesel migration run
DO $$
DECLARE
    chosen text := coalesce(nullif(current_setting('hot_upgrade.extension_order', true), ''),
        CASE WHEN current_setting('server_version_num')::int < 120000 THEN 'hstore,citext' ELSE 'citext,hstore' END);
    extension text;
BEGIN
    IF chosen NOT IN ('hstore,citext', 'citext,hstore') THEN
        RAISE EXCEPTION 'hot_upgrade.extension_order is "%", not "hstore,citext" or "citext,hstore"', chosen;
    END IF;
    FOREACH extension IN ARRAY string_to_array(chosen, ',') LOOP
        EXECUTE format('CREATE EXTENSION IF NOT EXISTS %I', extension);
    END LOOP;
END
$$;
