//! Retention of changes: old event dates leave the table of changes as a whole.
//!
//! A date goes only once the entity's current table has taken in every one of its rows, so that the
//! current state loses nothing. How far that is stands in the current table's own log: a `txn` per
//! topic partition, under the names that the table of changes has. A row that comes late to a date
//! that is gone stays until the current table has it, and goes then. What is gone is in the current
//! table alone, so before anything goes that must be one which a refresh would go on from, with all
//! its files in the store.
//!
//! Facts, and changes without a key, lead to no state. Their dates go by age alone.
//!
//! From the first date that left on, the table property `lakehead.changes_since` tells whoever would
//! compute something from all changes that they are not all there. Beside it
//! `lakehead.changes_retired_at` is the version of the changes that the current table covered then: one
//! that is put back from an earlier backup is told by it.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use bytes::Bytes;
use chrono::{DateTime, Days, NaiveDate};
use futures::{StreamExt, stream};
use lake_store::{CHANGES_RETIRED_AT_PROPERTY, CHANGES_SINCE_PROPERTY, LakeStore};
use object_store::ObjectStoreExt;
use object_store::path::Path;
use schemas::TableName;
use tracing::info;

use super::covered::Covered;
use super::current::buckets_left;
use super::current_layout::{CurrentLayout, Fit};
use super::error::{FoldError, MaintenanceError};
use super::log_order::Orders;
use super::maintained_table::{Landed, MaintainedTable, Operation, Swap};
use super::off_runtime::off_runtime;
use super::reached::Found;
use super::room::Room;
use super::row_file::RowFile;
use crate::action::Add;
use crate::app_id::{AppIds, Place};
use crate::clock::Clock;
use crate::commit::Base;
use crate::delta_log::{Inventory, TableState};
use crate::entropy::Entropy;
use crate::layout::{self, EVENT_DATE, GENERATION, OFFSET, PARTITION};

/// Files of the current table that are looked for side by side.
const LOOKS_AT_ONCE: usize = 16;

/// What left the table of changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RetentionReport {
    /// Event dates that left.
    pub dates: Vec<String>,
    /// Their files.
    pub files: usize,
    /// Event dates that are old enough and stay.
    pub waiting: Vec<String>,
    /// Why they stay, if there are any.
    pub why_waiting: Option<&'static str>,
    /// Why the run ended early: somebody else came first. What is left is for the next run.
    pub yielded: Option<String>,
}

/// The retention of one entity's changes.
#[derive(Debug)]
pub struct Retention {
    table: MaintainedTable,
    current: MaintainedTable,
    days: u32,
    room: Arc<Room>,
}

/// What lets an event date leave.
#[derive(Debug)]
enum Grounds {
    /// Its age alone: the changes lead to no state.
    Age,
    /// That the current table has all its rows.
    Covered {
        by: Arc<Covered>,
        /// Of the changes.
        version: u64,
    },
    /// Nothing does, for this reason.
    Nothing(&'static str),
}

impl Retention {
    /// The retention of an entity's changes: event dates (UTC) more than `days` before today's go.
    /// Who says nothing keeps an entity's changes for ever and needs none of this.
    pub fn new(
        lake: &LakeStore,
        table: &TableName,
        days: u32,
        clock: Arc<dyn Clock>,
        entropy: Arc<Entropy>,
    ) -> Self {
        let (its_clock, its_entropy) = (Arc::clone(&clock), Arc::clone(&entropy));
        Self {
            table: MaintainedTable::new(lake, table.changes_path(), clock, entropy),
            current: MaintainedTable::new(lake, table.current_path(), its_clock, its_entropy),
            days,
            room: Arc::default(),
        }
    }

    /// The same, in memory that it shares.
    pub(crate) fn in_room(mut self, room: &Arc<Room>) -> Self {
        self.room = Arc::clone(room);
        self
    }

    /// Removes old dates, one commit each. Their files stay in the store until a vacuum.
    ///
    /// Safe to be dropped at any point, and to run beside writers and all other care.
    ///
    /// # Errors
    /// What is wrong with the setting, the changes, or the current table that is to keep what they
    /// lead to. Dates that left before stay away.
    pub async fn run(&self) -> Result<RetentionReport, MaintenanceError> {
        let mut report = RetentionReport::default();
        if self.days == 0 {
            let why = "retention must be at least one day".to_owned();
            return Err(MaintenanceError::Setting(why));
        }
        // Before the changes are looked at: so it covers none that are not among them.
        let current = self.current.inventory().await;
        let Some(Inventory { state, files }) = self.table.inventory().await? else {
            return Ok(report);
        };
        let dates = self.old_enough(files.into_values())?;
        if dates.is_empty() {
            return Ok(report);
        }
        let grounds = self.grounds(&state, current).await?;
        let mut base = Base::new(state);
        for (date, files) in dates {
            if !self.may_leave(&files, &grounds).await? {
                report.waiting.push(date.to_string());
                continue;
            }
            let count = files.len();
            match self.remove(&mut base, (date, files), &grounds).await? {
                Landed::Yielded(why) => {
                    report.yielded = Some(why);
                    break;
                }
                Landed::Version(version) => {
                    info!(
                        table = self.table.path,
                        version,
                        %date,
                        files = count,
                        "an event date has passed its retention"
                    );
                }
            }
            report.dates.push(date.to_string());
            report.files += count;
        }
        self.tell_waiting(&mut report, &grounds);
        Ok(report)
    }

