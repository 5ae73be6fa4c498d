//! `postgis_diesel`, with its types `geometry` and `geography`.

use diesel::prelude::*;
use postgis_diesel::functions::{st_contains, st_d_within};
use postgis_diesel::operators::{contains, distance_2d, intersects_2d};
use postgis_diesel::types::{GeometryContainer, Point, Polygon};

use crate::servers::with_postgis_and_pgvector;
use crate::switch::{Use, Verdict, expect, survives};

diesel::table! {
    use diesel::sql_types::*;
    use postgis_diesel::sql_types::*;

    places (id) {
        id -> Int4,
        at -> Geometry,
        on_earth -> Geography,
        area -> Geometry,
    }
}

const CREATE: &str = "CREATE EXTENSION postgis;
    CREATE TABLE places (
        id serial PRIMARY KEY, at geometry(Point,4326) NOT NULL, on_earth geography(Point,4326) NOT NULL,
        area geometry NOT NULL
    );
    INSERT INTO places (at, on_earth, area)
    SELECT point, point, ST_Expand(point, 1)
    FROM unnest(ARRAY['SRID=4326;POINT(0 0)', 'SRID=4326;POINT(3 4)', 'SRID=4326;POINT(30 40)']::geometry[]) point;
    CREATE INDEX ON places USING gist (at)";

fn inserted(conn: &mut PgConnection) -> Verdict {
    let here = point(7.5, -8.25);
    let values = || (here, here, square());
    let insert = diesel::insert_into(places::table)
        .values((places::at.eq(here), places::on_earth.eq(here), places::area.eq(square())))
        .returning((places::at, places::on_earth, places::area));
    expect(insert.get_result(conn), &values())?;
    let inserted = places::table.filter(places::at.eq(here));
    expect(diesel::delete(inserted).execute(conn), &1)
}

fn found(conn: &mut PgConnection) -> Verdict {
    let found = places::table
        .filter(places::at.eq_any([point(3.0, 4.0), point(8.0, 8.0)]))
        .select((places::id, places::at));
    expect(found.load(conn), &vec![(2, point(3.0, 4.0))])
}

fn containing(conn: &mut PgConnection) -> Verdict {
    let containing = places::table.filter(contains(places::area, point(2.5, 4.5))).select(places::id);
    expect(containing.load(conn), &vec![2])
}

fn intersecting(conn: &mut PgConnection) -> Verdict {
    let in_square = places::table.filter(intersects_2d(places::at, square())).order(places::id);
    expect(in_square.select(places::at).load(conn), &vec![point(0.0, 0.0), point(3.0, 4.0)])
}

fn distances(conn: &mut PgConnection) -> Verdict {
    let distances = places::table.order(places::id).select(distance_2d(places::at, point(0.0, 0.0)));
    expect(distances.load(conn), &vec![0.0, 5.0, 50.0])
}

fn by_function(conn: &mut PgConnection) -> Verdict {
    let inside = places::table.filter(st_contains(square(), places::at)).order(places::id).select(places::id);
    expect(inside.load(conn), &vec![1, 2])
}

/// In metres, on the spheroid.
fn on_earth(conn: &mut PgConnection) -> Verdict {
    let near = places::table
        .filter(st_d_within(places::on_earth, point(1.0, 0.0), 111_320.0))
        .select((places::id, places::on_earth));
    expect(near.load(conn), &vec![(1, point(0.0, 0.0))])
}

fn point(x: f64, y: f64) -> Point {
    Point { x, y, srid: Some(4326) }
}

fn square() -> GeometryContainer<Point> {
    let mut square = Polygon::new(Some(4326));
    let corners = [(-5.0, -5.0), (-5.0, 5.0), (5.0, 5.0), (5.0, -5.0), (-5.0, -5.0)];
    square.add_points(corners.map(|(x, y)| point(x, y))).expect("points");
    GeometryContainer::Polygon(square)
}

#[test]
fn geometries_survive_a_change_of_server() {
    let upgrade = with_postgis_and_pgvector(CREATE, &["geometry", "geography"]);
    survives(
        &upgrade,
        &[
            Use::of_own_type("insert of both", inserted),
            Use::of_own_type("= ANY", found),
            Use::of_own_type("~", containing),
            Use::of_own_type("&&", intersecting),
            Use::of_own_type("<->", distances),
            Use::of_own_type("ST_Contains", by_function),
            Use::of_own_type("ST_DWithin of geographies", on_earth),
        ],
    );
}
