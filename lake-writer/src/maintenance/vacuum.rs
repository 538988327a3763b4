//! Vacuum: deletes data files that no retained version of a table refers to.
//!
//! Two kinds of files: those that left the table longer ago than the retention, as their tombstones
//! in the log tell, and those that no commit ever referred to, or whose tombstones the log has
//! forgotten. The latter are known by their age alone, so it must be more than any writer waits
//! between an upload and its commit: writers refuse to commit files older than three days (see
//! [`crate::commit`]), and none younger than seven is taken.
//!
//! Where the retention is longer than tombstones were kept so far, a file without one may also have
//! left the table within the retention. Nothing is known by its age there until tombstones have been
//! kept for long enough ([`tombstones`]).
//!
//! A table's own property may ask for a longer retention than the setting does: Spark set it, or another
//! process whose setting is longer. The longer one counts ([`asked`]). Ours only ever raise it.
//!
//! Only names that our writers give are touched, only below the table's own folder, never the log.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use lake_store::LakeStore;
use object_store::ObjectMeta;
use object_store::path::Path;
use serde::{Deserialize, Serialize};
use tracing::info;

use super::asked;
use super::error::MaintenanceError;
use super::maintained_table::{Landed, MaintainedTable, Operation, Swap};
use crate::action::Remove;
use crate::clock::Clock;
use crate::commit::{Base, UPLOAD_AGE_MAX};
use crate::data_file;
use crate::delta_log::Inventory;
use crate::entropy::Entropy;
use crate::faults::{self, Point};

mod departed;
mod tombstones;

use departed::{Departed, hash};
use tombstones::{TOMBSTONES_KEPT, Tombstones, before};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Age of a file that nothing refers to above which it is garbage. The days between this and what
/// writers keep to are for clocks that differ.
pub(crate) const UNREFERENCED_AGE: Duration = Duration::from_secs(7 * 24 * 3600);
const _: () = assert!(UNREFERENCED_AGE.as_secs() > 2 * UPLOAD_AGE_MAX.as_secs());

/// Files that are deleted by one request to the store.
const DELETED_TOGETHER: usize = 1000;

/// Paths that a report holds at most.
const PATHS_MAX: usize = 1000;

/// `[maintenance.vacuum]`: what is deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VacuumSettings {
    /// Whether files are deleted at all.
    pub enabled: bool,
    /// How long files that left the table are kept for readers of older versions. At least a day;
    /// no reader may take longer for one statement. A table that asks for longer gets that.
    #[serde(with = "humantime_serde")]
    pub retention: Duration,
    /// Says what would be deleted and deletes nothing.
    #[serde(skip)]
    pub dry_run: bool,
}

impl Default for VacuumSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            retention: 7 * DAY,
            dry_run: false,
        }
    }
}

impl VacuumSettings {
    /// Adds what is wrong to `problems`, each with its place in the file.
    pub fn validate(&self, problems: &mut Vec<String>) {
        if !(DAY..=3650 * DAY).contains(&self.retention) {
            problems.push(
                "maintenance.vacuum.retention must be between 1 day and 10 years: readers that have \
                 begun must be able to end"
                    .to_owned(),
            );
        }
    }
}

/// What a vacuum deleted, or would delete.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VacuumReport {
    /// Files that were deleted.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The first thousand of their paths.
    pub paths: Vec<String>,
    /// Files that nothing refers to and that are too young to be told from a commit on its way, or
    /// that may have left the table within the retention.
    pub young_files: u64,
    /// Why nothing was done: somebody else changed the table's properties at the same time.
    pub yielded: Option<String>,
}

/// The vacuum of one table.
#[derive(Debug)]
pub struct Vacuum {
    table: MaintainedTable,
    settings: VacuumSettings,
}

