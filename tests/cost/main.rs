//! What a change costs: catalog loads, notifications, prepared statements and memory. A program of its own, since
//! `stats()`, `on_change` and memory belong to the whole process. For the same reason its tests run one at a time.

mod catalog_loads;
mod left_behind;
mod observers;
mod support;
mod thousand_changes;
