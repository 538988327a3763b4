//! One value that is not null: from JSON to Avro bytes.

use std::fmt;

use apache_avro::Schema;
use apache_avro::schema::UuidSchema;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::{Deserialize, Deserializer, Error as _, Visitor};
use serde_json::value::RawValue;

/// How a value that is not null is encoded.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    Boolean,
    Int,
    Long,
    Float,
    Double,
    String,
    Enum(Vec<String>),
    Bytes,
    Fixed(usize),
}

impl Kind {
    /// `None` for a type that has no encoding here.
    pub(super) fn of(schema: &Schema) -> Option<Self> {
        Some(match schema {
            Schema::Boolean => Self::Boolean,
            Schema::Int | Schema::Date => Self::Int,
            Schema::Long | Schema::TimestampMillis | Schema::TimestampMicros => Self::Long,
            Schema::Float => Self::Float,
            Schema::Double => Self::Double,
            Schema::String | Schema::Uuid(UuidSchema::String) => Self::String,
            Schema::Enum(symbols) => Self::Enum(symbols.symbols.clone()),
            Schema::Bytes => Self::Bytes,
            Schema::Fixed(fixed) => Self::Fixed(fixed.size),
            _ => return None,
        })
    }

    /// Whether JSON writes the value as a text.
    pub(super) fn is_text(&self) -> bool {
        matches!(
            self,
            Self::String | Self::Enum(_) | Self::Bytes | Self::Fixed(_)
        )
    }
}

/// Reads one value that is not null and appends its Avro bytes.
pub(super) fn put_value<'de, D: Deserializer<'de>>(
    kind: &Kind,
    deserializer: D,
    out: &mut Vec<u8>,
) -> Result<(), D::Error> {
    match kind {
        Kind::Boolean => out.push(u8::from(bool::deserialize(deserializer)?)),
        Kind::Int => put_long(i64::from(i32::deserialize(deserializer)?), out),
        Kind::Long => put_long(i64::deserialize(deserializer)?, out),
        Kind::Float => {
            let number: f32 = decimal(deserializer)?;
            out.extend_from_slice(&number.to_le_bytes());
        }
        Kind::Double => {
            let number: f64 = decimal(deserializer)?;
            out.extend_from_slice(&number.to_le_bytes());
        }
        _ => deserializer.deserialize_str(TextVisitor { kind, out })?,
    }
    Ok(())
}

/// A number as JSON spells it, rounded correctly: serde_json's own reading may be off in the last
/// digit.
fn decimal<'de, D: Deserializer<'de>, N>(deserializer: D) -> Result<N, D::Error>
where
    N: std::str::FromStr + Into<f64> + Copy,
{
    let text = <&RawValue>::deserialize(deserializer)?.get();
    let is_number = text.starts_with(|first: char| first == '-' || first.is_ascii_digit());
    match text.parse::<N>() {
        Ok(number) if is_number && number.into().is_finite() => Ok(number),
        _ => Err(D::Error::custom(format!(
            "{text:.40} is not a number in the type's range"
        ))),
    }
}

/// Everything that JSON writes as a text.
struct TextVisitor<'a> {
    kind: &'a Kind,
    out: &'a mut Vec<u8>,
}

impl Visitor<'_> for TextVisitor<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::Enum(symbols) => write!(f, "one of {}", symbols.join(", ")),
            Kind::Bytes | Kind::Fixed(_) => f.write_str("bytes in base64"),
            _ => f.write_str("a text"),
        }
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        match self.kind {
            Kind::Enum(symbols) => {
                let symbol = symbols
                    .iter()
                    .position(|symbol| symbol == text)
                    .ok_or_else(|| {
                        E::custom(format!("{text:?} is not one of {}", symbols.join(", ")))
                    })?;
                put_length(symbol, self.out);
            }
            Kind::Bytes | Kind::Fixed(_) => {
                let bytes = STANDARD.decode(text).map_err(E::custom)?;
                match self.kind {
                    Kind::Fixed(size) if bytes.len() != *size => {
                        return Err(E::custom(format!("{} bytes, not {size}", bytes.len())));
                    }
                    Kind::Fixed(_) => {}
                    _ => put_length(bytes.len(), self.out),
                }
                self.out.extend_from_slice(&bytes);
            }
            _ => put_text(text, self.out),
        }
        Ok(())
    }
}

/// Appends a text as Avro does: its length, then its bytes.
pub fn put_text(text: &str, out: &mut Vec<u8>) {
    put_length(text.len(), out);
    out.extend_from_slice(text.as_bytes());
}

/// Appends a whole number as Avro does: zigzag, seven bits a byte.
pub fn put_long(number: i64, out: &mut Vec<u8>) {
    let mut rest = ((number << 1) ^ (number >> 63)).cast_unsigned();
    while rest >= 0x80 {
        out.push((rest as u8) | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

fn put_length(length: usize, out: &mut Vec<u8>) {
    // A length in memory is far below i64's end.
    put_long(length as i64, out);
}
