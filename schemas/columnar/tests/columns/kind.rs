//! The Avro types of generated fields, and their values in both formats.

use apache_avro::types::Value;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use serde_json::{Value as Json, json};

use crate::table::Cell;

/// The writer's type of a field.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Text,
    Enum,
    Bytes,
    Fixed,
    Date,
    Millis,
    Micros,
}

pub(crate) const KINDS: [Kind; 12] = [
    Kind::Boolean,
    Kind::Int,
    Kind::Long,
    Kind::Float,
    Kind::Double,
    Kind::Text,
    Kind::Enum,
    Kind::Bytes,
    Kind::Fixed,
    Kind::Date,
    Kind::Millis,
    Kind::Micros,
];
const SYMBOLS: [&str; 3] = ["RED", "GREEN", "BLUE"];

impl Kind {
    pub(crate) fn avro_json(self, position: usize) -> Json {
        match self {
            Self::Boolean => json!("boolean"),
            Self::Int => json!("int"),
            Self::Long => json!("long"),
            Self::Float => json!("float"),
            Self::Double => json!("double"),
            Self::Text => json!("string"),
            Self::Enum => {
                json!({"type": "enum", "name": format!("E{position}"), "symbols": SYMBOLS})
            }
            Self::Bytes => json!("bytes"),
            Self::Fixed => json!({"type": "fixed", "name": format!("F{position}"), "size": 4}),
            Self::Date => json!({"type": "int", "logicalType": "date"}),
            Self::Millis => json!({"type": "long", "logicalType": "timestamp-millis"}),
            Self::Micros => json!({"type": "long", "logicalType": "timestamp-micros"}),
        }
    }

    pub(crate) fn value(self, cell: &Cell) -> Value {
        match (self, cell) {
            (_, Cell::Null) => Value::Null,
            (Self::Boolean, Cell::Boolean(value)) => Value::Boolean(*value),
            (Self::Int, Cell::Long(value)) => Value::Int((*value).try_into().unwrap()),
            (Self::Long, Cell::Long(value)) => Value::Long(*value),
            #[expect(clippy::cast_possible_truncation, reason = "it was made of an f32")]
            (Self::Float, Cell::Double(bits)) => Value::Float(f64::from_bits(*bits) as f32),
            (Self::Double, Cell::Double(bits)) => Value::Double(f64::from_bits(*bits)),
            (Self::Text, Cell::Text(text)) => Value::String(text.clone()),
            (Self::Enum, Cell::Text(text)) => {
                let index = SYMBOLS.iter().position(|symbol| symbol == text).unwrap();
                Value::Enum(index.try_into().unwrap(), text.clone())
            }
            (Self::Bytes, Cell::Bytes(bytes)) => Value::Bytes(bytes.clone()),
            (Self::Fixed, Cell::Bytes(bytes)) => Value::Fixed(bytes.len(), bytes.clone()),
            (Self::Date, Cell::Long(days)) => Value::Date((*days).try_into().unwrap()),
            (Self::Millis, Cell::Long(us)) => Value::TimestampMillis(us / 1000),
            (Self::Micros, Cell::Long(us)) => Value::TimestampMicros(*us),
            (kind, cell) => panic!("{kind:?} does not hold {cell:?}"),
        }
    }

    /// One of the texts that stand for the cell.
    pub(crate) fn json(self, cell: &Cell, choice: usize) -> String {
        match (self, cell) {
            (_, Cell::Null) => "null".to_owned(),
            (_, Cell::Boolean(value)) => value.to_string(),
            (Self::Date, Cell::Long(days))
                if choice == 0 && (-700_000..2_900_000).contains(days) =>
            {
                let date = chrono::DateTime::from_timestamp(days * 86_400, 0).unwrap();
                date.format("\"%Y-%m-%d\"").to_string()
            }
            (Self::Millis | Self::Micros, Cell::Long(us))
                if choice < 2
                    && (-62_000_000_000_000_000..253_000_000_000_000_000).contains(us) =>
            {
                let instant = chrono::DateTime::from_timestamp_micros(*us).unwrap();
                instant
                    .format(
                        [
                            "\"%Y-%m-%dT%H:%M:%S%.6fZ\"",
                            "\"%Y-%m-%dT%H:%M:%S%.9f+00:00\"",
                        ][choice],
                    )
                    .to_string()
            }
            (Self::Millis, Cell::Long(us)) => (us / 1000).to_string(),
            (Self::Int, Cell::Long(value)) if choice == 1 => format!("{value}.0"),
            (Self::Long, Cell::Long(value)) if choice == 2 && *value != 0 => {
                format!("{value}00e-2")
            }
            (_, Cell::Long(value)) => value.to_string(),
            (_, Cell::Double(bits)) => Json::from(f64::from_bits(*bits)).to_string(),
            (_, Cell::Text(text)) => Json::from(text.as_str()).to_string(),
            (_, Cell::Bytes(bytes)) => format!("\"{}\"", STANDARD.encode(bytes)),
        }
    }

    pub(crate) fn cells(self) -> BoxedStrategy<Cell> {
        match self {
            Self::Boolean => any::<bool>().prop_map(Cell::Boolean).boxed(),
            Self::Int | Self::Date => any::<i32>().prop_map(|v| Cell::Long(v.into())).boxed(),
            Self::Long | Self::Micros => any::<i64>().prop_map(Cell::Long).boxed(),
            Self::Millis => (i64::MIN / 1000..i64::MAX / 1000)
                .prop_map(|v| Cell::Long(v * 1000))
                .boxed(),
            Self::Float => prop::num::f32::NORMAL
                .prop_map(|v| Cell::double(v.into()))
                .boxed(),
            Self::Double => prop::num::f64::NORMAL.prop_map(Cell::double).boxed(),
            Self::Text => any::<String>().prop_map(Cell::Text).boxed(),
            Self::Enum => (0..SYMBOLS.len())
                .prop_map(|i| Cell::text(SYMBOLS[i]))
                .boxed(),
            Self::Bytes => any::<Vec<u8>>().prop_map(Cell::Bytes).boxed(),
            Self::Fixed => any::<[u8; 4]>()
                .prop_map(|v| Cell::Bytes(v.to_vec()))
                .boxed(),
        }
    }
}
