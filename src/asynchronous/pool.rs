//! What diesel-async's pools ask of a connection.

use diesel::prelude::*;
use diesel::result::Error;
use diesel_async::RunQueryDsl;
use diesel_async::pooled_connection::{PoolableConnection, RecyclingMethod};

use crate::asynchronous::connection::HotUpgradeAsyncPgConnection;
use crate::connection::notes;
use crate::environment;
use crate::pool::verify::is_checked_by_begin;

impl PoolableConnection for HotUpgradeAsyncPgConnection {
    /// The check takes the place of the ping. A query or function of the user's own runs before it.
    async fn ping(&mut self, config: &RecyclingMethod<Self>) -> QueryResult<()> {
        if self.memory.with(|oids| self.verify.is_satisfied(oids)) {
            return Ok(());
        }
        match config {
            // It asks nothing of the server.
            RecyclingMethod::Fast => return Ok(()),
            RecyclingMethod::Verified if is_checked_by_begin() => return Ok(()),
            RecyclingMethod::Verified if environment::is_on() => {}
            RecyclingMethod::Verified => {
                diesel::select(diesel::dsl::sql::<diesel::sql_types::Integer>("1")).execute(self).await?;
            }
            RecyclingMethod::CustomQuery(query) => {
                diesel::sql_query(query.as_ref()).execute(self).await?;
            }
            RecyclingMethod::CustomFunction(check) => check(self).await?,
        }
        let synchronized = self.synchronize().await.map(drop);
        self.note_checked(&synchronized);
        synchronized?;
        if self.is_worn {
            return Err(Error::QueryBuilderError(WORN.into()));
        }
        Ok(())
    }

    fn is_broken(&mut self) -> bool {
        // A test transaction is left alone: its data would go with the connection.
        let is_worn = self.is_worn && !self.is_in_transaction();
        let is_unfit = self.memory.with(notes::is_unfit) && environment::is_on();
        // The stock connection knows whether it was closed.
        is_worn || is_unfit || PoolableConnection::is_broken(&mut self.inner)
    }
}

const WORN: &str = "a prepared statement of this connection was gone, or could not be run, so that it is replaced";
