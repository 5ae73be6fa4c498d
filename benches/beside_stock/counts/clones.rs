//! Copies of one server's files, all running: each of them is a server of its own.

use testbed::Cluster;

use super::{Count, rounds};
use crate::args::Subject;
use crate::goals;
use crate::run::Bench;
use crate::shared::servers::{create_database, quiet_cluster};
use crate::shared::{AnyError, twenty};

const DATABASE: &str = "clones";

pub(crate) fn count(bench: &Bench<'_>) -> Result<Vec<Count>, AnyError> {
    let number = bench.plan.pick(36, 2);
    let mut original = quiet_cluster()?;
    create_database(&original, DATABASE, twenty::SQL)?;
    original.stop()?;
    let clones = (0..number).map(|_| Cluster::copy_of(&original)).collect::<Result<Vec<_>, _>>()?;
    let urls: Vec<_> = clones.iter().map(|clone| clone.url(DATABASE)).collect();
    let [_, second] = rounds::of(&urls, 0)?.catalog_loads;
    let what = format!("{number} clones of one server: catalog loads in the second round");
    Ok(vec![Count::new(Subject::Clones, what, second as f64).with_goal(goals::SECOND_ROUND_LOADS)])
}
