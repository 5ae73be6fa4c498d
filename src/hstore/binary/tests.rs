//! The format, through the implementations for maps, without a server.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::num::NonZeroU32;

use diesel::deserialize::{self, FromSql};
use diesel::pg::{Pg, PgMetadataLookup, PgTypeMetadata, PgValue};
use diesel::query_builder::BindCollector;
use diesel::query_builder::bind_collector::RawBytesBindCollector;
use diesel::serialize::ToSql;
use proptest::prelude::*;
use proptest::sample::Index;

use crate::hstore::Hstore;

type Ordered = BTreeMap<String, Option<String>>;
type Hashed = HashMap<String, Option<String>>;
type OtherHasher = HashMap<String, Option<String>, BuildHasherDefault<DefaultHasher>>;

/// Whatever the type, its OIDs are these.
struct AnyOids;

impl PgMetadataLookup for AnyOids {
    fn lookup_type(&mut self, _: &str, _: Option<&str>) -> PgTypeMetadata {
        PgTypeMetadata::new(1, 2)
    }
}

fn write(map: &impl ToSql<Hstore, Pg>) -> Vec<u8> {
    let mut binds = RawBytesBindCollector::<Pg>::new();
    binds.push_bound_value::<Hstore, _>(map, &mut AnyOids).expect("a map that can be written");
    binds.binds.pop().flatten().expect("a bind that is not NULL")
}

fn read<T: FromSql<Hstore, Pg>>(bytes: &[u8]) -> deserialize::Result<T> {
    T::from_sql(PgValue::new(bytes, &NonZeroU32::MIN))
}

fn error(bytes: &[u8]) -> String {
    let hashed = read::<Hashed>(bytes).expect_err("a HashMap of something corrupt").to_string();
    let ordered = read::<Ordered>(bytes).expect_err("a BTreeMap of something corrupt").to_string();
    assert_eq!(hashed, ordered);
    hashed
}

fn map(pairs: &[(&str, Option<&str>)]) -> Ordered {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), value.map(str::to_owned))).collect()
}

#[test]
fn the_bytes_are_those_of_hstore_send() {
    let written = write(&map(&[("a", Some("xyz")), ("b", None), ("", Some(""))]));
    let expected = [
        b"\0\0\0\x03".as_slice(),
        b"\0\0\0\0\0\0\0\0",
        b"\0\0\0\x01a\0\0\0\x03xyz",
        b"\0\0\0\x01b\xff\xff\xff\xff",
    ]
    .concat();
    assert_eq!(written, expected);
}

#[test]
fn an_empty_map_is_a_count_of_zero() {
    assert_eq!(write(&Ordered::new()), [0; 4]);
    assert_eq!(read::<Hashed>(&[0; 4]).expect("an empty map"), Hashed::new());
}

#[test]
fn long_texts_survive() {
    for length in [65_534, 65_535, 65_536, 3_000_000] {
        let text = "ä".repeat(length / 2) + &"x".repeat(length % 2);
        let long = Ordered::from([(text.clone(), Some(text.clone())), ("short".to_owned(), Some(text))]);
        assert!(read::<Ordered>(&write(&long)).expect("long texts") == long, "{length} bytes");
    }
}

#[test]
fn texts_of_a_gibibyte_are_refused() {
    assert_eq!(super::length(0x3fff_ffff).expect("the server's limit"), 0x3fff_ffff);
    for bytes in [0x4000_0000, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 0x1_0000_0000, usize::MAX] {
        let error = super::length(bytes).expect_err("more than the server takes").to_string();
        assert!(error.contains(&format!("of {bytes} bytes")), "{error}");
    }
}

/// That many pairs, none of which is ever looked at.
struct Many(usize);

impl Iterator for Many {
    type Item = (&'static String, &'static Option<String>);

    fn next(&mut self) -> Option<Self::Item> {
        panic!("written in spite of the count")
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.0, Some(self.0))
    }
}

impl ExactSizeIterator for Many {}

#[test]
fn more_pairs_than_the_format_can_count_are_refused() {
    for pairs in [0x8000_0000, 0xffff_ffff, 0x1_0000_0001, usize::MAX] {
        let mut written = Vec::new();
        let error = super::encode(Many(pairs), &mut written).expect_err("too many").to_string();
        assert_eq!(error, format!("hstore: {pairs} pairs, and no more than 2147483647 are allowed"));
        assert_eq!(written, b"", "nothing is written before the error");
    }
}

