//! Where in a query's binds the OIDs of unknown types are. An array has its element's OID inside, and a composite its
//! fields'. So the binds are collected twice, with two different numbers in place of each OID: what differs as these
//! do is one.

use diesel::pg::{PgMetadataLookup, PgTypeMetadata};
use diesel::prelude::*;
use diesel::result::Error;

use crate::asynchronous::memory::{Key, Memory, OidPair};
use crate::asynchronous::resolve::Binds;

/// Numbers that no server uses for a type soon begin with this. In the second round, each byte is another one.
const ROUNDS: [u32; 2] = [0xf1f1_0000, 0x0e0e_8080];

/// Two digits of 7 bits.
const NUMBERS: usize = 1 << 14;

/// Two numbers for each: of the type, and of its array.
const MAX_TYPES: usize = NUMBERS / 2;

/// Stands in for a connection, and names types by numbers that are replaced later.
pub(super) struct Markers {
    memory: Memory,
    missing: Vec<Key>,
    round: usize,
    /// Which bind, where in it, and which number.
    places: Vec<(usize, usize, usize)>,
}

impl Markers {
    pub(super) fn of(memory: &Memory) -> Self {
        Markers { memory: memory.clone(), missing: Vec::new(), round: 0, places: Vec::new() }
    }

    /// The second round begins.
    pub(super) fn count_again(&mut self) {
        self.round = 1;
    }

    pub(super) fn missing(&self) -> Vec<Key> {
        self.missing.clone()
    }

    /// The number of the type (if even) or of its array. Each of its bytes differs from those of the other round there.
    fn number(index: usize, round: usize) -> u32 {
        let digits = [index >> 7, index].map(|digit| (digit & 0x7f) as u32);
        ROUNDS[round] + (digits[0] << 8 | digits[1])
    }

    fn index_of(number: u32, round: usize) -> Option<usize> {
        let index = (number >> 8 & 0x7f) << 7 | number & 0x7f;
        let index = index as usize;
        (Self::number(index, round) == number).then_some(index)
    }

    /// Finds the numbers in what was collected.
    pub(super) fn find(&mut self, first: &Binds, second: &Binds) -> QueryResult<()> {
        if self.missing.len() > MAX_TYPES || first.values.len() != second.values.len() {
            return Err(incomprehensible());
        }
        for (bind, values) in first.values.iter().zip(&second.values).enumerate() {
            let (Some(first), Some(second)) = values else { continue };
            if first.len() != second.len() {
                return Err(incomprehensible());
            }
            let mut at = 0;
            while at + 4 <= first.len() {
                match Self::marked(&first[at..], &second[at..]) {
                    Some(index) => {
                        self.places.push((bind, at, index));
                        at += 4;
                    }
                    None => at += 1,
                }
            }
        }
        Ok(())
    }

    fn marked(first: &[u8], second: &[u8]) -> Option<usize> {
        let number = |bytes: &[u8]| bytes.first_chunk().map(|bytes| u32::from_be_bytes(*bytes));
        let index = Self::index_of(number(first)?, 0)?;
        (number(second)? == Self::number(index, 1)).then_some(index)
    }

    /// Puts the OIDs in the place of the numbers.
    pub(super) fn replace(&self, binds: &mut Binds, found: &[OidPair]) {
        let oid = |index: usize| {
            let (oid, array_oid) = found.get(index / 2).copied().unwrap_or_default();
            if index % 2 == 0 { oid } else { array_oid }
        };
        for (bind, at, index) in &self.places {
            if let Some(place) = binds.values[*bind].as_mut().and_then(|value| value.get_mut(*at..at + 4)) {
                place.copy_from_slice(&oid(*index).to_be_bytes());
            }
        }
        for ty in &mut binds.types {
            let number = ty.oid().ok().and_then(|known| Self::index_of(known, 0));
            if let Some(index) = number.filter(|index| *index < 2 * self.missing.len()) {
                let array_oid = ty.array_oid().ok().and_then(|known| Self::index_of(known, 0)).map_or(0, oid);
                *ty = PgTypeMetadata::new(oid(index), array_oid);
            }
        }
    }
}

impl PgMetadataLookup for Markers {
    fn lookup_type(&mut self, name: &str, schema: Option<&str>) -> PgTypeMetadata {
        // What was unknown in the first round stays so in the second.
        let is_same = |key: &Key| key.1 == name && key.0.as_deref() == schema;
        let index = match self.missing.iter().position(is_same) {
            Some(index) => index,
            None => {
                if let Some((oid, array_oid)) = self.memory.find(schema, name) {
                    return PgTypeMetadata::new(oid, array_oid);
                }
                self.missing.push((schema.map(str::to_owned), name.to_owned()));
                self.missing.len() - 1
            }
        };
        PgTypeMetadata::new(Self::number(2 * index, self.round), Self::number(2 * index + 1, self.round))
    }
}

fn incomprehensible() -> Error {
    Error::SerializationError("a value is serialized differently each time, or has too many unknown types".into())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_byte_of_a_number_differs_from_the_other_rounds() {
        for place in 0..4 {
            let bytes_of = |round: usize| -> BTreeSet<u8> {
                (0..NUMBERS).map(|index| Markers::number(index, round).to_be_bytes()[place]).collect()
            };
            assert!(bytes_of(0).is_disjoint(&bytes_of(1)), "byte {place}");
        }
        for round in [0, 1] {
            for index in 0..NUMBERS {
                assert_eq!(Markers::index_of(Markers::number(index, round), round), Some(index));
            }
        }
    }
}
