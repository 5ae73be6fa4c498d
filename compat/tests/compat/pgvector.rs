//! `pgvector`, with its types `vector`, `halfvec` and `sparsevec`.

use diesel::prelude::*;
use pgvector::{HalfVector, SparseVector, Vector, VectorExpressionMethods};

use crate::servers::with_postgis_and_pgvector;
use crate::switch::{Use, Verdict, expect, survives};

diesel::table! {
    use diesel::sql_types::*;
    use pgvector::sql_types::*;

    items (id) {
        id -> Int4,
        embedding -> Vector,
        half -> HalfVector,
        sparse -> SparseVector,
    }
}

const CREATE: &str = "CREATE EXTENSION vector;
    CREATE TABLE items (
        id serial PRIMARY KEY, embedding vector(3) NOT NULL, half halfvec(3) NOT NULL, sparse sparsevec(3) NOT NULL
    );
    INSERT INTO items (embedding, half, sparse) VALUES
        ('[1,1,1]', '[1,1,1]', '{1:1}/3'), ('[2,2,2]', '[2,2,2]', '{2:1}/3'), ('[1,1,2]', '[1,1,2]', '{3:1}/3');
    CREATE INDEX ON items USING hnsw (embedding vector_l2_ops)";

fn inserted(conn: &mut PgConnection) -> Verdict {
    let values = || (vector(9.0), HalfVector::from_f32_slice(&[9.0, 9.0, 9.0]), sparse());
    let (embedding, half, sparse) = values();
    let insert = diesel::insert_into(items::table)
        .values((items::embedding.eq(embedding), items::half.eq(half), items::sparse.eq(sparse)))
        .returning((items::embedding, items::half, items::sparse));
    expect(insert.get_result(conn), &values())?;
    let inserted = items::table.filter(items::embedding.eq(vector(9.0)));
    expect(diesel::delete(inserted).execute(conn), &1)
}

fn found(conn: &mut PgConnection) -> Verdict {
    let found = items::table
        .filter(items::embedding.eq_any([vector(2.0), vector(7.0)]))
        .select((items::id, items::embedding));
    expect(found.load(conn), &vec![(2, vector(2.0))])
}

fn nearest(conn: &mut PgConnection) -> Verdict {
    let nearest = items::table.order(items::embedding.l2_distance(vector(1.0))).select(items::id);
    expect(nearest.load(conn), &vec![1, 3, 2])
}

fn products(conn: &mut PgConnection) -> Verdict {
    let products = items::table.order(items::id).select(items::embedding.max_inner_product(vector(1.0)));
    expect(products.load(conn), &vec![-3.0, -6.0, -4.0])
}

fn nearest_half(conn: &mut PgConnection) -> Verdict {
    let twos = HalfVector::from_f32_slice(&[2.0, 2.0, 2.0]);
    let nearest = items::table.order(items::half.l1_distance(twos.clone())).select((items::id, items::half));
    expect(nearest.first(conn), &(2, twos))
}

fn nearest_sparse(conn: &mut PgConnection) -> Verdict {
    let nearest = items::table.order(items::sparse.l2_distance(sparse())).select((items::id, items::sparse));
    expect(nearest.first(conn), &(3, sparse()))
}

fn vector(each: f32) -> Vector {
    Vector::from(vec![each; 3])
}

fn sparse() -> SparseVector {
    SparseVector::from_dense(&[0.0, 0.0, 1.0])
}

#[test]
fn vectors_survive_a_change_of_server() {
    let upgrade = with_postgis_and_pgvector(CREATE, &["vector", "halfvec", "sparsevec"]);
    survives(
        &upgrade,
        &[
            Use::of_own_type("insert of all three", inserted),
            Use::of_own_type("= ANY", found),
            Use::of_own_type("<->", nearest),
            Use::of_own_type("<#>", products),
            Use::of_own_type("halfvec <+>", nearest_half),
            Use::of_own_type("sparsevec <->", nearest_sparse),
        ],
    );
}
