//! Checkouts, and the transactions that follow them.

use diesel::connection::{CacheSize, Connection};
use diesel::pg::PgConnection;
use diesel_postgres_hot_upgrade::{HotUpgradeExt, Verify};

use crate::args::Subject;
use crate::paired::{compare, timed};
use crate::processor::OneCore;
use crate::processor_time::used;
use crate::report::Row;
use crate::run::Bench;
use crate::shared::AnyError;
use crate::shared::network::Network;
use crate::shared::subjects::{self, ProtectedPool, StockPool, WINDOW};
use crate::shared::twenty;

pub(crate) fn measure(bench: &Bench<'_>, subject: Subject, network: Network) -> Result<Row, AnyError> {
    let (cache, verify) = match subject {
        Subject::CheckoutUncached | Subject::CheckoutTrackedUncached => {
            (CacheSize::Disabled, Verify::EveryCheckout)
        }
        Subject::Window | Subject::Transaction => (CacheSize::Unbounded, WINDOW),
        _ => (CacheSize::Unbounded, Verify::EveryCheckout),
    };
    if matches!(subject, Subject::CheckoutTracked | Subject::CheckoutTrackedUncached) {
        twenty::track_each();
    }
    let url = match subject {
        Subject::CheckoutDirect => bench.servers.cluster.url(bench.database),
        _ => bench.servers.url(network, bench.database),
    };
    let stock = subjects::stock(&url, 1, cache)?;
    let ours = subjects::protected(&url, 1, cache, verify)?;
    // As those of a running application, both know the types.
    twenty::bind_each(&mut *stock.get()?)?;
    twenty::bind_each(&mut *ours.get()?)?;
    let _core = match subject {
        Subject::CheckoutDirect => Some(OneCore::shared_with(&[&used(&stock)?, &used(&ours)?])?),
        _ => None,
    };
    bench.servers.delay(network);
    let comparison = match subject {
        Subject::Transaction => compare(bench.plan, &mut || timed(|| plain_transaction(&stock)), &mut || {
            timed(|| verified_transaction(&ours))
        }),
        _ => compare(bench.plan, &mut || timed(|| stock.get()), &mut || timed(|| ours.get())),
    };
    bench.servers.delay(Network::LOOPBACK);
    Ok(Row::new(subject, network, comparison?))
}

fn plain_transaction(pool: &StockPool) -> Result<(), AnyError> {
    let conn: &mut PgConnection = &mut *pool.get()?;
    Ok(conn.transaction(twenty::insert)?)
}

fn verified_transaction(pool: &ProtectedPool) -> Result<(), AnyError> {
    let conn: &mut PgConnection = &mut *pool.get()?;
    Ok(conn.hot_transaction(twenty::insert)?)
}
