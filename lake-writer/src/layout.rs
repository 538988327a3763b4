//! The layout of the tables the writer makes: Delta schema, partition column, properties.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use columnar::ChangeSchema;
use lake_store::{
    BUCKET, BUCKETS_PROPERTY, CONTRACT_PROPERTY, FORMAT_PROPERTY, FORMAT_VERSION, KEY_PROPERTY,
    SHAPE_PROPERTY,
};
use schemas::{Contract, Shape};
use serde_json::{Value, json};

/// Delta's property that lets checkpoints leave out old `txn`s.
const FORGETS_PROPERTY: &str = "delta.setTransactionRetentionDuration";
use uuid::Uuid;

use crate::action::{FileFormat, Metadata};

/// The partition column of tables of changes.
pub(crate) const EVENT_DATE: &str = "_event_date";

/// The lineage columns that name a record's place in its topic, with [`OFFSET`].
pub(crate) const PARTITION: &str = "_partition";
pub(crate) const GENERATION: &str = "_generation";

/// Lineage columns of which every row has its own value.
pub(crate) const EVENT_ID: &str = "_event_id";
pub(crate) const EVENT_TIME: &str = "_event_time";
pub(crate) const OFFSET: &str = "_offset";

/// The metadata of a new table of changes.
pub(crate) fn changes_metadata(
    schema: &ChangeSchema,
    shape: Shape,
    id: Uuid,
    now_us: i64,
) -> Result<Metadata, String> {
    let contract = schema.contract();
    let configuration = BTreeMap::from([
        (FORMAT_PROPERTY.to_owned(), FORMAT_VERSION.to_owned()),
        (KEY_PROPERTY.to_owned(), json!(contract.key()).to_string()),
        (SHAPE_PROPERTY.to_owned(), shape.name().to_owned()),
        (
            CONTRACT_PROPERTY.to_owned(),
            contract.avro_json().to_string(),
        ),
    ]);
    metadata(
        &schema.table_schema(),
        vec![EVENT_DATE.to_owned()],
        configuration,
        id,
        now_us,
    )
}

/// A table's metadata with the columns and contract of another schema; all else stays.
pub(crate) fn grown(
    table: &Metadata,
    schema: &ChangeSchema,
    shape: Shape,
) -> Result<Metadata, String> {
    let fresh = changes_metadata(schema, shape, Uuid::nil(), 0)?;
    let mut configuration = table.configuration.clone();
    configuration.extend(fresh.configuration);
    Ok(Metadata {
        schema_string: fresh.schema_string,
        configuration,
        ..table.clone()
    })
}

/// Whether two tables have the same columns and partition columns, whatever else is said of them.
pub(crate) fn same_columns(a: &Metadata, b: &Metadata) -> bool {
    let columns = |metadata: &Metadata| -> Option<Vec<(Value, Value)>> {
        let schema: Value = serde_json::from_str(&metadata.schema_string).ok()?;
        let fields = schema["fields"].as_array()?.iter();
        Some(
            fields
                .map(|field| (field["name"].clone(), field["type"].clone()))
                .collect(),
        )
    };
    a.partition_columns == b.partition_columns && columns(a) == columns(b)
}

/// The metadata of a current table: `rows` are the columns of its data files.
pub(crate) fn current_metadata(
    rows: &SchemaRef,
    (contract, shape): (&Contract, Shape),
    buckets: u32,
    id: Uuid,
    now_us: i64,
) -> Result<Metadata, String> {
    let bucket = Arc::new(Field::new(BUCKET, DataType::Int32, false));
    let columns = rows.fields().iter().cloned().chain([bucket]);
    let configuration = BTreeMap::from([
        (FORMAT_PROPERTY.to_owned(), FORMAT_VERSION.to_owned()),
        (KEY_PROPERTY.to_owned(), json!(contract.key()).to_string()),
        (SHAPE_PROPERTY.to_owned(), shape.name().to_owned()),
        (
            CONTRACT_PROPERTY.to_owned(),
            contract.avro_json().to_string(),
        ),
        (BUCKETS_PROPERTY.to_owned(), buckets.to_string()),
    ]);
    let columns = Arc::new(Schema::new(columns.collect::<Fields>()));
    metadata(&columns, vec![BUCKET.to_owned()], configuration, id, now_us)
}

/// The metadata of a new, unpartitioned table of our own.
pub(crate) fn system_metadata(
    schema: &SchemaRef,
    id: Uuid,
    now_us: i64,
) -> Result<Metadata, String> {
    let configuration = BTreeMap::from([(FORMAT_PROPERTY.to_owned(), FORMAT_VERSION.to_owned())]);
    metadata(schema, Vec::new(), configuration, id, now_us)
}

