//! The feature `hstore` on real servers: values, operators, and a switch of the server. A program of its own, since
//! only it requires the feature.

mod operators;
mod schema;
mod switch;
mod values;
