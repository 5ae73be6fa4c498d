-- What an ordinary role may create in a schema: an operator, a function, a type or a relation for each name and
-- signature that a careless statement could find there. Each logs who executed it, and then does what the built-in one
-- does. "$schema" stands for the schema.
SET search_path = pg_catalog;
SET check_function_bodies = off;
SET client_min_messages = error;

CREATE FUNCTION $schema.executed(what text) RETURNS boolean LANGUAGE plpgsql STABLE AS $f$
BEGIN
    RAISE LOG 'hostile: % was executed by % in %', what, current_user, pg_catalog.current_query();
    RETURN true;
END $f$;

-- Creates a function that logs, and then returns what the expression is.
CREATE FUNCTION $schema.set_trap(name text, arguments text, result text, expression text) RETURNS void
LANGUAGE plpgsql AS $f$
BEGIN
    EXECUTE format(
        'CREATE FUNCTION $schema.%s(%s) RETURNS %s LANGUAGE sql AS %L', name, arguments, result,
        format('SELECT $schema.executed(%L); SELECT %s', format('%s(%s)', name, arguments), expression)
    );
EXCEPTION WHEN OTHERS THEN
    -- It is there, or the language can't have arguments or results of these types.
END $f$;

-- What is the type of this expression? NULL if it is none.
CREATE FUNCTION $schema.type_of(expression text) RETURNS text LANGUAGE plpgsql AS $f$
DECLARE
    result text;
BEGIN
    EXECUTE format('SELECT pg_catalog.pg_typeof(%s)', expression) INTO result;
    RETURN result;
EXCEPTION WHEN OTHERS THEN
    RETURN NULL;
END $f$;

CREATE TABLE $schema.hostile_types AS SELECT unnest(ARRAY[
    'oid', 'smallint', 'integer', 'bigint', 'name', 'text', 'text[]', 'oid[]', 'name[]', '"char"', '"char"[]',
    'double precision', 'numeric', 'timestamp with time zone', 'timestamp with time zone[]',
    'timestamp without time zone', 'interval', 'boolean', 'regtype', 'regtype[]', 'regclass', 'xid', 'bytea',
    'character varying'
]) AS type;

-- Operators of every pair of types that a built-in operator would take, by itself or after a cast.
DO $do$
DECLARE
    pair record;
    result text;
    number integer := 0;
BEGIN
    FOR pair IN
        SELECT o.name AS operator, l.type AS left_type, r.type AS right_type
        FROM $schema.hostile_types l, $schema.hostile_types r, unnest(ARRAY[
            '=', '<>', '<', '>', '<=', '>=', '!~', '~', '~*', '~~', '!~~', '||', '*', '-', '+', '/', '%', '@>', '<@',
            '&&'
        ]) AS o(name)
        UNION ALL
        SELECT o.name, l.type, r.type
        FROM unnest(ARRAY['anyelement', 'anyarray', 'anynonarray']) l(type),
            unnest(ARRAY['anyelement', 'anyarray', 'anynonarray']) r(type),
            unnest(ARRAY['=', '<>', '<', '>', '<=', '>=', '||']) o(name)
        UNION ALL
        SELECT o.name, NULL, r.type FROM $schema.hostile_types r, unnest(ARRAY['-', '+', '~']) o(name)
    LOOP
        IF pair.right_type LIKE 'any%' THEN
            result := CASE WHEN pair.operator <> '||' THEN 'boolean' ELSE 'anyarray' END;
        ELSE
            result := $schema.type_of(format(
                '%s OPERATOR(pg_catalog.%s) NULL::%s', 'NULL::' || pair.left_type, pair.operator, pair.right_type
            ));
        END IF;
        CONTINUE WHEN result IS NULL;
        number := number + 1;
        BEGIN
            EXECUTE format(
                'CREATE FUNCTION $schema.operator_%s(%s) RETURNS %s LANGUAGE sql AS %L',
                number, concat_ws(', ', pair.left_type, pair.right_type), result,
                format(
                    'SELECT $schema.executed(%L); SELECT %s OPERATOR(pg_catalog.%s) $%s',
                    concat_ws(' ', pair.left_type, pair.operator, pair.right_type),
                    CASE WHEN pair.left_type IS NOT NULL THEN '$1' END, pair.operator,
                    CASE WHEN pair.left_type IS NOT NULL THEN 2 ELSE 1 END
                )
            );
            EXECUTE format(
                'CREATE OPERATOR $schema.%s (PROCEDURE = $schema.operator_%s, %s RIGHTARG = %s)',
                pair.operator, number, 'LEFTARG = ' || pair.left_type || ',', pair.right_type
            );
        EXCEPTION WHEN OTHERS THEN
            -- No operator can have these types.
        END;
    END LOOP;
