//! Answers as comma-separated values: RFC 4180's quotes, line feeds at line ends as every Unix tool
//! writes them, nulls empty. Structs and lists are JSON inside their cell.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, StringBuilder};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow_json::EncoderOptions;
use arrow_json::writer::make_encoder;

/// An answer as comma-separated values.
#[derive(Debug)]
pub(crate) struct CsvOutput {
    schema: SchemaRef,
}

impl CsvOutput {
    pub(crate) fn new(schema: SchemaRef) -> Self {
        Self { schema }
    }

    /// The names of the columns.
    pub(crate) fn header(&self) -> Result<Vec<u8>, ArrowError> {
        write(
            &RecordBatch::new_empty(SchemaRef::clone(&self.schema)),
            true,
        )
    }

    pub(crate) fn rows(&self, batch: &RecordBatch) -> Result<Vec<u8>, ArrowError> {
        write(batch, false)
    }
}

fn write(batch: &RecordBatch, header: bool) -> Result<Vec<u8>, ArrowError> {
    let flat = flat(batch)?;
    let mut text = Vec::new();
    let mut writer = arrow_csv::WriterBuilder::new()
        .with_header(header)
        .build(&mut text);
    writer.write(&flat)?;
    drop(writer);
    Ok(text)
}

/// The batch with every nested column as JSON text.
fn flat(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    if !batch
        .schema()
        .fields()
        .iter()
        .any(|field| field.data_type().is_nested())
    {
        return Ok(batch.clone());
    }
    let schema = batch.schema();
    let mut fields: Vec<FieldRef> = Vec::with_capacity(batch.num_columns());
    let mut columns: Vec<ArrayRef> = Vec::with_capacity(batch.num_columns());
    for (field, column) in schema.fields().iter().zip(batch.columns()) {
        if field.data_type().is_nested() {
            fields.push(Arc::new(Field::new(field.name(), DataType::Utf8, true)));
            columns.push(json_text(field, column)?);
        } else {
            fields.push(Arc::clone(field));
            columns.push(Arc::clone(column));
        }
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
}

fn json_text(field: &FieldRef, column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let options = EncoderOptions::default().with_explicit_nulls(true);
    let mut encoder = make_encoder(field, column.as_ref(), &options)?;
    let mut texts = StringBuilder::new();
    let mut text = Vec::new();
    for row in 0..column.len() {
        if column.is_null(row) {
            texts.append_null();
            continue;
        }
        text.clear();
        encoder.encode(row, &mut text);
        texts.append_value(String::from_utf8_lossy(&text));
    }
    Ok(Arc::new(texts.finish()))
}
