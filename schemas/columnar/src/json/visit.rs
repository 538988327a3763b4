//! A JSON text as a tree, numbers as they are written. Not for the hot path.

use std::borrow::Cow;

use super::reader::Reader;
use crate::error::Fault;

/// How deep values may lie in one another.
const DEPTH_MAX: usize = 128;

/// A value's kind, and what lies in it.
#[derive(Debug)]
pub(crate) enum Kind<'a> {
    Null,
    Boolean,
    Number(&'a str),
    Text,
    Array(Vec<Self>),
    Object(Vec<(Cow<'a, str>, Self)>),
}

impl Kind<'_> {
    /// A field of an object.
    pub(crate) fn get(&self, name: &str) -> Option<&Self> {
        let Self::Object(fields) = self else {
            return None;
        };
        let field = fields.iter().find(|(known, _)| known == name);
        field.map(|(_, value)| value)
    }
}

/// Reads a whole text.
pub(crate) fn visit(text: &[u8]) -> Result<Kind<'_>, Fault> {
    let mut reader = Reader::new(text)?;
    let value = value(&mut reader, 0)?;
    reader.end()?;
    Ok(value)
}

fn value<'a>(reader: &mut Reader<'a>, depth: usize) -> Result<Kind<'a>, Fault> {
    if depth >= DEPTH_MAX {
        return Err(reader.error(format!("values more than {DEPTH_MAX} deep in one another")));
    }
    Ok(match reader.token()? {
        b'"' => {
            reader.text_or_copy()?;
            Kind::Text
        }
        b'-' | b'0'..=b'9' => Kind::Number(reader.number()?.text()),
        b'{' => {
            let mut fields = Vec::new();
            let mut more = reader.open(b'{', b'}')?;
            while more {
                let name = reader.text_or_copy()?;
                reader.expect(b':')?;
                fields.push((name, value(reader, depth + 1)?));
                more = reader.more(b'}')?;
            }
            Kind::Object(fields)
        }
        b'[' => {
            let mut items = Vec::new();
            let mut more = reader.open(b'[', b']')?;
            while more {
                items.push(value(reader, depth + 1)?);
                more = reader.more(b']')?;
            }
            Kind::Array(items)
        }
        token => {
            reader.literal()?;
            if token == b'n' {
                Kind::Null
            } else {
                Kind::Boolean
            }
        }
    })
}
