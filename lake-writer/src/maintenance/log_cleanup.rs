//! Log clean-up: deletes old commit entries and checkpoints.
//!
//! A version that was the newest at some moment of the retention stays readable: only what is behind
//! a checkpoint goes, and only one that was written at or before the newest version at that time
//! ago. Before anything goes, the checkpoint is compared with what the checkpoint or entries before
//! it lead to: protocol, metadata, the `txn` of every application and the list of data files.
//! Progress lives in `txn`s, so losing one would land records twice. (Where a clean-up was killed
//! there is nothing left to compare with; it had compared.)
//!
//! A table's own properties may ask for a longer retention than the setting does, or that nothing goes at
//! all: that counts.
//!
//! Older checkpoints go first: one that is followed by a hole would be read as the end of the log.
//! Then entries go one by one, the oldest first, so that an entry's successors are there while it is
//! there itself. A writer that was asleep relies on that: it looks whether the entry of the version
//! that it knows is there, and otherwise begins with the newest checkpoint (`DeltaLog::refresh`).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use lake_store::LakeStore;
use object_store::ObjectStoreExt;
use object_store::path::Path;
use serde::{Deserialize, Serialize};
use tracing::info;

use super::asked;
use super::error::MaintenanceError;
use super::maintained_table::MaintainedTable;
use crate::clock::Clock;
use crate::delta_log::{
    Inventory, TableState, checkpoint_path, checkpoint_version, entry_path, entry_version,
};
use crate::entropy::Entropy;
use crate::faults::{self, Point};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Delta's property of how long versions are kept.
const VERSIONS_KEPT: &str = "delta.logRetentionDuration";

/// Delta's property of whether a log may be cleaned up at all.
const CLEANUP_ENABLED: &str = "delta.enableExpiredLogCleanup";

/// `[maintenance.log]`: how long versions stay readable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogCleanupSettings {
    /// Whether entries are deleted at all.
    pub enabled: bool,
    /// How long a version can be read after it was followed by another. At least a day. No process
    /// may be held up for longer in the middle of a commit. A table that asks for longer gets that.
    #[serde(with = "humantime_serde")]
    pub retention: Duration,
}

impl Default for LogCleanupSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            retention: 30 * DAY,
        }
    }
}

impl LogCleanupSettings {
    /// Adds what is wrong to `problems`, each with its place in the file.
    pub fn validate(&self, problems: &mut Vec<String>) {
        if !(DAY..=3650 * DAY).contains(&self.retention) {
            problems
                .push("maintenance.log.retention must be between 1 day and 10 years".to_owned());
        }
    }
}

/// What a clean-up deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogCleanupReport {
    /// Commit entries that were deleted.
    pub entries: u64,
    /// Checkpoints that were deleted.
    pub checkpoints: u64,
    /// The oldest version that can be read from now on.
    pub oldest_version: Option<u64>,
}

/// The clean-up of one table's log.
#[derive(Debug)]
pub struct LogCleanup {
    table: MaintainedTable,
    settings: LogCleanupSettings,
}

/// What is compared of a version. Of two, only one is held with all that is said of its files.
struct Account {
    state: TableState,
    /// Where its data files are, in order.
    files: Vec<String>,
}

impl Account {
    fn of(inventory: Inventory) -> Self {
        Self {
            state: inventory.state,
            files: inventory.files.into_keys().collect(),
        }
    }
}

/// What lies in a log, with the time at which it was written in microseconds since
/// 1970-01-01T00:00Z, by version.
#[derive(Debug, Default, PartialEq, Eq)]
struct Listed {
    entries: BTreeMap<u64, i64>,
    checkpoints: BTreeMap<u64, i64>,
}

impl LogCleanup {
    /// The clean-up of the log of the table at `path` below the lake's root.
    pub fn new(
        lake: &LakeStore,
        path: &str,
        settings: LogCleanupSettings,
        clock: Arc<dyn Clock>,
        entropy: Arc<Entropy>,
    ) -> Self {
        Self {
            table: MaintainedTable::new(lake, path.to_owned(), clock, entropy),
            settings,
        }
    }

