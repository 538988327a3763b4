//! The files and the log of one table, kept few.
//!
//! In this order: small files become large ones, what has passed its retention leaves, files that
//! no retained version needs are deleted, and so is the log behind those versions. Whatever one of
//! them ends by, the next is tried.

use std::sync::Arc;

use lake_store::{DEAD_LETTERS_PATH, GAPS_PATH, PERIODS_PATH, STARTS_PATH};
use schemas::TableName;
use tokio::time::Instant;

use super::compaction::{Compaction, CompactionReport};
use super::current::Means;
use super::error::MaintenanceError;
use super::log_cleanup::{LogCleanup, LogCleanupReport};
use super::retention::{Retention, RetentionReport};
use super::vacuum::{Vacuum, VacuumReport};
use crate::clock::Clock;
use crate::entropy::Entropy;

/// The turns of the lake's own tables. Watermarks come by commits as small as those of changes.
pub(crate) fn own() -> Vec<Housekeeping> {
    let paths = [DEAD_LETTERS_PATH, GAPS_PATH, STARTS_PATH, PERIODS_PATH];
    let mut own: Vec<Housekeeping> = paths
        .map(|path| Housekeeping::of_table(path.to_owned()))
        .into();
    own.push(Housekeeping::of_changes(&TableName::watermarks()));
    own
}

/// What was done for one table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Housekept {
    /// The table's path below the lake's root.
    pub path: String,
    /// Small files that became large ones.
    pub compaction: CompactionReport,
    /// What left the table of changes.
    pub retention: RetentionReport,
    /// What was deleted of its files.
    pub vacuum: VacuumReport,
    /// What was deleted of its log.
    pub log_cleanup: LogCleanupReport,
}

impl Housekept {
    /// Whether anything of the table is another than before.
    pub fn is_change(&self) -> bool {
        let deleted = self.log_cleanup.entries + self.log_cleanup.checkpoints;
        self.compaction.commits > 0
            || self.retention.files > 0
            || self.vacuum.files > 0
            || deleted > 0
    }
}

/// One table's turn, again and again.
#[derive(Debug)]
pub(crate) struct Housekeeping {
    path: String,
    /// The entity whose changes they are, if they are an entity's.
    changes_of: Option<TableName>,
    next: Option<Instant>,
    /// What was compacted before the first turn.
    first: Option<CompactionReport>,
}

impl Housekeeping {
    /// Of an entity's changes.
    pub(crate) fn of_changes(table: &TableName) -> Self {
        Self {
            path: table.changes_path(),
            changes_of: Some(table.clone()),
            next: None,
            first: None,
        }
    }

    /// Of a table whose files are not to be compacted.
    pub(crate) fn of_table(path: String) -> Self {
        Self {
            path,
            changes_of: None,
            next: None,
            first: None,
        }
    }

    /// Compacts before the first turn, and before anything is derived: whoever derives holds the list
    /// of files, and where nobody has taken care so far it may be longer than memory has room for.
    pub(crate) async fn compact_first(
        &mut self,
        means: &Means,
        failed: &mut Vec<MaintenanceError>,
    ) {
        let Some(table) = self.changes_of.as_ref().filter(|_| self.next.is_none()) else {
            return;
        };
        let mut report = CompactionReport::default();
        take(compacted(means, table).await, &mut report, failed);
        self.first = Some(report);
    }

    /// Keeps house if it is time; what changed, and what went wrong.
    pub(crate) async fn round(
        &mut self,
        means: &Means,
        failed: &mut Vec<MaintenanceError>,
    ) -> Option<Housekept> {
        let now = Instant::now();
        if self.next.is_some_and(|next| now < next) {
            return None;
        }
        self.next = Some(now + means.settings.housekeeping_interval);
        let mut done = Housekept {
            path: self.path.clone(),
            ..Housekept::default()
        };
        if let Some(table) = &self.changes_of {
            match self.first.take() {
                Some(report) => done.compaction = report,
                None => take(compacted(means, table).await, &mut done.compaction, failed),
            }
            take(retired(means, table).await, &mut done.retention, failed);
        }
        take(self.vacuumed(means).await, &mut done.vacuum, failed);
        take(self.log_cleaned(means).await, &mut done.log_cleanup, failed);
        done.is_change().then_some(done)
    }

    async fn vacuumed(&self, means: &Means) -> Result<VacuumReport, MaintenanceError> {
        let settings = means.settings.vacuum.clone();
        if !settings.enabled {
            return Ok(VacuumReport::default());
        }
        let (clock, entropy) = parts(means);
        let vacuum = Vacuum::new(&means.lake, &self.path, settings, clock, entropy);
        vacuum.run().await
    }

    async fn log_cleaned(&self, means: &Means) -> Result<LogCleanupReport, MaintenanceError> {
        let settings = means.settings.log.clone();
        if !settings.enabled {
            return Ok(LogCleanupReport::default());
        }
        let (clock, entropy) = parts(means);
        let cleanup = LogCleanup::new(&means.lake, &self.path, settings, clock, entropy);
        cleanup.run().await
    }
}

async fn compacted(means: &Means, table: &TableName) -> Result<CompactionReport, MaintenanceError> {
    let settings = means.settings.compaction.clone();
    if !settings.enabled {
        return Ok(CompactionReport::default());
    }
    let (clock, entropy) = parts(means);
    let compaction = Compaction::new(&means.lake, table, settings, clock, entropy);
    compaction.run().await
}

async fn retired(means: &Means, table: &TableName) -> Result<RetentionReport, MaintenanceError> {
    let Some(days) = means.settings.retention_days.get(table) else {
        return Ok(RetentionReport::default());
    };
    let (clock, entropy) = parts(means);
    let retention = Retention::new(&means.lake, table, *days, clock, entropy);
    retention.run().await
}

fn take<T>(done: Result<T, MaintenanceError>, into: &mut T, failed: &mut Vec<MaintenanceError>) {
    match done {
        Ok(done) => *into = done,
        Err(error) => failed.push(error),
    }
}

fn parts(means: &Means) -> (Arc<dyn Clock>, Arc<Entropy>) {
    (Arc::clone(&means.clock), Arc::clone(&means.entropy))
}
