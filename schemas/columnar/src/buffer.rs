//! Rows of one topic partition under construction.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use schemas::{Op, TopicPartition};

use crate::entity::Entity;
use crate::error::Fault;
use crate::lineage::Lineage;
use crate::record::RecordMeta;
use crate::schema::ChangeSchema;
use crate::source::SourceFields;

/// Columns under construction: the rows of one topic partition, in offset order.
///
/// No column may grow past 2 GiB: a record that would do so is refused as invalid, so flush by
/// [`Self::bytes`] well before.
#[derive(Debug)]
pub struct ChangeBuffer {
    schema: Arc<ChangeSchema>,
    place: TopicPartition,
    lineage: Lineage,
    entity: Entity,
}

impl ChangeBuffer {
    /// An empty buffer of rows from this topic partition.
    pub fn new(schema: Arc<ChangeSchema>, topic_partition: TopicPartition) -> Self {
        let entity = Entity::new(&schema);
        Self {
            schema,
            place: topic_partition,
            lineage: Lineage::new(),
            entity,
        }
    }

    /// How many rows it holds.
    pub fn rows(&self) -> usize {
        self.entity.rows
    }

    /// Memory held, in bytes; takes time in proportion to the number of columns.
    pub fn bytes(&self) -> usize {
        self.lineage.bytes() + self.entity.bytes()
    }

    /// The columns that it builds.
    pub fn schema(&self) -> &Arc<ChangeSchema> {
        &self.schema
    }

    /// The rows in offset order, with the columns of [`ChangeSchema::batch_schema`]; nothing is
    /// copied.
    ///
    /// `generation`: how often the partition's offsets began anew, so that rows of one key are in
    /// log order by (`_generation`, `_offset`).
    pub fn finish(self, generation: i32) -> Result<RecordBatch, ArrowError> {
        let mut columns = self.lineage.finish(&self.place, generation)?;
        columns.extend(self.entity.finish()?);
        RecordBatch::try_new(self.schema.batch_schema(), columns)
    }

    /// What a decoder works on.
    pub(crate) fn parts(&mut self) -> (&ChangeSchema, &mut Entity) {
        (&self.schema, &mut self.entity)
    }

    /// Completes the open row with its lineage.
    pub(crate) fn close_row(
        &mut self,
        op: Op,
        event_time_us: i64,
        meta: &RecordMeta<'_>,
        source: &SourceFields<'_>,
    ) -> Result<(), Fault> {
        self.lineage.push(op, event_time_us, meta, source)?;
        self.entity.next_row();
        Ok(())
    }

    /// Forgets the open row.
    pub(crate) fn clear_row(&mut self) {
        self.lineage.truncate(self.entity.rows);
        self.entity.clear_row();
    }
}
