//! Scenarios on real servers, each with the stock `ConnectionManager` as the control that must fail.

mod pools;
mod switch;
