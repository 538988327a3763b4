//! Rows of record batches in their canonical form ([`schemas::canonical`]).

mod values;

use std::ops::Range;

use arrow::array::{Array, RecordBatch};
use arrow::error::ArrowError;
use schemas::canonical::RowWriter;

use values::Values;

/// The rows of a batch, ready to be written canonically: the columns in the order of their names,
/// each looked at once for its type and not once a row.
#[derive(Debug)]
pub struct CanonicalRows {
    columns: Vec<Column>,
    rows: usize,
}

/// A column, or a field of one that holds records.
#[derive(Debug)]
struct Column {
    name: String,
    values: Values,
}

impl CanonicalRows {
    /// The rows of a batch over the columns at these places.
    ///
    /// # Errors
    /// A column has a type that no column of an entity has.
    pub fn new(batch: &RecordBatch, places: &[usize]) -> Result<Self, ArrowError> {
        let schema = batch.schema_ref();
        let columns = places.iter().map(|place| {
            let name = schema.field(*place).name();
            Column::new(name, batch.column(*place).as_ref())
        });
        Ok(Self {
            columns: sorted(columns.collect::<Result<_, _>>()?),
            rows: batch.num_rows(),
        })
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Writes one row.
    pub fn write(&self, row: usize, out: &mut RowWriter) {
        put_record(&self.columns, row, out);
    }

    /// Writes one row, and tells of each column that is not null its number in the order of names
    /// and which bytes are its value.
    pub fn write_parts(
        &self,
        row: usize,
        out: &mut RowWriter,
        mut part: impl FnMut(usize, Range<usize>),
    ) {
        out.begin_record();
        for (number, column) in self.columns.iter().enumerate() {
            if column.values.is_null(row) {
                continue;
            }
            out.field(&column.name);
            let start = out.len();
            column.values.put(row, out);
            part(number, start..out.len());
        }
        out.end_record();
    }
}

impl Column {
    fn new(name: &str, values: &dyn Array) -> Result<Self, ArrowError> {
        let values = Values::new(values).map_err(|data_type| {
            let why = format!("column {name:?} of type {data_type} has no canonical form");
            ArrowError::SchemaError(why)
        })?;
        Ok(Self {
            name: name.to_owned(),
            values,
        })
    }
}

fn sorted(mut columns: Vec<Column>) -> Vec<Column> {
    columns.sort_by(|a, b| a.name.as_bytes().cmp(b.name.as_bytes()));
    columns
}

fn put_record(columns: &[Column], row: usize, out: &mut RowWriter) {
    out.begin_record();
    for column in columns.iter().filter(|column| !column.values.is_null(row)) {
        out.field(&column.name);
        column.values.put(row, out);
    }
    out.end_record();
}
