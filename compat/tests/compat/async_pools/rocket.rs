//! Rocket's `#[database]`.

use std::sync::Arc;

use compat::rocket::{App, AppCheckedAtCheckout, transaction};
use fixture::Upgrade;
use rocket::fairing::Fairing;
use rocket::{Config, Ignite, Rocket};

use super::survives::{Job, JobPool, SIZE, in_stock_transaction, survives, text, upgrade, write_and_read_back};

/// An application that has the database `app`.
async fn application(upgrade: &Upgrade, database: impl Fairing) -> Arc<Rocket<Ignite>> {
    let config = Config::figment()
        .merge(("log_level", "off"))
        .merge(("databases.app.url", upgrade.url()))
        .merge(("databases.app.pool_size", SIZE))
        .merge(("databases.app.timeout", 60));
    Arc::new(rocket::custom(config).attach(database).ignite().await.expect("an application"))
}

#[derive(Clone)]
struct Stock(Arc<Rocket<Ignite>>);

impl JobPool for Stock {
    async fn run(self, mut job: Job) -> Result<bool, String> {
        let db = App::get_one(&self.0).await.ok_or("checkout")?;
        db.run(move |conn| job(conn)).await.map_err(text)
    }
}

#[derive(Clone)]
struct Hot(Arc<Rocket<Ignite>>);

impl JobPool for Hot {
    async fn run(self, mut job: Job) -> Result<bool, String> {
        let db = AppCheckedAtCheckout::get_one(&self.0).await.ok_or("checkout")?;
        db.run(move |conn| job(&mut conn.0)).await.map_err(text)
    }
}

#[derive(Clone)]
struct Verified(Arc<Rocket<Ignite>>);

impl JobPool for Verified {
    async fn run(self, job: Job) -> Result<bool, String> {
        let db = App::get_one(&self.0).await.ok_or("checkout")?;
        transaction(&db, job).await.map_err(text)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_statements_in_rocket_are_right_after_a_switch() {
    let upgrade = upgrade();
    let stock = async || Stock(application(&upgrade, App::fairing()).await);
    let hot = Hot(application(&upgrade, AppCheckedAtCheckout::fairing()).await);
    survives(&upgrade, hot, stock, write_and_read_back).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn verified_transactions_in_a_stock_rocket_are_right_after_a_switch() {
    let upgrade = upgrade();
    let stock = async || Stock(application(&upgrade, App::fairing()).await);
    let hot = Verified(application(&upgrade, App::fairing()).await);
    survives(&upgrade, hot, stock, in_stock_transaction).await;
}
