//! The columns of a table of changes.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use arrow::datatypes::{
    DataType, Field as ArrowField, FieldRef, Fields, Schema, SchemaRef, TimeUnit,
};
use schemas::{Contract, Field, FieldType};

use crate::default::Filler;

/// Arrow schema of a table of changes: lineage columns, then the entity's fields, then
/// `_event_date`.
#[derive(Debug)]
pub struct ChangeSchema {
    contract: Contract,
    table: SchemaRef,
    batch: SchemaRef,
    columns: Vec<ColumnPlan>,
    key: Vec<usize>,
    fingerprint: u64,
}

/// One of the entity's columns.
#[derive(Debug)]
pub(crate) struct ColumnPlan {
    pub(crate) name: String,
    pub(crate) field: Field,
    /// The contract requires it, or it is of the key: it must not be null.
    pub(crate) required: bool,
    /// What stands for it where a record does not know the field.
    pub(crate) default: Filler,
}

impl ChangeSchema {
    /// The table of changes of the contract's entity.
    pub fn new(contract: &Contract) -> Arc<Self> {
        let columns: Vec<ColumnPlan> = contract
            .fields()
            .iter()
            .map(|field| ColumnPlan {
                name: field.name.clone(),
                field: field.clone(),
                required: !field.nullable || contract.key().contains(&field.name),
                default: Filler::new(field),
            })
            .collect();
        let key = contract
            .key()
            .iter()
            .filter_map(|name| columns.iter().position(|column| &column.name == name))
            .collect();
        let mut hasher = DefaultHasher::new();
        let fields: Vec<String> = contract.fields().iter().map(|f| format!("{f:?}")).collect();
        (&fields, &key).hash(&mut hasher);
        Arc::new(Self {
            contract: contract.clone(),
            table: table_schema(&columns),
            batch: batch_schema(&columns),
            columns,
            key,
            fingerprint: hasher.finish(),
        })
    }

    /// The contract that it was made from.
    pub fn contract(&self) -> &Contract {
        &self.contract
    }

    /// All columns as readers see them, `_event_date` last. Everything that we cannot vouch for is
    /// nullable: a delete may know nothing but its key.
    pub fn table_schema(&self) -> SchemaRef {
        Arc::clone(&self.table)
    }

    /// The columns of the batches that [`ChangeBuffer::finish`](crate::ChangeBuffer::finish)
    /// answers: those of the table without `_event_date`; `_op` and `_topic` are dictionaries.
    pub fn batch_schema(&self) -> SchemaRef {
        Arc::clone(&self.batch)
    }

    pub(crate) fn columns(&self) -> &[ColumnPlan] {
        &self.columns
    }

    /// Positions of the key's columns among [`Self::columns`].
    pub(crate) fn key(&self) -> &[usize] {
        &self.key
    }

    /// Equal for schemas whose decoders and buffers go together.
    pub(crate) fn fingerprint(&self) -> u64 {
        self.fingerprint
    }
}

/// The Arrow type of a column.
pub(crate) fn data_type(field_type: &FieldType) -> DataType {
    match field_type {
        FieldType::Boolean => DataType::Boolean,
        FieldType::Int => DataType::Int32,
        FieldType::Long => DataType::Int64,
        FieldType::Float => DataType::Float32,
        FieldType::Double => DataType::Float64,
        FieldType::String => DataType::Utf8,
        FieldType::Bytes => DataType::Binary,
        FieldType::Date => DataType::Date32,
        FieldType::Timestamp => timestamp_type(),
        FieldType::Decimal { precision, scale } => {
            DataType::Decimal128(*precision, scale.cast_signed())
        }
        FieldType::Record(fields) => DataType::Struct(arrow_fields(fields)),
        FieldType::Array(items) => DataType::List(item_field(items)),
        FieldType::Map(values) => DataType::Map(entries_field(values), false),
    }
}

/// The fields of a record. All are nullable, so that a contract can be relaxed without touching
/// the table.
pub(crate) fn arrow_fields(fields: &[Field]) -> Fields {
    let fields = fields.iter();
    fields
        .map(|field| ArrowField::new(&field.name, data_type(&field.field_type), true))
        .collect()
}

/// The items of an array, by the name that Delta and Parquet give them.
pub(crate) fn item_field(items: &Field) -> FieldRef {
    let items = data_type(&items.field_type);
    Arc::new(ArrowField::new("element", items, true))
}

/// The keys and values of a map, by the names that Delta and Parquet give them.
pub(crate) fn entry_fields(values: &Field) -> Fields {
    Fields::from(vec![
        ArrowField::new("key", DataType::Utf8, false),
        ArrowField::new("value", data_type(&values.field_type), true),
    ])
}

pub(crate) fn entries_field(values: &Field) -> FieldRef {
    let entries = DataType::Struct(entry_fields(values));
    Arc::new(ArrowField::new("key_value", entries, false))
}

pub(crate) fn timestamp_type() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

pub(crate) fn dictionary_type() -> DataType {
    DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Utf8))
}

pub(crate) fn source_fields() -> Fields {
    Fields::from(vec![
        ArrowField::new("name", DataType::Utf8, true),
        ArrowField::new("sequence", DataType::Int64, true),
        ArrowField::new("lsn", DataType::Int64, true),
        ArrowField::new("transaction", DataType::Utf8, true),
    ])
}

/// The lineage columns, whose texts of few values have the type `few`, then the entity's.
fn fields(columns: &[ColumnPlan], few: &DataType) -> Vec<ArrowField> {
    let mut fields = vec![
        ArrowField::new("_op", few.clone(), false),
        ArrowField::new("_event_id", DataType::Utf8, true),
        ArrowField::new("_event_time", timestamp_type(), false),
        ArrowField::new("_topic", few.clone(), false),
        ArrowField::new("_partition", DataType::Int32, false),
        ArrowField::new("_offset", DataType::Int64, false),
        ArrowField::new("_generation", DataType::Int32, false),
        ArrowField::new("_schema_id", DataType::Int32, true),
        ArrowField::new("_source", DataType::Struct(source_fields()), true),
        ArrowField::new("_ingest_time", timestamp_type(), false),
    ];
    fields.extend(
        columns
            .iter()
            .map(|column| ArrowField::new(&column.name, data_type(&column.field.field_type), true)),
    );
    fields
}

fn table_schema(columns: &[ColumnPlan]) -> SchemaRef {
    let mut fields = fields(columns, &DataType::Utf8);
    fields.push(ArrowField::new("_event_date", DataType::Date32, false));
    Arc::new(Schema::new(fields))
}

fn batch_schema(columns: &[ColumnPlan]) -> SchemaRef {
    Arc::new(Schema::new(fields(columns, &dictionary_type())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lineage_comes_first_and_the_event_date_last() {
        let contract: Contract = r#"{"type":"record","name":"R","lakehead.key":["id"],"fields":[
            {"name":"id","type":"long"},
            {"name":"at","type":["null",{"type":"long","logicalType":"timestamp-millis"}]},
            {"name":"on","type":{"type":"int","logicalType":"date"}}]}"#
            .parse()
            .unwrap();
        let schema = ChangeSchema::new(&contract);
        let table = schema.table_schema();
        let names: Vec<&str> = table
            .fields()
            .iter()
            .map(|field| field.name().as_str())
            .collect();
        assert_eq!(names[0], "_op");
        assert_eq!(names[10..], ["id", "at", "on", "_event_date"]);
        assert!(table.field(10).is_nullable() && !table.field(13).is_nullable());
        assert_eq!(schema.key(), [0]);
        assert_eq!(schema.batch_schema().fields().len(), 13);
    }
}