    /// The dates that have passed their retention, with their files.
    fn old_enough(
        &self,
        files: impl Iterator<Item = Add>,
    ) -> Result<BTreeMap<NaiveDate, Vec<Add>>, MaintenanceError> {
        let oldest = self.oldest_kept()?;
        let mut dates: BTreeMap<NaiveDate, Vec<Add>> = BTreeMap::new();
        for file in files {
            let date = file.partition_values.get(EVENT_DATE).cloned().flatten();
            let date = date.and_then(|date| date.parse().ok());
            if let Some(date) = date.filter(|date| *date < oldest) {
                dates.entry(date).or_default().push(file);
            }
        }
        Ok(dates)
    }

    /// The oldest date that stays.
    fn oldest_kept(&self) -> Result<NaiveDate, MaintenanceError> {
        let now = DateTime::from_timestamp_micros(self.table.clock.now_us());
        let today = now.map(|now| now.date_naive());
        let oldest = today.and_then(|today| today.checked_sub_days(Days::new(self.days.into())));
        oldest.ok_or_else(|| {
            let days = self.days;
            MaintenanceError::Setting(format!("{days} days before today is beyond the calendar"))
        })
    }

    /// What lets dates of the changes leave, which are at this state. `current` was looked at before.
    async fn grounds(
        &self,
        changes: &TableState,
        current: Result<Option<Inventory>, MaintenanceError>,
    ) -> Result<Grounds, MaintenanceError> {
        let (contract, shape) =
            layout::contract_of_table(&changes.metadata).map_err(|why| self.table.error(why))?;
        let Some(layout) = CurrentLayout::of(contract, shape) else {
            return Ok(Grounds::Age);
        };
        // A row of earlier offsets may have landed after a refresh, and be read again for that.
        if has_begun_anew(changes) {
            return Ok(Grounds::Nothing(
                "offsets began anew in a partition, so nobody can tell which rows the current table has",
            ));
        }
        let current = current?.ok_or_else(|| {
            self.table.error(format!(
                "the retention of its changes is limited, but there is no table {} that would keep \
                 the state they lead to; nothing is removed. Let `lakehead maintain` make it first, \
                 or keep the changes for ever",
                self.current.path
            ))
        })?;
        let covered = self.covered(&current.state, changes).await?;
        let Some(version) = covered.version() else {
            return Ok(Grounds::Nothing("the current table covers no changes yet"));
        };
        self.check_current(current, &layout).await?;
        Ok(Grounds::Covered {
            by: Arc::new(covered),
            version,
        })
    }

    /// What the current table has taken in of the changes, each at its state.
    async fn covered(
        &self,
        current: &TableState,
        changes: &TableState,
    ) -> Result<Covered, MaintenanceError> {
        let covered = Covered::by(current, &self.current.path);
        let found = covered.found_in(&self.table.log, changes).await;
        let found = found.map_err(|error| MaintenanceError::of_log(&self.table.path, &error))?;
        if found == Found::Other {
            return Err(self.table.error(format!(
                "they were put back from a backup, or made again: {} was made of others, and does not \
                 say what of these it has; nothing is removed. The next refresh computes it from all of \
                 them",
                self.current.path
            )));
        }
        Ok(covered)
    }

    /// Makes sure that a refresh would go on from the current table, and that it is whole: whatever
    /// leaves the changes is nowhere else.
    async fn check_current(
        &self,
        current: Inventory,
        layout: &CurrentLayout,
    ) -> Result<(), MaintenanceError> {
        let broken = |why: String| {
            let changes = &self.table.path;
            let why = format!("{why}; as long as that is so, nothing of {changes} is removed");
            self.current.error(why)
        };
        let (known, _) = CurrentLayout::of_table(&current.state.metadata).map_err(&broken)?;
        if known.fit(layout) == Fit::Other {
            let why = "its key or columns do not lead over to those of the changes";
            return Err(broken(why.to_owned()));
        }
        let files = current.files.into_values().collect();
        let files = buckets_left(&current.state, &self.current.path, files).map_err(&broken)?;
        let looks = files.into_values().map(|file| async move {
            let (store, path) = (self.current.log.store(), Path::from(file.path));
            let found = store.head(&path).await;
            (path, file.size.unsigned_abs(), found)
        });
        let mut looks = stream::iter(looks).buffer_unordered(LOOKS_AT_ONCE);
        while let Some((path, bytes, found)) = looks.next().await {
            match found {
                Ok(found) if found.size == bytes => {}
                Ok(found) => {
                    let found = found.size;
                    return Err(broken(format!(
                        "{path} has {found} bytes, and {bytes} by the table's log: put it back from a backup"
                    )));
                }
                Err(object_store::Error::NotFound { .. }) => {
                    return Err(broken(format!(
                        "{path} is not there, though the table has it: put it back from a backup"
                    )));
                }
                Err(error) => return Err(self.current.store_error(error)),
            }
        }
        Ok(())
    }

