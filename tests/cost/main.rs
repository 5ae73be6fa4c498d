//! What a change costs: catalog loads, notifications, prepared statements and memory. A program of its own, since
//! counters, observers and memory belong to the process; its tests run one at a time.

mod catalog_loads;
mod thousand_changes;
