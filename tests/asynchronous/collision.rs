//! On the new server, the old OID of `citext` names a domain over `text`. Nothing fails, and the answer is wrong.

use diesel::prelude::*;
use diesel_async::{AsyncConnection, RunQueryDsl};
use fixture::{Document, Upgrade, documents};
use testbed::{Cluster, PgBouncerConfig};

use crate::tools::{Hot, Stock, blocking, connect, run};

/// Two servers of this test's own, since OIDs come from a counter that a server's databases share.
fn collided_upgrade() -> Upgrade {
    let start = |major| &*Box::leak(Box::new(Cluster::start(major).expect("a server")));
    Upgrade::collided(start(10), start(12), PgBouncerConfig::default()).expect("servers whose OIDs collide")
}

macro_rules! count_known {
    ($conn:expr) => {{
        let title = Document::numbered(7).title.to_lowercase();
        let query = documents::table.filter(documents::title.eq(title)).count();
        RunQueryDsl::get_result::<i64>(query, $conn).await
    }};
}

#[test]
fn a_type_that_took_the_old_oid_gives_no_wrong_answer() {
    run(async {
        let upgrade = blocking(collided_upgrade);
        let mut hot: Hot = connect(&upgrade.url()).await;
        let mut held: Hot = connect(&upgrade.url()).await;
        let mut stock: Stock = connect(&upgrade.url()).await;
        assert_eq!(count_known!(&mut hot), Ok(1));
        assert_eq!(held.hot_transaction(async |conn| count_known!(conn)).await, Ok(1));
        assert_eq!(count_known!(&mut stock), Ok(1));

        blocking(|| upgrade.switch_to(upgrade.new)).expect("a switch");

        hot.synchronize().await.expect("a check");
        assert_eq!(count_known!(&mut hot), Ok(1));
        assert_eq!(held.hot_transaction(async |conn| count_known!(conn)).await, Ok(1));
        assert_eq!(count_known!(&mut stock), Ok(0), "the control is right");
        let control = stock.transaction(async |conn| count_known!(conn)).await;
        assert_eq!(control, Ok(0), "the control is right");
    });
}
