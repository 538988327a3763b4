//! What is said of an owner's transactions.

use serde_json::json;

/// The Avro schemas under which a service's transactions travel, in a topic of their own: Debezium's
/// transaction metadata, a record at a transaction's begin and one at its end, both with its id as key.
///
/// The value is `{status, id, ts_ms, event_count, data_collections: [{data_collection, event_count}]}`.
/// `status` is `BEGIN` or `END`, `ts_ms` the owner's commit time in milliseconds; the counts are null
/// at the begin, and at the end say how many change events the transaction made, in all and of each
/// table (`schema.table` in the owner's words).
#[derive(Clone, Debug)]
pub struct TransactionEvent {
    /// Avro schema of the record's value, as JSON text.
    pub value_schema: String,
    /// Avro schema of the record's key, as JSON text.
    pub key_schema: String,
}

impl TransactionEvent {
    /// The schemas of `service`'s transactions.
    pub fn of(service: &str) -> Self {
        let namespace = format!("{service}.transaction");
        let collection = json!({
            "type": "record", "name": "DataCollection",
            "fields": [
                {"name": "data_collection", "type": "string"},
                {"name": "event_count", "type": "long"},
            ],
        });
        let value = json!({
            "type": "record", "name": "TransactionEvent", "namespace": namespace,
            "fields": [
                {"name": "status", "type": "string"},
                {"name": "id", "type": "string"},
                {"name": "ts_ms", "type": "long"},
                {"name": "event_count", "type": ["null", "long"], "default": null},
                {
                    "name": "data_collections",
                    "type": ["null", {"type": "array", "items": collection}],
                    "default": null,
                },
            ],
        });
        let key = json!({
            "type": "record", "name": "Key", "namespace": namespace,
            "fields": [{"name": "id", "type": "string"}],
        });
        Self {
            value_schema: value.to_string(),
            key_schema: key.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schemas_are_valid_avro() {
        let event = TransactionEvent::of("shop");
        apache_avro::Schema::parse_str(&event.value_schema).unwrap();
        apache_avro::Schema::parse_str(&event.key_schema).unwrap();
    }
}
