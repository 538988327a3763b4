//! Arrays and maps under construction.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, ListArray, MapArray, StructArray};
use arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::FieldRef;
use arrow::error::ArrowError;
use schemas::{Field, FieldType};

use super::Column;
use crate::error::{Fault, invalid};
use crate::schema::{entries_field, entry_fields, item_field};

/// Arrays: their items one after another.
#[derive(Debug)]
pub(super) struct List {
    field: FieldRef,
    items: Column,
    ends: Ends,
}

/// Maps: their keys and values one after another.
#[derive(Debug)]
pub(super) struct MapEntries {
    field: FieldRef,
    value: Field,
    keys: Column,
    values: Column,
    ends: Ends,
}

/// Where each array starts, and where the last one ends.
#[derive(Debug)]
struct Ends(Vec<i32>);

impl Ends {
    fn new() -> Self {
        Self(vec![0])
    }

    fn len(&self) -> usize {
        self.0.len() - 1
    }

    fn last(&self) -> i32 {
        self.0.last().copied().unwrap_or_default()
    }

    /// Where the complete arrays end.
    fn end(&self) -> usize {
        usize::try_from(self.last()).unwrap_or_default()
    }

    fn push(&mut self, end: usize) -> Result<(), Fault> {
        let end = i32::try_from(end)
            .map_err(|_| invalid("a column's arrays would exceed 2^31 items; flush earlier"))?;
        self.0.push(end);
        Ok(())
    }

    fn into_buffer(self) -> OffsetBuffer<i32> {
        OffsetBuffer::new(ScalarBuffer::from(self.0))
    }
}

impl List {
    pub(super) fn new(items: &Field) -> Self {
        Self {
            field: item_field(items),
            items: Column::new(&items.field_type),
            ends: Ends::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn items(&mut self) -> &mut Column {
        &mut self.items
    }

    /// Completes an array of the items that were pushed since the last.
    pub(super) fn close(&mut self) -> Result<(), Fault> {
        self.ends.push(self.items.len())
    }

    pub(super) fn push_empty(&mut self) {
        self.ends.0.push(self.ends.last());
    }

    pub(super) fn truncate(&mut self, rows: usize) {
        self.ends.0.truncate(rows + 1);
        self.items.truncate(self.ends.end());
    }

    pub(super) fn bytes(&self) -> usize {
        self.items.bytes() + self.ends.0.capacity() * size_of::<i32>()
    }

    pub(super) fn finish(self, nulls: Option<NullBuffer>) -> Result<ArrayRef, ArrowError> {
        let items = self.items.finish()?;
        let ends = self.ends.into_buffer();
        Ok(Arc::new(ListArray::try_new(
            self.field, ends, items, nulls,
        )?))
    }
}

impl MapEntries {
    pub(super) fn new(value: &Field) -> Self {
        Self {
            field: entries_field(value),
            value: value.clone(),
            keys: Column::new(&FieldType::String),
            values: Column::new(&value.field_type),
            ends: Ends::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The keys and the values.
    pub(super) fn entries(&mut self) -> (&mut Column, &mut Column) {
        (&mut self.keys, &mut self.values)
    }

    /// Completes a map of the entries that were pushed since the last; no key may come twice.
    pub(super) fn close(&mut self) -> Result<(), Fault> {
        let mut seen = HashSet::new();
        let open = self.ends.end()..self.keys.len();
        let several = open.len() > 1;
        for place in open.filter(|_| several) {
            if !seen.insert(self.keys.text_at(place)) {
                let key = String::from_utf8_lossy(self.keys.text_at(place)).into_owned();
                return Err(invalid(format!("a map has the key {key:?} twice")));
            }
        }
        self.ends.push(self.keys.len())
    }

    pub(super) fn push_empty(&mut self) {
        self.ends.0.push(self.ends.last());
    }

    pub(super) fn truncate(&mut self, rows: usize) {
        self.ends.0.truncate(rows + 1);
        self.keys.truncate(self.ends.end());
        self.values.truncate(self.ends.end());
    }

    pub(super) fn bytes(&self) -> usize {
        self.keys.bytes() + self.values.bytes() + self.ends.0.capacity() * size_of::<i32>()
    }

    pub(super) fn finish(self, nulls: Option<NullBuffer>) -> Result<ArrayRef, ArrowError> {
        let columns = vec![self.keys.finish()?, self.values.finish()?];
        let entries = StructArray::try_new(entry_fields(&self.value), columns, None)?;
        let ends = self.ends.into_buffer();
        let map = MapArray::try_new(self.field, ends, entries, nulls, false)?;
        Ok(Arc::new(map))
    }
}
