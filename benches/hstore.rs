//! Did a change make reading an hstore slower? Without a server.

use std::collections::{BTreeMap, HashMap};
use std::hint::black_box;
use std::num::NonZeroU32;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput};
use diesel::deserialize::FromSql;
use diesel::pg::{Pg, PgValue};
use diesel_postgres_hot_upgrade::hstore::Hstore;

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    let mut group = criterion.benchmark_group("hstore");
    for pairs in [1, 10, 100] {
        let bytes = hstore(pairs);
        group.throughput(Throughput::Elements(u64::from(pairs)));
        group.bench_function(BenchmarkId::new("HashMap", pairs), |bencher| {
            bencher.iter(|| read::<HashMap<String, Option<String>>>(black_box(&bytes)));
        });
        group.bench_function(BenchmarkId::new("BTreeMap", pairs), |bencher| {
            bencher.iter(|| read::<BTreeMap<String, Option<String>>>(black_box(&bytes)));
        });
    }
    group.finish();
    criterion.final_summary();
}

fn read<T: FromSql<Hstore, Pg>>(bytes: &[u8]) -> T {
    T::from_sql(PgValue::new(bytes, &NonZeroU32::MIN)).expect("an hstore")
}

/// As a server sends it: how many pairs, and the length of each text before it.
fn hstore(pairs: u32) -> Vec<u8> {
    let mut bytes = pairs.to_be_bytes().to_vec();
    for number in 0..pairs {
        for text in [format!("key {number}"), format!("some value {number}")] {
            bytes.extend((text.len() as u32).to_be_bytes());
            bytes.extend(text.bytes());
        }
    }
    bytes
}
