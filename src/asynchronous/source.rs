//! What a transaction needs of a pool.

use std::error::Error as StdError;
use std::ops::DerefMut;
use std::time::Duration;

use crate::asynchronous::connection::HotUpgradeAsyncPgConnection;

/// A pool of diesel-async's.
pub trait Source: Sync {
    /// A connection that goes back when it is dropped.
    type Checkout<'a>: DerefMut<Target = HotUpgradeAsyncPgConnection> + Send
    where
        Self: 'a;

    fn check_out(
        &self,
    ) -> impl Future<Output = Result<Self::Checkout<'_>, Box<dyn StdError + Send + Sync>>> + Send;

    /// How many connections it has at most.
    fn size(&self) -> u32;

    /// How long it waits for a connection.
    fn patience(&self) -> Duration;
}

#[cfg(feature = "bb8")]
impl Source for diesel_async::pooled_connection::bb8::Pool<HotUpgradeAsyncPgConnection> {
    type Checkout<'a> = diesel_async::pooled_connection::bb8::PooledConnection<'a, HotUpgradeAsyncPgConnection>;

    async fn check_out(&self) -> Result<Self::Checkout<'_>, Box<dyn StdError + Send + Sync>> {
        self.get().await.map_err(Into::into)
    }

    fn size(&self) -> u32 {
        self.config().max_size
    }

    fn patience(&self) -> Duration {
        self.config().connection_timeout
    }
}

#[cfg(feature = "deadpool")]
impl Source for diesel_async::pooled_connection::deadpool::Pool<HotUpgradeAsyncPgConnection> {
    type Checkout<'a> = diesel_async::pooled_connection::deadpool::Object<HotUpgradeAsyncPgConnection>;

    async fn check_out(&self) -> Result<Self::Checkout<'_>, Box<dyn StdError + Send + Sync>> {
        self.get().await.map_err(Into::into)
    }

    fn size(&self) -> u32 {
        u32::try_from(self.status().max_size).unwrap_or(u32::MAX)
    }

    fn patience(&self) -> Duration {
        /// That of bb8 and r2d2.
        const DEFAULT: Duration = Duration::from_secs(30);
        self.timeouts().wait.unwrap_or(DEFAULT)
    }
}
