//! The servers and the pooler of a run, fetched and started step by step.

use fixture::Upgrade;
use testbed::{Cluster, Installation, PgBouncerConfig, Release};

use crate::args::{Options, Pooler};
use crate::progress::Progress;

type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// How many steps [`start`] announces.
pub(crate) const STEPS: u64 = 6;

pub(crate) fn start(options: &Options, progress: &Progress) -> Result<Upgrade, AnyError> {
    for major in [options.from, options.to] {
        progress.step(&format!("Fetching PostgreSQL {major}, unless it is there"));
        if external(major).is_none() {
            Installation::find(major)?;
        }
    }
    progress.step("Fetching PgBouncer, unless it is there");
    if std::env::var_os("TESTBED_PGBOUNCER_URL").is_none() {
        Release::Current.program()?;
    }
    progress.step(&format!("Starting PostgreSQL {}", options.from));
    let old = Cluster::try_shared(options.from)?;
    progress.step(&format!("Starting PostgreSQL {}", options.to));
    let new = if options.from == options.to {
        // Another server of the same version is another server.
        Box::leak(Box::new(Cluster::start(options.to)?))
    } else {
        Cluster::try_shared(options.to)?
    };
    progress.step("Migrating both, letting their OIDs collide, starting PgBouncer");
    Upgrade::collided(old, new, pgbouncer(options))
}

fn external(major: u32) -> Option<std::ffi::OsString> {
    std::env::var_os(format!("TESTBED_POSTGRES{major}_URL"))
}

fn pgbouncer(options: &Options) -> PgBouncerConfig {
    let defaults = PgBouncerConfig { pool_mode: options.pooler.name(), ..PgBouncerConfig::default() };
    match options.pooler {
        Pooler::Transaction | Pooler::None => defaults,
        Pooler::Session => PgBouncerConfig {
            // A server connection for each client.
            default_pool_size: 3 * options.threads,
            // A switch cuts logins off too, which counts as failed ones: for so many seconds nobody could log in.
            extra: vec![("server_login_retry".to_owned(), "0.02".to_owned())],
            ..defaults
        },
    }
}
