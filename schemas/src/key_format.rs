//! How record keys are written.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How the keys of a topic's records are written; chosen per topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyFormat {
    /// Avro, framed as the values are: a record of the key's fields, or the one field's value.
    Avro,
    /// JSON: an object of the key's fields, or the one field's value.
    Json,
    /// UTF-8 text, as Kafka's `StringSerializer` writes it: the one key field, a string or the
    /// digits of a whole number.
    String,
    /// A whole number in 4 or 8 bytes, big endian, as Kafka's `IntegerSerializer` and
    /// `LongSerializer` write it: the one key field.
    Integer,
}

/// A text that names no format of keys.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a format of keys; one of avro, json, string, integer")]
pub struct UnknownKeyFormat(String);

impl KeyFormat {
    /// The format's name in configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Avro => "avro",
            Self::Json => "json",
            Self::String => "string",
            Self::Integer => "integer",
        }
    }
}

impl fmt::Display for KeyFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for KeyFormat {
    type Err = UnknownKeyFormat;

    fn from_str(name: &str) -> Result<Self, UnknownKeyFormat> {
        [Self::Avro, Self::Json, Self::String, Self::Integer]
            .into_iter()
            .find(|format| format.name() == name)
            .ok_or_else(|| UnknownKeyFormat(name.to_owned()))
    }
}
