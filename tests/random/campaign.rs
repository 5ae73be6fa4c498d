//! Random actions on four servers.

use crate::clients::{Client, Memory};
use crate::keys::{TRACKED, TYPES};
use crate::model::{CALM, Ddl, Kind, TEMPORARY_SCHEMA, USUAL};
use crate::plan::Bounds;
use crate::promises::Use;
use crate::report::{Report, Situation};
use crate::sites::{AnyError, LETTERS, Sites};
use crate::steps::{Findings, Scope, Step};
use crate::support::drivers::{Driver, Session};

/// Actions of a round. Each has new connections.
const ROUND: u64 = 60;
/// Actions of a calm one, which costs less.
const CALM_ROUND: u64 = 90;
/// A switch takes A and B most, which differ least.
const TARGETS: [usize; 6] = [0, 1, 0, 1, 2, 3];

pub(crate) struct Campaign {
    rng: fastrand::Rng,
    driver: Driver,
    sites: Sites,
    clients: Vec<Client>,
    action: u64,
    mood: Mood,
}

/// What a round is like.
#[derive(Debug, Default)]
struct Mood {
    /// Types are changed.
    has_ddl: bool,
    /// The names whose types are moved, and used most.
    focus: Vec<&'static str>,
    /// Servers are not switched.
    is_calm: bool,
    /// A tenant's path often leads to a reset, which would hide other faults.
    has_tenants: bool,
}

impl Mood {
    fn schemas(&self) -> &'static [&'static str] {
        if self.is_calm { CALM } else { USUAL }
    }
}

impl Campaign {
    pub(crate) fn start(driver: Driver, seed: u64, majors: [u32; 2]) -> Result<Campaign, AnyError> {
        let mut rng = fastrand::Rng::with_seed(seed);
        let sites = Sites::start(&mut rng, majors)?;
        Ok(Campaign { rng, driver, sites, clients: Vec::new(), action: 1, mood: Mood::default() })
    }

    pub(crate) fn promote(&mut self, report: &mut Report) -> Result<(), AnyError> {
        report.note(self.action, "promote C");
        self.sites.promote()
    }

    /// In the first two rounds all servers but D have the same watched types.
    pub(crate) fn round(&mut self, number: u64, is_tracked: bool, report: &mut Report) -> Result<(), AnyError> {
        self.clients.clear();
        self.mood = self.draw_mood(number > 1, is_tracked);
        report.note(self.action, &format!("new connections, and all that nobody watches anew: {:?}", self.mood));
        if self.mood.is_calm || self.rng.bool() {
            // They are new then, when they are created.
            report.note(self.action, "drop types of the focus everywhere");
            self.sites.drop_everywhere(&self.mood.focus)?;
        }
        let unwatched = if is_tracked { &TYPES[TRACKED..] } else { &[] };
        self.sites.recreate_unwatched(&mut self.rng, unwatched, self.action)?;
        let Mood { has_ddl, is_calm, .. } = self.mood;
        if is_calm && self.sites.current != 0 {
            // All clients use one server.
            report.note(self.action, "switch to A");
            self.sites.switch_to(0)?;
        }
        self.clients = Client::all(self.driver, &self.sites)?;
        for _ in 0..if is_calm { CALM_ROUND } else { ROUND } {
            match self.rng.u8(..100) {
                0..16 if has_ddl => self.change(report)?,
                16..30 if has_ddl && is_calm => self.change(report)?,
                16..30 if !is_calm => self.switch(report)?,
                _ => self.use_client(report)?,
            }
            self.action += 1;
        }
        Ok(())
    }

    fn draw_mood(&mut self, has_ddl: bool, is_tracked: bool) -> Mood {
        if !has_ddl {
            return Mood::default();
        }
        // What is not watched is moved between two rounds only.
        let mut focus = if is_tracked { TYPES[..TRACKED].to_vec() } else { TYPES.to_vec() };
        self.rng.shuffle(&mut focus);
        let is_calm = self.rng.u8(..3) == 0;
        focus.truncate(if is_calm { 2 } else { self.rng.usize(2..=4) });
        Mood { has_ddl, focus, is_calm, has_tenants: !is_calm && self.rng.u8(..3) > 0 }
    }

    fn change(&mut self, report: &mut Report) -> Result<(), AnyError> {
        let writable = self.sites.writable();
        let is_current = writable.contains(&self.sites.current) && (self.mood.is_calm || self.rng.bool());
        let site = if is_current { self.sites.current } else { writable[self.rng.usize(..writable.len())] };
        let catalog = &self.sites.all[site].catalog;
        let Some(ddl) = Ddl::random(&mut self.rng, catalog, &self.mood.focus, self.mood.schemas(), self.action)
        else {
            return Ok(());
        };
        report.note(self.action, &format!("on {}: {ddl:?}", LETTERS[site]));
        report.ddl += 1;
        self.sites.change(site, ddl, self.action)
    }

