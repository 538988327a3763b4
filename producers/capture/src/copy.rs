//! The first copy of a table: its rows as events of operation `r`, before its changes are streamed.
//!
//! **No hole.** The slot is there first. A temporary slot exports the snapshot at which the rows are
//! read; its consistent point `L` lies behind the slot's position. A change that was committed before `L`
//! is in the rows, every other comes in the stream, which passes over the former.
//!
//! **Resumable.** Rows are read by rising key, in chunks. A chunk is encoded, saved and only then
//! published; when it is acknowledged its last key is saved. A copy that was interrupted publishes the
//! saved chunk again, byte for byte, and goes on behind it with a snapshot of its own, at an `L` of its
//! own: a table is copied in parts by rising key, and the stream asks a change's key for its part.
//!
//! **Once in the lake.** The sequence of a row is (`L` - 1, its ordinal in the table's copy). Both rise
//! from row to row and from part to part, and a chunk that is published again has the same. Copied rows
//! have a source of their own, `<source>#copy`: a change that was committed between the snapshots of two
//! parts is published after the second, and must not be taken for one that came before it.

mod chunk;
mod part;
mod snapshot;

use std::sync::Arc;

use change_events::Record;
use schemas::canonical::EventSums;
use schemas::{Op, Sequence};
use tokio_util::sync::CancellationToken;
use tracing::info;

use self::chunk::{Chunk, ChunkHead};
pub(crate) use self::part::Parts;
use self::snapshot::Snapshot;
use crate::faults::{Point, point};
use crate::health::Health;
use crate::outlet::Outlet;
use crate::pgoutput::Value;
use crate::session::Row;
use crate::state::State;
use crate::stop::Stop;
use crate::table_copy::TableCopy;
use crate::table_plan::{Change, Origin, RowError, TablePlan};
use crate::transaction::rfc3339;
use crate::watermarks::Watermarks;
use crate::{CaptureError, CaptureProgress, CaptureSettings, Lsn};

/// Copies tables, one after the other.
#[derive(Debug)]
pub(crate) struct Copy<'a, 'o> {
    pub(crate) settings: &'a CaptureSettings,
    pub(crate) state: &'a mut State,
    pub(crate) outlet: &'a mut Outlet<'o>,
    pub(crate) progress: &'a CaptureProgress,
    pub(crate) health: &'a mut Health,
    pub(crate) cancel: &'a CancellationToken,
    /// Counts rows, if they are counted.
    pub(crate) watermarks: Option<&'a mut Watermarks>,
}

impl Copy<'_, '_> {
    /// Copies the tables of these plans, which are not copied whole yet.
    pub(crate) async fn run(&mut self, plans: &[TablePlan]) -> Result<(), Stop> {
        self.publish_saved(plans).await?;
        let mut snapshot = None;
        for plan in plans {
            if self.copy_of(plan).is_done {
                continue;
            }
            // One snapshot for all: their rows are of one moment.
            let snapshot = match &mut snapshot {
                Some(snapshot) => snapshot,
                none => {
                    let opened = none.insert(Snapshot::open(self.settings).await?);
                    // The rows are of everything that was committed before.
                    self.state.reserve(before(opened.lsn)).await?;
                    self.state.give_back();
                    opened
                }
            };
            self.copy_table(plan, snapshot).await?;
        }
        Ok(())
    }

    /// Publishes the chunk that an earlier run saved and did not see acknowledged.
    async fn publish_saved(&mut self, plans: &[TablePlan]) -> Result<(), Stop> {
        let Some(chunk) = Chunk::load(self.state.directory())? else {
            return Ok(());
        };
        let plan = plans.iter().find(|plan| *plan.topic == *chunk.head.topic);
        if let Some(plan) = plan
            && chunk.head.first > self.copy_of(plan).rows
        {
            self.send(plan, &chunk).await?;
            self.outlet.flush(self.health).await?;
            self.note(&chunk.head).await?;
        }
        Chunk::remove(self.state.directory())?;
        Ok(())
    }

    async fn copy_table(&mut self, plan: &TablePlan, snapshot: &mut Snapshot) -> Result<(), Stop> {
        let name = plan.settings.full_name();
        let copy = self.copy_of(plan);
        let after = copy.parts.last().and_then(|part| part.to.clone());
        let mut ordinal = copy.rows;
        info!(table = %name, lsn = %snapshot.lsn, after_row = ordinal, "copying the table");
        snapshot.select(plan, after.as_deref()).await?;
        let mut pending: Option<ChunkHead> = None;
        loop {
            let chunk = self.read_chunk(plan, snapshot, ordinal + 1).await?;
            // The chunk before must be acknowledged before its file is replaced.
            self.settle(pending.take()).await?;
            let Some(chunk) = chunk else {
                break;
            };
            chunk.save(self.state).await?;
            point(Point::ChunkSaved);
            self.send(plan, &chunk).await?;
            ordinal += chunk.head.rows;
            pending = Some(chunk.head);
            if self.cancel.is_cancelled() {
                self.settle(pending.take()).await?;
                return Err(Stop::Cancelled);
            }
        }
        snapshot.close_cursor().await?;
        part::finish(self.copy_of(plan), snapshot.lsn);
        self.state.save().await?;
        Chunk::remove(self.state.directory())?;
        info!(table = %name, rows = ordinal, "the table is copied");
        Ok(())
    }

