//! Verified transactions and queries.

pub(crate) mod begin;
pub(crate) mod builder;
pub(crate) mod commit;
pub(crate) mod ext;
pub(crate) mod heal;
pub(crate) mod plans;
pub(crate) mod query;
pub(crate) mod run;
