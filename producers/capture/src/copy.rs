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

/// Rows of a table's first chunk, which tells how large rows are.
const FIRST_ROWS: usize = 100;

/// How many times as many rows as the chunk before a chunk has at most.
const GROWTH_MAX: usize = 4;

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
            self.send(plan, &chunk)?;
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
        let mut limit = FIRST_ROWS.min(self.settings.limits.chunk_rows_max);
        let mut pending: Option<ChunkHead> = None;
        loop {
            let rows = snapshot.fetch(limit).await?;
            let is_end = rows.len() < limit;
            let watermarks = self.watermarks.as_deref_mut();
            let chunk = encode(plan, snapshot, &rows, ordinal + 1, watermarks)?;
            // The chunk before must be acknowledged before its file is replaced.
            self.settle(pending.take()).await?;
            if let Some(chunk) = chunk {
                chunk.save(self.state).await?;
                point(Point::ChunkSaved);
                self.send(plan, &chunk)?;
                ordinal += chunk.head.rows;
                limit = self.next_limit(&chunk);
                pending = Some(chunk.head);
            }
            if is_end {
                break;
            }
            if self.cancel.is_cancelled() {
                self.settle(pending.take()).await?;
                return Err(Stop::Cancelled);
            }
        }
        self.settle(pending).await?;
        snapshot.close_cursor().await?;
        part::finish(self.copy_of(plan), snapshot.lsn);
        self.state.save().await?;
        Chunk::remove(self.state.directory())?;
        info!(table = %name, rows = ordinal, "the table is copied");
        Ok(())
    }

    fn send(&mut self, plan: &TablePlan, chunk: &Chunk) -> Result<(), Stop> {
        let time = rfc3339(chunk.head.time_us);
        for (ordinal, (key, value)) in (chunk.head.first..).zip(&chunk.records) {
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

    /// Rows of the next chunk, by the size of the last one's.
    fn next_limit(&self, chunk: &Chunk) -> usize {
        let limits = &self.settings.limits;
        let rows = chunk.records.len().max(1);
        let row_bytes = chunk.bytes().div_ceil(rows).max(1);
        // It grows step by step, as rows may be larger further on.
        let most = limits.chunk_rows_max.min(GROWTH_MAX * rows);
        (limits.chunk_bytes / row_bytes).clamp(1, most)
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

/// The rows as records; none for no rows.
fn encode(
    plan: &TablePlan,
    snapshot: &Snapshot,
    rows: &[Row],
    first: i64,
    mut watermarks: Option<&mut Watermarks>,
) -> Result<Option<Chunk>, Stop> {
    let mut sums = EventSums::default();
    let mut records = Vec::with_capacity(rows.len());
    let mut last_key = Vec::new();
    for (index, row) in rows.iter().enumerate() {
        let values: Vec<Value<'_>> = row
            .iter()
            .map(|value| value.as_deref().map_or(Value::Null, Value::Text))
            .collect();
        let change = Change {
            op: Op::Read,
            before: None,
            after: Some(&values),
            whole_before: None,
        };
        // A count of rows in memory is far below i64's end.
        let sequence = sequence(snapshot.lsn, first + index as i64);
        let origin = Origin {
            lsn: snapshot.lsn.signed(),
            commit_time_us: snapshot.time_us,
            transaction: None,
            sequence,
            published_ms: snapshot.time_us.div_euclid(1000),
        };
        let record = plan.encode(change, origin);
        let record = record.map_err(|error| row_error(plan, &values, snapshot.lsn, error))?;
        if let Some(watermarks) = &mut watermarks {
            watermarks.add_copied(plan, sequence, &record, &mut sums);
        }
        records.push((record.key, record.value));
        if index + 1 == rows.len() {
            let key = plan.key_texts(change).unwrap_or_default();
            last_key = key.into_iter().map(str::to_owned).collect();
        }
    }
    Ok((!records.is_empty()).then(|| Chunk {
        head: ChunkHead {
            topic: plan.topic.to_string(),
            lsn: snapshot.lsn,
            time_us: snapshot.time_us,
            first,
            rows: records.len() as i64,
            last_key,
            sums,
        },
        records,
    }))
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
