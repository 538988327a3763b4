//! One field: its plan, whether it may be null, and what stands for it when it is left out.

use std::fmt;

use apache_avro::Schema;
use apache_avro::schema::RecordField;
use serde::de::{DeserializeSeed, Deserializer, Visitor};

use super::EncodeError;
use super::value::{Kind, put_value};

/// How one field is encoded.
#[derive(Debug)]
pub(crate) struct Field {
    name: String,
    union: Union,
    kind: Kind,
    /// The bytes of a member that is left out, if it may be.
    absent: Option<Vec<u8>>,
}

/// Which branches a field's union has; the number is the value's place in it.
#[derive(Clone, Copy, Debug)]
enum Union {
    None,
    Single,
    WithNull { null: u8, value: u8 },
}

impl Field {
    pub(super) fn new(field: &RecordField) -> Result<Self, EncodeError> {
        let name = field.name.as_str();
        let (union, schema) = branches(&field.schema)
            .ok_or_else(|| EncodeError::new(Some(name), "only unions of null and one type"))?;
        let kind = Kind::of(schema).ok_or_else(|| {
            EncodeError::new(Some(name), "its type cannot be encoded for an outbox yet")
        })?;
        let mut plan = Self {
            name: name.to_owned(),
            union,
            kind,
            absent: None,
        };
        // Avro writes the defaults of bytes in a way of its own; such a field must be given.
        let is_bytes = matches!(plan.kind, Kind::Bytes | Kind::Fixed(_));
        plan.absent = match (&field.default, union) {
            (Some(default), _) if !is_bytes || default.is_null() => {
                Some(plan.encoded(&default.to_string())?)
            }
            (Some(_), _) => None,
            (None, Union::WithNull { null, .. }) => Some(vec![null * 2]),
            (None, _) => None,
        };
        Ok(plan)
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// An object with this field alone, by the value's bare text.
    pub(crate) fn object(&self, text: &str) -> String {
        let name = serde_json::Value::from(self.name());
        if self.kind.is_text() {
            format!("{{{name}:{}}}", serde_json::Value::from(text))
        } else {
            format!("{{{name}:{text}}}")
        }
    }

    /// What stands for the field when its member is left out.
    pub(super) fn absent(&self) -> Option<&[u8]> {
        self.absent.as_deref()
    }

    fn encoded(&self, json: &str) -> Result<Vec<u8>, EncodeError> {
        let mut out = Vec::new();
        let mut deserializer = serde_json::Deserializer::from_str(json);
        FieldSeed {
            field: self,
            out: &mut out,
        }
        .deserialize(&mut deserializer)
        .map_err(|error| EncodeError::new(Some(&self.name), format!("its default: {error}")))?;
        Ok(out)
    }
}

fn branches(schema: &Schema) -> Option<(Union, &Schema)> {
    let Schema::Union(union) = schema else {
        return Some((Union::None, schema));
    };
    match union.variants() {
        [only] => Some((Union::Single, only)),
        [Schema::Null, value] => Some((Union::WithNull { null: 0, value: 1 }, value)),
        [value, Schema::Null] => Some((Union::WithNull { null: 1, value: 0 }, value)),
        _ => None,
    }
}

/// Reads one value and appends its Avro bytes.
pub(super) struct FieldSeed<'a> {
    pub(super) field: &'a Field,
    pub(super) out: &'a mut Vec<u8>,
}

impl<'de> DeserializeSeed<'de> for FieldSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        match self.field.union {
            Union::None => put_value(&self.field.kind, deserializer, self.out),
            Union::Single => {
                self.out.push(0);
                put_value(&self.field.kind, deserializer, self.out)
            }
            Union::WithNull { null, value } => deserializer.deserialize_option(NullableVisitor {
                kind: &self.field.kind,
                null,
                value,
                out: self.out,
            }),
        }
    }
}

struct NullableVisitor<'a> {
    kind: &'a Kind,
    null: u8,
    value: u8,
    out: &'a mut Vec<u8>,
}

impl<'de> Visitor<'de> for NullableVisitor<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "null or {:?}", self.kind)
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        // A branch's number is a zigzag long: twice itself.
        self.out.push(self.null * 2);
        Ok(())
    }

    fn visit_none<E: serde::de::Error>(self) -> Result<(), E> {
        self.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        self.out.push(self.value * 2);
        put_value(self.kind, deserializer, self.out)
    }
}
