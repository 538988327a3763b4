//! A column under construction.

mod ragged;
mod values;

use arrow::array::{ArrayRef, NullBufferBuilder};
use arrow::error::ArrowError;
use schemas::FieldType;

use self::values::Values;
use crate::error::{Fault, invalid};

/// Values of one type with their validity. It can be cut back to any row, and becomes an Arrow
/// array without copying its values.
///
/// Many columns never see a value, so that nulls take no memory until the first value comes.
#[derive(Debug)]
pub(crate) struct Column {
    /// Nulls that `values` and `validity` do not hold yet; if there are any, those are empty.
    nulls_before: usize,
    values: Values,
    validity: NullBufferBuilder,
}

impl Column {
    pub(crate) fn new(field_type: FieldType) -> Self {
        Self {
            nulls_before: 0,
            values: Values::new(field_type),
            validity: NullBufferBuilder::new(0),
        }
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.nulls_before + self.values.len()
    }

    #[inline]
    pub(crate) fn is_null(&self, row: usize) -> bool {
        self.nulls_before > 0 || !self.validity.is_valid(row)
    }

    #[inline]
    pub(crate) fn push_null(&mut self) {
        if self.values.len() == 0 {
            self.nulls_before += 1;
            return;
        }
        self.values.push_empty();
        self.validity.append_null();
    }

    /// Makes room for a value.
    #[inline]
    fn begin(&mut self) {
        if self.nulls_before > 0 {
            self.hold_nulls();
        }
    }

    #[cold]
    fn hold_nulls(&mut self) {
        for _ in 0..self.nulls_before {
            self.values.push_empty();
        }
        self.validity.append_n_nulls(self.nulls_before);
        self.nulls_before = 0;
    }

    pub(crate) fn push_boolean(&mut self, value: bool) -> Result<(), Fault> {
        self.begin();
        let Values::Boolean(values) = &mut self.values else {
            return Err(misdirected());
        };
        values.append(value);
        self.validity.append_non_null();
        Ok(())
    }

    /// A whole number, or an instant in microseconds.
    #[inline]
    pub(crate) fn push_long(&mut self, value: i64) -> Result<(), Fault> {
        self.begin();
        let (Values::Long(values) | Values::Timestamp(values)) = &mut self.values else {
            return Err(misdirected());
        };
        values.push(value);
        self.validity.append_non_null();
        Ok(())
    }

    #[inline]
    pub(crate) fn push_double(&mut self, value: f64) -> Result<(), Fault> {
        self.begin();
        let Values::Double(values) = &mut self.values else {
            return Err(misdirected());
        };
        values.push(value);
        self.validity.append_non_null();
        Ok(())
    }

    pub(crate) fn push_date(&mut self, days: i32) -> Result<(), Fault> {
        self.begin();
        let Values::Date(values) = &mut self.values else {
            return Err(misdirected());
        };
        values.push(days);
        self.validity.append_non_null();
        Ok(())
    }

    #[inline]
    pub(crate) fn push_text(&mut self, value: &str) -> Result<(), Fault> {
        self.begin();
        let Values::String(values) = &mut self.values else {
            return Err(misdirected());
        };
        values.push(value.as_bytes())?;
        self.validity.append_non_null();
        Ok(())
    }

    pub(crate) fn push_bytes(&mut self, value: &[u8]) -> Result<(), Fault> {
        self.begin();
        let Values::Bytes(values) = &mut self.values else {
            return Err(misdirected());
        };
        values.push(value)?;
        self.validity.append_non_null();
        Ok(())
    }

    /// Forgets everything from this row on; nothing if there are fewer rows.
    pub(crate) fn truncate(&mut self, rows: usize) {
        if self.nulls_before > 0 {
            self.nulls_before = self.nulls_before.min(rows);
            return;
        }
        self.values.truncate(rows);
        self.validity.truncate(rows);
    }

    /// Memory held.
    pub(crate) fn bytes(&self) -> usize {
        self.values.bytes() + self.validity.allocated_size()
    }

    pub(crate) fn finish(mut self) -> Result<ArrayRef, ArrowError> {
        self.begin();
        let nulls = self.validity.build().filter(|nulls| nulls.null_count() > 0);
        self.values.finish(nulls)
    }
}

/// A decoder's plan and the column disagree, which building the decoder rules out.
#[cold]
fn misdirected() -> Fault {
    invalid("a decoder wrote a value of another type than its column; please report this")
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Array, AsArray};

    #[test]
    fn a_column_cut_back_forgets_values_and_nulls() {
        let mut column = Column::new(FieldType::String);
        column.push_text("a").unwrap();
        column.push_null();
        column.push_text("long enough to move").unwrap();
        column.truncate(2);
        column.truncate(5);
        assert_eq!(column.len(), 2);
        column.push_text("b").unwrap();
        let array = column.finish().unwrap();
        let texts: Vec<Option<&str>> = array.as_string::<i32>().iter().collect();
        assert_eq!(texts, [Some("a"), None, Some("b")]);
    }

    #[test]
    fn nulls_that_were_cut_off_leave_no_mask() {
        let mut column = Column::new(FieldType::Boolean);
        column.push_boolean(true).unwrap();
        column.push_null();
        column.truncate(1);
        let array = column.finish().unwrap();
        assert!(array.nulls().is_none() && array.len() == 1);
    }

    #[test]
    fn nulls_take_no_memory_until_a_value_comes() {
        let mut column = Column::new(FieldType::Long);
        for _ in 0..5 {
            column.push_null();
        }
        column.truncate(3);
        assert!(column.len() == 3 && column.is_null(2) && column.bytes() == 0);
        column.push_long(7).unwrap();
        assert!(column.is_null(2) && !column.is_null(3));
        column.truncate(2);
        column.push_null();
        let array = column.finish().unwrap();
        assert_eq!((array.len(), array.null_count()), (3, 3));
    }

    #[test]
    fn a_value_of_another_type_is_refused() {
        let mut column = Column::new(FieldType::Date);
        assert!(column.push_long(1).is_err() && column.push_double(1.0).is_err());
        assert_eq!(column.len(), 0);
    }
}
