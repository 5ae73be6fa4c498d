//! Real PostgreSQL clusters and a real PgBouncer that fetch, start and stop themselves.
