//! Where in a query's binds the OIDs of unknown types are. An array has its element's OID inside, and a composite its
//! fields'. So the binds are collected twice, with two different numbers in place of each OID: what differs as these
//! do is one.

use diesel::pg::{PgMetadataLookup, PgTypeMetadata};
use diesel::prelude::*;
use diesel::result::Error;

use crate::asynchronous::memory::{Key, Memory, OidPair};
use crate::asynchronous::resolve::Binds;

/// Two numbers that no server uses for a type soon, and that have no byte in common with those of the second round.
const ROUNDS: [u32; 2] = [0xf1f1_0000, 0x0e0e_8080];

/// More types that are unknown to one query are not distinguished. (Two numbers for each.)
const MAX_TYPES: usize = 60;

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

    /// The number of the type (if even) or of its array. Two numbers of a round differ in the two lower bytes, and
    /// neither byte is one of the other round's.
    fn number(index: usize, round: usize) -> u32 {
        let index = u32::try_from(index).unwrap_or(u32::MAX) & 0x7f;
        ROUNDS[round] + (index << 8 | index)
    }

    fn index_of(number: u32, round: usize) -> Option<usize> {
        let index = (number & 0x7f) as usize;
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
            if let Some(index) = number {
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
    use super::*;

    #[test]
    fn numbers_of_the_two_rounds_have_no_byte_in_common() {
        for index in 0..2 * MAX_TYPES {
            assert_eq!(Markers::index_of(Markers::number(index, 0), 0), Some(index));
            for other in 0..2 * MAX_TYPES {
                let bytes = Markers::number(index, 0).to_be_bytes();
                let others = Markers::number(other, 1).to_be_bytes();
                assert!(bytes.iter().zip(others).all(|(byte, other)| *byte != other), "{index} and {other}");
            }
        }
    }
}