END $do$;

-- Every function of the catalog, exactly, and those that the crate uses, or could, with other arguments.
DO $do$
DECLARE
    function record;
    result text;
BEGIN
    FOR function IN
        SELECT p.oid, p.proname AS name, p.proretset OR p.prorettype = 'record'::regtype AS is_table, (
            SELECT string_agg(
                CASE WHEN p.provariadic <> 0 AND i = p.pronargs THEN 'VARIADIC ' ELSE '' END || '$' || i, ', '
                ORDER BY i
            ) FROM generate_series(1, p.pronargs) i
        ) AS arguments
        FROM pg_proc p WHERE p.pronamespace = 'pg_catalog'::regnamespace
        AND NOT EXISTS (SELECT FROM pg_aggregate a WHERE a.aggfnoid = p.oid)
    LOOP
        PERFORM $schema.set_trap(
            quote_ident(function.name), pg_get_function_arguments(function.oid), pg_get_function_result(function.oid),
            format(
                CASE WHEN function.is_table THEN '* FROM pg_catalog.%I(%s)' ELSE 'pg_catalog.%I(%s)' END,
                function.name, function.arguments
            )
        );
    END LOOP;

    FOR function IN
        SELECT n.name, concat_ws(', ', one.type, other.type) AS arguments,
            concat_ws(', ', 'NULL::' || one.type, 'NULL::' || other.type) AS nulls,
            CASE WHEN other.type IS NULL THEN '$1' ELSE '$1, $2' END AS passed_on
        FROM unnest(ARRAY[
            'age', 'array_agg', 'array_append', 'array_cat', 'array_length', 'array_position', 'array_prepend',
            'array_to_string', 'bool_and', 'bool_or', 'col_description', 'concat', 'concat_ws', 'convert_from',
            'convert_to', 'count', 'current_setting', 'date_part', 'date_trunc', 'encode', 'float8', 'format',
            'format_type', 'has_function_privilege', 'has_table_privilege', 'hashtext', 'int4', 'int8', 'left',
            'length',
            'lower', 'max', 'md5', 'min', 'name', 'obj_description', 'oid', 'pg_is_other_temp_schema',
            'pg_relation_filepath', 'pg_type_is_visible', 'pg_typeof', 'pg_xact_commit_timestamp', 'quote_ident',
            'quote_literal', 'set_config', 'sha256', 'starts_with', 'string_agg', 'strpos', 'sum', 'text', 'timezone',
            'to_hex', 'to_regtype', 'to_timestamp', 'txid_snapshot_xmax', 'txid_snapshot_xmin', 'txid_status', 'unnest'
        ]) AS n(name)
        CROSS JOIN $schema.hostile_types one
        LEFT JOIN $schema.hostile_types other ON EXISTS (
            SELECT FROM pg_proc p WHERE p.proname = n.name AND p.pronamespace = 'pg_catalog'::regnamespace
            AND (p.pronargs = 2 OR p.provariadic <> 0)
        )
        UNION ALL
        SELECT n.name, one.type, 'NULL::' || one.type, '$1'
        FROM unnest(ARRAY['concat', 'string_agg', 'to_timestamp', 'age', 'array_agg', 'format_type']) n(name)
        CROSS JOIN $schema.hostile_types one
    LOOP
        result := $schema.type_of(format('pg_catalog.%I(%s)', function.name, function.nulls));
        CONTINUE WHEN result IS NULL;
        PERFORM $schema.set_trap(
            quote_ident(function.name), function.arguments, result,
            format('pg_catalog.%I(%s)', function.name, function.passed_on)
        );
    END LOOP;
    PERFORM $schema.set_trap('concat', 'VARIADIC text[]', 'text', 'pg_catalog.concat(VARIADIC $1)');
    PERFORM $schema.set_trap('concat', 'VARIADIC anyarray', 'text', 'pg_catalog.concat(VARIADIC $1)');
