//! The entity's columns, and the rules that a row keeps.

use arrow::array::ArrayRef;
use arrow::error::ArrowError;

use crate::column::Column;
use crate::error::{DecodeError, Fault, type_mismatch};
use crate::schema::ChangeSchema;

/// The entity's columns under construction. A decoder writes each column of the open row at most
/// once, in any order; closing the row fills what it left out.
#[derive(Debug)]
pub(crate) struct Entity {
    pub(crate) columns: Vec<Column>,
    /// Rows that are complete.
    pub(crate) rows: usize,
    /// How many columns of the open row have been set, and how many required ones to null.
    set: usize,
    nulls: usize,
}

impl Entity {
    pub(crate) fn new(schema: &ChangeSchema) -> Self {
        let columns = schema
            .columns()
            .iter()
            .map(|plan| Column::new(&plan.field.field_type))
            .collect();
        Self {
            columns,
            rows: 0,
            set: 0,
            nulls: 0,
        }
    }

    /// Notes that decoders have set so many columns of the open row, and so many required ones to
    /// null.
    #[inline]
    pub(crate) fn note(&mut self, set: usize, nulls: usize) {
        self.set += set;
        self.nulls += nulls;
    }

    /// Completes the open row.
    pub(crate) fn next_row(&mut self) {
        self.rows += 1;
        (self.set, self.nulls) = (0, 0);
    }

    /// Forgets the open row.
    pub(crate) fn clear_row(&mut self) {
        (self.set, self.nulls) = (0, 0);
        for column in &mut self.columns {
            column.truncate(self.rows);
        }
    }

    /// Forgets the open row's key.
    pub(crate) fn clear_key(&mut self, schema: &ChangeSchema) {
        for &position in schema.key() {
            if let Some(column) = self.columns.get_mut(position) {
                column.truncate(self.rows);
            }
        }
    }

    /// Fills the open row's gaps with defaults or nulls, and checks it against the contract.
    pub(crate) fn close_image(&mut self, schema: &ChangeSchema) -> Result<(), Fault> {
        if self.set == self.columns.len() && self.nulls == 0 {
            return Ok(());
        }
        let row = self.rows;
        for (column, plan) in self.columns.iter_mut().zip(schema.columns()) {
            let absent = column.len() == row;
            if absent {
                plan.default.fill(column)?;
            }
            if plan.required && column.is_null(row) {
                let found = if absent { "nothing" } else { "null" };
                let is_key = schema.contract().key().contains(&plan.name);
                return Err(if is_key {
                    Box::new(DecodeError::MissingKey {
                        field: plan.name.clone(),
                    })
                } else {
                    type_mismatch(&plan.name, plan.field.field_type.name(), found)
                });
            }
        }
        Ok(())
    }

    /// Fills the open row's gaps with nulls: of a delete only the key is certain.
    pub(crate) fn close_delete(&mut self) {
        for column in &mut self.columns {
            if column.len() == self.rows {
                column.push_null();
            }
        }
    }

    /// The first key field of the closed row that is null.
    pub(crate) fn missing_key(&self, schema: &ChangeSchema) -> Option<Fault> {
        let position = schema.key().iter().find(|&&position| {
            self.columns
                .get(position)
                .is_none_or(|column| column.len() == self.rows || column.is_null(self.rows))
        })?;
        let field = schema.columns().get(*position)?.name.clone();
        Some(Box::new(DecodeError::MissingKey { field }))
    }

    /// Memory held.
    pub(crate) fn bytes(&self) -> usize {
        self.columns.iter().map(Column::bytes).sum()
    }

    pub(crate) fn finish(self) -> Result<Vec<ArrayRef>, ArrowError> {
        self.columns.into_iter().map(Column::finish).collect()
    }
}
