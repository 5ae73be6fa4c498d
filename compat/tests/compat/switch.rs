//! What an application does with a crate, before a change of server, after it, and on the way back.

use std::fmt::Debug;

use diesel::prelude::*;
use diesel::r2d2::{ConnectionManager, Pool};
use diesel_postgres_hot_upgrade::{HotUpgradeCustomizer, HotUpgradeManager};
use fixture::{Upgrade, builder, on_every_connection};

const SIZE: u32 = 3;
pub(crate) const NOTHING_WRONG: &[String] = &[];

/// What went wrong, or nothing.
pub(crate) type Verdict = Result<(), String>;

/// Something that an application does.
pub(crate) struct Use {
    name: &'static str,
    run: fn(&mut PgConnection) -> Verdict,
    breaks_stock: bool,
}

impl Use {
    /// It binds a value of a type that each server numbers for itself: a stock pool fails.
    pub(crate) const fn of_own_type(name: &'static str, run: fn(&mut PgConnection) -> Verdict) -> Use {
        Use { name, run, breaks_stock: true }
    }

    /// It binds only what has the same OID everywhere: a stock pool is right as well.
    pub(crate) const fn of_built_in_type(name: &'static str, run: fn(&mut PgConnection) -> Verdict) -> Use {
        Use { name, run, breaks_stock: false }
    }
}

/// Compares an answer, value for value.
pub(crate) fn expect<T: Debug + PartialEq>(found: QueryResult<T>, wanted: &T) -> Verdict {
    match found {
        Ok(found) if found == *wanted => Ok(()),
        Ok(found) => Err(format!("wrong answer: {found:?}")),
        Err(error) => Err(error.to_string()),
    }
}

pub(crate) fn hot_pool(upgrade: &Upgrade) -> Pool<HotUpgradeManager> {
    builder(SIZE)
        .connection_customizer(Box::new(HotUpgradeCustomizer::new()))
        .build(HotUpgradeManager::new(upgrade.url()))
        .expect("a protected pool")
}

pub(crate) fn stock_pool(upgrade: &Upgrade) -> Pool<ConnectionManager<PgConnection>> {
    builder(SIZE).build(ConnectionManager::new(upgrade.url())).expect("a stock pool")
}

/// Each use on each connection of a protected pool, which has to be right, and of a stock one, the control.
pub(crate) fn survives(upgrade: &Upgrade, uses: &[Use]) {
    let hot = hot_pool(upgrade);
    for Use { name, run, .. } in uses {
        assert_eq!(on_every_connection(&hot, run), NOTHING_WRONG, "{name}, before the switch");
    }
    for (server, which) in [(upgrade.new, "the new server"), (upgrade.old, "the old one again")] {
        // Another one each time: on the way back, OIDs that were never cleared would fit again.
        let stock = stock_pool(upgrade);
        for Use { name, run, .. } in uses {
            assert_eq!(on_every_connection(&stock, run), NOTHING_WRONG, "{name}, stock, before {which}");
        }

        upgrade.switch_to(server).expect("a switch");

        for Use { name, run, breaks_stock } in uses {
            assert_eq!(on_every_connection(&hot, run), NOTHING_WRONG, "{name}, on {which}");
            let control = on_every_connection(&stock, run);
            let wrong = if *breaks_stock { SIZE as usize } else { 0 };
            assert_eq!(control.len(), wrong, "{name}, the control on {which}: {control:?}");
        }
    }
}
