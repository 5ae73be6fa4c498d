//! Four servers and a pooler: A and B are copies of one cluster, C is a standby of A, D is of another major version.

use std::collections::BTreeSet;
use std::thread;

use testbed::{Cluster, PgBouncer, PgBouncerConfig};

use crate::keys::{ROWS, TYPES};
use crate::model::{Catalog, Ddl, Kind, SCHEMAS, create};
use crate::promises::bound;

pub(crate) type AnyError = Box<dyn std::error::Error + Send + Sync>;

pub(crate) const DATABASE: &str = "app";
pub(crate) const LETTERS: [char; 4] = ['A', 'B', 'C', 'D'];
/// The standby's place.
pub(crate) const STANDBY: usize = 2;

/// One server, and what its names mean.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) cluster: Cluster,
    pub(crate) catalog: Catalog,
    pub(crate) is_standby: bool,
}

#[derive(Debug)]
pub(crate) struct Sites {
    pub(crate) all: [Site; 4],
    pub(crate) pgbouncer: PgBouncer,
    /// The one behind the pooler.
    pub(crate) current: usize,
    /// Temporary types of the pooler's one connection to it.
    pub(crate) temporary: Catalog,
    /// Temporary types that were created since the connections are open: never twice on one server.
    pub(crate) spent: BTreeSet<(usize, &'static str)>,
    /// The standby has to catch up.
    is_behind: bool,
}

impl Sites {
    pub(crate) fn start(rng: &mut fastrand::Rng, majors: [u32; 2]) -> Result<Sites, AnyError> {
        let [major, other_major] = majors;
        let mut original = Cluster::start(major)?;
        let catalog = fill(rng, &original)?;
        original.stop()?;
        let copy = Cluster::copy_of(&original)?;
        let standby = Cluster::standby_of(&original)?;
        original.restart()?;
        let other = Cluster::start(other_major)?;
        let other_catalog = fill(rng, &other)?;
        // One connection, so that it is known which session temporary types are of.
        let pgbouncer = PgBouncer::start(PgBouncerConfig { default_pool_size: 1, ..PgBouncerConfig::default() })?;
        pgbouncer.route(DATABASE, &original.target(DATABASE))?;
        let site = |cluster, catalog: &Catalog, is_standby| Site { cluster, catalog: catalog.clone(), is_standby };
        let all = [
            site(original, &catalog, false),
            site(copy, &catalog, false),
            site(standby, &catalog, true),
            site(other, &other_catalog, false),
        ];
        let (temporary, spent) = (Catalog::default(), BTreeSet::new());
        let mut sites = Sites { all, pgbouncer, current: 0, temporary, spent, is_behind: true };
        sites.catch_up()?;
        Ok(sites)
    }

    pub(crate) fn switch_to(&mut self, site: usize) -> Result<(), AnyError> {
        self.current = site;
        self.temporary = Catalog::default();
        self.catch_up()?;
        Ok(self.pgbouncer.switch(DATABASE, &self.all[site].cluster.target(DATABASE))?)
    }

    /// Restarts a server that is not behind the pooler.
    pub(crate) fn restart(&mut self, site: usize) -> Result<(), AnyError> {
        self.is_behind |= site == STANDBY;
        Ok(self.all[site].cluster.restart()?)
    }

    /// Servers that take DDL.
    pub(crate) fn writable(&self) -> Vec<usize> {
        (0..self.all.len()).filter(|site| !self.all[*site].is_standby).collect()
    }

    /// Runs DDL on a server, past the pooler.
    pub(crate) fn change(&mut self, site: usize, ddl: Ddl, action: u64) -> Result<(), AnyError> {
        self.wait_for(site, ddl);
        self.run(site, &ddl.sql())?;
        self.note(site, ddl, action)
    }

    /// What is moved is older than the bound within which nobody has to know of it.
    pub(crate) fn wait_for(&self, site: usize, ddl: Ddl) {
        if let Some(created) = ddl.youngest(&self.all[site].catalog) {
            thread::sleep(bound().saturating_sub(created.elapsed()));
        }
    }

    /// Notes what has been run.
    pub(crate) fn note(&mut self, site: usize, ddl: Ddl, action: u64) -> Result<(), AnyError> {
        ddl.apply(&mut self.all[site].catalog, action);
        self.is_behind |= site == 0;
        self.catch_up()
    }

