//! Retention of changes: old event dates leave the table of changes as a whole.
//!
//! A date goes only once the entity's current table has taken in every one of its rows, so that the
//! current state loses nothing. How far that is stands in the current table's own log: a `txn` per
//! topic partition, under the names that the table of changes has. A row that comes late to a date
//! that is gone stays until the current table has it, and goes then.
//!
//! From the first date that left on, the table property `lakehead.changes_since` tells whoever would
//! compute something from all changes that they are not all there.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use bytes::Bytes;
use chrono::{DateTime, Days, NaiveDate};
use lake_store::{CHANGES_SINCE_PROPERTY, LakeStore};
use object_store::ObjectStoreExt;
use object_store::path::Path;
use schemas::TableName;
use tracing::info;

use super::covered::Covered;
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
use crate::delta_log::{DeltaLog, TableState};
use crate::entropy::Entropy;
use crate::layout::{EVENT_DATE, GENERATION, OFFSET, PARTITION};

/// What left the table of changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RetentionReport {
    /// Event dates that left.
    pub dates: Vec<String>,
    /// Their files.
    pub files: usize,
    /// Event dates that are old enough and stay, since the current table lacks some of their rows, or
    /// nobody can tell.
    pub waiting: Vec<String>,
    /// Why the run ended early: somebody else came first. What is left is for the next run.
    pub yielded: Option<String>,
}

/// The retention of one entity's changes.
#[derive(Debug)]
pub struct Retention {
    table: MaintainedTable,
    current: DeltaLog,
    current_path: String,
    days: u32,
    room: Arc<Room>,
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
        let current_path = table.current_path();
        Self {
            table: MaintainedTable::new(lake, table.changes_path(), clock, entropy),
            current: DeltaLog::new(lake.table_store(&current_path)),
            current_path,
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
    pub async fn run(&self) -> Result<RetentionReport, MaintenanceError> {
        let mut report = RetentionReport::default();
        if self.days == 0 {
            let why = "retention must be at least one day".to_owned();
            return Err(MaintenanceError::Setting(why));
        }
        let Some(inventory) = self.table.inventory().await? else {
            return Ok(report);
        };
        let oldest = self.oldest_kept()?;
        let mut dates: BTreeMap<NaiveDate, Vec<Add>> = BTreeMap::new();
        for file in inventory.files.into_values() {
            let date = file.partition_values.get(EVENT_DATE).cloned().flatten();
            let date = date.and_then(|date| date.parse().ok());
            if let Some(date) = date.filter(|date| *date < oldest) {
                dates.entry(date).or_default().push(file);
            }
        }
        if dates.is_empty() {
            return Ok(report);
        }
        let covered = Arc::new(self.covered(&inventory.state).await?);
        // A row of earlier offsets may have landed after a refresh, and be read again for that.
        let began_anew = has_begun_anew(&inventory.state);
        let mut base = Base::new(inventory.state);
        for (date, files) in dates {
            if began_anew || !self.are_covered(&files, &covered).await? {
                report.waiting.push(date.to_string());
                continue;
            }
            let count = files.len();
            let properties = with_changes_since(&base.state.metadata.configuration, date);
            let swap = Swap {
                operation: Operation::Delete,
                removed: files,
                added: Vec::new(),
                properties: Some(properties),
            };
            match self.table.swap(&mut base, swap).await? {
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
        Ok(report)
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

    /// What the current table has taken in of the changes, which are at this state.
    async fn covered(&self, changes: &TableState) -> Result<Covered, MaintenanceError> {
        let state = self.current.load().await;
        let state = state.map_err(|error| MaintenanceError::of_log(&self.current_path, &error))?;
        let state = state.ok_or_else(|| {
            self.table.error(format!(
                "the retention of its changes is limited, but there is no table {} that would keep \
                 the state they lead to; nothing is removed. Let `lakehead maintain` make it first, \
                 or keep the changes for ever",
                self.current_path
            ))
        })?;
        let covered = Covered::by(&state, &self.current_path);
        let found = covered.found_in(&self.table.log, changes).await;
        let found = found.map_err(|error| MaintenanceError::of_log(&self.table.path, &error))?;
        if found == Found::Other {
            return Err(self.table.error(format!(
                "they were put back from a backup, or made again: {} was made of others, and does not \
                 say what of these it has; nothing is removed. The next refresh computes it from all of \
                 them",
                self.current_path
            )));
        }
        Ok(covered)
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

/// The properties of a table whose changes of the days up to this one are gone.
fn with_changes_since(
    properties: &BTreeMap<String, String>,
    gone: NaiveDate,
) -> BTreeMap<String, String> {
    let since = gone.succ_opt().unwrap_or(gone).to_string();
    let mut properties = properties.clone();
    let known = properties.entry(CHANGES_SINCE_PROPERTY.to_owned());
    // Dates are written so that they compare like texts.
    let known = known.or_default();
    if *known < since {
        *known = since;
    }
    properties
}

#[cfg(test)]
mod tests;
