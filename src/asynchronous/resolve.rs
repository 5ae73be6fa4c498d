//! Queries whose OIDs come from this crate.
//!
//! diesel-async collects the binds of a query with a look-up of its own, and then asks its private cache, or the
//! server. It does neither for a query whose `collect_binds` uses another look-up. Only the outermost query's is
//! called, so one wrapper is enough.

use std::any::TypeId;
use std::cell::Cell;

use diesel::pg::{Pg, PgMetadataLookup, PgQueryBuilder, PgTypeMetadata};
use diesel::prelude::*;
use diesel::query_builder::bind_collector::RawBytesBindCollector;
use diesel::query_builder::{AstPass, Query, QueryBuilder, QueryFragment, QueryId};
use diesel::result::Error;

use crate::asynchronous::markers::Markers;
use crate::asynchronous::memory::{Key, Memory, OidPair};

/// A query's bind values, and their types.
#[derive(Default)]
pub(super) struct Binds {
    pub(super) values: Vec<Option<Vec<u8>>>,
    pub(super) types: Vec<PgTypeMetadata>,
}

impl Binds {
    fn collect<Q: QueryFragment<Pg> + ?Sized>(
        query: &Q,
        lookup: &mut (dyn PgMetadataLookup + 'static),
    ) -> QueryResult<Self> {
        let mut collector = RawBytesBindCollector::<Pg>::new();
        query.collect_binds(&mut collector, lookup, &Pg)?;
        Ok(Binds { values: collector.binds, types: collector.metadata })
    }

    /// diesel-async asks for them once.
    fn give(binds: &Cell<Option<Self>>, collector: &mut RawBytesBindCollector<Pg>) -> QueryResult<()> {
        let binds = binds.take().ok_or_else(|| Error::QueryBuilderError("binds were asked for twice".into()))?;
        collector.binds.extend(binds.values);
        collector.metadata.extend(binds.types);
        Ok(())
    }
}

/// How a query can be sent.
pub(super) enum Resolution {
    /// As it is: all its types are known.
    Known(Binds),
    /// Once the server has named the OIDs of the types that are not.
    Incomplete(Incomplete),
    Failed(Error),
}

/// Collects the binds of a query. No round trip.
pub(super) fn resolve<Q: QueryFragment<Pg>>(query: &Q, memory: &Memory) -> Resolution {
    let mut lookup = Lookup { memory: memory.clone(), is_incomplete: false };
    match Binds::collect(query, &mut lookup) {
        Ok(binds) if !lookup.is_incomplete => Resolution::Known(binds),
        Err(error) if !lookup.is_incomplete => Resolution::Failed(error),
        _ => Incomplete::of(query, memory).map_or_else(Resolution::Failed, Resolution::Incomplete),
    }
}

/// Answers from what the connection remembers.
struct Lookup {
    memory: Memory,
    is_incomplete: bool,
}

impl PgMetadataLookup for Lookup {
    fn lookup_type(&mut self, name: &str, schema: Option<&str>) -> PgTypeMetadata {
        let found = self.memory.find(schema, name);
        self.is_incomplete |= found.is_none();
        PgTypeMetadata::from_result(Ok(found.unwrap_or_default()))
    }
}

/// A query with its binds, as it is given to diesel-async.
pub(super) struct Resolved<'a, Q> {
    pub(super) query: &'a Q,
    /// Taken when diesel-async asks for them, which it does once if no type is left to look up.
    pub(super) binds: Cell<Option<Binds>>,
    /// Makes the text another one, so that a pooler does not use a statement that it prepared before.
    pub(super) prefix: &'a str,
}

impl<Q: QueryId> QueryId for Resolved<'_, Q> {
    type QueryId = Q::QueryId;
    const HAS_STATIC_QUERY_ID: bool = Q::HAS_STATIC_QUERY_ID;

    fn query_id() -> Option<TypeId> {
        Q::query_id()
    }
}

impl<Q: Query> Query for Resolved<'_, Q> {
    type SqlType = Q::SqlType;
}

impl<Q: QueryFragment<Pg>> QueryFragment<Pg> for Resolved<'_, Q> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        if !self.prefix.is_empty() {
            out.push_sql(self.prefix);
        }
        self.query.walk_ast(out)
    }

    fn collect_binds<'b>(
        &'b self,
        out: &mut RawBytesBindCollector<Pg>,
        _stock: &mut (dyn PgMetadataLookup + 'static),
        _backend: &'b Pg,
    ) -> QueryResult<()> {
        Binds::give(&self.binds, out)
    }
}

/// A query, taken apart, some of whose types have to be looked up. (The query itself can't be kept: it need not be
/// `Send`.)
pub(super) struct Incomplete {
    sql: String,
    is_cached: bool,
    binds: Binds,
    markers: Markers,
}

impl Incomplete {
    fn of<Q: QueryFragment<Pg>>(query: &Q, memory: &Memory) -> QueryResult<Self> {
        let mut builder = PgQueryBuilder::default();
        query.to_sql(&mut builder, &Pg)?;
        let mut lookup = Markers::of(memory);
        let first = Binds::collect(query, &mut lookup)?;
        lookup.count_again();
        let second = Binds::collect(query, &mut lookup)?;
        let mut markers = lookup;
        markers.find(&first, &second)?;
        let is_cached = query.is_safe_to_cache_prepared(&Pg)?;
        Ok(Incomplete { sql: builder.finish(), is_cached, binds: first, markers })
    }

    /// The types to look up.
    pub(super) fn missing(&self) -> Vec<Key> {
        self.markers.missing()
    }

    /// With the OIDs that were found for them, in the same order.
    pub(super) fn complete(mut self, found: &[OidPair], prefix: &str) -> Complete {
        self.markers.replace(&mut self.binds, found);
        Complete {
            sql: format!("{prefix}{}", self.sql),
            is_cached: self.is_cached,
            binds: Cell::new(Some(self.binds)),
        }
    }
}

/// A query that was taken apart, as it is given to diesel-async.
pub(super) struct Complete {
    sql: String,
    is_cached: bool,
    binds: Cell<Option<Binds>>,
}

impl QueryId for Complete {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl Query for Complete {
    type SqlType = diesel::sql_types::Untyped;
}

impl QueryFragment<Pg> for Complete {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        if !self.is_cached {
            out.unsafe_to_cache_prepared();
        }
        out.push_sql(&self.sql);
        Ok(())
    }

    fn collect_binds<'b>(
        &'b self,
        out: &mut RawBytesBindCollector<Pg>,
        _stock: &mut (dyn PgMetadataLookup + 'static),
        _backend: &'b Pg,
    ) -> QueryResult<()> {
        Binds::give(&self.binds, out)
    }
}
