//! bb8 and deadpool, as one.

use std::future::Future;
use std::ops::DerefMut;
use std::time::{Duration, Instant};

use diesel_async::AsyncConnection;
use diesel_async::pooled_connection::{AsyncDieselConnectionManager, bb8, deadpool};

/// A pool of connections `C`.
pub(crate) trait AsyncPool<C>: Clone + Send + Sync + 'static {
    fn start(url: &str, size: u32) -> impl Future<Output = Self> + Send;

    /// Waits for a connection while no server answers, as r2d2 does.
    fn check_out(&self) -> impl Future<Output = impl DerefMut<Target = C> + Send> + Send;
}

impl<C> AsyncPool<C> for bb8::Pool<C>
where
    C: AsyncConnection + 'static,
    AsyncDieselConnectionManager<C>: ::bb8::ManageConnection<Connection = C>,
{
    async fn start(url: &str, size: u32) -> Self {
        let pool = Self::builder().max_size(size).build(AsyncDieselConnectionManager::new(url)).await;
        pool.unwrap_or_else(|_| panic!("a pool"))
    }

    async fn check_out(&self) -> impl DerefMut<Target = C> + Send {
        self.get().await.unwrap_or_else(|_| panic!("a connection within bb8's 30 s"))
    }
}

impl<C> AsyncPool<C> for deadpool::Pool<C>
where
    C: AsyncConnection + 'static,
    AsyncDieselConnectionManager<C>: ::deadpool::managed::Manager<Type = C>,
{
    async fn start(url: &str, size: u32) -> Self {
        Self::builder(AsyncDieselConnectionManager::new(url)).max_size(size as usize).build().expect("a pool")
    }

    async fn check_out(&self) -> impl DerefMut<Target = C> + Send {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            match self.get().await {
                Ok(conn) => return conn,
                Err(_) => assert!(Instant::now() < deadline, "a connection within 30 s"),
            }
            // deadpool does not wait.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