impl Vacuum {
    /// The vacuum of the table at `path` below the lake's root.
    pub fn new(
        lake: &LakeStore,
        path: &str,
        settings: VacuumSettings,
        clock: Arc<dyn Clock>,
        entropy: Arc<Entropy>,
    ) -> Self {
        Self {
            table: MaintainedTable::new(lake, path.to_owned(), clock, entropy),
            settings,
        }
    }

    /// Deletes what no retained version refers to.
    ///
    /// Safe to be dropped at any point, and to run beside writers, compactions, other vacuums and
    /// readers of versions that are not older than the retention: that of the settings, or what the table
    /// asks for if that is longer.
    ///
    /// # Errors
    /// The table cannot be read, listed or deleted from, or asks for what is not known here. Nothing is
    /// deleted then, but for what went before the store failed.
    pub async fn run(&self) -> Result<VacuumReport, MaintenanceError> {
        self.table
            .check(|problems| self.settings.validate(problems))?;
        let Some((inventory, departed)) = self.inventory().await? else {
            return Ok(VacuumReport::default());
        };
        let now_us = self.table.clock.now_us();
        let properties = &inventory.state.metadata.configuration;
        let retention = self.retention(properties)?;
        let known = Tombstones::of(properties, now_us);
        let known = known.map_err(|why| self.table.error(why))?;
        let kept = known.kept_for(retention, now_us);
        if kept != known
            && !self.settings.dry_run
            && let Some(why) = self.keep_tombstones(&inventory, kept, retention).await?
        {
            return Ok(VacuumReport {
                yielded: Some(why),
                ..VacuumReport::default()
            });
        }
        let files = inventory.files.into_keys();
        let sieve = Sieve::new(files, departed, kept, retention, now_us);
        let report = self.sweep(&sieve).await?;
        if report.files > 0 {
            info!(
                table = self.table.path,
                files = report.files,
                bytes = report.bytes,
                young_files = report.young_files,
                dry_run = self.settings.dry_run,
                "vacuumed"
            );
        }
        Ok(report)
    }

    /// The newest version, and what has left the table; `None` if there is no table.
    async fn inventory(&self) -> Result<Option<(Inventory, Departed)>, MaintenanceError> {
        // The table may ask for longer, never for less.
        let recent_from_us = before(self.table.clock.now_us(), self.settings.retention);
        let mut departed = Departed::recent_from(recent_from_us.div_euclid(1000));
        let left = |remove: Remove| departed.take(&remove);
        let found = self.table.inventory_and_removals(left).await?;
        Ok(found.map(|inventory| (inventory, departed)))
    }

    /// How long files are kept that left a table with these properties.
    fn retention(
        &self,
        properties: &BTreeMap<String, String>,
    ) -> Result<Duration, MaintenanceError> {
        let asked = asked::interval(properties, TOMBSTONES_KEPT);
        let asked = asked.map_err(|why| self.table.error(why))?;
        Ok(self.settings.retention.max(asked.unwrap_or_default()))
    }

    /// Lists the table's folder and deletes as it goes.
    async fn sweep(&self, sieve: &Sieve) -> Result<VacuumReport, MaintenanceError> {
        let mut report = VacuumReport::default();
        let store = self.table.log.store();
        let mut garbage: Vec<Path> = Vec::new();
        let mut listing = store.list(None);
        while let Some(object) = listing.next().await {
            let object = object.map_err(|error| self.table.store_error(error))?;
            match sieve.fate(&object) {
                Fate::Kept => continue,
                Fate::Young => {
                    report.young_files += 1;
                    continue;
                }
                Fate::Garbage => {}
            }
            report.files += 1;
            report.bytes += object.size;
            if report.paths.len() < PATHS_MAX {
                report.paths.push(object.location.to_string());
            }
            garbage.push(object.location);
            if garbage.len() == DELETED_TOGETHER {
                self.delete(std::mem::take(&mut garbage)).await?;
                faults::point(Point::VacuumDuring);
            }
        }
        let half = garbage.split_off(garbage.len() / 2);
        self.delete(garbage).await?;
        faults::point(Point::VacuumDuring);
        self.delete(half).await?;
        Ok(report)
    }

