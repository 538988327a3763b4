//! `[[topic]]`: which topics are read, how, and into which tables.

use std::path::PathBuf;

use schemas::{KeyFormat, Shape};
use serde::{Deserialize, Serialize};

use super::Start;

/// One entry of the list; the first that takes a topic decides. [`crate::Routes`] checks them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TopicSettings {
    /// The topic's name. Either this or a pattern.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// A regular expression over the whole name of a topic.
    #[serde(default, rename = "match", skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    /// The table, `service.entity`; `$1` or `${name}` stand for groups of the pattern. When
    /// absent: the topic's name, or the last two parts of a longer one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
    /// How values are encoded.
    #[serde(default)]
    pub format: Format,
    /// How record keys are encoded; as the values are when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_format: Option<KeyFormat>,
    /// What a value stands for.
    #[serde(default)]
    pub shape: Shape,
    /// The key columns; the contract's key, or the fields of the key's schema, when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Vec<String>>,
    /// An Avro record schema of the entity, a path relative to the configuration file, in which
    /// groups of the pattern may stand. When absent: the schema that the first record brings. JSON
    /// that brings none needs a contract or `infer`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contract: Option<PathBuf>,
    /// Take the columns of JSON that brings no schema from its first records.
    #[serde(default)]
    pub infer: bool,
    /// Avro schemas that values in single-object encoding may be written with, besides the
    /// contract: paths relative to the configuration file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub writer_schemas: Vec<PathBuf>,
    /// Where a partition is read from that the table has never seen.
    #[serde(default)]
    pub start: Start,
    /// What happens to records under a schema that the table cannot follow.
    #[serde(default)]
    pub on_incompatible: OnIncompatible,
    /// What happens to rows of JSON with fields that the table lacks.
    #[serde(default)]
    pub unknown_fields: UnknownFields,
}

impl TopicSettings {
    /// The entry of a topic by name, all else as by default.
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            name: Some(name.into()),
            ..Self::default()
        }
    }
}

/// How the values of a topic are encoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// Avro in the Confluent wire format, schemas in the registry.
    #[default]
    Avro,
    /// JSON text.
    Json,
    /// Avro single-object encoding: two marker bytes, the schema's fingerprint, the value.
    AvroSingleObject,
}

impl Format {
    /// How keys are encoded unless the configuration says otherwise.
    pub(crate) fn of_keys(self) -> KeyFormat {
        match self {
            Self::Avro | Self::AvroSingleObject => KeyFormat::Avro,
            Self::Json => KeyFormat::Json,
        }
    }
}

/// What happens to rows of JSON with fields that the table lacks. Where columns are inferred, they
/// become columns instead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UnknownFields {
    /// The record becomes a dead letter.
    #[default]
    DeadLetter,
    /// The fields are left out.
    Ignore,
}

/// What happens to records whose schema the table cannot follow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnIncompatible {
    /// They become dead letters, and the table goes on.
    #[default]
    DeadLetter,
    /// The table stops before them, and only this table.
    Stop,
}
