//! Rows of one topic partition under construction.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::TimestampMicrosecondType;
use arrow::error::ArrowError;
use schemas::{Op, TopicPartition};

use crate::entity::Entity;
use crate::error::Fault;
use crate::lineage::Lineage;
use crate::record::RecordMeta;
use crate::schema::ChangeSchema;
use crate::source::SourceFields;
use crate::time::DAY_US;

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

    /// One batch per event date (days since 1970-01-01), by date, rows in offset order, with the
    /// columns of [`ChangeSchema::batch_schema`]. Nothing is copied unless dates alternate.
    ///
    /// `generation`: how often the partition's offsets began anew, so that rows of one key are in
    /// log order by (`_generation`, `_offset`).
    pub fn finish(self, generation: i32) -> Result<Vec<(i32, RecordBatch)>, ArrowError> {
        let mut columns = self.lineage.finish(&self.place, generation)?;
        columns.extend(self.entity.finish()?);
        let event_time = columns.get(2).map(Arc::clone);
        let batch = RecordBatch::try_new(self.schema.batch_schema(), columns)?;
        event_time.map_or_else(|| Ok(Vec::new()), |event_time| by_date(&batch, &event_time))
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

/// Splits a batch by the dates of its event times.
fn by_date(
    batch: &RecordBatch,
    event_time: &ArrayRef,
) -> Result<Vec<(i32, RecordBatch)>, ArrowError> {
    let times = event_time
        .as_primitive::<TimestampMicrosecondType>()
        .values();
    let mut dates: BTreeMap<i32, Rows> = BTreeMap::new();
    let mut start = 0;
    for run in times.chunk_by(|a, b| a.div_euclid(DAY_US) == b.div_euclid(DAY_US)) {
        let date = run.first().map_or(0, |time| time.div_euclid(DAY_US));
        // Event times lie in the years 1 to 9999.
        let date = i32::try_from(date).unwrap_or_default();
        dates.entry(date).or_default().runs.push((start, run.len()));
        start += run.len();
    }
    dates
        .into_iter()
        .map(|(date, rows)| Ok((date, rows.of(batch)?)))
        .collect()
}

/// Which rows of a batch have one date, as runs of (start, length).
#[derive(Default)]
struct Rows {
    runs: Vec<(usize, usize)>,
}

impl Rows {
    fn of(&self, batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
        if let [(start, length)] = self.runs[..] {
            return Ok(batch.slice(start, length));
        }
        let mut rows: Vec<u32> = Vec::new();
        for &(start, length) in &self.runs {
            let start = u32::try_from(start).map_err(|_| too_many())?;
            let length = u32::try_from(length).map_err(|_| too_many())?;
            rows.extend(start..start.checked_add(length).ok_or_else(too_many)?);
        }
        take_record_batch(batch, &UInt32Array::from(rows))
    }
}

fn too_many() -> ArrowError {
    ArrowError::ComputeError("more than 4 billion rows in one buffer; flush earlier".to_owned())
}
