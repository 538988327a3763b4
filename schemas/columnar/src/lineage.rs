//! The lineage columns: where each row came from.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, DictionaryArray, Int8Array, Int32Array, NullBufferBuilder, StringArray, StructArray,
};
use arrow::datatypes::Int8Type;
use arrow::error::ArrowError;
use schemas::{FieldType, Op, TopicPartition};

use crate::column::Column;
use crate::error::{Fault, invalid};
use crate::record::RecordMeta;
use crate::schema::source_fields;
use crate::source::{SourceFields, Transaction};

/// The operations in the order of their dictionary keys.
const OPS: [Op; 4] = [Op::Create, Op::Update, Op::Delete, Op::Read];

/// The lineage columns under construction. `_topic`, `_partition` and `_generation` are constants of
/// the buffer and made at the end.
#[derive(Debug)]
pub(crate) struct Lineage {
    op: Vec<i8>,
    event_id: Column,
    event_time: Column,
    offset: Column,
    schema_id: Vec<i32>,
    schema_known: NullBufferBuilder,
    ingest_time: Column,
    source: SourceColumns,
}

#[derive(Debug)]
struct SourceColumns {
    name: Column,
    sequence: Column,
    lsn: Column,
    transaction: Column,
    known: NullBufferBuilder,
}

impl Lineage {
    pub(crate) fn new() -> Self {
        Self {
            op: Vec::new(),
            event_id: Column::new(&FieldType::String),
            event_time: Column::new(&FieldType::Timestamp),
            offset: Column::new(&FieldType::Long),
            schema_id: Vec::new(),
            schema_known: NullBufferBuilder::new(0),
            ingest_time: Column::new(&FieldType::Timestamp),
            source: SourceColumns::new(),
        }
    }

    /// Appends one row's lineage. After an error the caller cuts back.
    pub(crate) fn push(
        &mut self,
        op: Op,
        event_time_us: i64,
        meta: &RecordMeta<'_>,
        source: &SourceFields<'_>,
    ) -> Result<(), Fault> {
        self.op.push(match op {
            Op::Create => 0,
            Op::Update => 1,
            Op::Delete => 2,
            Op::Read => 3,
        });
        push_text(&mut self.event_id, meta.event_id)?;
        self.event_time.push_long(event_time_us)?;
        self.offset.push_long(meta.offset)?;
        self.ingest_time.push_long(meta.ingest_time_us)?;
        let schema_id = meta.schema_id.map(|id| i32::try_from(id.0)).transpose();
        let schema_id =
            schema_id.map_err(|_| invalid("the schema id is larger than any registry gives"))?;
        self.schema_id.push(schema_id.unwrap_or_default());
        self.schema_known.append(schema_id.is_some());
        self.source.push(meta, source)
    }

    pub(crate) fn truncate(&mut self, rows: usize) {
        self.op.truncate(rows);
        self.event_id.truncate(rows);
        self.event_time.truncate(rows);
        self.offset.truncate(rows);
        self.schema_id.truncate(rows);
        self.schema_known.truncate(rows);
        self.ingest_time.truncate(rows);
        self.source.truncate(rows);
    }

    /// Memory held.
    pub(crate) fn bytes(&self) -> usize {
        self.op.capacity()
            + self.event_id.bytes()
            + self.event_time.bytes()
            + self.offset.bytes()
            + self.schema_id.capacity() * size_of::<i32>()
            + self.schema_known.allocated_size()
            + self.ingest_time.bytes()
            + self.source.bytes()
    }

    /// The ten columns, in the table's order.
    pub(crate) fn finish(
        self,
        place: &TopicPartition,
        generation: i32,
    ) -> Result<Vec<ArrayRef>, ArrowError> {
        let rows = self.op.len();
        let letters = StringArray::from_iter_values(OPS.map(Op::letter));
        let topic = StringArray::from_iter_values([&place.topic]);
        let schema_id = Int32Array::try_new(self.schema_id.into(), self.schema_known.build())?;
        Ok(vec![
            dictionary(self.op, letters)?,
            self.event_id.finish()?,
            self.event_time.finish()?,
            dictionary(vec![0; rows], topic)?,
            Arc::new(Int32Array::from(vec![place.partition; rows])),
            self.offset.finish()?,
            Arc::new(Int32Array::from(vec![generation; rows])),
            Arc::new(schema_id),
            self.source.finish()?,
            self.ingest_time.finish()?,
        ])
    }
}

fn dictionary(keys: Vec<i8>, values: StringArray) -> Result<ArrayRef, ArrowError> {
    let keys = Int8Array::from(keys);
    Ok(Arc::new(DictionaryArray::<Int8Type>::try_new(
        keys,
        Arc::new(values),
    )?))
}

#[inline]
fn push_text(column: &mut Column, value: Option<&str>) -> Result<(), Fault> {
    match value {
        Some(value) => column.push_text(value),
        None => {
            column.push_null();
            Ok(())
        }
    }
}

#[inline]
fn push_long(column: &mut Column, value: Option<i64>) -> Result<(), Fault> {
    match value {
        Some(value) => column.push_long(value),
        None => {
            column.push_null();
            Ok(())
        }
    }
}

impl SourceColumns {
    fn new() -> Self {
        Self {
            name: Column::new(&FieldType::String),
            sequence: Column::new(&FieldType::Long),
            lsn: Column::new(&FieldType::Long),
            transaction: Column::new(&FieldType::String),
            known: NullBufferBuilder::new(0),
        }
    }

    fn push(&mut self, meta: &RecordMeta<'_>, source: &SourceFields<'_>) -> Result<(), Fault> {
        push_text(&mut self.name, meta.source.or(source.name.as_deref()))?;
        push_long(&mut self.sequence, meta.sequence)?;
        push_long(&mut self.lsn, source.lsn)?;
        let mut digits = itoa::Buffer::new();
        let transaction = match &source.transaction {
            Some(Transaction::Name(name)) => Some(&**name),
            Some(Transaction::Number(number)) => Some(digits.format(*number)),
            None => None,
        };
        push_text(&mut self.transaction, transaction)?;
        self.known
            .append(source.present || meta.source.is_some() || meta.sequence.is_some());
        Ok(())
    }

    fn truncate(&mut self, rows: usize) {
        self.name.truncate(rows);
        self.sequence.truncate(rows);
        self.lsn.truncate(rows);
        self.transaction.truncate(rows);
        self.known.truncate(rows);
    }

    fn bytes(&self) -> usize {
        self.name.bytes()
            + self.sequence.bytes()
            + self.lsn.bytes()
            + self.transaction.bytes()
            + self.known.allocated_size()
    }

    fn finish(self) -> Result<ArrayRef, ArrowError> {
        let children = vec![
            self.name.finish()?,
            self.sequence.finish()?,
            self.lsn.finish()?,
            self.transaction.finish()?,
        ];
        let known = self.known.build();
        Ok(Arc::new(StructArray::try_new(
            source_fields(),
            children,
            known,
        )?))
    }
}