/// Whether checkpoints of a table may leave out a `txn` that was not moved for a while. Offsets of a
/// quiet partition would be forgotten, and its records be copied again.
pub(crate) fn forgets_progress(metadata: &Metadata) -> bool {
    metadata.configuration.contains_key(FORGETS_PROPERTY)
}

fn check_memory(metadata: &Metadata) -> Result<(), String> {
    match forgets_progress(metadata) {
        false => Ok(()),
        true => Err(format!(
            "another program set the table property {FORGETS_PROPERTY}, by which a table forgets how \
             far it has come; unset it (ALTER TABLE … UNSET TBLPROPERTIES)"
        )),
    }
}

/// Whether a table says that it is of another format than this program's version writes, and what
/// to do then. One that says no format passes.
pub(crate) fn check_format(metadata: &Metadata) -> Result<(), String> {
    match metadata.configuration.get(FORMAT_PROPERTY) {
        Some(format) if format != FORMAT_VERSION => Err(format!(
            "its format is {format}, this program writes {FORMAT_VERSION}; use a matching version"
        )),
        _ => Ok(()),
    }
}

/// Whether a table of our own is one that this program's version writes to; if not, why.
pub(crate) fn check_system(ours: &Metadata, found: &Metadata) -> Result<(), String> {
    check_memory(found)?;
    check_format(found)?;
    match same_columns(ours, found) {
        true => Ok(()),
        false => Err(
            "its columns are not those of this program's version; move it away or use the version \
             that made it"
                .to_owned(),
        ),
    }
}

/// The contract and shape that an existing table was made with.
pub(crate) fn contract_of_table(metadata: &Metadata) -> Result<(Contract, Shape), String> {
    check_memory(metadata)?;
    let property = |name: &str| {
        metadata.configuration.get(name).ok_or_else(|| {
            format!("it lacks the table property {name}; it was not made by lakehead write")
        })
    };
    property(FORMAT_PROPERTY)?;
    check_format(metadata)?;
    let contract: Contract = property(CONTRACT_PROPERTY)?
        .parse()
        .map_err(|error| format!("its contract: {error}"))?;
    let key: Vec<String> = serde_json::from_str(property(KEY_PROPERTY)?)
        .map_err(|error| format!("its key: {error}"))?;
    let contract = contract.with_key(key).map_err(|error| error.to_string())?;
    let shape = property(SHAPE_PROPERTY)?
        .parse()
        .map_err(|error: schemas::UnknownShape| error.to_string())?;
    Ok((contract, shape))
}

fn metadata(
    schema: &SchemaRef,
    partition_columns: Vec<String>,
    configuration: BTreeMap<String, String>,
    id: Uuid,
    now_us: i64,
) -> Result<Metadata, String> {
    Ok(Metadata {
        id: id.to_string(),
        format: FileFormat::default(),
        schema_string: struct_type(schema.fields())?.to_string(),
        partition_columns,
        configuration,
        created_time: Some(now_us / 1000),
    })
}

fn struct_type(fields: &Fields) -> Result<Value, String> {
    let fields: Vec<Value> = fields
        .iter()
        .map(|field| struct_field(field))
        .collect::<Result<_, _>>()?;
    Ok(json!({"type": "struct", "fields": fields}))
}

fn struct_field(field: &Field) -> Result<Value, String> {
    Ok(json!({
        "name": field.name(),
        "type": delta_type(field.data_type())?,
        "nullable": field.is_nullable(),
        "metadata": {},
    }))
}

fn delta_type(data_type: &DataType) -> Result<Value, String> {
    Ok(match data_type {
        DataType::Boolean => json!("boolean"),
        DataType::Int32 => json!("integer"),
        DataType::Int64 => json!("long"),
        DataType::Float32 => json!("float"),
        DataType::Float64 => json!("double"),
        DataType::Utf8 => json!("string"),
        DataType::Binary => json!("binary"),
        DataType::Date32 => json!("date"),
        DataType::Timestamp(_, Some(_)) => json!("timestamp"),
        DataType::Decimal128(precision, scale) => json!(format!("decimal({precision},{scale})")),
        DataType::Struct(fields) => struct_type(fields)?,
        DataType::List(item) => json!({
            "type": "array",
            "elementType": delta_type(item.data_type())?,
            "containsNull": item.is_nullable(),
        }),
        DataType::Map(entries, _) => map_type(entries.data_type())?,
        other => return Err(format!("Delta has no type for {other}")),
    })
}

