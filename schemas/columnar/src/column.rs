//! A column under construction.

mod list;
mod ragged;
mod record;
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
    pub(crate) fn new(field_type: &FieldType) -> Self {
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
        self.values.push_empty(1);
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
        self.values.push_empty(self.nulls_before);
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
        self.push_utf8(value.as_bytes())
    }

    /// The bytes of a text, which were found to be UTF-8.
    #[inline]
    pub(crate) fn push_utf8(&mut self, value: &[u8]) -> Result<(), Fault> {
        self.begin();
        let Values::String(values) = &mut self.values else {
            return Err(misdirected());
        };
        values.push(value)?;
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

    pub(crate) fn push_int(&mut self, value: i32) -> Result<(), Fault> {
        self.begin();
        let Values::Int(values) = &mut self.values else {
            return Err(misdirected());
        };
        values.push(value);
        self.validity.append_non_null();
        Ok(())
    }

    pub(crate) fn push_float(&mut self, value: f32) -> Result<(), Fault> {
        self.begin();
        let Values::Float(values) = &mut self.values else {
            return Err(misdirected());
        };
        values.push(value);
        self.validity.append_non_null();
        Ok(())
    }

    /// A decimal's digits as a whole number.
    pub(crate) fn push_decimal(&mut self, digits: i128) -> Result<(), Fault> {
        self.begin();
        let Values::Decimal { values, .. } = &mut self.values else {
            return Err(misdirected());
        };
        values.push(digits);
        self.validity.append_non_null();
        Ok(())
    }

    /// The columns of a record's fields, each of which must get one value; then
    /// [`Self::close_nested`].
    pub(crate) fn record(&mut self) -> Result<&mut [Self], Fault> {
        self.begin();
        match &mut self.values {
            Values::Record(record) => Ok(record.columns()),
            _ => Err(misdirected()),
        }
    }

    /// The column of an array's items, which get any number of values; then
    /// [`Self::close_nested`].
    pub(crate) fn items(&mut self) -> Result<&mut Self, Fault> {
        self.begin();
        match &mut self.values {
            Values::Array(list) => Ok(list.items()),
            _ => Err(misdirected()),
        }
    }

    /// The columns of a map's keys and values, which get as many; then [`Self::close_nested`].
    pub(crate) fn entries(&mut self) -> Result<(&mut Self, &mut Self), Fault> {
        self.begin();
        match &mut self.values {
            Values::Map(entries) => Ok(entries.entries()),
            _ => Err(misdirected()),
        }
    }

    /// Completes a record, an array or a map.
    pub(crate) fn close_nested(&mut self) -> Result<(), Fault> {
        match &mut self.values {
            Values::Record(record) => record.close(),
            Values::Array(list) => list.close()?,
            Values::Map(entries) => entries.close()?,
            _ => return Err(misdirected()),
        }
        self.validity.append_non_null();
        Ok(())
    }

    /// The bytes of a text at a place; empty for nulls and for other columns.
    fn text_at(&self, place: usize) -> &[u8] {
        match &self.values {
            Values::String(values) => values.get(place),
            _ => &[],
        }
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
mod tests;
