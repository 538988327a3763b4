//! Records under construction.

use std::sync::Arc;

use arrow::array::{ArrayRef, StructArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::Fields;
use arrow::error::ArrowError;
use schemas::Field;

use super::Column;
use crate::schema::arrow_fields;

/// Records: a column for each field.
#[derive(Debug)]
pub(super) struct Record {
    fields: Fields,
    columns: Vec<Column>,
    /// Records that are complete.
    rows: usize,
}

impl Record {
    pub(super) fn new(fields: &[Field]) -> Self {
        Self {
            fields: arrow_fields(fields),
            columns: fields
                .iter()
                .map(|field| Column::new(&field.field_type))
                .collect(),
            rows: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.rows
    }

    pub(super) fn columns(&mut self) -> &mut [Column] {
        &mut self.columns
    }

    /// Completes a record, each of whose fields has been set once.
    pub(super) fn close(&mut self) {
        self.rows += 1;
    }

    pub(super) fn push_empty(&mut self) {
        self.columns.iter_mut().for_each(Column::push_null);
        self.rows += 1;
    }

    pub(super) fn truncate(&mut self, rows: usize) {
        for column in &mut self.columns {
            column.truncate(rows);
        }
        self.rows = self.rows.min(rows);
    }

    pub(super) fn bytes(&self) -> usize {
        self.columns.iter().map(Column::bytes).sum()
    }

    pub(super) fn finish(self, nulls: Option<NullBuffer>) -> Result<ArrayRef, ArrowError> {
        let columns = self.columns.into_iter().map(Column::finish);
        let columns = columns.collect::<Result<_, _>>()?;
        Ok(Arc::new(StructArray::try_new(self.fields, columns, nulls)?))
    }
}
