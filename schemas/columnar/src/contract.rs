//! The contract that a writer's schemas imply.

use std::collections::HashSet;

use apache_avro::Schema;
use apache_avro::schema::{Name, RecordSchema};
use schemas::{Contract, ContractError, Shape};

use crate::avro::{Names, describe, without_null};
use crate::error::SchemaMismatch;

/// The entity's contract as its Avro value schema tells it: the row inside Debezium's envelope for
/// that shape, else the value itself. The key is the row's own `lakehead.key` if it names one,
/// else the fields of the key's schema if that is a record.
///
/// # Errors
/// The schema is not a record, not an envelope, or a field cannot be held by the lake.
pub fn contract_of(
    value: &Schema,
    key: Option<&Schema>,
    shape: Shape,
) -> Result<Contract, ContractError> {
    let names = Names::of(value).map_err(refused)?;
    let Schema::Record(record) = names.resolve(value).map_err(refused)? else {
        return Err(ContractError::NotARecord(describe(value)));
    };
    let row = match shape {
        Shape::Upsert | Shape::Append => record,
        Shape::Debezium => {
            let after = record.fields.iter().find(|field| field.name == "after");
            let after = after.ok_or_else(|| {
                ContractError::NotARecord("an envelope without a field \"after\"".to_owned())
            })?;
            names.record(&after.schema).map_err(refused)?.1
        }
    };
    let contract = Contract::from_avro(&Schema::Record(with_definitions(row, &names)?))?;
    let Some(key) = key.filter(|_| contract.key().is_empty()) else {
        return Ok(contract);
    };
    let names = Names::of(key).map_err(refused)?;
    let Ok((_, key)) = names.record(key) else {
        return Ok(contract);
    };
    contract.with_key(key.fields.iter().map(|field| field.name.clone()).collect())
}

/// The record with the definitions of the types that it refers to, so that it stands alone.
fn with_definitions(row: &RecordSchema, names: &Names<'_>) -> Result<RecordSchema, ContractError> {
    let mut row = row.clone();
    let mut defined = HashSet::new();
    for field in &mut row.fields {
        let (_, inner) = without_null(&field.schema);
        if let Schema::Ref { name } = inner {
            let name = name.clone();
            if defined.insert(name.clone()) {
                let definition = names
                    .resolve(&Schema::Ref { name: name.clone() })
                    .map_err(refused)?
                    .clone();
                field.schema = defining(&field.schema, &name, &definition)?;
            }
        } else if let Some(name) = inner.name() {
            defined.insert(name.clone());
        }
    }
    Ok(row)
}

/// The type with the first reference to `name` replaced by its definition.
fn defining(schema: &Schema, name: &Name, definition: &Schema) -> Result<Schema, ContractError> {
    match schema {
        Schema::Ref { name: found } if found == name => Ok(definition.clone()),
        Schema::Union(union) => {
            let branches = union.variants().iter();
            let branches = branches.map(|branch| defining(branch, name, definition));
            let union = apache_avro::schema::UnionSchema::new(branches.collect::<Result<_, _>>()?);
            union
                .map(Schema::Union)
                .map_err(|error| ContractError::Avro(error.to_string()))
        }
        other => Ok(other.clone()),
    }
}

fn refused(error: SchemaMismatch) -> ContractError {
    ContractError::Avro(error.to_string())
}
