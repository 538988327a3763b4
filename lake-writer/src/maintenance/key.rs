//! Keys of rows: as bytes that compare like the keys, and as hashes.

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::row::{RowConverter, Rows, SortField};
use lake_store::key_hashes;

/// Makes keys of the rows of one table, whatever other columns they come with.
pub(crate) struct KeyCodec {
    names: Vec<String>,
    converter: RowConverter,
}

impl std::fmt::Debug for KeyCodec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyCodec")
            .field("names", &self.names)
            .finish_non_exhaustive()
    }
}

impl KeyCodec {
    /// Of these columns, which `columns` has.
    pub(crate) fn new(names: &[String], columns: &SchemaRef) -> Result<Self, ArrowError> {
        let field = |name: &String| {
            Ok(SortField::new(
                columns.field_with_name(name)?.data_type().clone(),
            ))
        };
        let fields: Result<Vec<SortField>, ArrowError> = names.iter().map(field).collect();
        Ok(Self {
            names: names.to_vec(),
            converter: RowConverter::new(fields?)?,
        })
    }

    /// The keys of all rows.
    pub(crate) fn keys(&self, batch: &RecordBatch) -> Result<Rows, ArrowError> {
        self.converter.convert_columns(&self.columns(batch)?)
    }

    /// The keys of all rows and their hashes.
    pub(crate) fn hashed(&self, batch: &RecordBatch) -> Result<(Rows, Vec<u32>), ArrowError> {
        let columns = self.columns(batch)?;
        Ok((
            self.converter.convert_columns(&columns)?,
            key_hashes(&columns)?,
        ))
    }

    /// The hashes of the keys of all rows.
    pub(crate) fn hashes(&self, batch: &RecordBatch) -> Result<Vec<u32>, ArrowError> {
        key_hashes(&self.columns(batch)?)
    }

    fn columns(&self, batch: &RecordBatch) -> Result<Vec<ArrayRef>, ArrowError> {
        let schema = batch.schema();
        let column = |name: &String| Ok(ArrayRef::clone(batch.column(schema.index_of(name)?)));
        self.names.iter().map(column).collect()
    }
}
