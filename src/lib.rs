//! A Diesel connection pool that survives a live change of the PostgreSQL server behind it.
