//! Answers as boxes.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::util::pretty::pretty_format_batches_with_schema;

/// Rows of one box: its columns are as wide as its widest value, so its rows must be held. A longer
/// answer continues in another box; no row is left out.
const BOX_ROWS_MAX: usize = 10_000;

/// An answer as one or more boxes.
#[derive(Debug)]
pub(crate) struct TableOutput {
    schema: SchemaRef,
    held: Vec<RecordBatch>,
    rows_held: usize,
    written: bool,
}

impl TableOutput {
    pub(crate) fn new(schema: SchemaRef) -> Self {
        Self {
            schema,
            held: Vec::new(),
            rows_held: 0,
            written: false,
        }
    }

    pub(crate) fn rows(&mut self, batch: RecordBatch) -> Result<Vec<u8>, ArrowError> {
        self.rows_held += batch.num_rows();
        self.held.push(batch);
        if self.rows_held < BOX_ROWS_MAX {
            Ok(Vec::new())
        } else {
            self.write()
        }
    }

    pub(crate) fn end(&mut self) -> Result<Vec<u8>, ArrowError> {
        if self.written && self.rows_held == 0 {
            Ok(Vec::new())
        } else {
            self.write()
        }
    }

    fn write(&mut self) -> Result<Vec<u8>, ArrowError> {
        self.written = true;
        self.rows_held = 0;
        let held = std::mem::take(&mut self.held);
        let boxed = pretty_format_batches_with_schema(SchemaRef::clone(&self.schema), &held)?;
        Ok(format!("{boxed}\n").into_bytes())
    }
}
