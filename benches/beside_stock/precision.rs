//! How well the forwarder keeps to its delay.

use diesel::connection::CacheSize;
use serde::Serialize;

use crate::paired::{quantile, timed};
use crate::shared::network::Network;
use crate::shared::servers::Servers;
use crate::shared::{AnyError, subjects};

/// Pings through the forwarder, each beside one without.
const PINGS: usize = 500;

/// How much longer than twice its delay a round trip takes through the forwarder than without it, in seconds.
#[derive(Debug, Serialize)]
pub(crate) struct Precision {
    /// In each direction.
    pub(crate) delay: f64,
    pub(crate) overshoot_median: f64,
    pub(crate) overshoot_p90: f64,
}

pub(crate) fn measure(servers: &Servers, database: &str, network: Network) -> Result<Precision, AnyError> {
    let near = subjects::stock(&servers.url(Network::LOOPBACK, database), 1, CacheSize::Unbounded)?;
    // Where nothing is delayed too, through the forwarder.
    let far = subjects::stock(&servers.url(Network::HALF, database), 1, CacheSize::Unbounded)?;
    let delay = network.each_way.as_secs_f64();
    servers.delay(network);
    let overshoot = || -> Result<f64, AnyError> {
        let near = timed(|| near.get())?.as_secs_f64();
        Ok(timed(|| far.get())?.as_secs_f64() - near - 2.0 * delay)
    };
    let measured = (0..PINGS).map(|_| overshoot()).collect::<Result<Vec<_>, _>>();
    servers.delay(Network::LOOPBACK);
    let mut overshoots = measured?;
    overshoots.sort_unstable_by(f64::total_cmp);
    let [overshoot_median, overshoot_p90] = [0.5, 0.9].map(|share| quantile(&overshoots, share));
    Ok(Precision { delay, overshoot_median, overshoot_p90 })
}
