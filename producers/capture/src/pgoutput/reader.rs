//! Reading numbers and texts off the front of a message.

use super::Malformed;

/// The bytes that are not read yet.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) fn left(&self) -> usize {
        self.rest.len()
    }

    pub(super) fn u8(&mut self, what: &str) -> Result<u8, Malformed> {
        let [byte] = self.chunk(what)?;
        Ok(byte)
    }

    pub(super) fn u16(&mut self, what: &str) -> Result<u16, Malformed> {
        self.chunk(what).map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self, what: &str) -> Result<u32, Malformed> {
        self.chunk(what).map(u32::from_be_bytes)
    }

    pub(super) fn i32(&mut self, what: &str) -> Result<i32, Malformed> {
        self.chunk(what).map(i32::from_be_bytes)
    }

    pub(super) fn bytes(&mut self, count: u32, what: &str) -> Result<&'a [u8], Malformed> {
        let split = usize::try_from(count)
            .ok()
            .and_then(|count| self.rest.split_at_checked(count));
        let (bytes, rest) = split.ok_or_else(|| cut_off(what))?;
        self.rest = rest;
        Ok(bytes)
    }

    /// A text up to its zero byte.
    pub(super) fn text(&mut self, what: &str) -> Result<&'a str, Malformed> {
        let end = self.rest.iter().position(|byte| *byte == 0);
        let split = end.and_then(|end| self.rest.split_at_checked(end));
        let (text, rest) = split.ok_or_else(|| cut_off(what))?;
        self.rest = rest.get(1..).unwrap_or_default();
        std::str::from_utf8(text).map_err(|_| Malformed(format!("{what} is not UTF-8")))
    }

    /// Nothing may be left over.
    pub(super) fn end(&self) -> Result<(), Malformed> {
        match self.rest.len() {
            0 => Ok(()),
            left => Err(Malformed(format!("{left} bytes are left over at its end"))),
        }
    }

    fn chunk<const N: usize>(&mut self, what: &str) -> Result<[u8; N], Malformed> {
        let (chunk, rest) = self
            .rest
            .split_first_chunk::<N>()
            .ok_or_else(|| cut_off(what))?;
        self.rest = rest;
        Ok(*chunk)
    }
}

fn cut_off(what: &str) -> Malformed {
    Malformed(format!("it is cut off in {what}"))
}
