//! Retention of changes: old event dates leave the table of changes as a whole.
//!
//! A date goes only once the entity's current table has taken in every one of its rows, so that the
//! current state loses nothing. How far that is stands in the current table's own log: a `txn` per
//! topic partition, under the names that the table of changes has. A row that comes late to a date
//! that is gone stays until the current table has it, and goes then.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Int32Type, Int64Type};
use bytes::Bytes;
use lake_store::LakeStore;
use object_store::ObjectStoreExt;
use object_store::path::Path;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use schemas::{TableName, TopicPartition};
use tracing::info;

use super::error::MaintenanceError;
use super::maintained_table::{Landed, MaintainedTable, Operation, Swap};
use crate::action::Add;
use crate::app_id::AppIds;
use crate::clock::Clock;
use crate::commit::Base;
use crate::data_file::date_text;
use crate::delta_log::{DeltaLog, TableState};
use crate::entropy::Entropy;
use crate::layout::{EVENT_DATE, GENERATION, OFFSET, PARTITION, TOPIC};

const DAY_US: i64 = 24 * 3600 * 1_000_000;

/// What left the table of changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RetentionReport {
    /// Event dates that left.
    pub dates: Vec<String>,
    /// Their files.
    pub files: usize,
    /// Event dates that are old enough and stay, since the current table lacks some of their rows.
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
}

impl Retention {
    /// The retention of an entity's changes: event dates (UTC) more than `days` before today's go.
    /// An entity whose contract says nothing keeps its changes for ever and needs none of this.
    pub fn new(
        lake: &LakeStore,
        table: &TableName,
        days: u32,
        clock: Arc<dyn Clock>,
        entropy: Arc<Entropy>,
    ) -> Self {
        let current_path = format!("{}/{}/current", table.service(), table.entity());
        Self {
            table: MaintainedTable::new(lake, table.changes_path(), clock, entropy),
            current: DeltaLog::new(lake.table_store(&current_path)),
            current_path,
            days,
        }
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
        let mut dates: BTreeMap<String, Vec<Add>> = BTreeMap::new();
        for file in inventory.files.into_values() {
            let date = file.partition_values.get(EVENT_DATE).cloned().flatten();
            if let Some(date) = date.filter(|date| *date < oldest) {
                dates.entry(date).or_default().push(file);
            }
        }
        if dates.is_empty() {
            return Ok(report);
        }
        let covered = Covered::new(&inventory.state, &self.current_state().await?);
        let mut base = Base::new(inventory.state);
        for (date, files) in dates {
            if !self.are_covered(&files, &covered).await? {
                report.waiting.push(date);
                continue;
            }
            let count = files.len();
            let swap = Swap {
                operation: Operation::Delete,
                removed: files,
                added: Vec::new(),
                properties: None,
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
                        date,
                        files = count,
                        "an event date has passed its retention"
                    );
                }
            }
            report.dates.push(date);
            report.files += count;
        }
        Ok(report)
    }

    /// The oldest date that stays.
    fn oldest_kept(&self) -> Result<String, MaintenanceError> {
        let today = self.table.clock.now_us().div_euclid(DAY_US);
        let oldest = i32::try_from(today - i64::from(self.days));
        let oldest = oldest.map_err(|error| self.table.error(error.to_string()))?;
        date_text(oldest).map_err(|error| self.table.error(error.to_string()))
    }

    async fn current_state(&self) -> Result<TableState, MaintenanceError> {
        let state = self.current.load().await;
        let state = state.map_err(|error| MaintenanceError::of_log(&self.current_path, &error))?;
        state.ok_or_else(|| {
            self.table.error(format!(
                "its contract limits the retention of changes, but there is no table {} that would \
                 keep the state they lead to; nothing is removed. Let `lakehead maintain` make it \
                 first, or keep the changes for ever",
                self.current_path
            ))
        })
    }

    async fn are_covered(
        &self,
        files: &[Add],
        covered: &Covered,
    ) -> Result<bool, MaintenanceError> {
        for file in files {
            let path = Path::from(file.path.as_str());
            let read = async { self.table.log.store().get(&path).await?.bytes().await };
            let bytes = match read.await {
                Ok(bytes) => bytes,
                // It has left the table and was vacuumed meanwhile: for the next run.
                Err(object_store::Error::NotFound { .. }) => return Ok(false),
                Err(error) => return Err(self.table.store_error(error)),
            };
            let all = covered.all_of(bytes);
            if !all.map_err(|why| self.table.error(format!("{path}: {why}")))? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// How far the current table has taken in the changes: generation and next offset.
struct Covered(HashMap<TopicPartition, (i64, i64)>);

impl Covered {
    fn new(changes: &TableState, current: &TableState) -> Self {
        let of = |app_id: &String| {
            let (pipeline, partition) = AppIds::partition_of(app_id)?;
            let next_offset = *current.txns.get(app_id)?;
            let generation = AppIds::new(pipeline).generation(&partition);
            let generation = current.txns.get(&generation).copied().unwrap_or(0);
            Some((partition, (generation, next_offset)))
        };
        Self(changes.txns.keys().filter_map(of).collect())
    }

    /// Whether all rows of a data file are among what is covered.
    fn all_of(&self, file: Bytes) -> Result<bool, String> {
        let text = |error: &dyn std::fmt::Display| error.to_string();
        let builder =
            ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| text(&error))?;
        let names = [TOPIC, PARTITION, GENERATION, OFFSET];
        let mask = ProjectionMask::columns(builder.parquet_schema(), names);
        let reader = builder.with_projection(mask).build();
        for batch in reader.map_err(|error| text(&error))? {
            let batch = batch.map_err(|error| text(&error))?;
            if !self
                .all_rows(&batch)
                .ok_or("it lacks the columns of a row's place")?
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn all_rows(&self, batch: &RecordBatch) -> Option<bool> {
        let topics = batch.column_by_name(TOPIC)?.as_string_opt::<i32>()?;
        let long = |name| batch.column_by_name(name)?.as_primitive_opt::<Int64Type>();
        let int = |name| batch.column_by_name(name)?.as_primitive_opt::<Int32Type>();
        let (partitions, generations, offsets) = (int(PARTITION)?, int(GENERATION)?, long(OFFSET)?);
        // Rows of one partition follow each other, so it is looked up rarely.
        let mut place = TopicPartition::new("", -1);
        let mut reached = None;
        let mut all = (0..batch.num_rows()).map(|row| {
            let (topic, partition) = (topics.value(row), partitions.value(row));
            if place.partition != partition || *place.topic != *topic {
                place = TopicPartition::new(topic, partition);
                reached = self.0.get(&place).copied();
            }
            let at = (i64::from(generations.value(row)), offsets.value(row));
            reached.is_some_and(|reached| at < reached)
        });
        Some(all.all(|is_covered| is_covered))
    }
}

#[cfg(test)]
mod tests;
