//! The files and the log of one table, kept few.
//!
//! In this order: small files become large ones, what has passed its retention leaves, files that
//! no retained version needs are deleted, a table whose writers made no checkpoint gets one, and the
//! log is deleted behind the versions that are retained. Whatever one of them ends by, the next is
//! tried.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use lake_store::{
    DEAD_LETTERS_PATH, GAPS_PATH, PERIODS_PATH, STARTS_PATH, dead_letters_schema, gaps_schema,
    periods_schema,
};
use object_store::ObjectStoreExt;
use object_store::path::Path;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use schemas::TableName;
use serde_json::json;
use tokio::time::Instant;
use tracing::info;

use super::compaction::{Compaction, CompactionReport};
use super::current::Means;
use super::error::{FoldError, MaintenanceError};
use super::log_cleanup::{LogCleanup, LogCleanupReport};
use super::retention::{Retention, RetentionReport};
use super::vacuum::{Vacuum, VacuumReport};
use crate::clock::Clock;
use crate::delta_log::{
    DeltaLog, DeltaLogError, checkpoint_is_due, checkpoint_path, write_checkpoint,
};
use crate::entropy::Entropy;

/// Tables that get checkpoints here. Who writes to the first two commits seldom, and has other things to do
/// then. Who writes to the last makes one at every multiple of the interval, but a compaction may have taken
/// that version.
const CHECKPOINTED: [&str; 3] = [GAPS_PATH, STARTS_PATH, PERIODS_PATH];

/// Versions between two of those that are made here.
const CHECKPOINT_INTERVAL: u64 = 100;

