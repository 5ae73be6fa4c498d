//! What servers are asked: SQL, and what its rows mean. Every name in it is qualified, operators too: a role that may
//! create objects in a schema of the search path must not have them executed by these statements.

pub(crate) mod check;
pub(crate) mod identify;
pub(crate) mod load;
pub(crate) mod lost_attempt;
pub(crate) mod plans;
pub(crate) mod session;
pub(crate) mod sql;
pub(crate) mod writes;
