//! A column's values, without their validity.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, BooleanBufferBuilder, Date32Array, Decimal128Array,
    Float32Array, Float64Array, Int32Array, Int64Array, StringArray, TimestampMicrosecondArray,
};
use arrow::buffer::NullBuffer;
use arrow::error::ArrowError;
use schemas::FieldType;

use super::list::{List, MapEntries};
use super::ragged::Ragged;
use super::record::Record;

/// Values of one type.
#[derive(Debug)]
pub(super) enum Values {
    Boolean(BooleanBufferBuilder),
    Int(Vec<i32>),
    Long(Vec<i64>),
    Float(Vec<f32>),
    Double(Vec<f64>),
    String(Ragged),
    Bytes(Ragged),
    Date(Vec<i32>),
    Timestamp(Vec<i64>),
    Decimal {
        values: Vec<i128>,
        precision: u8,
        scale: u8,
    },
    Record(Box<Record>),
    Array(Box<List>),
    Map(Box<MapEntries>),
}

impl Values {
    pub(super) fn new(field_type: &FieldType) -> Self {
        match field_type {
            FieldType::Boolean => Self::Boolean(BooleanBufferBuilder::new(0)),
            FieldType::Int => Self::Int(Vec::new()),
            FieldType::Long => Self::Long(Vec::new()),
            FieldType::Float => Self::Float(Vec::new()),
            FieldType::Double => Self::Double(Vec::new()),
            FieldType::String => Self::String(Ragged::new()),
            FieldType::Bytes => Self::Bytes(Ragged::new()),
            FieldType::Date => Self::Date(Vec::new()),
            FieldType::Timestamp => Self::Timestamp(Vec::new()),
            FieldType::Decimal { precision, scale } => Self::Decimal {
                values: Vec::new(),
                precision: *precision,
                scale: *scale,
            },
            FieldType::Record(fields) => Self::Record(Box::new(Record::new(fields))),
            FieldType::Array(items) => Self::Array(Box::new(List::new(items))),
            FieldType::Map(values) => Self::Map(Box::new(MapEntries::new(values))),
        }
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Boolean(values) => values.len(),
            Self::Long(values) | Self::Timestamp(values) => values.len(),
            Self::Double(values) => values.len(),
            Self::String(values) | Self::Bytes(values) => values.len(),
            Self::Int(values) | Self::Date(values) => values.len(),
            Self::Float(values) => values.len(),
            Self::Decimal { values, .. } => values.len(),
            Self::Record(values) => values.len(),
            Self::Array(values) => values.len(),
            Self::Map(values) => values.len(),
        }
    }

    /// What stands in the place of so many nulls.
    pub(super) fn push_empty(&mut self, count: usize) {
        match self {
            Self::Boolean(values) => values.append_n(count, false),
            Self::Long(values) | Self::Timestamp(values) => values.resize(values.len() + count, 0),
            Self::Double(values) => values.resize(values.len() + count, 0.0),
            Self::String(values) | Self::Bytes(values) => values.push_empty(count),
            Self::Int(values) | Self::Date(values) => values.resize(values.len() + count, 0),
            Self::Float(values) => values.resize(values.len() + count, 0.0),
            Self::Decimal { values, .. } => values.resize(values.len() + count, 0),
            Self::Record(values) => (0..count).for_each(|_| values.push_empty()),
            Self::Array(values) => (0..count).for_each(|_| values.push_empty()),
            Self::Map(values) => (0..count).for_each(|_| values.push_empty()),
        }
    }

    pub(super) fn truncate(&mut self, rows: usize) {
        match self {
            Self::Boolean(values) if values.len() > rows => values.truncate(rows),
            Self::Boolean(_) => {}
            Self::Long(values) | Self::Timestamp(values) => values.truncate(rows),
            Self::Double(values) => values.truncate(rows),
            Self::String(values) | Self::Bytes(values) => values.truncate(rows),
            Self::Int(values) | Self::Date(values) => values.truncate(rows),
            Self::Float(values) => values.truncate(rows),
            Self::Decimal { values, .. } => values.truncate(rows),
            Self::Record(values) => values.truncate(rows),
            Self::Array(values) => values.truncate(rows),
            Self::Map(values) => values.truncate(rows),
        }
    }

    /// Memory held.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Boolean(values) => values.capacity() / 8,
            Self::Long(values) | Self::Timestamp(values) => values.capacity() * 8,
            Self::Double(values) => values.capacity() * 8,
            Self::String(values) | Self::Bytes(values) => values.bytes(),
            Self::Int(values) | Self::Date(values) => values.capacity() * 4,
            Self::Float(values) => values.capacity() * 4,
            Self::Decimal { values, .. } => values.capacity() * 16,
            Self::Record(values) => values.bytes(),
            Self::Array(values) => values.bytes(),
            Self::Map(values) => values.bytes(),
        }
    }

    pub(super) fn finish(self, nulls: Option<NullBuffer>) -> Result<ArrayRef, ArrowError> {
        Ok(match self {
            Self::Boolean(values) => Arc::new(BooleanArray::new(values.build(), nulls)),
            Self::Int(values) => Arc::new(Int32Array::try_new(values.into(), nulls)?),
            Self::Long(values) => Arc::new(Int64Array::try_new(values.into(), nulls)?),
            Self::Float(values) => Arc::new(Float32Array::try_new(values.into(), nulls)?),
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
            Self::Decimal {
                values,
                precision,
                scale,
            } => {
                let array = Decimal128Array::try_new(values.into(), nulls)?;
                Arc::new(array.with_precision_and_scale(precision, scale.cast_signed())?)
            }
            Self::Record(values) => values.finish(nulls)?,
            Self::Array(values) => values.finish(nulls)?,
            Self::Map(values) => values.finish(nulls)?,
        })
    }
}
