//! What is drawn at random.

use std::collections::BTreeSet;

use crate::keys::{KEYS, ROWS, TEMPORARY};
use crate::model::{DEFAULT_PATH, Ddl, Kind, SESSION_PATHS, TEMPORARY_SCHEMA, TENANTS, create};
use crate::promises::Use;
use crate::steps::{Ask, Scope, Step, Tenancy};

/// How often something else is drawn than what is wanted, before it is taken.
const ATTEMPTS: usize = 60;

/// What bounds a plan.
pub(crate) struct Bounds<'a> {
    pub(crate) by: Use,
    pub(crate) scope: &'a Scope,
    pub(crate) action: u64,
    pub(crate) major: u32,
    /// A session of its own, whose path may be set.
    pub(crate) is_direct: bool,
    pub(crate) is_writable: bool,
    /// The names whose types are moved, and used most. None: no type is moved or created.
    pub(crate) focus: &'a [&'static str],
    /// The schemas in which types are created.
    pub(crate) schemas: &'a [&'static str],
    pub(crate) is_calm: bool,
    pub(crate) has_tenants: bool,
    /// The keys that this client has used.
    pub(crate) used: BTreeSet<usize>,
    /// Names of temporary types that were created on this server.
    pub(crate) spent: &'a dyn Fn(&'static str) -> bool,
}

impl Bounds<'_> {
    pub(crate) fn step(&self, rng: &mut fastrand::Rng) -> Step {
        let step = match (self.by, rng.u8(..100)) {
            (Use::Stock, _) | (_, 0..25) => Some(Step::Plain(self.ask(rng, self.scope, true))),
            (_, 25..32) => Some(Step::PlainTransaction(self.asks(rng, self.scope, true))),
            (_, 32..38) => Some(Step::Query(self.ask(rng, self.scope, true))),
            (_, 38..42) => (!self.is_calm).then_some(Step::Synchronize),
            (_, 42..60) => self.has_tenants.then(|| self.tenant(rng)),
            (_, 60..64) => self.migration(rng),
            (_, 64..67) if !self.is_calm => self.temporary(rng),
            (_, 67..70) => {
                self.is_direct.then(|| Step::SetPath(rng.choice(SESSION_PATHS).unwrap_or(DEFAULT_PATH)))
            }
            _ => None,
        };
        step.unwrap_or_else(|| Step::Verified(self.asks(rng, self.scope, true)))
    }

    /// A bind; one in six of a name that may mean nothing.
    fn ask(&self, rng: &mut fastrand::Rng, scope: &Scope, may_be_missing: bool) -> Ask {
        let may_be_missing = may_be_missing && rng.u8(..6) == 0;
        // Of what is moved, of what nobody watches, or of what this client has used.
        let wanted = rng.u8(..6);
        for attempt in 0.. {
            let key = rng.usize(..KEYS.len());
            let name = KEYS[key].name;
            let is_wanted = match wanted {
                0 | 1 => self.focus.contains(&name),
                2 => ROWS.contains(&name) || TEMPORARY.contains(&name),
                3 | 4 => self.used.contains(&key),
                _ => true,
            };
            if !is_wanted && attempt < ATTEMPTS {
                continue;
            }
            let Some(ty) = scope.catalog.find(KEYS[key], scope.path) else {
                if may_be_missing {
                    return Ask { key, array: false };
                }
                continue;
            };
            let has_array = ty.kind != Kind::Domain || self.major >= 11;
            return Ask { key, array: has_array && rng.u8(..6) == 0 };
        }
        unreachable!("a search without an end");
    }

    /// An error ends a transaction, so only the last one may be missing.
    fn asks(&self, rng: &mut fastrand::Rng, scope: &Scope, may_be_missing: bool) -> Vec<Ask> {
        let mut asks: Vec<_> = (0..rng.usize(..3)).map(|_| self.ask(rng, scope, false)).collect();
        asks.push(self.ask(rng, scope, may_be_missing));
        asks
    }

    fn tenant(&self, rng: &mut fastrand::Rng) -> Step {
        let path = rng.choice(TENANTS).unwrap_or(TENANTS[0]);
        let how = match rng.u8(..if self.by == Use::Verified { 6 } else { 5 }) {
            0 => Tenancy::BeforeProbe,
            1 => Tenancy::Nested,
            2 => Tenancy::Inside,
            3 => Tenancy::Savepoint { is_released: true },
            4 => Tenancy::Savepoint { is_released: false },
            _ => Tenancy::PlainTransaction,
        };
        let tenant = Scope { path, ..self.scope.clone() };
        let later = if matches!(how, Tenancy::Savepoint { is_released: false }) { self.scope } else { &tenant };
        let after = self.asks(rng, later, false);
        Step::Tenant { path, how, asks: self.asks(rng, &tenant, false), after }
    }

    fn migration(&self, rng: &mut fastrand::Rng) -> Option<Step> {
        if !self.is_writable || self.focus.is_empty() {
            return None;
        }
        let ddl = Ddl::random(rng, &self.scope.catalog, self.focus, self.schemas, self.action)?;
        let mut scope = self.scope.clone();
        ddl.apply(&mut scope.catalog, self.action);
        let asks = self.asks(rng, &scope, false);
        Some(Step::Migrate { ddl, asks, is_kept: rng.bool() })
    }

    /// One of a name of its own, or one that hides another type.
    fn temporary(&self, rng: &mut fastrand::Rng) -> Option<Step> {
        let names = [TEMPORARY[0], TEMPORARY[1], TEMPORARY[2], "n0", "n1"];
        let name =
            rng.choice(names).filter(|name| self.is_writable && !self.focus.is_empty() && !(self.spent)(name))?;
        Some(Step::Temporary { name, is_table: TEMPORARY.contains(&name) && rng.bool() })
    }
}

/// The SQL that creates a temporary type.
pub(crate) fn create_temporary(name: &str, is_table: bool) -> String {
    if is_table {
        format!("CREATE TEMPORARY TABLE {name} (a int4)")
    } else {
        create(TEMPORARY_SCHEMA, name, Kind::Enum)
    }
}