/// The type of a map whose entries are records of a key and a value.
fn map_type(entries: &DataType) -> Result<Value, String> {
    let DataType::Struct(fields) = entries else {
        return Err(format!("Delta has no type for a map of {entries}"));
    };
    let [key, value] = &fields[..] else {
        return Err(format!("Delta has no type for a map of {entries}"));
    };
    Ok(json!({
        "type": "map",
        "keyType": delta_type(key.data_type())?,
        "valueType": delta_type(value.data_type())?,
        "valueContainsNull": value.is_nullable(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_remembers_its_contract() {
        let contract: Contract = r#"{"type":"record","name":"R","lakehead.key":["id"],
            "fields":[{"name":"id","type":"int"},{"name":"at","type":["null","double"]}]}"#
            .parse()
            .unwrap();
        let schema = ChangeSchema::new(&contract);
        let metadata = changes_metadata(&schema, Shape::Upsert, Uuid::nil(), 0).unwrap();
        let (found, shape) = contract_of_table(&metadata).unwrap();
        assert_eq!(
            (found.fields(), found.key(), shape),
            (contract.fields(), contract.key(), Shape::Upsert)
        );
        let delta: Value = serde_json::from_str(&metadata.schema_string).unwrap();
        let names: Vec<&str> = delta["fields"]
            .as_array()
            .unwrap()
            .iter()
            .map(|field| field["name"].as_str().unwrap())
            .collect();
        assert_eq!(names.first(), Some(&"_op"));
        assert_eq!(names.last(), Some(&EVENT_DATE));
    }

    #[test]
    fn a_table_of_our_own_of_another_format_is_refused_by_name() {
        let ours = system_metadata(&lake_store::gaps_schema(), Uuid::nil(), 0).unwrap();
        check_system(&ours, &ours).unwrap();
        let mut found = ours.clone();
        let properties = &mut found.configuration;
        properties.insert(FORMAT_PROPERTY.to_owned(), "2".to_owned());
        let why = check_system(&ours, &found).unwrap_err();
        assert!(why.contains("format is 2"), "{why}");
    }

    #[test]
    fn every_type_of_a_contract_has_its_type_in_delta() {
        let contract: Contract = r#"{"type":"record","name":"R","fields":[
            {"name":"i","type":{"type":"int","lakehead.type":"int"}},
            {"name":"f","type":{"type":"float","lakehead.type":"float"}},
            {"name":"d","type":{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}},
            {"name":"l","type":{"type":"array","items":"string"}},
            {"name":"m","type":{"type":"map","values":"long"}},
            {"name":"r","type":{"type":"record","name":"P","fields":[{"name":"x","type":"double"}]}}]}"#
            .parse()
            .unwrap();
        let schema = ChangeSchema::new(&contract);
        let metadata = changes_metadata(&schema, Shape::Append, Uuid::nil(), 0).unwrap();
        let delta: Value = serde_json::from_str(&metadata.schema_string).unwrap();
        let types: Vec<&Value> = delta["fields"].as_array().unwrap()[10..16]
            .iter()
            .map(|field| &field["type"])
            .collect();
        let record = json!({"type": "struct", "fields": [
            {"name": "x", "type": "double", "nullable": true, "metadata": {}}]});
        assert_eq!(
            types,
            [
                &json!("integer"),
                &json!("float"),
                &json!("decimal(9,2)"),
                &json!({"type": "array", "elementType": "string", "containsNull": true}),
                &json!({"type": "map", "keyType": "string", "valueType": "long",
                        "valueContainsNull": true}),
                &record,
            ]
        );
    }

    #[test]
    fn a_table_of_another_format_or_one_that_forgets_is_refused_by_name() {
        let contract: Contract =
            r#"{"type":"record","name":"R","fields":[{"name":"id","type":"int"}]}"#
                .parse()
                .unwrap();
        let mut metadata =
            changes_metadata(&ChangeSchema::new(&contract), Shape::Append, Uuid::nil(), 0).unwrap();
        metadata
            .configuration
            .insert(FORMAT_PROPERTY.to_owned(), "9".to_owned());
        assert!(
            contract_of_table(&metadata)
                .unwrap_err()
                .contains("format is 9")
        );
        metadata
            .configuration
            .insert(FORMAT_PROPERTY.to_owned(), FORMAT_VERSION.to_owned());
        assert!(contract_of_table(&metadata).is_ok());
        metadata
            .configuration
            .insert(FORGETS_PROPERTY.to_owned(), "interval 7 days".to_owned());
        let why = contract_of_table(&metadata).unwrap_err();
        assert!(why.contains(FORGETS_PROPERTY), "{why}");
    }
}
