//! Compaction: the small files of a partition value become files of the target size.
//!
//! The rows are the same before and after, in every column: their count and an order-free sum over
//! all their values are compared before the commit, read back from the bytes that were written.
//! Writers are never held up: what they append meanwhile stays as it is, and where anybody else
//! replaces one of the files first, the compaction yields. Progress (`txn`) is not touched, the old
//! files stay in the store until a vacuum.
//!
//! Rows of changes are in the order `_partition`, `_generation`, `_offset`. That is how the readers of changes
//! look for them: what lies beyond a progress, one record, one stretch of a topic. It is
//! the order they came in, so it costs no memory to restore, and times and offsets rise with
//! it, which makes their columns small and their bounds tight. Who looks for a key has the current
//! table, which is sorted by it.
//!
//! The lake's own tables are compacted, too: each flush with a dead letter leaves a file there. Their rows
//! stay in the order of the times of their files. A table whose columns are not those that this program's
//! version writes is refused by name, as by its writer.

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use bytes::Bytes;
use bytesize::ByteSize;
use columnar::ChangeSchema;
use lake_store::LakeStore;
use object_store::ObjectStoreExt;
use object_store::path::Path;
use schemas::TableName;
use serde::{Deserialize, Serialize};
use tracing::info;

use super::error::MaintenanceError;
use super::maintained_table::{Landed, MaintainedTable, Operation, Swap};
use super::off_runtime::off_runtime;
use super::room::Room;
use crate::action::{Add, Metadata};
use crate::clock::Clock;
use crate::commit::Base;
use crate::data_file::DataFile;
use crate::entropy::Entropy;
use crate::faults::{self, Point};
use crate::layout::{self, EVENT_DATE};

mod kind;
mod plan;
mod rewriter;
mod row_order;
mod row_sum;

use kind::Kind;
use plan::Group;
use rewriter::Rewriter;

/// `[maintenance.compaction]`: which files are compacted, and to what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CompactionSettings {
    /// Whether files are compacted at all.
    pub enabled: bool,
    /// Size of the files that are made. A file of less than half of it is small.
    pub target_bytes: ByteSize,
    /// As many small files of a partition value are worth being rewritten.
    pub files_min: usize,
    /// A partition value that got a file more recently than this is hot and left alone, unless it
    /// has `hot_files_max` small files.
    #[serde(with = "humantime_serde")]
    pub quiet_age: std::time::Duration,
    /// Small files that a hot partition value may have.
    pub hot_files_max: usize,
    /// Decoded rows that are held and put in order together. Beside them memory holds one file that
    /// is read and one that is made.
    pub sort_bytes_max: ByteSize,
}

impl Default for CompactionSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            target_bytes: ByteSize::mib(64),
            files_min: 4,
            quiet_age: std::time::Duration::from_secs(15 * 60),
            hot_files_max: 100,
            sort_bytes_max: ByteSize::mib(64),
        }
    }
}

impl CompactionSettings {
    /// Adds what is wrong to `problems`, each with its place in the file.
    pub fn validate(&self, problems: &mut Vec<String>) {
        let section = "maintenance.compaction";
        if !(ByteSize::mib(1)..=ByteSize::gib(1)).contains(&self.target_bytes) {
            problems.push(format!(
                "{section}.target_bytes is {}, it must be between 1 MiB and 1 GiB",
                self.target_bytes
            ));
        }
        if self.files_min < 2 || self.hot_files_max < self.files_min {
            problems.push(format!(
                "{section}.files_min must be at least 2, and hot_files_max no less than it"
            ));
        }
        if self.sort_bytes_max < ByteSize::mib(1) {
            problems.push(format!("{section}.sort_bytes_max must be at least 1 MiB"));
        }
    }
}

/// What a run of compaction did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CompactionReport {
    /// Versions that were committed.
    pub commits: usize,
    /// Rows that were written anew.
    pub rows: u64,
    /// Files that were replaced.
    pub files_removed: usize,
    /// Files that took their place.
    pub files_added: usize,
    /// Bytes of the files that were replaced.
    pub bytes_removed: u64,
    /// Bytes of the files that took their place.
    pub bytes_added: u64,
    /// Why the run ended before everything was compacted: somebody else came first. What is left is
    /// for the next run.
    pub yielded: Option<String>,
}

/// The compaction of one table: an entity's changes, or one of the lake's own.
#[derive(Debug)]
pub struct Compaction {
    table: MaintainedTable,
    kind: Kind,
    settings: CompactionSettings,
    room: Arc<Room>,
}

impl Compaction {
    /// The compaction of an entity's table of changes.
    pub fn new(
        lake: &LakeStore,
        table: &TableName,
        settings: CompactionSettings,
        clock: Arc<dyn Clock>,
        entropy: Arc<Entropy>,
    ) -> Self {
        let table = MaintainedTable::new(lake, table.changes_path(), clock, entropy);
        Self::of_kind(Kind::Changes, table, settings)
    }

    /// The compaction of the lake's own table at this path, which must have these columns.
    pub(crate) fn of_own(
        lake: &LakeStore,
        (path, columns): (&str, &SchemaRef),
        settings: CompactionSettings,
        clock: Arc<dyn Clock>,
        entropy: Arc<Entropy>,
    ) -> Self {
        let table = MaintainedTable::new(lake, path.to_owned(), clock, entropy);
        Self::of_kind(Kind::Own(Arc::clone(columns)), table, settings)
    }

