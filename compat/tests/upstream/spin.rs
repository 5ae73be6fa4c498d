//! After `copy_to(…).load()`, the end of the `COPY` is unread, and the next prepared statement waits for it for ever.

use std::process::{Child, Command, Stdio};
use std::time::Duration;
use std::{env, fs, thread};

use diesel::connection::SimpleConnection;
use diesel::prelude::*;

use crate::copy::{database, moods};

/// The child's database.
const URL: &str = "UPSTREAM_SPIN_URL";

/// What nothing takes that ends: in the kernel's hundredths of a second.
const LONG: u64 = 300;

fn copy_all(conn: &mut PgConnection) -> QueryResult<Vec<i32>> {
    diesel::copy_to(moods::table).load::<Id, _>(conn)?.map(|row| row.map(|row| row.id)).collect()
}

#[derive(Debug, Queryable, Selectable)]
#[diesel(table_name = moods)]
struct Id {
    id: i32,
}

/// Deletes what was copied.
fn delete(conn: &mut PgConnection) -> QueryResult<usize> {
    diesel::delete(moods::table).execute(conn)
}

/// Is killed when it is dropped.
struct Spinning(Child);

impl Drop for Spinning {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The processor time of a process.
fn processor_time(process: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).expect("a process");
    let (_, fields) = stat.rsplit_once(')').expect("a name");
    fields.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum()
}

#[test]
fn a_statement_after_copy_to_and_load_spins_for_ever() {
    if let Ok(url) = env::var(URL) {
        let conn = &mut PgConnection::establish(&url).expect("a connection");
        assert_eq!(delete(conn), Ok(0), "prepared before");
        conn.batch_execute("INSERT INTO moods (id) VALUES (1)").expect("a row");
        assert_eq!(copy_all(conn), Ok(vec![1]));
        let _ = delete(conn);
        return;
    }
    let (url, _) = database("spin");
    let mut command = Command::new(env::current_exe().expect("this test's program"));
    command.args(["--exact", "spin::a_statement_after_copy_to_and_load_spins_for_ever"]).env(URL, url);
    let mut child = Spinning(command.stdout(Stdio::null()).spawn().expect("another run"));
    while processor_time(child.0.id()) < LONG {
        let ended = child.0.try_wait().expect("a child");
        assert!(ended.is_none(), "mended, or it fails in another way: {ended:?}");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_simple_query_after_it_reads_the_end() {
    let (_, conn) = &mut database("simple");
    assert_eq!(delete(conn), Ok(0));
    conn.batch_execute("INSERT INTO moods (id) VALUES (1)").expect("a row");
    assert_eq!(copy_all(conn), Ok(vec![1]));
    conn.batch_execute("SELECT").expect("a simple query");
    assert_eq!(delete(conn), Ok(1));
}
