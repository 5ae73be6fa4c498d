//! The boundaries between the messages of PostgreSQL's protocol.

const HEADER: usize = 5;

/// How much of a message is still to come.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    /// Since which order it reads.
    pub(crate) order: usize,
    header: Vec<u8>,
    rest: usize,
}

impl Reader {
    pub(crate) fn since(order: usize) -> Reader {
        Reader { order, ..Reader::default() }
    }

    pub(crate) fn is_between_messages(&self) -> bool {
        self.header.is_empty()
    }

    /// Reads up to the end of a message: a byte that says what it is, its length in four bytes, which count themselves,
    /// and the rest. Returns how many bytes that were.
    pub(crate) fn read(&mut self, bytes: &[u8]) -> usize {
        let missing = HEADER - self.header.len();
        let header = missing.min(bytes.len());
        self.header.extend(&bytes[..header]);
        if missing > 0 && self.header.len() == HEADER {
            let length = [1, 2, 3, 4].map(|index| self.header[index]);
            self.rest = (u32::from_be_bytes(length) as usize).saturating_sub(4);
        }
        let rest = if self.header.len() == HEADER { self.rest.min(bytes.len() - header) } else { 0 };
        self.rest -= rest;
        if self.header.len() == HEADER && self.rest == 0 {
            self.header.clear();
        }
        header + rest
    }
}