#[test]
fn corrupt_buffers_are_errors() {
    for (bytes, expected) in [
        (b"".as_slice(), "hstore: cut off in a number"),
        (b"\0\0\0", "hstore: cut off in a number"),
        (b"\xff\xff\xff\xff", "hstore: -1 pairs"),
        (b"\x80\0\0\0", "hstore: -2147483648 pairs"),
        (b"\0\0\0\x01", "hstore: cut off in a number"),
        (b"\x7f\xff\xff\xff", "hstore: cut off in a number"),
        (b"\x7f\xff\xff\xff\0\0\0\x01a\xff\xff\xff\xff", "hstore: cut off in a number"),
        (b"\0\0\0\x01\xff\xff\xff\xff\xff\xff\xff\xff", "hstore: a key is NULL"),
        (b"\0\0\0\x01\xff\xff\xff\xfe", "hstore: a text of -2 bytes where 0 are left"),
        (b"\0\0\0\x01\x80\0\0\0", "hstore: a text of -2147483648 bytes where 0 are left"),
        (b"\0\0\0\x01\x7f\xff\xff\xffabc", "hstore: a text of 2147483647 bytes where 3 are left"),
        (b"\0\0\0\x01\0\0\0\x01a", "hstore: cut off in a number"),
        (b"\0\0\0\x01\0\0\0\x01a\0\0\0\x02b", "hstore: a text of 2 bytes where 1 are left"),
        (b"\0\0\0\x01\0\0\0\x01a\xff\xff\xff\xfe", "hstore: a text of -2 bytes where 0 are left"),
        (b"\0\0\0\0\0", "hstore: 1 bytes too many"),
        (b"\0\0\0\x01\0\0\0\x01a\xff\xff\xff\xff\0\0", "hstore: 2 bytes too many"),
        (b"\0\0\0\x02\0\0\0\x01a\0\0\0\0\0\0\0\x01a\xff\xff\xff\xff", "hstore: the same key twice"),
    ] {
        assert_eq!(error(bytes), expected, "{bytes:?}");
    }
    for bytes in [b"\0\0\0\x01\0\0\0\x01\xc3\xff\xff\xff\xff".as_slice(), b"\0\0\0\x01\0\0\0\0\0\0\0\x02\xff\xfe"]
    {
        assert!(error(bytes).contains("utf-8"), "{bytes:?}");
    }
}

#[test]
fn null_is_no_map() {
    assert!(<Hashed as FromSql<Hstore, Pg>>::from_nullable_sql(None).is_err());
}

fn any_map() -> impl Strategy<Value = Ordered> {
    proptest::collection::btree_map(any::<String>(), any::<Option<String>>(), 0..12)
}

/// What is read from any bytes is exactly what they say, or an error.
fn is_read_exactly_or_not_at_all(bytes: &[u8]) -> Result<(), TestCaseError> {
    let (ordered, hashed) = (read::<Ordered>(bytes), read::<Hashed>(bytes));
    prop_assert_eq!(ordered.is_ok(), hashed.is_ok());
    if let (Ok(ordered), Ok(hashed)) = (ordered, hashed) {
        prop_assert_eq!(write(&ordered).len(), bytes.len());
        prop_assert_eq!(&read::<Ordered>(&write(&hashed)).expect("its own writing"), &ordered);
        prop_assert_eq!(hashed.into_iter().collect::<Ordered>(), ordered);
    }
    Ok(())
}

proptest! {
    #[test]
    fn any_map_survives(map in any_map()) {
        let bytes = write(&map);
        let hashed: Hashed = map.clone().into_iter().collect();
        prop_assert_eq!(&read::<Ordered>(&bytes).expect("a BTreeMap"), &map);
        prop_assert_eq!(&read::<Hashed>(&bytes).expect("a HashMap"), &hashed);
        prop_assert_eq!(read::<Hashed>(&write(&hashed)).expect("the other way round"), hashed);
        let other_hasher = read::<OtherHasher>(&bytes).expect("a HashMap with another hasher");
        prop_assert_eq!(read::<Ordered>(&write(&other_hasher)).expect("a BTreeMap"), map);
    }

    #[test]
    fn no_part_of_a_buffer_passes_for_the_whole(map in any_map(), end in any::<Index>()) {
        let bytes = write(&map);
        prop_assert!(read::<Hashed>(&bytes[..end.index(bytes.len())]).is_err());
    }

    #[test]
    fn mutated_buffers_never_panic(
        map in any_map(),
        mutations in proptest::collection::vec((any::<Index>(), any::<u8>()), 1..8),
    ) {
        let mut bytes = write(&map);
        for (place, byte) in mutations {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        is_read_exactly_or_not_at_all(&bytes)?;
    }

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
        is_read_exactly_or_not_at_all(&bytes)?;
    }

    /// Random bytes hardly ever get past the count; these do.
    #[test]
    fn random_pieces_never_panic(
        count in -2_i32..6,
        pieces in proptest::collection::vec((-2_i32..5, proptest::collection::vec(any::<u8>(), 0..5)), 0..12),
    ) {
        let mut bytes = count.to_be_bytes().to_vec();
        for (length, text) in pieces {
            bytes.extend(length.to_be_bytes());
            bytes.extend(text);
        }
        is_read_exactly_or_not_at_all(&bytes)?;
    }
}
