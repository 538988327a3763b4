//! One entity's current table: a row for every key that there is, as the latest change left it.
//!
//! # Refresh
//! The latest change of every key is found among the changes that the table does not cover yet (the
//! tail). Keys are hashed into buckets, each one file sorted by key; the buckets that have keys of
//! the tail are written anew, all others stay. One commit takes the files in place of the old ones
//! and carries, as `txn`s, the progress of the changes that it covers: per topic partition the next
//! offset and generation, under the writer's own application ids, and the version of the table of
//! changes. The table of changes is only read.
//!
//! # Why deletes leave nothing behind
//! A key's latest change is the one with the highest (`_generation`, `_offset`). A deleted key's row
//! is gone, and with it the place of the delete. Nothing is lost by that: no change that comes later
//! to the lake is earlier in that order than one that is covered.
//! - In one partition, rows land in the order of their offsets; where offsets begin anew, the
//!   partition's generation is raised in the same commit.
//! - A key's changes are in one partition while the topic has the same partitions. When it gets
//!   others, all of them begin the same, higher generation in one commit.
//!
//! So a change of partition p is later than all covered changes of its key, unless its generation is
//! below the one that p has in what is covered. Only a writer that read p before its generation was
//! raised, and was held up since, lands such a row. It is noticed, and the table is computed anew from
//! all changes ([`Tail::has_late`](super::tail::Tail::has_late)). Where changes have passed their
//! retention, the rows stay that there are, and what they have taken in only tells what came too
//! late: a delete that is gone is not undone by an earlier change that is still there. Which changes
//! these are is told by the files they are in (`new_changes/origins.rs`), for by its place a change of
//! an earlier generation could be either.
//!
//! # Two at once, and kills
//! A commit must follow the very version that it was made on, and moves a fence. Of two refreshes
//! one lands, and the other deletes what it had uploaded. A rebuild, which takes longer than the time between
//! two refreshes, goes on from what it has uploaded ([`overtaken`]). What was killed has landed, or leaves
//! garbage that a vacuum finds.

use std::sync::Arc;
use std::time::Instant;

use lake_store::LakeStore;
use schemas::TableName;
use tracing::info;

use super::covered::{Covered, moves, told};
use super::current_layout::CurrentLayout;
use super::error::{FoldError, MaintenanceError};
use super::fold::Folded;
use super::kept_table::KeptTable;
use super::reached::{Found, Reached};
use super::room::Room;
use super::settings::MaintenanceSettings;
use crate::action::{self, Remove};
use crate::app_id;
use crate::clock::Clock;
use crate::commit::{Draft, Rework, Step, commit_soon};
use crate::delta_log::{DeltaLog, TableState};
use crate::entropy::Entropy;
use crate::faults::{self, Point};
use crate::layout;

mod buckets_left;
mod fold;
mod overtaken;
mod plan;

pub(crate) use buckets_left::buckets_left;

/// Versions between two checkpoints of a derived table: every one of them replaces many files.
const CHECKPOINT_INTERVAL: u64 = 20;

/// What the care of all tables has in common.
#[derive(Clone, Debug)]
pub(crate) struct Means {
    pub(crate) lake: LakeStore,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<Entropy>,
    pub(crate) settings: Arc<MaintenanceSettings>,
    pub(crate) room: Arc<Room>,
}

/// What a refresh did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refreshed {
    /// The entity.
    pub table: TableName,
    /// The current table's version.
    pub version: u64,
    /// The version of the changes that it covers.
    pub changes_version: u64,
    /// Changes that were read.
    pub changes: u64,
    /// Buckets that the table has.
    pub buckets: u32,
    /// Buckets that were written anew.
    pub buckets_written: usize,
    /// Rows in them.
    pub rows_written: usize,
    /// Whether it was computed from all changes.
    pub from_all: bool,
}

/// How a table is to be brought up to date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// By what is new.
    Refresh,
    /// From all changes, whatever is there.
    Rebuild,
}

/// One entity's current table and the changes that it is made of.
#[derive(Debug)]
pub(crate) struct Current {
    table: TableName,
    means: Means,
    changes: KeptTable,
    current: KeptTable,
    /// The changes that had nothing new for the table.
    idle_at: Option<Reached>,
}

impl Current {
    pub(crate) fn new(table: TableName, means: Means) -> Self {
        let kept = |path: String| {
            let log = DeltaLog::new(means.lake.table_store(&path));
            KeptTable::new(path, log)
        };
        Self {
            changes: kept(table.changes_path()),
            current: kept(table.current_path()),
            idle_at: None,
            table,
            means,
        }
    }

    /// Brings the table up to the newest changes; what was done, if there was something to do.
    pub(crate) async fn refresh(
        &mut self,
        mode: Mode,
    ) -> Result<Option<Refreshed>, MaintenanceError> {
        let begun = Instant::now();
        let refreshed = self.try_refresh(mode).await;
        let refreshed = refreshed.map_err(|error| error.of(&self.current.path))?;
        if let Some(done) = &refreshed {
            info!(table = %self.table, version = done.version, changes_version = done.changes_version,
                changes = done.changes, buckets = done.buckets, buckets_written = done.buckets_written,
                rows_written = done.rows_written, from_all = done.from_all,
                seconds = begun.elapsed().as_millis() as f64 / 1000.0, "current table refreshed");
            let (lake, interval) = (&self.means.lake, CHECKPOINT_INTERVAL);
            self.current
                .checkpoint_if_due(lake, done.version, interval)
                .await;
        }
        Ok(refreshed)
    }

