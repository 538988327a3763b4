//! JSON strings.

use std::borrow::Cow;

use super::reader::Reader;
use crate::error::{Fault, truncated};

/// One in every byte of a word, and the high bit of every byte.
const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;

impl<'a> Reader<'a> {
    /// Takes a string. Without escapes it is borrowed from the text, else unescaped into `scratch`.
    #[inline]
    pub(crate) fn text<'s>(&mut self, scratch: &'s mut String) -> Result<&'s str, Fault>
    where
        'a: 's,
    {
        self.expect(b'"')?;
        let start = self.at;
        if self.run()? == b'"' {
            let text = self.since(start);
            self.at += 1;
            return text;
        }
        scratch.clear();
        scratch.push_str(self.since(start)?);
        self.unescape(scratch)?;
        Ok(scratch)
    }

    /// Takes a string that outlives the reader.
    pub(crate) fn text_or_copy(&mut self) -> Result<Cow<'a, str>, Fault> {
        let start = self.at;
        self.skip_text()?;
        let inside = self
            .text
            .get(start + 1..self.at.saturating_sub(1))
            .unwrap_or_default();
        if !inside.contains('\\') {
            return Ok(Cow::Borrowed(inside));
        }
        self.at = start;
        let mut copy = String::new();
        self.text(&mut copy)?;
        Ok(Cow::Owned(copy))
    }

    /// Walks over a string.
    pub(super) fn skip_text(&mut self) -> Result<(), Fault> {
        self.expect(b'"')?;
        while self.run()? == b'\\' {
            self.at += 1;
            match self.peek() {
                Some(b'u') => {
                    self.at += 1;
                    self.hex()?;
                }
                Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 1,
                Some(_) => return Err(self.error("an unknown escape")),
                None => return Err(truncated(self.at)),
            }
        }
        self.at += 1;
        Ok(())
    }

    /// Walks to the next quote or backslash of a string and answers it, eight bytes at a time.
    #[inline]
    fn run(&mut self) -> Result<u8, Fault> {
        let bytes = self.bytes();
        while let Some(chunk) = bytes
            .get(self.at..)
            .and_then(|rest| rest.first_chunk::<8>())
        {
            let stops = stops(u64::from_le_bytes(*chunk));
            if stops != 0 {
                self.at += (stops.trailing_zeros() / 8) as usize;
                return self.stop();
            }
            self.at += 8;
        }
        while let Some(byte) = self.peek() {
            if matches!(byte, b'"' | b'\\' | 0..0x20) {
                return self.stop();
            }
            self.at += 1;
        }
        Err(truncated(self.at))
    }

    #[inline]
    fn stop(&self) -> Result<u8, Fault> {
        match self.peek() {
            Some(byte @ (b'"' | b'\\')) => Ok(byte),
            _ => Err(self.error("a control character in a string")),
        }
    }

    /// The rest of a string from its first escape on, and the closing quote.
    fn unescape(&mut self, out: &mut String) -> Result<(), Fault> {
        loop {
            let start = self.at;
            let stop = self.run()?;
            out.push_str(self.since(start)?);
            self.at += 1;
            if stop == b'"' {
                return Ok(());
            }
            let escape = self.peek().ok_or_else(|| truncated(self.at))?;
            self.at += 1;
            out.push(match escape {
                b'"' | b'\\' | b'/' => char::from(escape),
                b'b' => '\u{8}',
                b'f' => '\u{c}',
                b'n' => '\n',
                b'r' => '\r',
                b't' => '\t',
                b'u' => self.code_point()?,
                _ => return Err(self.error("an unknown escape")),
            });
        }
    }

    /// The character of `\u` and its digits, of two such escapes for a surrogate pair.
    fn code_point(&mut self) -> Result<char, Fault> {
        let mut code = self.hex()?;
        if (0xD800..0xDC00).contains(&code) {
            for byte in [b'\\', b'u'] {
                match self.peek() {
                    Some(found) if found == byte => self.at += 1,
                    Some(_) => return Err(self.error("half of a surrogate pair")),
                    None => return Err(truncated(self.at)),
                }
            }
            let low = self.hex()?;
            if !(0xDC00..0xE000).contains(&low) {
                return Err(self.error("half of a surrogate pair"));
            }
            code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
        }
        char::from_u32(code).ok_or_else(|| self.error("half of a surrogate pair"))
    }

    fn hex(&mut self) -> Result<u32, Fault> {
        let mut code = 0;
        for _ in 0..4 {
            let byte = self.peek().ok_or_else(|| truncated(self.at))?;
            let digit = char::from(byte).to_digit(16);
            code = code * 16 + digit.ok_or_else(|| self.error("expected four hex digits"))?;
            self.at += 1;
        }
        Ok(code)
    }
}

/// The high bit of the lowest byte that is a quote, a backslash or a control character; bits above
/// the lowest may be set too.
#[inline]
fn stops(word: u64) -> u64 {
    let quote = word ^ (ONES * 0x22);
    let backslash = word ^ (ONES * 0x5c);
    let zero = |word: u64| word.wrapping_sub(ONES) & !word;
    (zero(quote) | zero(backslash) | (word.wrapping_sub(ONES * 0x20) & !word)) & HIGHS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(json: &str) -> Result<String, Fault> {
        let mut scratch = String::new();
        Reader::new(json.as_bytes())?
            .text(&mut scratch)
            .map(str::to_owned)
    }

    #[test]
    fn every_byte_in_every_place_stops_as_it_should() {
        for place in 0..9 {
            for byte in 0..0x80_u8 {
                let mut inner = vec![b'a'; 9];
                inner[place] = byte;
                let json = format!("\"{}\"", String::from_utf8(inner).unwrap());
                let expected = serde_json::Deserializer::from_str(&json)
                    .into_iter::<String>()
                    .next();
                let expected = expected.unwrap().ok();
                assert_eq!(text(&json).ok(), expected, "{json:?}");
            }
        }
    }

    #[test]
    fn escapes_are_those_of_serde_json() {
        for json in [
            r#""\n\t\r\b\f\/\\\"""#,
            r#""\u00e4\uD83D\uDE00x""#,
            r#""\uD83D""#,
            r#""\uD83Dx""#,
            r#""\uDE00""#,
            r#""\uD83D\u0041""#,
            r#""\x""#,
            r#""\u12g4""#,
            r#""é\u0000漢""#,
        ] {
            assert_eq!(
                text(json).ok(),
                serde_json::from_str::<String>(json).ok(),
                "{json}"
            );
        }
        assert_eq!(text(r#""ab\"#).unwrap_err().code(), "truncated");
        assert_eq!(text(r#""ab"#).unwrap_err().code(), "truncated");
    }
}
