//! What the lake holds of a type.

use serde_json::Value;

use super::names::refused;
use super::{Ask, Field, FieldType};
use crate::avro::Kind;
use crate::contract::ContractError;
use crate::meaning::{DIGITS_MAX, Meaning};

/// The fields of a duration.
const DURATION: [&str; 3] = ["months", "days", "millis"];

/// What is held where the contract asks.
pub(super) fn asked_for(kind: &Kind, meaning: Meaning, asked: Ask) -> Option<FieldType> {
    let is_long = matches!(kind, Kind::Long);
    Some(match (asked, meaning) {
        (Ask::Int, Meaning::Int) => FieldType::Int,
        (Ask::Float, Meaning::Float) => FieldType::Float,
        (Ask::Long, Meaning::Int) => FieldType::Long,
        (Ask::Long, Meaning::Plain) if is_long => FieldType::Long,
        (Ask::Long, meaning) if meaning.is_counted() => FieldType::Long,
        (Ask::String, Meaning::Decimal { .. } | Meaning::InstantText) => FieldType::String,
        (Ask::Timestamp, Meaning::WallClock(_) | Meaning::Instant(_)) => FieldType::Timestamp,
        _ => return None,
    })
}

/// A duration's three numbers.
pub(super) fn duration() -> FieldType {
    FieldType::Record(DURATION.map(part).into())
}

fn part(name: &str) -> Field {
    Field {
        name: name.to_owned(),
        field_type: FieldType::Long,
        nullable: false,
        meaning: Meaning::Plain,
        asked: None,
        aliases: Vec::new(),
        default: None,
        json: Value::Null,
    }
}

/// A decimal, if a table holds as many digits.
pub(super) fn decimal(precision: u32, scale: u32, path: &str) -> Result<FieldType, ContractError> {
    let digits = |digits: u32| u8::try_from(digits).ok().filter(|_| digits <= DIGITS_MAX);
    let (Some(precision), Some(scale)) = (digits(precision), digits(scale)) else {
        let why = format!(
            "decimal({precision}, {scale}) has more than {DIGITS_MAX} digits (a contract may ask \
             for its text: \"lakehead.type\": \"string\"), and"
        );
        return Err(refused(path, why));
    };
    Ok(FieldType::Decimal { precision, scale })
}
