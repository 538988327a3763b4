//! One value: from the text that Postgres writes to Avro bytes.
//!
//! The session's settings ([`crate::session`]) fix how Postgres writes dates, intervals, floats and bytes.

mod array;
mod number;
mod temporal;

use change_events::{put_long, put_text};

/// How the values of a column are encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Boolean,
    /// 16 or 32 bits.
    Int,
    Long,
    Float,
    Double,
    /// Digits as one whole number, `scale` of them after the point.
    Decimal {
        scale: u32,
    },
    Bytes,
    /// Days since 1970.
    Date,
    /// Microseconds since midnight.
    Time,
    /// The text with the offset spelled as ISO 8601 has it.
    TimeWithZone,
    /// Microseconds since 1970 on a clock without a zone.
    WallClock,
    /// An ISO 8601 text in UTC.
    Instant,
    /// The text itself.
    Text,
    /// One dimension, counted from 1; items may be null.
    Array(Box<Kind>),
}

/// Why a value cannot be encoded as what its column is published as.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} cannot be {kind}")]
pub(crate) struct ValueError {
    pub(crate) what: String,
    pub(crate) kind: &'static str,
}

impl ValueError {
    fn new(text: &[u8], kind: &'static str) -> Self {
        let text = String::from_utf8_lossy(text);
        let what = match text.char_indices().nth(40) {
            Some((end, _)) => format!("{:?}...", text.get(..end).unwrap_or_default()),
            None => format!("{text:?}"),
        };
        Self { what, kind }
    }
}

/// Appends the Avro bytes of one value that is not null.
pub(crate) fn put(kind: &Kind, text: &[u8], out: &mut Vec<u8>) -> Result<(), ValueError> {
    match kind {
        Kind::Boolean => match text {
            b"t" => out.push(1),
            b"f" => out.push(0),
            _ => return Err(ValueError::new(text, "a boolean")),
        },
        Kind::Int => put_long(number::whole::<i32>(text, "an int")?.into(), out),
        Kind::Long => put_long(number::whole::<i64>(text, "a long")?, out),
        Kind::Float => out.extend_from_slice(&number::float::<f32>(text)?.to_le_bytes()),
        Kind::Double => out.extend_from_slice(&number::float::<f64>(text)?.to_le_bytes()),
        Kind::Decimal { scale } => number::put_decimal(text, *scale, out)?,
        Kind::Bytes => put_bytes(text, out)?,
        Kind::Date => put_long(temporal::date(text)?.into(), out),
        Kind::Time => put_long(temporal::time(text)?, out),
        Kind::TimeWithZone => temporal::put_time_with_zone(text, out)?,
        Kind::WallClock => put_long(temporal::wall_clock(text)?, out),
        Kind::Instant => temporal::put_instant(text, out)?,
        Kind::Text => put_text(utf8(text)?, out),
        Kind::Array(item) => array::put_array(item, text, out)?,
    }
    Ok(())
}

fn utf8(text: &[u8]) -> Result<&str, ValueError> {
    std::str::from_utf8(text).map_err(|_| ValueError::new(text, "a text in UTF-8"))
}

/// Bytes as `\x` and two hexadecimal digits each.
fn put_bytes(text: &[u8], out: &mut Vec<u8>) -> Result<(), ValueError> {
    let wrong = || ValueError::new(text, "bytes");
    let digits = text.strip_prefix(b"\\x").ok_or_else(wrong)?;
    let (pairs, rest) = digits.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(wrong());
    }
    put_length(pairs.len(), out);
    for [high, low] in pairs {
        let (high, low) = (hex(*high).ok_or_else(wrong)?, hex(*low).ok_or_else(wrong)?);
        out.push(high << 4 | low);
    }
    Ok(())
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

fn put_length(length: usize, out: &mut Vec<u8>) {
    // A length in memory is far below i64's end.
    put_long(length as i64, out);
}

#[cfg(test)]
mod tests;
