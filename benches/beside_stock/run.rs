//! One row after the other.

use crate::args::{Options, Subject};
use crate::checkout;
use crate::machine::Machine;
use crate::paired::Plan;
use crate::progress::Progress;
use crate::report::Report;
use crate::shared::AnyError;
use crate::shared::servers::Servers;
use crate::shared::twenty;

/// What every row is measured with.
pub(crate) struct Bench<'a> {
    pub(crate) servers: &'a Servers,
    /// One with twenty types.
    pub(crate) database: &'a str,
    pub(crate) plan: Plan,
}

const ON_EACH_NETWORK: [Subject; 4] =
    [Subject::Checkout, Subject::CheckoutUncached, Subject::Window, Subject::Transaction];

pub(crate) fn run(options: &Options, progress: &Progress) -> Result<Report, AnyError> {
    progress.step("starting PostgreSQL and PgBouncer");
    let servers = Servers::start(options.direct)?;
    servers.create_database("twenty", twenty::SQL)?;
    let bench = Bench { servers: &servers, database: "twenty", plan: Plan::new(options.quick) };
    let mut report = Report::new(options, Machine::look(&servers)?);
    for subject in ON_EACH_NETWORK.into_iter().filter(|subject| options.includes(*subject)) {
        for network in options.networks() {
            progress.step(&format!("{}, {network}", subject.what()));
            report.rows.push(checkout::measure(&bench, subject, network)?);
        }
    }
    Ok(report)
}
