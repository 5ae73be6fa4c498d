//! The ways in which an application keeps its connections, side by side on one address.

use std::time::Duration;

use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::r2d2::Pool;
use diesel::sql_types::HasSqlType;
use diesel_postgres_hot_upgrade::{HotUpgradeCustomizer, HotUpgradeManager, Verify, synchronize};

use crate::support::diverging::connect;
use crate::support::meaning::{Named, Verdict, plain, verified};

pub(crate) type HotPool = Pool<HotUpgradeManager>;

/// Longer than any test.
const HOUR: Duration = Duration::from_secs(3600);

/// A pool of one connection, which waits rather than fails if the machine is busy.
pub(crate) fn pool(url: &str, verify: Verify) -> HotPool {
    Pool::builder()
        .max_size(1)
        .connection_timeout(Duration::from_secs(60))
        .connection_customizer(Box::new(HotUpgradeCustomizer::new()))
        .build(HotUpgradeManager::new(url).verify(verify))
        .expect("a pool")
}

/// Each has its own connection: what heals one helps no other.
pub(crate) struct Ways {
    held: PgConnection,
    in_a_window: HotPool,
    verified: HotPool,
    plain: HotPool,
    stock: PgConnection,
}

impl Ways {
    /// All of them know the server that answers.
    pub(crate) fn connect(url: &str) -> Self {
        let mut held = connect(url);
        synchronize(&mut held).expect("a first look");
        Ways {
            held,
            in_a_window: pool(url, Verify::AtMostEvery(HOUR)),
            verified: pool(url, Verify::EveryCheckout),
            plain: pool(url, Verify::EveryCheckout),
            stock: connect(url),
        }
    }

    /// What is wrong, each with the way in which it went wrong.
    pub(crate) fn wrong<ST: Named>(&mut self) -> Vec<String>
    where
        Pg: HasSqlType<ST>,
    {
        let on = |pool: &HotPool, ask: fn(&mut PgConnection) -> Verdict| {
            let mut conn = pool.get().map_err(|error| format!("checkout: {error}"))?;
            ask(&mut conn)
        };
        let verdicts = [
            ("on a held connection", verified::<ST>(&mut self.held)),
            ("within a window", on(&self.in_a_window, verified::<ST>)),
            ("verified after a checkout", on(&self.verified, verified::<ST>)),
            ("plain after a checkout", on(&self.plain, plain::<ST>)),
        ];
        let wrong = verdicts.into_iter().filter_map(|(way, verdict)| Some(format!("{way}: {}", verdict.err()?)));
        wrong.collect()
    }

    /// The control: a stock connection that stays open.
    pub(crate) fn stock<ST: Named>(&mut self) -> Verdict
    where
        Pg: HasSqlType<ST>,
    {
        plain::<ST>(&mut self.stock)
    }
}
