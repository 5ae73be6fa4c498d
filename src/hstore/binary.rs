//! The format of `hstore_send` and `hstore_recv`: the number of pairs; for each the length of its key, the key, the
//! length of its value or -1 for NULL, and the value. Numbers are `i32`s, the highest byte first.

use std::io::Write;

use diesel::{deserialize, serialize};

const NULL: i32 = -1;

/// The server's `HSTORE_MAX_KEY_LEN` and `HSTORE_MAX_VALUE_LEN`, in bytes.
const MAX_TEXT: usize = 0x3fff_ffff;

pub(super) fn encode<'a>(
    pairs: impl ExactSizeIterator<Item = (&'a String, &'a Option<String>)>,
    out: &mut impl Write,
) -> serialize::Result {
    let count = i32::try_from(pairs.len())
        .map_err(|_| format!("hstore: {} pairs, and no more than {} are allowed", pairs.len(), i32::MAX))?;
    out.write_all(&count.to_be_bytes())?;
    for (key, value) in pairs {
        write_text(key, out)?;
        match value {
            Some(value) => write_text(value, out)?,
            None => out.write_all(&NULL.to_be_bytes())?,
        }
    }
    Ok(serialize::IsNull::No)
}

fn write_text(text: &str, out: &mut impl Write) -> Result<(), Error> {
    out.write_all(&length(text.len())?.to_be_bytes())?;
    out.write_all(text.as_bytes())?;
    Ok(())
}

type Error = Box<dyn std::error::Error + Send + Sync>;

fn length(bytes: usize) -> Result<i32, Error> {
    match i32::try_from(bytes) {
        Ok(length) if bytes <= MAX_TEXT => Ok(length),
        _ => {
            Err(format!("hstore: a key or a value of {bytes} bytes, and no more than {MAX_TEXT} are allowed")
                .into())
        }
    }
}

/// Hands each pair to `insert`, which says whether the key was new. Nothing is reserved for what the buffer only
/// claims to hold.
pub(super) fn decode(
    buffer: &[u8],
    mut insert: impl FnMut(String, Option<String>) -> bool,
) -> deserialize::Result<()> {
    let mut rest = buffer;
    let pairs = take_number(&mut rest)?;
    if pairs < 0 {
        return Err(format!("hstore: {pairs} pairs").into());
    }
    for _ in 0..pairs {
        let key = take_text(&mut rest)?.ok_or("hstore: a key is NULL")?;
        let value = take_text(&mut rest)?;
        if !insert(key, value) {
            return Err("hstore: the same key twice".into());
        }
    }
    if rest.is_empty() { Ok(()) } else { Err(format!("hstore: {} bytes too many", rest.len()).into()) }
}

fn take_number(rest: &mut &[u8]) -> deserialize::Result<i32> {
    let (head, tail) = rest.split_first_chunk().ok_or("hstore: cut off in a number")?;
    *rest = tail;
    Ok(i32::from_be_bytes(*head))
}

fn take_text(rest: &mut &[u8]) -> deserialize::Result<Option<String>> {
    let length = take_number(rest)?;
    if length == NULL {
        return Ok(None);
    }
    let (text, tail) = usize::try_from(length)
        .ok()
        .and_then(|length| rest.split_at_checked(length))
        .ok_or_else(|| format!("hstore: a text of {length} bytes where {} are left", rest.len()))?;
    *rest = tail;
    Ok(Some(String::from_utf8(text.to_vec())?))
}

#[cfg(test)]
mod tests;