    /// Deletes what no retained version needs.
    ///
    /// Safe to be dropped at any point, and to run beside writers, readers and other clean-ups.
    ///
    /// # Errors
    /// The log cannot be read, listed or deleted from, its checkpoint says something else than its entries,
    /// or the table asks for what is not known here. Nothing is deleted then, but for what went before the
    /// store failed.
    pub async fn run(&self) -> Result<LogCleanupReport, MaintenanceError> {
        self.table
            .check(|problems| self.settings.validate(problems))?;
        let listed = self.list().await?;
        let Some(oldest) = self.oldest_kept(&listed).await? else {
            return Ok(LogCleanupReport::default());
        };
        if !self.verify(&listed, oldest).await? {
            return Ok(LogCleanupReport::default());
        }
        let report = self.delete(&listed, oldest).await?;
        info!(
            table = self.table.path,
            entries = report.entries,
            checkpoints = report.checkpoints,
            oldest_version = oldest,
            "log cleaned up"
        );
        Ok(report)
    }

    async fn list(&self) -> Result<Listed, MaintenanceError> {
        let mut listed = Listed::default();
        let log = Path::from("_delta_log");
        let mut listing = self.table.log.store().list(Some(&log));
        while let Some(object) = listing.next().await {
            let object = object.map_err(|error| self.table.store_error(error))?;
            let written_us = object.last_modified.timestamp_micros();
            let file = object.location.filename().unwrap_or_default();
            if let Some(version) = entry_version(file) {
                listed.entries.insert(version, written_us);
            } else if let Some(version) = checkpoint_version(file) {
                listed.checkpoints.insert(version, written_us);
            }
        }
        Ok(listed)
    }

    /// The checkpoint behind which everything may go, if there is something.
    async fn oldest_kept(&self, listed: &Listed) -> Result<Option<u64>, MaintenanceError> {
        let now_us = self.table.clock.now_us();
        let oldest = |retention: Duration| {
            let retention_us = i64::try_from(retention.as_micros()).unwrap_or(i64::MAX);
            listed.oldest_kept(now_us.saturating_sub(retention_us))
        };
        // Whatever the table asks for, it can only be less that goes: mostly its newest version need not be
        // read for it.
        if oldest(self.settings.retention).is_none() {
            return Ok(None);
        }
        Ok(self.retention().await?.and_then(oldest))
    }

    /// How long versions are kept; `None` if they are kept for ever. Told by the newest version: what it
    /// asks for may be about what is older.
    async fn retention(&self) -> Result<Option<Duration>, MaintenanceError> {
        let newest = self.table.log.load().await;
        let newest = newest.map_err(|error| MaintenanceError::of_log(&self.table.path, &error))?;
        let Some(state) = newest else {
            return Ok(None);
        };
        self.table.check_state(&state)?;
        let kept = kept_by(&state.metadata.configuration, self.settings.retention);
        kept.map_err(|why| self.table.error(why))
    }

