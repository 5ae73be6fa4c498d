//! `target_session_attrs`: a pool does not hand out connections to servers that do not fit.

mod cost;
mod demoted_primary;
mod each_value;
mod permissions;
mod pool_transactions;
mod retries;
mod servers;
mod turned_off;
mod verified;
mod windows;
mod writers;
