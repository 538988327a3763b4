//! A buffer and its decoder, and what is read back from batches.

use std::sync::Arc;

use apache_avro::Schema;
use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{
    DataType, Date32Type, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType,
};
use columnar::{ChangeBuffer, ChangeDecoder, ChangeSchema, RecordMeta, UnknownFields};
use schemas::{Contract, Shape, TopicPartition};

/// What a cell holds.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Cell {
    Null,
    Boolean(bool),
    Long(i64),
    /// The bits, so that NaN equals itself.
    Double(u64),
    Text(String),
    Bytes(Vec<u8>),
}

impl Cell {
    pub(crate) fn double(value: f64) -> Self {
        Self::Double(value.to_bits())
    }

    pub(crate) fn text(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

pub(crate) fn contract(text: &str) -> Contract {
    text.parse().unwrap()
}

pub(crate) fn buffer(schema: &Arc<ChangeSchema>) -> ChangeBuffer {
    ChangeBuffer::new(Arc::clone(schema), TopicPartition::new("topic", 3))
}

/// A decoder of JSON that passes over fields that the table lacks.
pub(crate) fn lenient(shape: Shape, schema: &ChangeSchema) -> ChangeDecoder {
    ChangeDecoder::json_with(shape, schema, UnknownFields::Ignore)
}

pub(crate) fn meta(offset: i64) -> RecordMeta<'static> {
    RecordMeta {
        offset,
        record_time_us: 1_000_000,
        ingest_time_us: 2_000_000,
        ..Default::default()
    }
}

pub(crate) fn encode(schema: &Schema, value: Value) -> Vec<u8> {
    GenericDatumWriter::builder(schema)
        .build()
        .unwrap()
        .write_value_to_vec(value)
        .unwrap()
}

/// The rows of a buffer.
pub(crate) fn finish(buffer: ChangeBuffer) -> RecordBatch {
    buffer.finish(2).unwrap()
}

/// A cell of a column, which may be `_source.name` and the like.
pub(crate) fn cell(batch: &RecordBatch, name: &str, row: usize) -> Cell {
    match name.split_once('.') {
        None => cell_of(batch.column_by_name(name).unwrap(), row),
        Some((parent, child)) => {
            let parent = batch.column_by_name(parent).unwrap().as_struct();
            cell_of(parent.column_by_name(child).unwrap(), row)
        }
    }
}

fn cell_of(array: &dyn Array, row: usize) -> Cell {
    if array.is_null(row) {
        return Cell::Null;
    }
    match array.data_type() {
        DataType::Boolean => Cell::Boolean(array.as_boolean().value(row)),
        DataType::Int32 => Cell::Long(array.as_primitive::<Int32Type>().value(row).into()),
        DataType::Int64 => Cell::Long(array.as_primitive::<Int64Type>().value(row)),
        DataType::Float64 => Cell::double(array.as_primitive::<Float64Type>().value(row)),
        DataType::Utf8 => Cell::text(array.as_string::<i32>().value(row)),
        DataType::Binary => Cell::Bytes(array.as_binary::<i32>().value(row).to_vec()),
        DataType::Date32 => Cell::Long(array.as_primitive::<Date32Type>().value(row).into()),
        DataType::Timestamp(_, _) => {
            Cell::Long(array.as_primitive::<TimestampMicrosecondType>().value(row))
        }
        DataType::Dictionary(_, _) => {
            let dictionary = array.as_any_dictionary();
            cell_of(dictionary.values(), dictionary.normalized_keys()[row])
        }
        other => panic!("no cell of {other}"),
    }
}
