//! Scenarios on real servers, in parallel: no test in here calls `track` or relies on what the process has counted. The
//! log backend belongs to the process too; they share one (`support::events`). Where a server or a type changes, the
//! stock `ConnectionManager` is the control that must fail.

mod permissions;
mod pool;
mod same_server;
mod support;
mod switch;
mod transactions;
