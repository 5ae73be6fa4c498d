//! The run: rounds of random actions.

use crate::clients::Client;
use crate::keys::{TRACKED, TYPES, track_some};
use crate::model::{Ddl, Kind, Path, TEMPORARY_SCHEMA};
use crate::plan::Bounds;
use crate::report::{Report, Situation};
use crate::sites::{AnyError, LETTERS, Sites};
use crate::steps::{Scope, Step};

/// Actions of a round. Each has new connections.
const ROUND: u64 = 70;
/// Rounds that four servers live.
const ROUNDS: u64 = 8;
/// The pairs of majors that long runs take in turn: of A, B and C, and of D.
const MAJORS: [[u32; 2]; 3] = [[12, 10], [18, 10], [10, 18]];

/// How much is done, and of which seed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    pub(crate) seed: u64,
    pub(crate) answers: usize,
    pub(crate) is_verbose: bool,
}

struct Run {
    rng: fastrand::Rng,
    sites: Sites,
    clients: Vec<Client>,
    action: u64,
    is_tracked: bool,
    /// The names whose types are moved in this round, and used most.
    focus: Vec<&'static str>,
    /// Servers are not switched.
    is_calm: bool,
    /// A tenant's path often leads to a reset, which would hide other faults.
    has_tenants: bool,
}

pub(crate) fn run(settings: Settings) -> Result<Report, AnyError> {
    let mut report = Report::new(settings.is_verbose);
    let mut rng = fastrand::Rng::with_seed(settings.seed);
    let mut is_tracked = false;
    let mut action = 1;
    for majors in MAJORS.into_iter().cycle() {
        let sites = Sites::start(&mut rng, majors)?;
        let mut run = Run {
            rng: rng.fork(),
            sites,
            clients: Vec::new(),
            action,
            is_tracked,
            focus: Vec::new(),
            has_tenants: false,
            is_calm: false,
        };
        for round in 0..ROUNDS {
            // What is tracked belongs to the process, and can't be undone: in the last third of the answers.
            if !run.is_tracked && report.answers() * 3 >= settings.answers * 2 {
                run.is_tracked = true;
                report.note(run.action, "track");
                track_some();
            }
            run.round(round, &mut report)?;
        }
        if report.answers() >= settings.answers {
            return Ok(report);
        }
        (is_tracked, action) = (run.is_tracked, run.action);
    }
    Ok(report)
}

impl Run {
    /// In the first two rounds all servers but D have the same watched types. In the last one the standby was promoted.
    fn round(&mut self, round: u64, report: &mut Report) -> Result<(), AnyError> {
        self.clients.clear();
        if round + 1 == ROUNDS {
            report.note(self.action, "promote C");
            self.sites.promote()?;
        }
        report.note(self.action, "recreate what is not watched, on each server; new connections");
        let unwatched = if self.is_tracked { &TYPES[TRACKED..] } else { &[] };
        self.is_calm = round > 1 && self.rng.u8(..3) == 0;
        self.focus = if round < 2 { Vec::new() } else { self.draw_focus() };
        self.has_tenants = round > 1 && !self.is_calm && self.rng.u8(..3) > 0;
        if self.is_calm || self.rng.bool() {
            // They are new then, when they are created.
            report.note(self.action, &format!("drop {:?} everywhere", self.focus));
            self.sites.drop_everywhere(&self.focus)?;
        }
        self.sites.recreate_unwatched(&mut self.rng, unwatched, self.action)?;
        self.clients = Client::all(&self.sites)?;
        for _ in 0..ROUND {
            match (self.rng.u8(..100), self.is_calm) {
                (0..16, false) | (0..30, true) if round > 1 => self.change(report)?,
                (16..30, false) => self.switch(report)?,
                _ => self.use_client(report)?,
            }
            self.action += 1;
        }
        Ok(())
    }

