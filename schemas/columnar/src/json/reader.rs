//! A place in a JSON text, and the steps from there.

use crate::budget::Budget;
use crate::error::{DecodeError, Fault, invalid, truncated};

/// How deep values may lie in one another.
const DEPTH_MAX: usize = 128;

/// A place in a JSON text.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    pub(super) text: &'a str,
    /// Always at a character's start.
    pub(super) at: usize,
    budget: Budget,
}

impl<'a> Reader<'a> {
    /// A reader of a whole body, which must be UTF-8.
    pub(crate) fn new(body: &'a [u8]) -> Result<Self, Fault> {
        match std::str::from_utf8(body) {
            Ok(text) => Ok(Self {
                text,
                at: 0,
                budget: Budget::default(),
            }),
            Err(error) if error.error_len().is_none() => Err(truncated(body.len())),
            Err(error) => Err(invalid(format!(
                "not JSON: invalid UTF-8 at byte {}",
                error.valid_up_to()
            ))),
        }
    }

    /// Bytes taken so far.
    pub(crate) fn place(&self) -> usize {
        self.at
    }

    /// Notes an item of an array or a map that fills so many columns, and has the bytes since
    /// `start`.
    #[inline]
    pub(super) fn spend(&mut self, width: usize, start: usize) -> Result<(), Fault> {
        self.budget.spend(width, self.at - start)
    }

    /// Goes to a place where it has been.
    pub(crate) fn go(&mut self, place: usize) {
        self.at = place;
    }

