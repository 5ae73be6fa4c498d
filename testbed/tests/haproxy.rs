//! HAProxy switches between servers, and shuts down the sessions on the one that it leaves.

use std::{thread, time::Duration};

use postgres::{Client, NoTls};
use testbed::{Cluster, HaProxy};

fn version(client: &mut Client) -> Result<i32, postgres::Error> {
    Ok(client.query_one("SELECT current_setting('server_version_num')::int / 10000", &[])?.get(0))
}

#[test]
fn a_switch_shuts_sessions_down() {
    let servers = [Cluster::shared(10), Cluster::shared(12)];
    let haproxy = HaProxy::start(&servers.map(Cluster::address)).unwrap();
    let url = servers[0].url_at(haproxy.address(), "postgres");
    let mut client = Client::connect(&url, NoTls).unwrap();
    assert_eq!(version(&mut client).unwrap(), 10);
    haproxy.switch_to(1, 2).unwrap();
    let mut tries = 0;
    while version(&mut client).is_ok() {
        tries += 1;
        assert!(tries < 1_000, "the session is still there");
        thread::sleep(Duration::from_millis(5));
    }
    let mut client = Client::connect(&url, NoTls).unwrap();
    assert_eq!(version(&mut client).unwrap(), 12);
}
