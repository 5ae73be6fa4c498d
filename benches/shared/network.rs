//! What lies between the application and the pooler.

use std::fmt;
use std::time::Duration;

/// How long everything takes on its way, in each direction. Zero is the loopback interface, with nothing in between.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Network {
    pub(crate) each_way: Duration,
}

impl Network {
    pub(crate) const LOOPBACK: Network = Network { each_way: Duration::ZERO };
    /// About as far as from one data centre of a region to another.
    pub(crate) const HALF: Network = Network { each_way: Duration::from_micros(500) };
    pub(crate) const TWO: Network = Network { each_way: Duration::from_millis(2) };
    pub(crate) const ALL: [Network; 3] = [Network::LOOPBACK, Network::HALF, Network::TWO];
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.each_way.is_zero() {
            return f.write_str("loopback");
        }
        write!(f, "{} ms", self.each_way.as_secs_f64() * 1000.0)
    }
}
