//! `diesel_ltree`. It has values for `ltree` only: `lquery` and `ltxtquery` come from functions of a text.

use diesel::prelude::*;
use diesel_ltree::{Ltree, LtreeExtensions, lca, lquery, ltxtquery, nlevel, subpath, text2ltree};

use crate::servers::from_14_to_17;
use crate::switch::{Use, Verdict, expect, survives};

diesel::table! {
    use diesel::sql_types::*;
    use diesel_ltree::sql_types::*;

    topics (id) {
        id -> Int4,
        path -> Ltree,
    }
}

const CREATE: &str = "CREATE EXTENSION ltree;
    CREATE TABLE topics (id serial PRIMARY KEY, path ltree NOT NULL);
    INSERT INTO topics (path) VALUES ('top'), ('top.science'), ('top.science.astronomy'), ('top.hobbies');
    CREATE INDEX ON topics USING gist (path)";

fn inserted(conn: &mut PgConnection) -> Verdict {
    let insert = diesel::insert_into(topics::table).values(topics::path.eq(ltree("top.new")));
    expect(insert.returning(topics::path).get_result(conn), &ltree("top.new"))?;
    expect(diesel::delete(topics::table.filter(topics::path.eq(ltree("top.new")))).execute(conn), &1)
}

fn found(conn: &mut PgConnection) -> Verdict {
    let found = topics::table
        .filter(topics::path.eq_any([ltree("top.science"), ltree("elsewhere")]))
        .select((topics::id, topics::path));
    expect(found.load(conn), &vec![(2, ltree("top.science"))])
}

fn contained(conn: &mut PgConnection) -> Verdict {
    let contained = topics::table.filter(topics::path.contained_by(ltree("top.science"))).order(topics::id);
    expect(contained.select(topics::path).load(conn), &vec![ltree("top.science"), ltree("top.science.astronomy")])
}

fn contained_by_any(conn: &mut PgConnection) -> Verdict {
    let paths = vec![ltree("top.hobbies"), ltree("top.science.astronomy")];
    let contained = topics::table.filter(topics::path.contained_by_any(paths)).order(topics::id);
    expect(contained.select(topics::id).load(conn), &vec![3, 4])
}

fn concatenated(conn: &mut PgConnection) -> Verdict {
    let longer = topics::table.find(2).select(topics::path.concat(ltree("physics")));
    expect(longer.get_result(conn), &ltree("top.science.physics"))
}

fn by_functions(conn: &mut PgConnection) -> Verdict {
    let path = || ltree("top.science.astronomy");
    let siblings = vec![path(), ltree("top.science.physics")];
    let asked = diesel::select((nlevel(path()), subpath(path(), 1, 1), lca(siblings)));
    expect(asked.get_result(conn), &(3, ltree("science"), ltree("top.science")))
}

fn matched(conn: &mut PgConnection) -> Verdict {
    let matched = topics::table.filter(topics::path.matches(lquery("*.science.*"))).order(topics::id);
    expect(matched.select(topics::path).load(conn), &vec![ltree("top.science"), ltree("top.science.astronomy")])
}

fn matched_as_text(conn: &mut PgConnection) -> Verdict {
    let matched = topics::table.filter(topics::path.tmatches(ltxtquery("astro* & !hobbies")));
    expect(matched.select(topics::path).load(conn), &vec![ltree("top.science.astronomy")])
}

fn from_text(conn: &mut PgConnection) -> Verdict {
    let found = topics::table.filter(topics::path.eq(text2ltree("top.hobbies")));
    expect(found.select(topics::id).load(conn), &vec![4])
}

fn ltree(path: &str) -> Ltree {
    Ltree(path.to_owned())
}

#[test]
fn paths_survive_a_change_of_server() {
    let upgrade = from_14_to_17(CREATE, &["ltree", "lquery", "ltxtquery"]);
    survives(
        &upgrade,
        &[
            Use::of_own_type("insert", inserted),
            Use::of_own_type("= ANY", found),
            Use::of_own_type("<@", contained),
            Use::of_own_type("<@ of an array", contained_by_any),
            Use::of_own_type("||", concatenated),
            Use::of_own_type("functions", by_functions),
            Use::of_built_in_type("~ lquery", matched),
            Use::of_built_in_type("@ ltxtquery", matched_as_text),
            Use::of_built_in_type("text2ltree", from_text),
        ],
    );
}
