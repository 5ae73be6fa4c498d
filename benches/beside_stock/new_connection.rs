//! New connections, and the first statement that needs OIDs.

use diesel::pg::PgConnection;
use diesel::r2d2::{ConnectionManager, CustomizeConnection, ManageConnection};
use diesel_postgres_hot_upgrade::{HotUpgradeCustomizer, HotUpgradeManager};

use crate::args::Subject;
use crate::paired::{compare, timed};
use crate::report::Row;
use crate::run::Bench;
use crate::shared::AnyError;
use crate::shared::network::Network;
use crate::shared::twenty;

pub(crate) fn measure(bench: &Bench<'_>, network: Network) -> Result<Row, AnyError> {
    let url = bench.servers.url(network, bench.database);
    let stock = ConnectionManager::<PgConnection>::new(&url);
    let ours = HotUpgradeManager::new(&url);
    let customizer = HotUpgradeCustomizer::new();
    bench.servers.delay(network);
    // As a pool does it.
    let comparison = compare(bench.plan.in_blocks_of(2), &mut || timed(|| used(stock.connect()?)), &mut || {
        timed(|| {
            let mut conn = ours.connect()?;
            customizer.on_acquire(&mut conn)?;
            used(conn)
        })
    });
    bench.servers.delay(Network::LOOPBACK);
    Ok(Row::new(Subject::NewConnection, network, comparison?))
}

fn used(mut conn: PgConnection) -> Result<PgConnection, AnyError> {
    twenty::bind_each(&mut conn)?;
    Ok(conn)
}