    /// Drops and creates what nobody watches, in an order of each server's own: so one's OID is another's elsewhere.
    pub(crate) fn recreate_unwatched(
        &mut self,
        rng: &mut fastrand::Rng,
        types: &[&'static str],
        action: u64,
    ) -> Result<(), AnyError> {
        for site in self.writable() {
            let mut sql = String::new();
            let mut names: Vec<_> = ROWS.iter().chain(types).copied().collect();
            rng.shuffle(&mut names);
            let catalog = &mut self.all[site].catalog;
            for name in &names {
                let what = if ROWS.contains(name) { "TABLE" } else { "TYPE" };
                sql += &format!("DROP {what} IF EXISTS public.{name};");
            }
            for name in names {
                let kind = if ROWS.contains(&name) { Kind::Row } else { Kind::Composite };
                sql += &create("public", name, kind);
                catalog.add("public", name, kind, action);
            }
            self.run(site, &sql)?;
        }
        self.is_behind = true;
        self.spent = self.temporary.names().map(|name| (self.current, name)).collect();
        self.catch_up()
    }

    /// Drops all types of these names.
    pub(crate) fn drop_everywhere(&mut self, names: &[&'static str]) -> Result<(), AnyError> {
        for site in self.writable() {
            let mut sql = String::new();
            for (schema, name) in
                SCHEMAS.into_iter().flat_map(|schema| names.iter().map(move |name| (schema, *name)))
            {
                sql += &format!("DROP TYPE IF EXISTS {schema}.{name};");
                self.all[site].catalog.remove(schema, name);
            }
            self.run(site, &sql)?;
        }
        Ok(())
    }

    /// What an OID is on each server.
    pub(crate) fn whose(&self, oid: u32) -> Vec<(usize, String, String)> {
        let sql = "SELECT nspname::text, typname::text FROM pg_type t JOIN pg_namespace n ON n.oid = typnamespace
            WHERE t.oid = $1 OR typarray = $1 ORDER BY typarray = $1 DESC LIMIT 1";
        let ask = |site: usize| {
            let mut client = self.all[site].cluster.client(DATABASE).ok()?;
            let row = client.query_opt(sql, &[&oid]).ok()??;
            Some((site, row.get(0), row.get(1)))
        };
        (0..self.all.len()).filter_map(ask).collect()
    }

    pub(crate) fn promote(&mut self) -> Result<(), AnyError> {
        self.follow()?;
        self.all[STANDBY].cluster.promote()?;
        self.all[STANDBY].is_standby = false;
        Ok(())
    }

    fn run(&self, site: usize, sql: &str) -> Result<(), AnyError> {
        let mut client = self.all[site].cluster.client(DATABASE)?;
        client.batch_execute(sql).map_err(|error| format!("{sql}: {error:?}").into())
    }

    /// Lets the standby see what the primary has, if somebody is going to ask it.
    fn catch_up(&mut self) -> Result<(), AnyError> {
        if self.current == STANDBY { self.follow() } else { Ok(()) }
    }

    fn follow(&mut self) -> Result<(), AnyError> {
        if self.is_behind && self.all[STANDBY].is_standby {
            self.all[STANDBY].cluster.catch_up_with(&self.all[0].cluster)?;
            self.all[STANDBY].catalog = self.all[0].catalog.clone();
            self.is_behind = false;
        }
        Ok(())
    }
}

/// Creates the database.
fn fill(rng: &mut fastrand::Rng, cluster: &Cluster) -> Result<Catalog, AnyError> {
    cluster.create_database(DATABASE)?;
    let mut catalog = Catalog::default();
    let mut sql = format!("ALTER DATABASE {DATABASE} SET search_path = early, public;");
    for schema in SCHEMAS {
        sql += &format!("CREATE SCHEMA IF NOT EXISTS {schema};");
    }
    let mut types: Vec<_> = TYPES[..4].iter().map(|name| ("public", *name, Kind::Enum)).collect();
    types.extend(TYPES[..3].iter().map(|name| ("t1", *name, Kind::Domain)));
    types.extend(TYPES[..2].iter().map(|name| ("t2", *name, Kind::Composite)));
    types.extend(ROWS.iter().map(|name| ("public", *name, Kind::Row)));
    rng.shuffle(&mut types);
    for (schema, name, kind) in types {
        sql += &create(schema, name, kind);
        catalog.add(schema, name, kind, 0);
    }
    cluster.client(DATABASE)?.batch_execute(&sql)?;
    Ok(catalog)
}
