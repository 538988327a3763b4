//! The contract that a writer's schemas imply.

use apache_avro::Schema;
use schemas::avro::NodeId;
use schemas::{AvroSchema, Contract, ContractError, Shape};
use serde_json::Value;

/// Like [`contract_of_writer`], of schemas that have lost the attributes of their primitive types:
/// what Debezium and Kafka Connect call them is not seen.
pub fn contract_of(
    value: &Schema,
    key: Option<&Schema>,
    shape: Shape,
) -> Result<Contract, ContractError> {
    let read = |schema: &Schema| {
        let json = serde_json::to_value(schema);
        AvroSchema::from_json(&json.map_err(|error| ContractError::Avro(error.to_string()))?)
    };
    let key = key.map(read).transpose()?;
    contract_of_writer(&read(value)?, key.as_ref(), shape, None)
}

/// The entity's contract as its value schema tells it: the row inside Debezium's envelope for that
/// shape, else the value itself. The key is the row's own `lakehead.key` if it names one, else the
/// fields of the key's schema if that is a record.
///
/// For a table that exists, what its contract asks of fields (`lakehead.type`) goes for the
/// writer's.
///
/// # Errors
/// The schema is not a record, not an envelope, or a field cannot be held by the lake.
pub fn contract_of_writer(
    value: &AvroSchema,
    key: Option<&AvroSchema>,
    shape: Shape,
    table: Option<&Contract>,
) -> Result<Contract, ContractError> {
    let contract = Contract::of_record(value, row_of(value, shape)?, table)?;
    let key = key.filter(|_| contract.key().is_empty());
    let Some((_, _, key)) = key.and_then(|key| key.record(key.root())) else {
        return Ok(contract);
    };
    contract.with_key(key.iter().map(|field| field.name.clone()).collect())
}

/// The contract that a JSON record's own schema implies (`{"schema": …, "payload": …}`, as Kafka
/// Connect's converter writes it); nothing if it carries none. The key is the fields of the
/// record's key, if that is an object.
///
/// # Errors
/// The schema is broken, not an envelope in shape `debezium`, or a field cannot be held.
pub fn contract_of_json(
    value: &[u8],
    key: Option<&[u8]>,
    shape: Shape,
    table: Option<&Contract>,
) -> Result<Option<Contract>, ContractError> {
    let broken = |error: serde_json::Error| ContractError::Avro(error.to_string());
    let value: Value = serde_json::from_slice(value).map_err(broken)?;
    let schema = &value["schema"];
    if !schema.is_object() || value.get("payload").is_none() {
        return Ok(None);
    }
    let schema = AvroSchema::from_connect(schema)?;
    let contract = contract_of_writer(&schema, None, shape, table)?;
    match key.and_then(key_of_json) {
        Some(mut names) => {
            names.sort_by_key(|name| {
                let place = contract
                    .fields()
                    .iter()
                    .position(|field| &field.name == name);
                place.unwrap_or(usize::MAX)
            });
            contract.with_key(names).map(Some)
        }
        _ => Ok(Some(contract)),
    }
}

/// The fields of a record's key in JSON, in Kafka Connect's wrapper or not; nothing if it is no
/// object.
pub fn key_of_json(key: &[u8]) -> Option<Vec<String>> {
    let key: Value = serde_json::from_slice(key).ok()?;
    let key = match key.get("payload") {
        Some(payload) if key.get("schema").is_some() => payload,
        _ => &key,
    };
    let names: Vec<String> = key.as_object()?.keys().cloned().collect();
    (!names.is_empty()).then_some(names)
}

/// The row that a value's schema is of.
pub(crate) fn row_of(value: &AvroSchema, shape: Shape) -> Result<NodeId, ContractError> {
    let root = value.root();
    let refused = |id: NodeId| ContractError::NotARecord(value.describe(id));
    let (_, record, fields) = value.record(root).ok_or_else(|| refused(root))?;
    if shape != Shape::Debezium {
        return Ok(record);
    }
    let after = fields.iter().find(|field| field.name == "after");
    let after = after.ok_or_else(|| {
        ContractError::NotARecord("an envelope without a field \"after\"".to_owned())
    })?;
    let row = value
        .record(after.node)
        .ok_or_else(|| refused(after.node))?;
    Ok(row.1)
}
