//! The command on real servers: what it finds, how it says so, and what it answers to bad input.

mod bad_input;
mod compare;
mod findings;
mod majors;
mod output;
mod permissions;
mod size;
mod support;
mod types;
mod watch;
