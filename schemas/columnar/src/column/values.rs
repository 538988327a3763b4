//! A column's values, without their validity.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, BooleanBufferBuilder, Date32Array, Float64Array,
    Int64Array, StringArray, TimestampMicrosecondArray,
};
use arrow::buffer::NullBuffer;
use arrow::error::ArrowError;
use schemas::FieldType;

use super::ragged::Ragged;

/// Values of one type.
#[derive(Debug)]
pub(super) enum Values {
    Boolean(BooleanBufferBuilder),
    Long(Vec<i64>),
    Double(Vec<f64>),
    String(Ragged),
    Bytes(Ragged),
    Date(Vec<i32>),
    Timestamp(Vec<i64>),
}

impl Values {
    pub(super) fn new(field_type: FieldType) -> Self {
        match field_type {
            FieldType::Boolean => Self::Boolean(BooleanBufferBuilder::new(0)),
            FieldType::Long => Self::Long(Vec::new()),
            FieldType::Double => Self::Double(Vec::new()),
            FieldType::String => Self::String(Ragged::new()),
            FieldType::Bytes => Self::Bytes(Ragged::new()),
            FieldType::Date => Self::Date(Vec::new()),
            FieldType::Timestamp => Self::Timestamp(Vec::new()),
        }
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Boolean(values) => values.len(),
            Self::Long(values) | Self::Timestamp(values) => values.len(),
            Self::Double(values) => values.len(),
            Self::String(values) | Self::Bytes(values) => values.len(),
            Self::Date(values) => values.len(),
        }
    }

    /// What stands in a null's place.
    pub(super) fn push_empty(&mut self) {
        match self {
            Self::Boolean(values) => values.append(false),
            Self::Long(values) | Self::Timestamp(values) => values.push(0),
            Self::Double(values) => values.push(0.0),
            Self::String(values) | Self::Bytes(values) => values.push_empty(),
            Self::Date(values) => values.push(0),
        }
    }

    pub(super) fn truncate(&mut self, rows: usize) {
        match self {
            Self::Boolean(values) if values.len() > rows => values.truncate(rows),
            Self::Boolean(_) => {}
            Self::Long(values) | Self::Timestamp(values) => values.truncate(rows),
            Self::Double(values) => values.truncate(rows),
            Self::String(values) | Self::Bytes(values) => values.truncate(rows),
            Self::Date(values) => values.truncate(rows),
        }
    }

    /// Memory held.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Boolean(values) => values.capacity() / 8,
            Self::Long(values) | Self::Timestamp(values) => values.capacity() * 8,
            Self::Double(values) => values.capacity() * 8,
            Self::String(values) | Self::Bytes(values) => values.bytes(),
            Self::Date(values) => values.capacity() * 4,
        }
    }

    pub(super) fn finish(self, nulls: Option<NullBuffer>) -> Result<ArrayRef, ArrowError> {
        Ok(match self {
            Self::Boolean(values) => Arc::new(BooleanArray::new(values.build(), nulls)),
            Self::Long(values) => Arc::new(Int64Array::try_new(values.into(), nulls)?),
            Self::Double(values) => Arc::new(Float64Array::try_new(values.into(), nulls)?),
            Self::String(values) => {
                let (offsets, data) = values.into_parts();
                Arc::new(StringArray::try_new(offsets, data, nulls)?)
            }
            Self::Bytes(values) => {
                let (offsets, data) = values.into_parts();
                Arc::new(BinaryArray::try_new(offsets, data, nulls)?)
            }
            Self::Date(values) => Arc::new(Date32Array::try_new(values.into(), nulls)?),
            Self::Timestamp(values) => {
                let array = TimestampMicrosecondArray::try_new(values.into(), nulls)?;
                Arc::new(array.with_timezone("UTC"))
            }
        })
    }
}
