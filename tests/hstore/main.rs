//! The feature `hstore` on real servers: values, operators, and a switch of the server.

mod operators;
mod schema;
mod switch;
mod values;