    async fn delete(&self, paths: Vec<Path>) -> Result<(), MaintenanceError> {
        if self.settings.dry_run || paths.is_empty() {
            return Ok(());
        }
        let deleted = self
            .table
            .log
            .store()
            .delete_stream(stream::iter(paths).map(Ok).boxed());
        // What is gone already was deleted by another vacuum.
        let deleted = deleted.or_else(async |error| match error {
            object_store::Error::NotFound { path, .. } => Ok(Path::from(path)),
            error => Err(error),
        });
        let deleted: Result<Vec<Path>, object_store::Error> = deleted.try_collect().await;
        deleted.map_err(|error| self.table.store_error(error))?;
        Ok(())
    }

    /// Has the table keep tombstones for as long as files are to be kept. Checkpoints forget them
    /// otherwise, and a file without a tombstone looks as if nothing had ever referred to it.
    async fn keep_tombstones(
        &self,
        inventory: &Inventory,
        kept: Tombstones,
        retention: Duration,
    ) -> Result<Option<String>, MaintenanceError> {
        let swap = Swap {
            operation: Operation::SetProperties,
            removed: Vec::new(),
            added: Vec::new(),
            properties: Some(kept.told_in(&inventory.state.metadata.configuration)),
        };
        let mut base = Base::new(inventory.state.clone());
        match self.table.swap(&mut base, swap).await? {
            Landed::Yielded(why) => Ok(Some(why)),
            Landed::Version(version) => {
                let days = retention.as_secs() / DAY.as_secs();
                info!(
                    table = self.table.path,
                    version, days, "the table's log keeps tombstones for longer"
                );
                Ok(None)
            }
        }
    }
}

/// What becomes of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Kept,
    /// Nothing refers to it, but a commit may be on its way, or a version within the retention may have
    /// had it.
    Young,
    Garbage,
}

/// Tells garbage from what is needed.
struct Sieve {
    /// Hashes of the paths of the newest version's files. Two paths with one hash keep a file that
    /// could go, and never the other way round.
    files: HashSet<u64>,
    departed: Departed,
    /// What left the table before this time, in milliseconds since 1970-01-01T00:00Z, is garbage.
    oldest_ms: i64,
    /// What is older and never referred to is garbage; `None`: that cannot be told.
    oldest_upload_us: Option<i64>,
}

impl Sieve {
    fn new(
        files: impl Iterator<Item = String>,
        departed: Departed,
        known: Tombstones,
        retention: Duration,
        now_us: i64,
    ) -> Self {
        let oldest_us = before(now_us, retention);
        Self {
            files: files.map(|path| hash(&path)).collect(),
            departed,
            oldest_ms: oldest_us.div_euclid(1000),
            oldest_upload_us: known
                .are_whole_since(oldest_us)
                .then(|| before(now_us, UNREFERENCED_AGE.max(retention))),
        }
    }

    fn fate(&self, object: &ObjectMeta) -> Fate {
        let path = object.location.as_ref();
        if path.starts_with("_delta_log") || data_file::name_of(&object.location).is_none() {
            return Fate::Kept;
        }
        // First of all: what left the table may have come back.
        if self.files.contains(&hash(path)) {
            return Fate::Kept;
        }
        match self.departed.is_needed(path, self.oldest_ms) {
            Some(true) => return Fate::Kept,
            Some(false) => return Fate::Garbage,
            None => {}
        }
        let uploaded_us = object.last_modified.timestamp_micros();
        let is_old = self
            .oldest_upload_us
            .is_some_and(|oldest_us| uploaded_us < oldest_us);
        match is_old {
            true => Fate::Garbage,
            false => Fate::Young,
        }
    }
}

#[cfg(test)]
mod tests;
