//! JSON bodies, read straight into columns.
//!
//! The reader is our own because it must be exact where general parsers round: a long written with
//! a fraction or an exponent is taken only if it is whole, a double is the nearest to its text, and
//! a range of the text can be remembered and read later. It accepts exactly the grammar of RFC 8259
//! (tests hold it against serde_json).

mod envelope;
mod fields;
mod key;
mod nested;
mod number;
mod parts;
mod plan;
mod reader;
mod row;
mod text;
mod typed;
mod unknown;
mod value;
mod variable_decimal;
mod visit;

pub(crate) use envelope::JsonDecoder;
pub(crate) use key::JsonKey;
pub use unknown::UnknownFields;
pub(crate) use value::fill_value;
pub(crate) use visit::{Kind, visit};

/// Whether a body is the JSON text `null`, which some serializers write for a null value.
pub(crate) fn is_null_text(body: &[u8]) -> bool {
    body.len() < 16 && body.trim_ascii() == b"null"
}
