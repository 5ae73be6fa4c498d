//! Everything in random order: cuts of one or both sides, at any byte, ended sessions, restarts, crashes, switches and
//! demotions. `CUTS_SEED` repeats the order.

use fastrand::Rng;
use testbed::{Cluster, Cutter, Place, Side, Way};

use super::drivers::Driver;
use super::keep::{Progress, keep};
use super::scenarios::{own_server, run_on, shown, terminate_all, written};
use crate::support::server::wait_until;

/// What happens between two looks at the ledger's progress.
const EVENTS: u32 = 6;

/// Two servers, one of which the address leads to.
struct Site {
    servers: [Cluster; 2],
    active: usize,
    cutter: Cutter,
    random: Rng,
}

#[derive(Debug, Clone, Copy)]
enum Event {
    Cut(Side),
    CutAtSomeByte(Side),
    EndSessions,
    Restart,
    Crash,
    /// All connections are cut, and lead to the other server.
    Switch,
    /// Nothing is cut: the server takes no writes any more, and new connections lead to the other one.
    Demotion,
}

impl Site {
    fn start(random: Rng) -> Self {
        let servers = [own_server(10), own_server(12)];
        for server in &servers {
            // What was acknowledged has to survive a crash.
            run_on(server, "postgres", "ALTER SYSTEM SET synchronous_commit = on");
            run_on(server, "postgres", "SELECT pg_reload_conf()");
        }
        let cutter = Cutter::start(servers[0].address()).expect("a cutter");
        Site { servers, active: 0, cutter, random }
    }

    fn url(&self) -> String {
        self.servers[0].url_at(self.cutter.address(), "app")
    }

    fn draw(&mut self) -> Event {
        let side = if self.random.bool() { Side::Both } else { Side::Client };
        match self.random.u8(0..10) {
            0 | 1 => Event::Cut(side),
            2..=4 => Event::CutAtSomeByte(side),
            5 => Event::EndSessions,
            6 => Event::Restart,
            7 => Event::Crash,
            8 => Event::Switch,
            _ => Event::Demotion,
        }
    }

    fn make(&mut self, event: Event) {
        let active = &mut self.servers[self.active];
        match event {
            Event::Cut(side) => self.cutter.cut(side),
            Event::CutAtSomeByte(side) => {
                let way = if self.random.bool() { Way::ToServer } else { Way::ToClient };
                self.cutter.order(way, Place::AfterBytes(self.random.usize(1..5_000)), side);
                wait_until("a cut", || self.cutter.has_cut());
            }
            Event::EndSessions => terminate_all(active, "app"),
            Event::Restart => active.stop().and_then(|()| active.restart()).expect("a restart"),
            Event::Crash => active.crash().and_then(|()| active.restart()).expect("a recovery"),
            Event::Switch => {
                self.lead_to_the_other();
                self.cutter.cut(Side::Both);
            }
            Event::Demotion => {
                set_read_only(active, "on");
                self.lead_to_the_other();
            }
        }
    }

    fn lead_to_the_other(&mut self) {
        self.active = 1 - self.active;
        let active = &self.servers[self.active];
        set_read_only(active, "off");
        self.cutter.retarget(active.address());
    }
}

fn set_read_only(server: &Cluster, is: &str) {
    run_on(server, "postgres", &format!("ALTER SYSTEM SET default_transaction_read_only = {is}"));
    run_on(server, "postgres", "SELECT pg_reload_conf()");
    wait_until("the setting", || shown(server, "transaction_read_only") == is);
}

#[test]
fn whatever_happens_in_whatever_order() {
    attack(Driver::Blocking);
}

#[test]
fn whatever_happens_to_bb8_in_whatever_order() {
    attack(Driver::Bb8);
}

#[test]
fn whatever_happens_to_deadpool_in_whatever_order() {
    attack(Driver::Deadpool);
}

fn attack(driver: Driver) {
    let chosen = std::env::var("CUTS_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = chosen.unwrap_or_else(|| fastrand::u64(..));
    println!("CUTS_SEED={seed}");
    let mut site = Site::start(Rng::with_seed(seed));
    let ledgers = keep(driver, &site.url(), |_, progress: &Progress| {
        for _ in 0..EVENTS {
            let event = site.draw();
            println!("{event:?}");
            site.make(event);
            progress.wait_for(4);
        }
    });
    let [old, new] = &site.servers;
    ledgers.check(&format!("random events, CUTS_SEED={seed}"), &written(&[old, new], "app"));
}
