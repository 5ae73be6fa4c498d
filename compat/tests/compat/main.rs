//! Other people's crates, unmodified, through a change of server, each next to a stock pool.

mod async_pools;
mod diesel_derive_enum;
mod diesel_full_text_search;
mod diesel_ltree;
mod pgvector;
mod postgis_diesel;
mod servers;
mod switch;