    async fn try_refresh(&mut self, mode: Mode) -> Result<Option<Refreshed>, FoldError> {
        let mut work = self.look(mode).await?;
        if work.as_ref().is_some_and(Work::is_behind) {
            // Another process refreshed the table since the changes were looked at.
            work = self.look(mode).await?;
        }
        let Some(mut work) = work else {
            return Ok(None);
        };
        let Some(plan) = self.plan(&mut work, mode).await? else {
            self.idle_at = self.changes.reached(work.changes.version);
            return Ok(None);
        };
        let attempt = self.attempt(work, plan).await?;
        self.land(attempt, mode).await.map(Some)
    }

    /// What there is; nothing if no table can be derived, or there is nothing new.
    async fn look(&mut self, mode: Mode) -> Result<Option<Work>, FoldError> {
        let newest = self.changes.newest().await;
        let newest = newest.map_err(|error| FoldError::of_changes(&self.changes.path, &error))?;
        let Some(changes) = newest else {
            return Ok(None);
        };
        let reached = self.changes.reached(changes.version);
        if mode == Mode::Refresh && reached.is_some() && reached == self.idle_at {
            return Ok(None);
        }
        let (contract, shape) = layout::contract_of_table(&changes.metadata)
            .map_err(|why| FoldError::Layout(format!("{}: {why}", self.changes.path)))?;
        let Some(layout) = CurrentLayout::of(contract, shape) else {
            return Ok(None);
        };
        let current = self.open(&layout).await?;
        CurrentLayout::check_replaceable(&current.metadata).map_err(FoldError::Layout)?;
        let covered = Covered::by(&current, &self.current.path);
        Ok(Some(Work {
            layout,
            found: covered.found_in(&self.changes.log, &changes).await?,
            covered,
            changes,
            current,
        }))
    }

    /// The table's newest state. It is made if there is none.
    async fn open(&mut self, layout: &CurrentLayout) -> Result<TableState, FoldError> {
        if let Some(state) = self.current.newest().await? {
            return Ok(state);
        }
        let (id, now_us) = (self.means.entropy.uuid(), self.means.clock.now_us());
        let metadata = layout.metadata(1, id, now_us).map_err(FoldError::Layout)?;
        let entry = action::creation(metadata, now_us);
        let entry = entry.map_err(|error| FoldError::Internal(error.to_string()))?;
        // Whose entry it is does not matter.
        let put = self.current.log.put(0, entry).await;
        faults::point(Point::CurrentCreated);
        let state = self.current.newest().await?;
        state.ok_or_else(|| FoldError::Layout(format!("it cannot be created: {put:?}")))
    }

    /// Commits what was written, if nothing came in between.
    async fn commit(&mut self, attempt: &Attempt) -> Result<Refreshed, FoldError> {
        let (work, folded) = (&attempt.work, &attempt.folded);
        let path = &self.current.path;
        let fence = app_id::maintenance(path);
        let from = work.current.txns.get(&fence).copied();
        let mut further = moves(&work.changes, &work.current);
        further.extend(told(&self.changes.log, &work.changes, path).await?);
        let files = buckets_left::number(attempt.stay, &folded.written.added);
        further.push((app_id::files(path), files));
        let metadata = work.layout.grown(&work.current.metadata, folded.buckets);
        let from_all = attempt.from_all;
        let draft = Draft {
            layout: work.current.metadata.clone(),
            steps: vec![Step {
                app_id: fence,
                from,
                to: from.unwrap_or(0) + 1,
            }],
            further,
            rework: Some(Rework {
                operation: if from_all { "REBUILD" } else { "REFRESH" },
                metadata: metadata.map_err(FoldError::Layout)?,
                removed: attempt.removed.clone(),
                after: Some(work.current.version),
            }),
            files: folded.written.added.clone(),
        };
        faults::point(Point::RefreshUploaded);
        let (clock, entropy) = (self.means.clock.as_ref(), &self.means.entropy);
        let mut current = work.current.clone();
        let log = &self.current.log;
        let version = commit_soon(log, &mut current, &draft, clock, entropy).await?;
        faults::point(Point::RefreshCommitted);
        let changes_version = work.changes.version;
        self.idle_at = self.changes.reached(changes_version);
        Ok(Refreshed {
            table: self.table.clone(),
            version,
            changes_version,
            changes: folded.changes,
            buckets: folded.buckets,
            buckets_written: folded.written.buckets,
            rows_written: folded.written.rows,
            from_all,
        })
    }
}

/// What one refresh is about.
#[derive(Debug)]
struct Work {
    layout: CurrentLayout,
    covered: Covered,
    /// Whether the changes are those that are covered.
    found: Found,
    changes: TableState,
    current: TableState,
}

/// What was written, to become the table's next version.
#[derive(Debug)]
struct Attempt {
    work: Work,
    folded: Folded,
    /// The files that leave the table.
    removed: Vec<Remove>,
    /// The number of those that stay in it.
    stay: i64,
    from_all: bool,
}

impl Work {
    /// Whether the table covers changes that are not there.
    fn is_behind(&self) -> bool {
        self.covered.version() > Some(self.changes.version)
    }
}
