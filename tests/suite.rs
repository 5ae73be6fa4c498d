//! Scenarios on real servers, all at once: nothing in here depends on what the process has counted or tracks. Where a
//! server or a type changes, the stock `ConnectionManager` is the control that must fail.

mod pool;
mod same_server;
mod support;
mod switch;
mod transactions;