/// The turns of the lake's own tables.
///
/// Files of starts are left as they are: there are no more than partitions whose copies were begun, and
/// their reader takes the name under which a compaction is counted for that of a topic.
pub(crate) fn own() -> Vec<Housekeeping> {
    vec![
        Housekeeping::of_own(DEAD_LETTERS_PATH, dead_letters_schema()),
        Housekeeping::of_own(GAPS_PATH, gaps_schema()),
        Housekeeping::of_table(STARTS_PATH.to_owned()),
        Housekeeping::of_own(PERIODS_PATH, periods_schema()),
        // They come by commits as small as those of changes.
        Housekeeping::of_changes(&TableName::watermarks()),
    ]
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

/// What a table's rows are, by which their files are compacted or not.
#[derive(Clone, Debug)]
enum Rows {
    /// An entity's changes, which may pass their retention, too.
    Changes(TableName),
    /// Those of one of the lake's own tables, in these columns.
    Own(SchemaRef),
    /// In files that stay as they are.
    Settled,
}

/// One table's turn, again and again.
#[derive(Debug)]
pub(crate) struct Housekeeping {
    path: String,
    rows: Rows,
    /// `None`: it is met for the first time.
    next: Option<Instant>,
}

impl Housekeeping {
    /// Of an entity's changes.
    pub(crate) fn of_changes(table: &TableName) -> Self {
        Self {
            path: table.changes_path(),
            rows: Rows::Changes(table.clone()),
            next: None,
        }
    }

    /// Of the lake's own table at this path, which its writers make in these columns.
    fn of_own(path: &str, columns: SchemaRef) -> Self {
        Self {
            path: path.to_owned(),
            rows: Rows::Own(columns),
            next: None,
        }
    }

    /// Of a table whose files are not to be compacted.
    pub(crate) fn of_table(path: String) -> Self {
        Self {
            path,
            rows: Rows::Settled,
            next: None,
        }
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
        let interval = means.settings.housekeeping_interval;
        // Tables that were met together do not stay together.
        let wait = match self.next {
            None => means.entropy.jitter(interval),
            Some(_) => interval,
        };
        self.next = Some(now + wait);
        let mut done = Housekept {
            path: self.path.clone(),
            ..Housekept::default()
        };
        take(self.compacted(means).await, &mut done.compaction, failed);
        take(self.retired(means).await, &mut done.retention, failed);
        take(self.vacuumed(means).await, &mut done.vacuum, failed);
        failed.extend(self.checkpointed(means).await.err());
        take(self.log_cleaned(means).await, &mut done.log_cleanup, failed);
        done.is_change().then_some(done)
    }

    async fn compacted(&self, means: &Means) -> Result<CompactionReport, MaintenanceError> {
        let settings = means.settings.compaction.clone();
        if !settings.enabled {
            return Ok(CompactionReport::default());
        }
        let (clock, entropy) = parts(means);
        let compaction = match &self.rows {
            Rows::Changes(table) => Compaction::new(&means.lake, table, settings, clock, entropy),
            Rows::Own(columns) => {
                let table = (self.path.as_str(), columns);
                Compaction::of_own(&means.lake, table, settings, clock, entropy)
            }
            Rows::Settled => return Ok(CompactionReport::default()),
        };
        compaction.in_room(&means.room).run().await
    }

    async fn retired(&self, means: &Means) -> Result<RetentionReport, MaintenanceError> {
        let Rows::Changes(table) = &self.rows else {
            return Ok(RetentionReport::default());
        };
        let Some(days) = means.settings.retention_days.get(table) else {
            return Ok(RetentionReport::default());
        };
        let (clock, entropy) = parts(means);
        let retention = Retention::new(&means.lake, table, *days, clock, entropy);
        retention.in_room(&means.room).run().await
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

    /// Makes a checkpoint that nobody else made, if one is due, or the hint to the one that there is. Must
    /// run on a multi-threaded tokio runtime.
    async fn checkpointed(&self, means: &Means) -> Result<(), MaintenanceError> {
        let path = self.path.as_str();
        if !CHECKPOINTED.contains(&path) {
            return Ok(());
        }
        let log = DeltaLog::new(means.lake.table_store(path));
        let failed = |error: DeltaLogError| MaintenanceError::of_log(path, &error);
        let Some(state) = log.load().await.map_err(failed)? else {
            return Ok(());
        };
        let (version, last) = (state.version, log.hint().await.map_err(failed)?);
        // What no writer would commit to is left alone: a checkpoint might forget its progress.
        let is_ours = state.same_layout(&state.metadata);
        if !is_ours || !checkpoint_is_due(version, CHECKPOINT_INTERVAL, last) {
            return Ok(());
        }
        let hinted = hinted(&log, version).await;
        if hinted.map_err(|error| error.of(path))? {
            info!(path, version, "hint to a checkpoint written");
            return Ok(());
        }
        let made = write_checkpoint(&means.lake, path, version).await;
        made.map_err(|why| MaintenanceError::of_table(path, format!("no checkpoint: {why}")))?;
        info!(path, version, "checkpoint written");
        Ok(())
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

/// Writes the hint to the checkpoint of this version; false if there is no such checkpoint. Whoever wrote it
/// was killed before its hint, and the kernel passes over a checkpoint that is there.
async fn hinted(log: &DeltaLog, version: u64) -> Result<bool, FoldError> {
    let path = checkpoint_path(version);
    let checkpoint = match log.store().get(&path).await {
        Ok(found) => found.bytes().await?,
        Err(object_store::Error::NotFound { .. }) => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    let bytes = checkpoint.len();
    let rows = ParquetRecordBatchReaderBuilder::try_new(checkpoint);
    let rows = rows.map_err(|error| FoldError::from(error).in_file(path.as_ref()))?;
    let actions = rows.metadata().file_metadata().num_rows();
    let hint = json!({ "version": version, "size": actions, "sizeInBytes": bytes });
    let place = Path::from("_delta_log/_last_checkpoint");
    log.store().put(&place, hint.to_string().into()).await?;
    Ok(true)
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use lake_store::LakeStore;

    use super::*;
    use crate::clock::SystemClock;
    use crate::maintenance::MaintenanceSettings;

    #[tokio::test(start_paused = true)]
    async fn tables_that_were_met_together_do_not_stay_together() {
        let hour = Duration::from_secs(3600);
        let mut settings = MaintenanceSettings::default();
        assert_eq!(settings.housekeeping_interval, hour);
        settings.log.enabled = false;
        let means = Means {
            lake: LakeStore::open("memory:///", &[], true).unwrap(),
            clock: Arc::new(SystemClock),
            entropy: Arc::new(Entropy::seeded(1)),
            settings: Arc::new(settings),
            room: Arc::default(),
        };
        let mut failed = Vec::new();
        let (begun, mut turns) = (Instant::now(), Vec::new());
        for mut one in own() {
            one.round(&means, &mut failed).await;
            turns.push(one.next.unwrap() - begun);
        }
        assert!(failed.is_empty(), "{failed:?}");
        assert!(
            turns.iter().all(|turn| (hour / 2..hour).contains(turn)),
            "{turns:?}"
        );
        turns.sort();
        turns.dedup();
        assert_eq!(turns.len(), 5);
    }
}