    #[inline]
    pub(super) fn bytes(&self) -> &'a [u8] {
        self.text.as_bytes()
    }

    #[inline]
    pub(super) fn peek(&self) -> Option<u8> {
        self.bytes().get(self.at).copied()
    }

    /// The first byte of the next token, which is not yet taken.
    #[inline]
    pub(crate) fn token(&mut self) -> Result<u8, Fault> {
        loop {
            match self.peek() {
                Some(b' ' | b'\n' | b'\r' | b'\t') => self.at += 1,
                Some(byte) => return Ok(byte),
                None => return Err(truncated(self.at)),
            }
        }
    }

    /// The next 16 bytes as a number, if there are as many.
    #[inline]
    pub(super) fn head(&self) -> Option<u128> {
        let rest = self.bytes().get(self.at..)?;
        rest.first_chunk().copied().map(u128::from_le_bytes)
    }

    /// Takes so many bytes, which were looked at.
    #[inline]
    pub(super) fn pass(&mut self, count: usize) {
        self.at += count;
    }

    /// Takes these bytes if they come next.
    #[inline]
    pub(crate) fn take(&mut self, bytes: &[u8]) -> bool {
        let found = self
            .bytes()
            .get(self.at..)
            .is_some_and(|rest| rest.starts_with(bytes));
        if found {
            self.at += bytes.len();
        }
        found
    }

    /// The text between an earlier place and this one.
    pub(crate) fn since(&self, start: usize) -> Result<&'a str, Fault> {
        self.text
            .get(start..self.at)
            .ok_or_else(|| self.error("a broken character"))
    }

    /// Takes the one-byte token `expected`.
    #[inline]
    pub(crate) fn expect(&mut self, expected: u8) -> Result<(), Fault> {
        if self.token()? != expected {
            return Err(self.error(format!("expected {:?}", char::from(expected))));
        }
        self.at += 1;
        Ok(())
    }

    /// Starts an object or an array; false if it ends at once.
    #[inline]
    pub(crate) fn open(&mut self, start: u8, end: u8) -> Result<bool, Fault> {
        self.expect(start)?;
        let empty = self.token()? == end;
        self.at += usize::from(empty);
        Ok(!empty)
    }

    /// After an item: true if another follows.
    #[inline]
    pub(crate) fn more(&mut self, end: u8) -> Result<bool, Fault> {
        match self.token()? {
            b',' => {
                self.at += 1;
                self.token()?;
                Ok(true)
            }
            byte if byte == end => {
                self.at += 1;
                Ok(false)
            }
            _ => Err(self.error(format!("expected ',' or {:?}", char::from(end)))),
        }
    }

    /// Takes the literal `null`, `true` or `false` that starts here.
    pub(crate) fn literal(&mut self) -> Result<(), Fault> {
        for word in ["null", "true", "false"] {
            if self.take(word.as_bytes()) {
                return Ok(());
            }
            let rest = self.bytes().get(self.at..).unwrap_or_default();
            if !rest.is_empty() && word.as_bytes().starts_with(rest) {
                return Err(truncated(self.text.len()));
            }
        }
        Err(self.error("expected a value"))
    }

    /// Takes a null if it comes next.
    #[inline]
    pub(crate) fn take_null(&mut self) -> Result<bool, Fault> {
        if self.token()? != b'n' {
            return Ok(false);
        }
        self.literal()?;
        Ok(true)
    }

    /// Nothing but blanks may follow.
    pub(crate) fn end(&self) -> Result<(), Fault> {
        let rest = self.bytes().get(self.at..).unwrap_or_default();
        let is_blank = |byte: &u8| matches!(byte, b' ' | b'\n' | b'\r' | b'\t');
        if rest.iter().all(is_blank) {
            return Ok(());
        }
        let (at, count) = (self.at, rest.len());
        Err(Box::new(DecodeError::TrailingBytes { at, count }))
    }

    /// Walks over a value of any kind, which must be valid.
    pub(crate) fn skip(&mut self) -> Result<(), Fault> {
        self.skip_at(0)
    }

    fn skip_at(&mut self, depth: usize) -> Result<(), Fault> {
        if depth >= DEPTH_MAX {
            return Err(self.error(format!("values more than {DEPTH_MAX} deep in one another")));
        }
        match self.token()? {
            b'"' => self.skip_text(),
            b'-' | b'0'..=b'9' => self.number().map(drop),
            b'{' => {
                let mut more = self.open(b'{', b'}')?;
                while more {
                    self.skip_text()?;
                    self.expect(b':')?;
                    self.skip_at(depth + 1)?;
                    more = self.more(b'}')?;
                }
                Ok(())
            }
            b'[' => {
                let mut more = self.open(b'[', b']')?;
                while more {
                    self.skip_at(depth + 1)?;
                    more = self.more(b']')?;
                }
                Ok(())
            }
            _ => self.literal(),
        }
    }

    /// The name of the field whose value comes next: only the colon and blanks are in between.
    #[cold]
    pub(super) fn field_name(&self) -> String {
        let before = self.text.get(..self.at).unwrap_or_default().trim_end();
        let before = before.strip_suffix(':').unwrap_or(before).trim_end();
        let end = before.len().saturating_sub(1);
        // Of the quotes in a text each has an odd number of backslashes before it.
        let is_start = |at: &usize| {
            let slashes = before.get(..*at).unwrap_or_default().bytes().rev();
            slashes.take_while(|byte| *byte == b'\\').count() % 2 == 0
        };
        let quotes = before.get(..end).unwrap_or_default().rmatch_indices('"');
        let start = quotes.map(|(at, _)| at).find(is_start).unwrap_or(end);
        let name = before.get(start..).unwrap_or_default();
        serde_json::from_str(name).unwrap_or_else(|_| name.to_owned())
    }

    /// What kind of value starts with this byte.
    pub(crate) fn kind(byte: u8) -> &'static str {
        match byte {
            b'"' => "a string",
            b'{' => "an object",
            b'[' => "an array",
            b'-' | b'0'..=b'9' => "a number",
            b't' | b'f' => "a boolean",
            b'n' => "null",
            _ => "no JSON value",
        }
    }

    /// An error at this place.
    #[cold]
    pub(crate) fn error(&self, what: impl std::fmt::Display) -> Fault {
        invalid(format!("not JSON: {what} at byte {}", self.at))
    }
}