    fn of_kind(kind: Kind, table: MaintainedTable, settings: CompactionSettings) -> Self {
        Self {
            table,
            kind,
            settings,
            room: Arc::default(),
        }
    }

    /// The same, in memory that it shares.
    pub(crate) fn in_room(mut self, room: &Arc<Room>) -> Self {
        self.room = Arc::clone(room);
        self
    }

    /// Compacts what is worth it at the newest version, one commit for each group of files.
    ///
    /// Safe to be dropped at any point, and to run beside writers, other compactions, vacuums and
    /// readers. A table that is not there is nothing to do.
    pub async fn run(&self) -> Result<CompactionReport, MaintenanceError> {
        let mut report = CompactionReport::default();
        let Some(inventory) = self.table.inventory().await? else {
            return Ok(report);
        };
        let columns = self.kind.columns(&inventory.state.metadata);
        let columns = columns.map_err(|why| self.table.error(why))?;
        let now_ms = self.table.clock.now_us() / 1000;
        let groups = plan::groups(inventory.files.into_values(), &self.settings, now_ms);
        let mut base = Base::new(inventory.state);
        for group in groups {
            report.yielded = self
                .compact(&mut base, &columns, group, &mut report)
                .await?;
            if report.yielded.is_some() {
                break;
            }
            faults::point(Point::CompactionCommitted);
        }
        Ok(report)
    }

    /// Compacts one group of files; why it did not, if somebody else came first.
    async fn compact(
        &self,
        base: &mut Base,
        columns: &SchemaRef,
        group: Group,
        report: &mut CompactionReport,
    ) -> Result<Option<String>, MaintenanceError> {
        let turn = self.room.to_rewrite().await;
        let Some((files, rows)) = self.rewrite(columns, &group).await? else {
            return Ok(Some("a file was vacuumed meanwhile".to_owned()));
        };
        let added = self.upload(files).await?;
        drop(turn);
        faults::point(Point::CompactionUploaded);
        let bytes = |files: &[Add]| files.iter().map(|file| file.size.unsigned_abs()).sum();
        let (bytes_removed, bytes_added): (u64, u64) = (bytes(&group.files), bytes(&added));
        let (files_removed, files_added) = (group.files.len(), added.len());
        let swap = Swap {
            operation: Operation::Optimize,
            removed: group.files,
            added,
            properties: None,
        };
        match self.table.swap(base, swap).await? {
            Landed::Yielded(why) => return Ok(Some(why)),
            Landed::Version(version) => {
                info!(
                    table = self.table.path,
                    version,
                    rows,
                    files_removed,
                    files_added,
                    bytes_removed,
                    bytes_added,
                    "compacted"
                );
            }
        }
        report.commits += 1;
        report.rows += rows;
        report.files_removed += files_removed;
        report.files_added += files_added;
        report.bytes_removed += bytes_removed;
        report.bytes_added += bytes_added;
        Ok(None)
    }

    /// Reads a group's files and encodes their rows anew; the files and how many rows they have.
    /// Nothing if one of them is gone.
    async fn rewrite(
        &self,
        columns: &SchemaRef,
        group: &Group,
    ) -> Result<Option<(Vec<DataFile>, u64)>, MaintenanceError> {
        let entropy = Arc::clone(&self.table.entropy);
        let values = group.partition_values().clone();
        let rows = (Arc::clone(columns), self.kind.order());
        let mut rewriter = Rewriter::new(rows, values, &self.settings, entropy);
        for file in &group.files {
            let path = Path::from(file.path.as_str());
            let Some(bytes) = self.read(&path).await? else {
                return Ok(None);
            };
            rewriter = self
                .off_runtime(move || {
                    rewriter
                        .append(bytes)
                        .map_err(|why| format!("{path}: {why}"))?;
                    Ok(rewriter)
                })
                .await?;
        }
        let files = self.off_runtime(move || rewriter.finish()).await?;
        Ok(Some(files))
    }

    async fn read(&self, path: &Path) -> Result<Option<Bytes>, MaintenanceError> {
        let read = async { self.table.log.store().get(path).await?.bytes().await };
        match read.await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.table.store_error(error)),
        }
    }

    async fn upload(&self, files: Vec<DataFile>) -> Result<Vec<Add>, MaintenanceError> {
        let mut added = Vec::with_capacity(files.len());
        for file in files {
            let now_us = self.table.clock.now_us();
            let upload = file.upload(self.table.log.store(), now_us).await;
            added.push(upload.map_err(|error| self.table.store_error(error))?);
        }
        Ok(added)
    }

    async fn off_runtime<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, String> + Send + 'static,
    ) -> Result<T, MaintenanceError> {
        let done = off_runtime(work).await;
        done.map_err(|error| MaintenanceError::Internal(error.to_string()))?
            .map_err(|why| self.table.error(why))
    }
}

/// The columns that the data files of a table of changes have.
pub(super) fn columns(metadata: &Metadata) -> Result<SchemaRef, String> {
    let (contract, _) = layout::contract_of_table(metadata)?;
    let schema = ChangeSchema::new(&contract).table_schema();
    let mut columns: Vec<_> = schema.fields().iter().cloned().collect();
    columns.retain(|column| column.name() != EVENT_DATE);
    Ok(Arc::new(Schema::new(columns)))
}

#[cfg(test)]
mod tests;