    /// Reads and encodes rows until a chunk is full, which its last row alone may pass; none at the table's
    /// end.
    async fn read_chunk(
        &mut self,
        plan: &TablePlan,
        snapshot: &mut Snapshot,
        first: i64,
    ) -> Result<Option<Chunk>, Stop> {
        let limits = &self.settings.limits;
        let mut chunk = Chunk::new(ChunkHead {
            topic: plan.topic.to_string(),
            lsn: snapshot.lsn,
            time_us: snapshot.time_us,
            first,
            rows: 0,
            last_key: Vec::new(),
            sums: EventSums::default(),
        });
        let mut last = None;
        while let Some(row) = snapshot.next().await? {
            add(&mut chunk, plan, &row, self.watermarks.as_deref_mut())?;
            last = Some(row);
            if chunk.records.len() >= limits.chunk_rows_max || chunk.bytes() >= limits.chunk_bytes {
                break;
            }
        }
        let Some(last) = last else {
            return Ok(None);
        };
        let values = values(&last);
        let key = plan.key_texts(copied(&values)).unwrap_or_default();
        chunk.head.last_key = key.into_iter().map(str::to_owned).collect();
        Ok(Some(chunk))
    }

    async fn send(&mut self, plan: &TablePlan, chunk: &Chunk) -> Result<(), Stop> {
        let time = rfc3339(chunk.head.time_us);
        for (ordinal, (key, value)) in (chunk.head.first..).zip(&chunk.records) {
            // A chunk of an earlier run may be larger than what may be in flight.
            while !self.outlet.has_room() {
                self.outlet.hear(self.health).await?;
            }
            let sequence = sequence(chunk.head.lsn, ordinal);
            self.outlet.send(Record {
                number: 0,
                sequence,
                topic: Arc::clone(&plan.topic),
                source: Arc::clone(&plan.copy_source),
                event_type: Arc::clone(&plan.event_type),
                event_id: sequence.to_string(),
                time: time.clone(),
                key: key.clone(),
                value: value.clone(),
            })?;
        }
        Ok(())
    }

    fn copy_of(&mut self, plan: &TablePlan) -> &mut TableCopy {
        let copies = &mut self.state.progress.copies;
        copies.entry(plan.topic.to_string()).or_default()
    }

    /// Waits for a chunk's acknowledgements and remembers it.
    async fn settle(&mut self, head: Option<ChunkHead>) -> Result<(), Stop> {
        let Some(head) = head else {
            return Ok(());
        };
        self.outlet.flush(self.health).await?;
        point(Point::ChunkPublished);
        self.note(&head).await
    }

    async fn note(&mut self, head: &ChunkHead) -> Result<(), Stop> {
        let copy = self
            .state
            .progress
            .copies
            .entry(head.topic.clone())
            .or_default();
        copy.rows = head.first + head.rows - 1;
        part::extend(copy, head.lsn, &head.last_key);
        let progress = &mut self.state.progress;
        progress.note_offsets(self.outlet.offsets.take_changed());
        if let Some(watermarks) = &mut self.watermarks {
            let sequence = sequence(head.lsn, head.first);
            watermarks.count_copied(&head.topic, sequence, &head.sums);
            progress.counted = Some(watermarks.counted());
        }
        self.progress.count_copied(head.rows.unsigned_abs());
        Ok(self.state.save().await?)
    }
}

/// The last place before a snapshot's.
fn before(lsn: Lsn) -> Lsn {
    Lsn(lsn.0.saturating_sub(1))
}

fn sequence(lsn: Lsn, ordinal: i64) -> Sequence {
    Sequence {
        major: before(lsn).signed(),
        minor: Some(ordinal),
    }
}

/// Adds a row to a chunk, as a record.
fn add(
    chunk: &mut Chunk,
    plan: &TablePlan,
    row: &Row,
    watermarks: Option<&mut Watermarks>,
) -> Result<(), Stop> {
    let head = &mut chunk.head;
    let values = values(row);
    let sequence = sequence(head.lsn, head.first + head.rows);
    let origin = Origin {
        lsn: head.lsn.signed(),
        commit_time_us: head.time_us,
        transaction: None,
        sequence,
        published_ms: head.time_us.div_euclid(1000),
    };
    let record = plan.encode(copied(&values), origin);
    let record = record.map_err(|error| row_error(plan, &values, head.lsn, error))?;
    if let Some(watermarks) = watermarks {
        watermarks.add_copied(plan, sequence, &record, &mut head.sums);
    }
    chunk.push(record.key, record.value);
    Ok(())
}

fn values(row: &Row) -> Vec<Value<'_>> {
    row.iter()
        .map(|value| value.as_deref().map_or(Value::Null, Value::Text))
        .collect()
}

fn copied<'a>(values: &'a [Value<'a>]) -> Change<'a> {
    Change {
        op: Op::Read,
        before: None,
        after: Some(values),
        whole_before: None,
    }
}

/// Names the row that has no record.
pub(crate) fn row_error(
    plan: &TablePlan,
    row: &[Value<'_>],
    lsn: Lsn,
    error: RowError,
) -> CaptureError {
    match error {
        RowError::Malformed(why) => CaptureError::Protocol { lsn, why },
        RowError::Unlogged { column } => CaptureError::Unlogged {
            table: plan.settings.full_name(),
            column,
            row: plan.describe_key(row),
            lsn,
        },
        RowError::Value { column, why } => CaptureError::Value {
            table: plan.settings.full_name(),
            column,
            row: plan.describe_key(row),
            lsn,
            why,
        },
    }
}