    fn switch(&mut self, report: &mut Report) -> Result<(), AnyError> {
        let site = TARGETS[self.rng.usize(..TARGETS.len())];
        if site == self.sites.current {
            return Ok(());
        }
        // Clients of A are connected without a pooler.
        let is_restarted = site > 0 && self.rng.u8(..10) == 0;
        let after = if is_restarted { ", which is restarted" } else { "" };
        report.note(self.action, &format!("switch to {}{after}", LETTERS[site]));
        report.switches += 1;
        if is_restarted {
            self.sites.restart(site)?;
        }
        self.sites.switch_to(site)
    }

    /// A few steps on one connection. For a pool they are one checkout.
    fn use_client(&mut self, report: &mut Report) -> Result<(), AnyError> {
        let Campaign { rng, sites, clients, action, mood, .. } = self;
        let index = rng.usize(..clients.len());
        let Client { name, by, direct, memory, source } = &mut clients[index];
        let is_asked = *by == Use::Verified;
        let mut visit = Visit { name, by: *by, direct: *direct, memory, sites, action: *action, is_asked };
        let mut checkout = source.check_out()?;
        let mut conn = checkout.session();
        if direct.is_some() {
            visit.memory.notice_session(&mut conn)?;
        }
        for _ in 0..rng.usize(1..=4) {
            let step = visit.draw(rng, mood);
            if visit.run(&mut conn, &step, report)? {
                break;
            }
        }
        Ok(())
    }
}

/// One use of a connection.
struct Visit<'a> {
    name: &'static str,
    by: Use,
    direct: Option<usize>,
    memory: &'a mut Memory,
    sites: &'a mut Sites,
    action: u64,
    /// A checkout or `synchronize` came just before.
    is_asked: bool,
}

impl Visit<'_> {
    fn site(&self) -> usize {
        self.direct.unwrap_or(self.sites.current)
    }

    fn scope(&self) -> Scope {
        let mut catalog = self.sites.all[self.site()].catalog.clone();
        catalog.extend(if self.direct.is_some() { &self.memory.temporary } else { &self.sites.temporary });
        Scope { catalog, path: self.memory.path }
    }

    fn draw(&self, rng: &mut fastrand::Rng, mood: &Mood) -> Step {
        let site = &self.sites.all[self.site()];
        let bounds = Bounds {
            by: self.by,
            scope: &self.scope(),
            action: self.action,
            major: site.cluster.major(),
            is_direct: self.direct.is_some(),
            is_writable: !site.is_standby,
            focus: &mood.focus,
            schemas: mood.schemas(),
            is_calm: mood.is_calm,
            has_tenants: mood.has_tenants,
            used: self.memory.used(),
            spent: &|name| self.sites.spent.contains(&(self.site(), name)),
        };
        bounds.step(rng)
    }

    /// Says whether it changed what names mean: then nothing is promised to plain statements of the same checkout.
    fn run(&mut self, conn: &mut Session<'_>, step: &Step, report: &mut Report) -> Result<bool, AnyError> {
        let site = self.site();
        report.note(self.action, &format!("{} on {}: {}", self.name, LETTERS[site], step.shown()));
        if let Some(ddl) = step.ddl() {
            report.ddl += 1;
            self.sites.wait_for(site, ddl);
        }
        let findings = step.run(conn, &self.scope());
        let is_over = self.note(step, &findings)?;
        self.is_asked |= matches!(step, Step::Synchronize);
        let usage = step.usage(self.by, self.is_asked);
        self.memory.notice_use(site, &findings, self.is_asked || !matches!(usage.0, Use::Stray | Use::Query));
        let situation = Situation { usage, by: self.by, site, action: self.action };
        report.judge(&findings, self.memory, situation, self.sites);
        Ok(is_over)
    }

    fn note(&mut self, step: &Step, findings: &Findings) -> Result<bool, AnyError> {
        let site = self.site();
        match step {
            Step::Migrate { ddl, is_kept, .. } => {
                if *is_kept && findings.is_done() {
                    self.sites.note(site, *ddl, self.action)?;
                } else {
                    self.memory.rolled_back.extend(ddl.names());
                }
            }
            Step::Temporary { name, .. } => {
                self.sites.spent.insert((site, name));
                let temporary =
                    if self.direct.is_some() { &mut self.memory.temporary } else { &mut self.sites.temporary };
                temporary.add(TEMPORARY_SCHEMA, name, Kind::Row, self.action);
            }
            Step::SetPath(path) => self.memory.path = path,
            _ => return Ok(false),
        }
        Ok(true)
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
