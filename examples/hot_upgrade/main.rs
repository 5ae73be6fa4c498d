//! PostgreSQL 10 is replaced by 12 behind PgBouncer, under load, below a stock pool and below a protected one.

mod load;
mod report;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use diesel::pg::PgConnection;
use diesel::r2d2::{ConnectionManager, ManageConnection, Pool};
use diesel_postgres_hot_upgrade::{HotUpgradeCustomizer, HotUpgradeManager};
use fixture::Upgrade;
use testbed::PgBouncerConfig;

use crate::load::{Load, SwitchClock};

const EXAMPLES: &str = "\
Examples:
  # A quarter of a minute, on servers that are fetched and started for it; the first time it takes longer
  cargo run --release --example hot_upgrade

  # Shorter, with more threads
  cargo run --release --example hot_upgrade -- --seconds 3 --threads 16

  # On servers of your own (superuser URLs); a database is created on each
  TESTBED_POSTGRES10_URL=postgres://postgres@localhost:5432/postgres \\
  TESTBED_POSTGRES12_URL=postgres://postgres@localhost:5433/postgres \\
  cargo run --release --example hot_upgrade

The exit code is 0 only if the protected pool gave no wrong answer, went on after the switch, and nothing failed on it
but what was under way during the switch.";

/// Replaces PostgreSQL 10 by 12 behind PgBouncer, under load, below a stock pool and below a protected one
#[derive(Parser)]
#[command(after_help = EXAMPLES)]
struct Options {
    /// How long to run before the switch, and again after it
    #[arg(long, value_name = "SECONDS", default_value_t = 6, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Threads, and connections, for each of the two pools
    #[arg(long, value_name = "COUNT", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=64))]
    threads: u32,
}

fn main() -> ExitCode {
    let options = Options::parse();
    env_logger::Builder::new().parse_filters("off,diesel_postgres_hot_upgrade=warn").init();
    match run(&options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<bool, Box<dyn std::error::Error + Send + Sync>> {
    eprintln!("Starting PostgreSQL 10, PostgreSQL 12 and PgBouncer, and running the migrations on both …");
    let upgrade = Upgrade::start(PgBouncerConfig::default())?;
    let stock = builder(options).build(ConnectionManager::<PgConnection>::new(upgrade.url()))?;
    let hot = builder(options)
        .connection_customizer(Box::new(HotUpgradeCustomizer::new()))
        .build(HotUpgradeManager::new(upgrade.url()))?;

    let clock = SwitchClock::default();
    let seconds = Duration::from_secs(options.seconds);
    let end = Instant::now() + 2 * seconds;
    let (stock, hot) = std::thread::scope(|scope| {
        let stock = scope.spawn(|| Load { pool: &stock, first_number: 1, clock: &clock, end }.run());
        let hot = scope.spawn(|| Load { pool: &hot, first_number: 1 << 40, clock: &clock, end }.run());
        eprintln!("{} threads write and read through each pool, for {seconds:?} …", options.threads);
        std::thread::sleep(seconds);
        eprintln!("Switching PgBouncer from PostgreSQL 10 to 12 …");
        let switched = clock.time(|| upgrade.switch_to(upgrade.new));
        eprintln!("… switched. The load goes on for {seconds:?}.");
        let both = (stock.join().expect("the stock load"), hot.join().expect("the protected load"));
        switched.map(|()| both)
    })?;

    println!("{}", report::comparison(&stock, &hot));
    println!("{}", report::failures(&stock, &hot));
    let is_right = hot.is_right();
    println!("{}", report::verdict(&stock, &hot));
    Ok(is_right)
}

fn builder<M: ManageConnection>(options: &Options) -> diesel::r2d2::Builder<M> {
    Pool::builder()
        .max_size(options.threads)
        .connection_timeout(Duration::from_secs(5))
        .error_handler(Box::new(diesel::r2d2::NopErrorHandler))
}
