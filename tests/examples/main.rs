//! The examples, as cargo built them, while the server behind PgBouncer is replaced.

mod built;
mod control;
mod page;
mod service;
mod words;