    /// Makes sure that the checkpoint says what the entries up to it say, and that readers are not
    /// sent to one that goes. False if another clean-up deletes the entries meanwhile: it has made sure.
    async fn verify(&self, listed: &Listed, oldest: u64) -> Result<bool, MaintenanceError> {
        let hint = self.table.log.hint().await;
        let hint = hint.map_err(|error| MaintenanceError::of_log(&self.table.path, &error))?;
        if let Some((version, _)) = hint.filter(|(version, _)| *version < oldest) {
            return Err(self.table.error(format!(
                "_last_checkpoint names version {version}, though there is a checkpoint of {oldest}: \
                 the log is left as it is until the next checkpoint is written"
            )));
        }
        let before = listed.checkpoints.range(..oldest).next_back();
        let before = before.map(|(version, _)| *version);
        match self.compare(before, oldest).await {
            Ok(()) => Ok(true),
            Err(_) if self.list().await?.before(oldest) != listed.before(oldest) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Makes sure that a checkpoint says what the entries between the one before it and it say.
    async fn compare(&self, before: Option<u64>, oldest: u64) -> Result<(), MaintenanceError> {
        let (said, replayed) = (
            self.account(Some(oldest), oldest).await?,
            self.account(before, oldest).await?,
        );
        if replayed.is_none() && said.is_some() {
            // A clean-up was killed: what is left behind its checkpoint has no beginning any more,
            // so that nobody can read it.
            return Ok(());
        }
        match difference(&said, &replayed, oldest) {
            None => Ok(()),
            Some(what) => Err(self.table.error(format!(
                "the checkpoint of version {oldest} does not say the same {what} as the log's entries; \
                 nothing is deleted, for one of them is damaged"
            ))),
        }
    }

    async fn account(
        &self,
        checkpoint: Option<u64>,
        to: u64,
    ) -> Result<Option<Account>, MaintenanceError> {
        let found = self.table.log.inventory_from(checkpoint, to).await;
        let found = found.map_err(|error| MaintenanceError::of_log(&self.table.path, &error))?;
        Ok(found.map(Account::of))
    }

    async fn delete(
        &self,
        listed: &Listed,
        oldest: u64,
    ) -> Result<LogCleanupReport, MaintenanceError> {
        let mut report = LogCleanupReport {
            oldest_version: Some(oldest),
            ..LogCleanupReport::default()
        };
        for version in listed
            .checkpoints
            .range(..oldest)
            .map(|(version, _)| *version)
        {
            report.checkpoints += self.delete_one(&checkpoint_path(version)).await?;
        }
        for version in listed.entries.range(..oldest).map(|(version, _)| *version) {
            report.entries += self.delete_one(&entry_path(version)).await?;
            faults::point(Point::LogCleanupDuring);
        }
        Ok(report)
    }

    /// Whether it was there.
    async fn delete_one(&self, path: &Path) -> Result<u64, MaintenanceError> {
        match self.table.log.store().delete(path).await {
            Ok(()) => Ok(1),
            Err(object_store::Error::NotFound { .. }) => Ok(0),
            Err(error) => Err(self.table.store_error(error)),
        }
    }
}

impl Listed {
    /// What lies before a version.
    fn before(&self, version: u64) -> Self {
        let before =
            |of: &BTreeMap<u64, i64>| of.range(..version).map(|(v, us)| (*v, *us)).collect();
        Self {
            entries: before(&self.entries),
            checkpoints: before(&self.checkpoints),
        }
    }

    /// The checkpoint behind which everything may go: at or before the version that was the newest
    /// at the cutoff. Nothing if there is nothing to delete behind it.
    fn oldest_kept(&self, cutoff_us: i64) -> Option<u64> {
        // The first entry written after the cutoff ends the search, whatever comes later: clocks
        // that differ keep too much and never too little.
        let old = self.entries.iter();
        let old = old.take_while(|(_, written_us)| **written_us <= cutoff_us);
        let (newest_old, _) = old.last()?;
        let mut checkpoints = self.checkpoints.range(..=newest_old);
        let (oldest, _) = checkpoints.next_back()?;
        let is_of_use = self.entries.range(..oldest).next().is_some();
        (is_of_use || checkpoints.next().is_some()).then_some(*oldest)
    }
}

/// How long versions of a table with these properties are kept; `None` if they are kept for ever.
fn kept_by(
    properties: &BTreeMap<String, String>,
    setting: Duration,
) -> Result<Option<Duration>, String> {
    if asked::yes_or_no(properties, CLEANUP_ENABLED)? == Some(false) {
        return Ok(None);
    }
    let asked = asked::interval(properties, VERSIONS_KEPT)?;
    Ok(Some(setting.max(asked.unwrap_or_default())))
}

/// What two accounts of a version differ in.
fn difference(
    said: &Option<Account>,
    replayed: &Option<Account>,
    version: u64,
) -> Option<&'static str> {
    let (Some(said), Some(replayed)) = (said, replayed) else {
        return Some("table");
    };
    let differences = [
        (replayed.state.version != version, "version"),
        (said.state.protocol != replayed.state.protocol, "protocol"),
        (said.state.metadata != replayed.state.metadata, "metadata"),
        (said.state.txns != replayed.state.txns, "progress (txn)"),
        (said.files != replayed.files, "list of data files"),
    ];
    let differs = differences.into_iter().find(|(differs, _)| *differs);
    differs.map(|(_, what)| what)
}

#[cfg(test)]
mod tests;
