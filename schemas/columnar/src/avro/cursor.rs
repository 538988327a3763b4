//! Avro's primitive encodings, read with every bound checked.

use crate::budget::Budget;
use crate::error::{DecodeError, Fault, invalid, truncated};

/// A place in a body.
#[derive(Clone, Debug)]
pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    budget: Budget,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            at: 0,
            budget: Budget::default(),
        }
    }

    /// Notes an item of an array or a map that fills so many columns, and has the bytes since
    /// `start`.
    #[inline]
    pub(super) fn spend(&mut self, width: usize, start: usize) -> Result<(), Fault> {
        self.budget.spend(width, self.at - start)
    }

    /// Bytes read so far.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// The bytes between an earlier place and this one.
    pub(crate) fn since(&self, start: usize) -> &'a [u8] {
        self.bytes.get(start..self.at).unwrap_or_default()
    }

    pub(crate) fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// The body must end here.
    pub(crate) fn end(&self) -> Result<(), Fault> {
        if self.at == self.bytes.len() {
            return Ok(());
        }
        Err(Box::new(DecodeError::TrailingBytes {
            at: self.at,
            count: self.remaining(),
        }))
    }

    #[inline]
    fn byte(&mut self) -> Result<u8, Fault> {
        let Some(&byte) = self.bytes.get(self.at) else {
            return Err(truncated(self.at));
        };
        self.at += 1;
        Ok(byte)
    }

    /// A zigzag number of at most 10 bytes.
    #[inline]
    pub(crate) fn long(&mut self) -> Result<i64, Fault> {
        let first = self.byte()?;
        if first < 0x80 {
            return Ok(unzigzag(u64::from(first)));
        }
        let mut value = u64::from(first & 0x7f);
        let mut shift = 7;
        loop {
            let byte = self.byte()?;
            // The tenth byte has room for one bit.
            if shift == 63 && byte > 1 {
                return Err(self.error("a number of more than 64 bits"));
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(unzigzag(value));
            }
            shift += 7;
        }
    }

    /// A zigzag number of 32 bits in at most 5 bytes.
    #[inline]
    pub(crate) fn int(&mut self) -> Result<i32, Fault> {
        let start = self.at;
        let value = self.long()?;
        match i32::try_from(value) {
            Ok(value) if self.at - start <= 5 => Ok(value),
            _ => Err(self.error("an int of more than 32 bits")),
        }
    }

    pub(crate) fn boolean(&mut self) -> Result<bool, Fault> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(self.error(format!("a boolean of value {other}"))),
        }
    }

    pub(crate) fn float(&mut self) -> Result<f32, Fault> {
        self.array().map(f32::from_le_bytes)
    }

    #[inline]
    pub(crate) fn double(&mut self) -> Result<f64, Fault> {
        self.array().map(f64::from_le_bytes)
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let Some(array) = rest.first_chunk::<N>() else {
            return Err(truncated(self.bytes.len()));
        };
        self.at += N;
        Ok(*array)
    }

    #[inline]
    pub(crate) fn fixed(&mut self, length: usize) -> Result<&'a [u8], Fault> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let Some(bytes) = rest.get(..length) else {
            return Err(truncated(self.bytes.len()));
        };
        self.at += length;
        Ok(bytes)
    }

    /// A length and so many bytes.
    #[inline]
    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], Fault> {
        let length = self.long()?;
        let Ok(length) = usize::try_from(length) else {
            return Err(self.error("a negative length"));
        };
        self.fixed(length)
    }

    #[inline]
    pub(crate) fn text(&mut self) -> Result<&'a str, Fault> {
        let bytes = self.bytes()?;
        std::str::from_utf8(bytes).map_err(|_| self.not_text())
    }

    /// The bytes of a text. Most texts are short and ASCII, which is seen sooner than UTF-8.
    #[inline]
    pub(crate) fn text_bytes(&mut self) -> Result<&'a [u8], Fault> {
        let bytes = self.bytes()?;
        if !is_ascii(bytes) && std::str::from_utf8(bytes).is_err() {
            return Err(self.not_text());
        }
        Ok(bytes)
    }

    #[cold]
    fn not_text(&self) -> Fault {
        self.error("a string that is not UTF-8")
    }

    /// The index of a branch or a symbol, below `count`.
    #[inline]
    pub(crate) fn index(&mut self, count: usize, what: &'static str) -> Result<usize, Fault> {
        let index = i64::from(self.int()?);
        match usize::try_from(index) {
            Ok(index) if index < count => Ok(index),
            _ => Err(self.error(format!("{what} {index} where the schema has {count}"))),
        }
    }

    /// An error at this place.
    #[cold]
    pub(crate) fn error(&self, found: impl std::fmt::Display) -> Fault {
        invalid(format!(
            "not a body of its schema: {found} before byte {}",
            self.at
        ))
    }
}

/// Whether no byte has its high bit set, eight at a time.
#[inline]
fn is_ascii(bytes: &[u8]) -> bool {
    let (words, rest) = bytes.as_chunks::<8>();
    let words = words
        .iter()
        .fold(0, |all, word| all | u64::from_le_bytes(*word));
    let rest = rest.iter().fold(0, |all, byte| all | byte);
    (words | u64::from(rest)) & 0x8080_8080_8080_8080 == 0
}

#[inline]
fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -(value & 1).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_their_limits() {
        let long = |bytes: &[u8]| Cursor::new(bytes).long();
        assert_eq!(long(&[0x00]), Ok(0));
        assert_eq!(long(&[0x01]), Ok(-1));
        assert_eq!(long(&[0xac, 0x02]), Ok(150));
        let max = [0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        assert_eq!(long(&max), Ok(i64::MAX));
        let mut over = max;
        over[9] = 2;
        assert!(long(&over).is_err());
        assert!(long(&[0xff; 11]).is_err());
        assert_eq!(long(&[0x80]).unwrap_err().code(), "truncated");
        let int = |bytes: &[u8]| Cursor::new(bytes).int();
        assert_eq!(int(&[0xfe, 0xff, 0xff, 0xff, 0x0f]), Ok(i32::MAX));
        assert!(int(&[0x80, 0x80, 0x80, 0x80, 0x10]).is_err());
        assert!(int(&[0x80, 0x80, 0x80, 0x80, 0x80, 0x00]).is_err());
    }

    #[test]
    fn a_claimed_length_is_held_against_what_is_there() {
        assert_eq!(
            Cursor::new(&[0x06, b'a', b'b']).bytes().unwrap_err().code(),
            "truncated"
        );
        assert_eq!(Cursor::new(&[0x01]).bytes().unwrap_err().code(), "invalid");
        let huge = [
            0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, b'a',
        ];
        assert_eq!(Cursor::new(&huge).bytes().unwrap_err().code(), "truncated");
        assert_eq!(
            Cursor::new(&[0x02, 0xff]).text().unwrap_err().code(),
            "invalid"
        );
    }

    #[test]
    fn a_text_is_utf8_wherever_it_breaks() {
        for length in 0..40 {
            for broken in 0..length {
                let mut body = vec![b'a'; length + 1];
                body[0] = u8::try_from(2 * length).unwrap();
                assert_eq!(Cursor::new(&body).text_bytes().unwrap(), &body[1..]);
                body[1 + broken] = 0xc3;
                assert!(Cursor::new(&body).text_bytes().is_err());
                if broken + 1 < length {
                    body[2 + broken] = 0xa4;
                    assert_eq!(Cursor::new(&body).text_bytes().unwrap(), &body[1..]);
                }
            }
        }
    }
}
