use super::unqualified;

const Q: &str = "pg_catalog";

#[test]
fn what_is_qualified_passes() {
    for sql in [
        "/* diesel-postgres-hot-upgrade: x */ SELECT 1",
        "BEGIN; SELECT CASE WHEN a OPERATOR(pg_catalog.=) ANY (ARRAY[1]) THEN '' ELSE pg_catalog.quote_ident('x') END",
        "SAVEPOINT diesel_postgres_hot_upgrade; COMMIT",
        "WITH types AS (SELECT t.oid FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n \
         ON n.oid OPERATOR(pg_catalog.=) t.typnamespace), b AS (SELECT 1) \
         SELECT ARRAY(SELECT oid FROM types ORDER BY oid), (SELECT 1 FROM b, pg_catalog.pg_class c)",
        "SELECT pg_catalog.count(*), coalesce(a, b) OPERATOR(pg_catalog.=) c, a IS NOT TRUE",
        "SELECT '{b}'::pg_catalog.\"char\"[] FROM pg_catalog.pg_class",
        "SELECT a OPERATOR(pg_catalog.=) -1, (-1)::pg_catalog.int2",
        "SELECT (pg_catalog.pg_control_system()).system_identifier::pg_catalog.text",
        "SELECT a FROM pg_catalog.pg_class c ORDER BY a USING OPERATOR(pg_catalog.<), c.oid DESC LIMIT 1",
        "SELECT FROM pg_catalog.pg_class c WHERE EXISTS (SELECT FROM pg_catalog.pg_class) UNION ALL SELECT 1",
        "SELECT pg_catalog.concat(a, b) OPERATOR(pg_catalog.=) $1::pg_catalog.text",
        "SELECT pg_catalog.x(a) AS t (a, b) FROM (SELECT 1) AS s(a)",
        "SELECT a COLLATE pg_catalog.\"C\"",
    ] {
        assert_eq!(unqualified(sql), Vec::<String>::new(), "{sql}");
    }
}

/// Each is found, by itself and in whatever surrounds it.
#[test]
fn what_is_looked_up_in_the_search_path_is_found() {
    for expression in [
        "a = b",
        "a=-1",
        "a <> b",
        "a > 16383",
        "a !~ 'b'",
        "a || b",
        "a*b",
        "a - b",
        "-1::pg_catalog.int2",
        "- a",
        "a - 1",
        "f(a) -1",
        "a = ANY (b)",
        "a <> ALL ($1)",
        "a OPERATOR(=) b",
        "a OPERATOR(public.=) b",
        "a IN (1, 2)",
        "a NOT IN (1)",
        "a BETWEEN b AND c",
        "a IS DISTINCT FROM b",
        "a IS NOT DISTINCT FROM b",
        "NULLIF(a, b)",
        "CASE a WHEN b THEN c END",
        "a LIKE 'b'",
        "a ILIKE 'b'",
        "a SIMILAR TO 'b'",
        "GREATEST(a, b)",
        "LEAST(a, b)",
        "(a, b) OPERATOR(pg_catalog.=) (c, d)",
        "ROW(a, b) OPERATOR(pg_catalog.=) ROW(c, d)",
        "EXTRACT(epoch FROM a)",
        "SUBSTRING(a FROM 1)",
        "a AT TIME ZONE 'b'",
        "(a, b) OVERLAPS (c, d)",
        "concat(a)",
        "now()",
        "\"now\"()",
        "public.now()",
        "extensions.f(a)",
        "array_position(a, b)",
        "count(*)",
        "a::text",
        "a::oid[]",
        "a::public.text",
        "'a'::\"char\"",
        "oid '5'",
        "interval '1 s'",
        "CAST(a AS pg_catalog.text)",
        "a COLLATE \"C\"",
        "pg_catalog.count(DISTINCT a)",
        "E'a'::pg_catalog.text",
        "$$a$$",
    ] {
        for sql in [
            format!("SELECT {expression}"),
            format!("SELECT 1 WHERE a OPERATOR({Q}.=) b AND ({expression}) OR c"),
            format!("BEGIN; SELECT ARRAY[{Q}.f(1, {expression}), 2]"),
        ] {
            assert!(!unqualified(&sql).is_empty(), "{sql}");
        }
    }
}

#[test]
fn relations_and_clauses_that_are_looked_up_are_found() {
    for sql in [
        "SELECT 1 FROM pg_type",
        "SELECT 1 FROM public.pg_type",
        "SELECT 1 FROM pg_catalog.pg_class c, pg_type t",
        "SELECT 1 FROM pg_catalog.pg_class c JOIN pg_type t ON true",
        "SELECT 1 FROM pg_catalog.pg_class c LEFT JOIN LATERAL pg_type t ON true",
        "SELECT (SELECT 1 FROM pg_type)",
        "SELECT 1 FROM (SELECT 1 FROM pg_type) x",
        "WITH types AS (SELECT 1) SELECT 1 FROM type",
        "SELECT 1 FROM pg_catalog.a JOIN pg_catalog.b USING (c)",
        "SELECT 1 FROM pg_catalog.a NATURAL JOIN pg_catalog.b",
        "SELECT 1 FROM pg_catalog.a ORDER BY name",
        "SELECT 1 FROM pg_catalog.a ORDER BY oid, name",
        "SELECT ARRAY(SELECT 1 FROM pg_catalog.a ORDER BY b LIMIT 1)",
        "SELECT 1 FROM pg_catalog.a ORDER BY b USING <",
        "SELECT DISTINCT a FROM pg_catalog.a",
        "SELECT a FROM pg_catalog.a GROUP BY a",
        "SELECT 1 UNION SELECT 2",
        "SELECT 1 EXCEPT SELECT 2",
        "BEGIN; LOCK TABLE x",
        "SET LOCAL a = b",
        "INSERT INTO a VALUES (1)",
        "CREATE TABLE a ()",
        "SELECT 'a",
        "/* SELECT 1",
    ] {
        assert!(!unqualified(sql).is_empty(), "{sql}");
    }
}
