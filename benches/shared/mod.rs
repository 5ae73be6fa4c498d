//! What both benchmarks share.

pub(crate) mod network;
pub(crate) mod servers;
pub(crate) mod subjects;
pub(crate) mod twenty;

pub(crate) type AnyError = Box<dyn std::error::Error + Send + Sync>;