    fn draw_focus(&mut self) -> Vec<&'static str> {
        let mut names = if self.is_tracked { TYPES[..TRACKED].to_vec() } else { TYPES.to_vec() };
        self.rng.shuffle(&mut names);
        names.truncate(self.rng.usize(2..=4));
        names
    }

    fn change(&mut self, report: &mut Report) -> Result<(), AnyError> {
        let writable = self.sites.writable();
        let is_current = writable.contains(&self.sites.current) && (self.is_calm || self.rng.bool());
        let site = if is_current { self.sites.current } else { writable[self.rng.usize(..writable.len())] };
        let catalog = &self.sites.all[site].catalog;
        let Some(ddl) = Ddl::random(&mut self.rng, catalog, &self.focus, self.action) else { return Ok(()) };
        report.note(self.action, &format!("on {}: {ddl:?}", LETTERS[site]));
        report.ddl += 1;
        self.sites.change(site, ddl, self.action)
    }

    fn switch(&mut self, report: &mut Report) -> Result<(), AnyError> {
        // A and B most, which differ least.
        let site = [0, 1, 0, 1, 2, 3][self.rng.usize(..6)];
        if site == self.sites.current {
            return Ok(());
        }
        report.note(self.action, &format!("switch to {}", LETTERS[site]));
        report.switches += 1;
        self.sites.switch_to(site)
    }

    fn use_client(&mut self, report: &mut Report) -> Result<(), AnyError> {
        let index = self.rng.usize(..self.clients.len());
        let client = &mut self.clients[index];
        let site = client.direct.unwrap_or(self.sites.current);
        let mut conn = client.source.check_out()?;
        if client.direct.is_some() {
            client.memory.notice_session(&mut conn)?;
        }
        let path: Path = client.memory.path;
        for _ in 0..self.rng.usize(1..=4) {
            let temporary = if client.direct.is_some() { &client.memory.temporary } else { &self.sites.temporary };
            let mut catalog = self.sites.all[site].catalog.clone();
            catalog.extend(temporary);
            let scope = Scope { catalog, path };
            let step = Bounds {
                by: client.by,
                scope: &scope,
                action: self.action,
                major: self.sites.all[site].cluster.major(),
                is_direct: client.direct.is_some(),
                is_writable: !self.sites.all[site].is_standby,
                focus: &self.focus,
                has_tenants: self.has_tenants,
                used: client.memory.seen.keys().map(|(key, _)| *key).collect(),
                spent: &|name| self.sites.spent.contains(&(site, name)),
            }
            .step(&mut self.rng);
            report.note(self.action, &format!("{} on {}: {}", client.name, LETTERS[site], step.shown()));
            if let Some(ddl) = step.ddl() {
                self.sites.wait_for(site, ddl);
            }
            let findings = step.run(&mut conn, &scope);
            let situation = Situation { usage: step.usage(client.by), by: client.by, site, action: self.action };
            let is_over = match &step {
                Step::Migrate { ddl, is_kept, .. } => {
                    report.ddl += 1;
                    let is_done =
                        findings.answers.iter().all(|found| found.result.is_ok()) && !findings.is_refused;
                    if *is_kept && is_done {
                        self.sites.note(site, *ddl, self.action)?;
                    } else {
                        client.memory.rolled_back.extend(ddl.names());
                    }
                    true
                }
                Step::Temporary { name, .. } => {
                    report.ddl += 1;
                    self.sites.spent.insert((site, name));
                    let temporary = if client.direct.is_some() {
                        &mut client.memory.temporary
                    } else {
                        &mut self.sites.temporary
                    };
                    temporary.add(TEMPORARY_SCHEMA, name, Kind::Row, self.action);
                    true
                }
                Step::SetPath(path) => {
                    client.memory.path = path;
                    true
                }
                _ => false,
            };
            report.judge(&findings, &mut client.memory, situation, &self.sites);
            if is_over {
                break;
            }
        }
        Ok(())
    }
}

impl Step {
    /// What it changes, if it does.
    fn ddl(&self) -> Option<Ddl> {
        match *self {
            Step::Migrate { ddl, .. } => Some(ddl),
            Step::Temporary { name, .. } => Some(Ddl::Create { schema: TEMPORARY_SCHEMA, name, kind: Kind::Enum }),
            _ => None,
        }
    }
}
