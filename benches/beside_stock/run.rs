//! One row after the other.

use crate::args::{Options, Subject};
use crate::machine::Machine;
use crate::paired::Plan;
use crate::progress::Progress;
use crate::report::Report;
use crate::shared::AnyError;
use crate::shared::network::Network;
use crate::shared::servers::Servers;
use crate::shared::twenty;
use crate::{
    asynchronous, checkout, counts, disturbed, memory, new_connection, precision, processor_time, profile,
    recovery, threads, types,
};

/// What every row is measured with.
pub(crate) struct Bench<'a> {
    pub(crate) servers: &'a Servers,
    /// One with twenty types.
    pub(crate) database: &'a str,
    pub(crate) plan: Plan,
}

type Job = (Subject, Network);

/// How many steps [`run`] announces.
pub(crate) fn steps(jobs: &[Job]) -> u64 {
    1 + jobs.len() as u64 + u64::from(has_switches(jobs)) + u64::from(has_delays(jobs))
}

fn has_switches(jobs: &[Job]) -> bool {
    jobs.iter().any(|(subject, _)| *subject == Subject::Recovery)
}

fn has_delays(jobs: &[Job]) -> bool {
    jobs.iter().any(|(_, network)| *network != Network::LOOPBACK)
}

pub(crate) fn run(options: &Options, progress: &Progress) -> Result<Report, AnyError> {
    progress.step("starting PostgreSQL and PgBouncer");
    let servers = Servers::start(options.direct)?;
    servers.create_database("twenty", twenty::SQL)?;
    let bench = Bench { servers: &servers, database: "twenty", plan: Plan::new(options.quick) };
    let mut report = Report::new(options, Machine::look(&servers)?);
    let jobs = options.jobs();
    if has_switches(&jobs) {
        progress.step("counting what a switch costs");
        report.recovery = Some(recovery::count(&bench)?);
    }
    if jobs.iter().any(|(subject, _)| *subject == Subject::AsyncRecovery) {
        progress.step("counting what a switch costs with diesel-async");
        report.async_recovery = Some(asynchronous::count(&bench)?);
    }
    for (subject, network) in &jobs {
        progress.step(&format!("{}, {network}", subject.what()));
        measure(&bench, *subject, *network, &mut report)?;
    }
    if has_delays(&jobs) {
        progress.step("the forwarder's precision");
        let precision = |network| precision::measure(&servers, bench.database, network);
        report.forwarder = Network::ALL.into_iter().map(precision).collect::<Result<_, _>>()?;
    }
    report.machine.note_load_after();
    Ok(report)
}

fn measure(bench: &Bench<'_>, subject: Subject, network: Network, report: &mut Report) -> Result<(), AnyError> {
    let row = match subject {
        Subject::Types => {
            report.types = types::measure(bench)?;
            return Ok(());
        }
        Subject::Memory => {
            report.memory = Some(memory::measure(bench)?);
            return Ok(());
        }
        Subject::Profile => {
            report.profile = profile::measure(bench)?;
            return Ok(());
        }
        Subject::Disturbed => {
            report.disturbed = disturbed::measure(bench)?;
            return Ok(());
        }
        Subject::TransactionIds
        | Subject::TemporarySchemas
        | Subject::AddedTypes
        | Subject::Permissions
        | Subject::Replicas
        | Subject::Clones
        | Subject::Paths => {
            report.counts.extend(counts::count(bench, subject)?);
            return Ok(());
        }
        Subject::ServerTime | Subject::ApplicationTime => processor_time::measure(bench, subject)?,
        Subject::PoolTransaction => processor_time::measure_pool_transaction(bench)?,
        Subject::NewConnection => new_connection::measure(bench, network)?,
        Subject::Recovery => recovery::measure(bench, network)?,
        Subject::Threads => threads::measure(bench)?,
        _ if subject.is_asynchronous() => asynchronous::measure(bench, subject, network)?,
        _ => checkout::measure(bench, subject, network)?,
    };
    report.rows.push(row);
    Ok(())
}