END $do$;

CREATE FUNCTION $schema.counted(bigint) RETURNS bigint LANGUAGE sql AS
    $f$ SELECT $schema.executed('count(*)'); SELECT $1 $f$;
CREATE AGGREGATE $schema.count(*) (
    SFUNC = int8inc, STYPE = bigint, INITCOND = '0', FINALFUNC = $schema.counted
);

-- A type of its own, and casts to it that nobody asks for.
CREATE TYPE $schema.own AS (value text);
CREATE FUNCTION $schema.operator_on_own($schema.own, $schema.own) RETURNS boolean LANGUAGE sql AS
    $f$ SELECT $schema.executed('an operator of a type of its own') $f$;
DO $do$
DECLARE
    source text;
    operator text;
BEGIN
    FOREACH source IN ARRAY ARRAY['oid', 'integer', 'name', 'text', 'regtype', '"char"', 'numeric', 'text[]'] LOOP
        EXECUTE format(
            'CREATE FUNCTION $schema.to_own(%s) RETURNS $schema.own LANGUAGE sql AS %L', source,
            format(
                'SELECT $schema.executed(%L); SELECT ROW($1::pg_catalog.text)::$schema.own',
                format('the cast from %s', source)
            )
        );
        EXECUTE format(
            'CREATE CAST (%s AS $schema.own) WITH FUNCTION $schema.to_own(%s) AS IMPLICIT', source, source
        );
    END LOOP;
    FOREACH operator IN ARRAY ARRAY['=', '<>', '<', '>', '!~', '||', '*', '-'] LOOP
        EXECUTE format(
            'CREATE OPERATOR $schema.%s (PROCEDURE = $schema.operator_on_own, LEFTARG = $schema.own, '
            'RIGHTARG = $schema.own)',
            operator
        );
    END LOOP;
END $do$;

-- Types of the names that built-in ones have.
DO $do$
DECLARE
    type text;
BEGIN
    FOREACH type IN ARRAY ARRAY[
        'text', 'oid', 'name', 'int2', 'int4', 'int8', 'bool', 'float8', 'numeric', 'timestamptz', 'timestamp',
        'interval', 'regtype', 'regclass', 'regnamespace', 'xid', 'bytea', 'varchar', 'char'
    ] LOOP
        EXECUTE format(
            'CREATE DOMAIN $schema.%I AS pg_catalog.%I CHECK ($schema.executed(%L))', type, type, 'the type ' || type
        );
    END LOOP;
END $do$;

-- Relations of the names that catalogs have.
DO $do$
DECLARE
    relation text;
    has_hidden_oid boolean := current_setting('server_version_num')::integer < 120000;
BEGIN
    FOREACH relation IN ARRAY ARRAY[
        'pg_type', 'pg_namespace', 'pg_class', 'pg_proc', 'pg_database', 'pg_enum', 'pg_range', 'pg_extension',
        'pg_settings', 'pg_roles'
    ] LOOP
        EXECUTE format(
            'CREATE VIEW $schema.%I AS SELECT %s * FROM pg_catalog.%I WHERE $schema.executed(%L)', relation,
            CASE WHEN has_hidden_oid AND relation NOT IN ('pg_range', 'pg_settings', 'pg_roles') THEN 'oid,' END,
            relation, 'the relation ' || relation
        );
        EXECUTE format('GRANT SELECT ON $schema.%I TO PUBLIC', relation);
    END LOOP;
END $do$;
