//! The shapes of a change event's value.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{Contract, TableName};

/// What one change did to its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// The row was inserted.
    Create,
    /// The row was updated.
    Update,
    /// The row was deleted.
    Delete,
    /// The row was read by an initial snapshot.
    Read,
}

impl Op {
    /// Debezium's letter for it: `c`, `u`, `d` or `r`.
    pub fn letter(self) -> &'static str {
        match self {
            Self::Create => "c",
            Self::Update => "u",
            Self::Delete => "d",
            Self::Read => "r",
        }
    }

    /// The operation that a letter of Debezium's stands for.
    pub fn from_letter(letter: &str) -> Option<Self> {
        match letter {
            "c" => Some(Self::Create),
            "u" => Some(Self::Update),
            "d" => Some(Self::Delete),
            "r" => Some(Self::Read),
            _ => None,
        }
    }
}

/// How a record's value stands for a change; chosen per topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Shape {
    /// Debezium's envelope: `before`, `after`, `op`, `source`, `ts_ms`. A null value (the
    /// tombstone after a delete) says nothing new and is passed over.
    #[default]
    Debezium,
    /// The value is the row after the change; a null value deletes the row of the record's key.
    Upsert,
    /// The value is a fact that is never updated.
    Append,
}

/// A text that names no shape.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a shape; one of debezium, upsert, append")]
pub struct UnknownShape(String);

impl Shape {
    /// The shape's name in configuration and table properties.
    pub fn name(self) -> &'static str {
        match self {
            Self::Debezium => "debezium",
            Self::Upsert => "upsert",
            Self::Append => "append",
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Shape {
    type Err = UnknownShape;

    fn from_str(name: &str) -> Result<Self, UnknownShape> {
        [Self::Debezium, Self::Upsert, Self::Append]
            .into_iter()
            .find(|shape| shape.name() == name)
            .ok_or_else(|| UnknownShape(name.to_owned()))
    }
}

/// The Avro schemas under which an entity's change events travel.
///
/// The value is Debezium's envelope, field for field:
/// `{before: null|Row, after: null|Row, source: {…}, op: string, ts_ms: null|long, transaction}`;
/// `source` keeps `version`, `connector`, `name`, `ts_ms` (owner's commit time, milliseconds), `db`,
/// `table` and Lakehead's `ts_us` (the same in microseconds) and `sequence`, and the transaction's id
/// (`txId`) where it is known. `transaction` is null or the change's place in its transaction
/// ([`crate::TransactionEvent`]): `{id, total_order, data_collection_order}`.
#[derive(Clone, Debug)]
pub struct Envelope {
    /// Avro schema of the record's value, as JSON text.
    pub value_schema: String,
    /// Avro schema of the record's key, a record of the key fields, as JSON text.
    pub key_schema: String,
}

impl Envelope {
    /// The schemas of `table`'s change events under its contract.
    pub fn of(table: &TableName, contract: &Contract) -> Self {
        Self::with(table, contract, source_schema)
    }

    /// The same for changes that are read from a database's log: `source` is what Debezium's connector
    /// for Postgres writes, with the change's LSN (`lsn`) and its transaction's number (`txId`).
    pub fn captured(table: &TableName, contract: &Contract) -> Self {
        Self::with(table, contract, captured_source_schema)
    }

    fn with(table: &TableName, contract: &Contract, source: fn(&str) -> Value) -> Self {
        let namespace = table.to_string();
        let mut row = contract.avro_json().clone();
        row["name"] = json!("Row");
        row["namespace"] = json!(namespace);
        let row_name = format!("{namespace}.Row");
        let fields = vec![
            json!({"name": "before", "type": ["null", row], "default": null}),
            json!({"name": "after", "type": ["null", row_name], "default": null}),
            json!({"name": "source", "type": source(&namespace)}),
            json!({"name": "op", "type": "string"}),
            json!({"name": "ts_ms", "type": ["null", "long"], "default": null}),
            json!({"name": "transaction", "type": ["null", transaction_schema(table)], "default": null}),
        ];
        let value_schema = json!({
            "type": "record", "name": "Envelope", "namespace": namespace, "fields": fields,
        });
        let key_fields: Vec<Value> = contract
            .key()
            .iter()
            .filter_map(|name| contract.avro_field(name).cloned())
            .collect();
        let key_schema = json!({
            "type": "record", "name": "Key", "namespace": namespace, "fields": key_fields,
        });
        Self {
            value_schema: value_schema.to_string(),
            key_schema: key_schema.to_string(),
        }
    }
}

/// Debezium's `source` of Postgres. `snapshot` is "true" of a row that was copied, else "false".
fn captured_source_schema(namespace: &str) -> Value {
    json!({
        "type": "record", "name": "Source", "namespace": namespace,
        "fields": [
            {"name": "version", "type": "string"},
            {"name": "connector", "type": "string"},
            {"name": "name", "type": "string"},
            {"name": "ts_ms", "type": "long"},
            {"name": "snapshot", "type": ["null", "string"], "default": null},
            {"name": "db", "type": "string"},
            {"name": "sequence", "type": ["null", "string"], "default": null},
            {"name": "ts_us", "type": "long"},
            {"name": "schema", "type": "string"},
            {"name": "table", "type": "string"},
            {"name": "txId", "type": ["null", "long"], "default": null},
            {"name": "lsn", "type": ["null", "long"], "default": null},
        ],
    })
}

fn transaction_schema(table: &TableName) -> Value {
    json!({
        "type": "record", "name": "Transaction", "namespace": table.to_string(),
        "fields": [
            {"name": "id", "type": "string"},
            {"name": "total_order", "type": "long"},
            {"name": "data_collection_order", "type": "long"},
        ],
    })
}

fn source_schema(namespace: &str) -> Value {
    json!({
        "type": "record", "name": "Source", "namespace": namespace,
        "fields": [
            {"name": "version", "type": "string"},
            {"name": "connector", "type": "string"},
            {"name": "name", "type": "string"},
            {"name": "ts_ms", "type": "long"},
            {"name": "ts_us", "type": "long"},
            {"name": "db", "type": "string"},
            {"name": "table", "type": "string"},
            {"name": "sequence", "type": ["null", "string"], "default": null},
            {"name": "txId", "type": ["null", "string"], "default": null},
        ],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_envelope_is_valid_avro() {
        let contract: Contract =
            r#"{"type":"record","name":"Flight","lakehead.key":["id"],"fields":[
            {"name":"id","type":"int"},{"name":"at","type":["null","string"],"default":null}]}"#
                .parse()
                .unwrap();
        let envelope = Envelope::of(&"flights.flight".parse().unwrap(), &contract);
        apache_avro::Schema::parse_str(&envelope.value_schema).unwrap();
        apache_avro::Schema::parse_str(&envelope.key_schema).unwrap();
        assert!(envelope.key_schema.contains(r#""name":"id""#));
        let captured = Envelope::captured(&"flights.flight".parse().unwrap(), &contract);
        apache_avro::Schema::parse_str(&captured.value_schema).unwrap();
        assert_eq!(captured.key_schema, envelope.key_schema);
    }

    #[test]
    fn letters_and_shapes_round_trip() {
        for op in [Op::Create, Op::Update, Op::Delete, Op::Read] {
            assert_eq!(Op::from_letter(op.letter()), Some(op));
        }
        for shape in [Shape::Debezium, Shape::Upsert, Shape::Append] {
            assert_eq!(shape.name().parse(), Ok(shape));
        }
        assert!("upsrt".parse::<Shape>().is_err());
    }
}