    /// Whether the files of a date may leave.
    async fn may_leave(&self, files: &[Add], grounds: &Grounds) -> Result<bool, MaintenanceError> {
        match grounds {
            Grounds::Age => Ok(true),
            Grounds::Covered { by, .. } => self.are_covered(files, by).await,
            Grounds::Nothing(_) => Ok(false),
        }
    }

    /// Commits that a date leaves.
    async fn remove(
        &self,
        base: &mut Base,
        (date, files): (NaiveDate, Vec<Add>),
        grounds: &Grounds,
    ) -> Result<Landed, MaintenanceError> {
        let relied_on = match grounds {
            Grounds::Covered { version, .. } => Some(*version),
            Grounds::Age | Grounds::Nothing(_) => None,
        };
        let properties = with_gone(&base.state.metadata.configuration, date, relied_on);
        let swap = Swap {
            operation: Operation::Delete,
            removed: files,
            added: Vec::new(),
            properties: Some(properties),
        };
        self.table.swap(base, swap).await
    }

    /// Says why dates stay that are old enough.
    fn tell_waiting(&self, report: &mut RetentionReport, grounds: &Grounds) {
        let Some(first) = report.waiting.first() else {
            return;
        };
        let why = match grounds {
            Grounds::Nothing(why) => *why,
            _ => {
                "the current table does not have all of their rows yet, or a file was just replaced"
            }
        };
        let (table, dates) = (&self.table.path, report.waiting.len());
        info!(table, dates, %first, why, "event dates have passed their retention and stay");
        report.why_waiting = Some(why);
    }

    async fn are_covered(
        &self,
        files: &[Add],
        covered: &Arc<Covered>,
    ) -> Result<bool, MaintenanceError> {
        for file in files {
            let _turn = self.room.to_rewrite().await;
            let path = Path::from(file.path.as_str());
            let read = async { self.table.log.store().get(&path).await?.bytes().await };
            let bytes = match read.await {
                Ok(bytes) => bytes,
                // It has left the table and was vacuumed meanwhile: for the next run.
                Err(object_store::Error::NotFound { .. }) => return Ok(false),
                Err(error) => return Err(self.table.store_error(error)),
            };
            let covered = Arc::clone(covered);
            let all = off_runtime(move || reaches_all(&covered, bytes)).await;
            let all = all.map_err(|error| MaintenanceError::Internal(error.to_string()))?;
            if !all.map_err(|error| error.in_file(path.as_ref()).of(&self.table.path))? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Whether the offsets of a partition began anew.
fn has_begun_anew(state: &TableState) -> bool {
    let mut txns = state.txns.iter();
    txns.any(|(app_id, number)| {
        matches!(AppIds::place_of(app_id), Some(Place::Generation(_))) && *number > 0
    })
}

/// Whether all rows of a data file are before the ends of their partitions.
fn reaches_all(covered: &Covered, file: Bytes) -> Result<bool, FoldError> {
    for batch in RowFile::open(file)?.all(&places()) {
        let batch = batch?;
        let orders = Orders::of(&batch)?;
        if !(0..batch.num_rows()).all(|row| covered.reaches(orders.at(row))) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The columns of a row's place.
fn places() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new(PARTITION, DataType::Int32, false),
        Field::new(OFFSET, DataType::Int64, false),
        Field::new(GENERATION, DataType::Int32, false),
    ]))
}

/// The properties of a table whose changes of the days up to this one are gone, as far as a current
/// table that covers this version has them.
fn with_gone(
    properties: &BTreeMap<String, String>,
    gone: NaiveDate,
    relied_on: Option<u64>,
) -> BTreeMap<String, String> {
    let since = gone.succ_opt().unwrap_or(gone).to_string();
    let mut properties = properties.clone();
    let known = properties.entry(CHANGES_SINCE_PROPERTY.to_owned());
    // Dates are written so that they compare like texts.
    let known = known.or_default();
    if *known < since {
        *known = since;
    }
    if let Some(version) = relied_on {
        let known = properties.get(CHANGES_RETIRED_AT_PROPERTY);
        let known: Option<u64> = known.and_then(|known| known.parse().ok());
        let version = known.map_or(version, |known| known.max(version));
        properties.insert(CHANGES_RETIRED_AT_PROPERTY.to_owned(), version.to_string());
    }
    properties
}

#[cfg(test)]
mod tests;
