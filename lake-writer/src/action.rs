//! The actions of a Delta commit entry that the writer writes and reads.
//!
//! Source: the Delta protocol (delta-io/delta, PROTOCOL.md, "Actions"). An entry is one action a
//! line; kinds that are not named here are passed over when reading.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// One line of a commit entry: exactly one field is set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Action {
    /// A [`CommitInfo`] if we wrote it; Delta lets others write whatever they like.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) commit_info: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) protocol: Option<Protocol>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) meta_data: Option<Metadata>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) txn: Option<Txn>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) add: Option<Add>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) remove: Option<Remove>,
}

/// Who wrote the entry. `txn_id` is how a commit recognises itself when it is read back.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CommitInfo {
    pub(crate) timestamp: i64,
    pub(crate) operation: String,
    pub(crate) operation_parameters: BTreeMap<String, Value>,
    pub(crate) engine_info: String,
    pub(crate) is_blind_append: bool,
    pub(crate) txn_id: Option<String>,
}

/// What a reader and a writer of the table must understand.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Protocol {
    pub(crate) min_reader_version: i32,
    pub(crate) min_writer_version: i32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reader_features: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) writer_features: Option<Vec<String>>,
}

impl Protocol {
    /// What our tables need: nothing beyond what every Delta reader and writer knows.
    pub(crate) const PLAIN: Self = Self {
        min_reader_version: 1,
        min_writer_version: 2,
        reader_features: None,
        writer_features: None,
    };
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (reader, writer) = (self.min_reader_version, self.min_writer_version);
        write!(f, "reader version {reader} and writer version {writer}")?;
        match &self.writer_features {
            None => Ok(()),
            Some(features) => write!(f, " ({})", features.join(", ")),
        }
    }
}

/// The table's schema and properties.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Metadata {
    pub(crate) id: String,
    pub(crate) format: FileFormat,
    pub(crate) schema_string: String,
    pub(crate) partition_columns: Vec<String>,
    #[serde(default)]
    pub(crate) configuration: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) created_time: Option<i64>,
}

/// The data files' format: Parquet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct FileFormat {
    pub(crate) provider: String,
    #[serde(default)]
    pub(crate) options: BTreeMap<String, String>,
}

impl Default for FileFormat {
    fn default() -> Self {
        Self {
            provider: "parquet".to_owned(),
            options: BTreeMap::new(),
        }
    }
}

/// How far an application has come; the newest per `app_id` counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Txn {
    pub(crate) app_id: String,
    pub(crate) version: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) last_updated: Option<i64>,
}

/// A data file that joins the table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Add {
    pub(crate) path: String,
    #[serde(default)]
    pub(crate) partition_values: BTreeMap<String, Option<String>>,
    pub(crate) size: i64,
    pub(crate) modification_time: i64,
    pub(crate) data_change: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) stats: Option<String>,
}

/// A data file that leaves the table.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Remove {
    pub(crate) path: String,
    pub(crate) deletion_timestamp: Option<i64>,
    pub(crate) data_change: bool,
    pub(crate) extended_file_metadata: bool,
    pub(crate) partition_values: BTreeMap<String, Option<String>>,
    pub(crate) size: Option<i64>,
}

impl Remove {
    /// The removal of a file as of now.
    pub(crate) fn of(file: Add, now_ms: i64, data_change: bool) -> Self {
        Self {
            path: file.path,
            deletion_timestamp: Some(now_ms),
            data_change,
            extended_file_metadata: true,
            partition_values: file.partition_values,
            size: Some(file.size),
        }
    }
}

macro_rules! action_from {
    ($kind:ty, $field:ident) => {
        impl From<$kind> for Action {
            fn from(value: $kind) -> Self {
                Self {
                    $field: Some(value),
                    ..Self::default()
                }
            }
        }
    };
}

impl TryFrom<CommitInfo> for Action {
    type Error = serde_json::Error;

    fn try_from(info: CommitInfo) -> Result<Self, Self::Error> {
        Ok(Self {
            commit_info: Some(serde_json::to_value(info)?),
            ..Self::default()
        })
    }
}

action_from!(Protocol, protocol);
action_from!(Metadata, meta_data);
action_from!(Txn, txn);
action_from!(Add, add);
action_from!(Remove, remove);

/// The bytes of the entry that makes a table: version 0.
pub(crate) fn creation(metadata: Metadata, now_us: i64) -> Result<Bytes, serde_json::Error> {
    let info = CommitInfo {
        timestamp: now_us / 1000,
        operation: "CREATE TABLE".to_owned(),
        operation_parameters: [("mode".to_owned(), json!("ErrorIfExists"))].into(),
        engine_info: concat!("lakehead/", env!("CARGO_PKG_VERSION")).to_owned(),
        ..CommitInfo::default()
    };
    let actions = [info.try_into()?, Protocol::PLAIN.into(), metadata.into()];
    encode(&actions).map(Bytes::from)
}

/// The bytes of a commit entry: one action a line.
pub(crate) fn encode(actions: &[Action]) -> Result<Vec<u8>, serde_json::Error> {
    let mut entry = Vec::new();
    for action in actions {
        serde_json::to_writer(&mut entry, action)?;
        entry.push(b'\n');
    }
    Ok(entry)
}

/// The actions of a commit entry.
pub(crate) fn decode(entry: &[u8]) -> Result<Vec<Action>, serde_json::Error> {
    entry
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.trim_ascii().is_empty())
        .map(serde_json::from_slice)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_one_action_a_line_in_deltas_words() {
        let txn = Txn {
            app_id: "p/t/0".to_owned(),
            version: 7,
            last_updated: None,
        };
        let entry = encode(&[Protocol::PLAIN.into(), txn.clone().into()]).unwrap();
        let text = String::from_utf8(entry.clone()).unwrap();
        assert_eq!(
            text,
            "{\"protocol\":{\"minReaderVersion\":1,\"minWriterVersion\":2}}\n\
             {\"txn\":{\"appId\":\"p/t/0\",\"version\":7}}\n"
        );
        assert_eq!(decode(&entry).unwrap()[1].txn, Some(txn));
    }

    #[test]
    fn whatever_others_write_of_themselves_is_read() {
        let odd = br#"{"commitInfo":{"timestamp":null,"operation":7,"isBlindAppend":"yes"}}"#;
        assert_eq!(decode(odd).unwrap().len(), 1);
    }

    #[test]
    fn foreign_actions_are_passed_over() {
        let actions =
            decode(b"{\"domainMetadata\":{\"domain\":\"x\"}}\n{\"cdc\":{\"path\":\"p\"}}\n")
                .unwrap();
        assert_eq!(actions, [Action::default(), Action::default()]);
    }
}
