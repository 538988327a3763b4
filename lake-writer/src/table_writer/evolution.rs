//! A table that grows: a new contract in its metadata and, where a column's type widens, its data
//! files written anew, in one version.
//!
//! Readers see the table before or after. Writers of the old layout find it changed and read again
//! (see [`crate::commit`]). Files that are rewritten keep their rows, and the old ones stay in the
//! store for readers of older versions.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use bytes::Bytes;
use columnar::{ChangeSchema, adapt};
use object_store::ObjectStoreExt;
use object_store::path::Path;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::errors::ParquetError;
use schemas::{Changes, Contract, Evolution, Shape};
use tracing::{info, warn};
use uuid::Uuid;

use super::{STORE_WAIT_MIN, TableParts, TableWriter};
use crate::action::{Add, Remove};
use crate::commit::{Draft, Growth, Refusal, commit};
use crate::data_file::{DataFile, DataFileWriter};
use crate::delta_log::DeltaLogError;
use crate::error::WriterError;
use crate::layout::{self, EVENT_DATE};
use crate::patience::Patience;

/// How a contract stands to a table's.
pub(super) enum Fit {
    /// It is the table's.
    Same,
    /// The table must grow first.
    Grows(Box<Changes>),
    /// The table has grown beyond it: partitions must be opened again.
    Behind,
}

impl TableWriter {
    /// Compares the contract that rows were read by with the table's.
    pub(super) fn fit(
        &self,
        ours: &Contract,
        table: &Contract,
        shape: Shape,
    ) -> Result<Fit, WriterError> {
        if shape != self.parts.shape {
            return Err(self.table_error(format!(
                "it holds changes of shape {shape}, the topic is configured as {}",
                self.parts.shape
            )));
        }
        if ours.key() != table.key() {
            let why = table.difference(ours).unwrap_or_default();
            return Err(self.table_error(format!("its contract is not the topic's: {why}")));
        }
        if table.difference(ours).is_none() {
            return Ok(Fit::Same);
        }
        let evolution = match self.parts.infers {
            true => table.evolve_inferred(ours),
            false => table.evolve(ours),
        };
        match evolution {
            Ok(Evolution::Changes(changes)) if changes.contract.difference(ours).is_none() => {
                Ok(Fit::Grows(changes))
            }
            Ok(_) => Ok(Fit::Behind),
            Err(why) => Err(self.table_error(format!("it cannot follow the topic: {why}"))),
        }
    }

    /// Gives the table its new contract. False if another program changed its layout first.
    pub(super) async fn grow(&mut self, changes: &Changes) -> Result<bool, WriterError> {
        let schema = ChangeSchema::new(&changes.contract);
        let mut rewritten = HashMap::new();
        loop {
            let Some(state) = &self.changes_state else {
                return Ok(false);
            };
            let (layout, version) = (state.metadata.clone(), state.version);
            let metadata = layout::grown(&layout, &schema, self.parts.shape);
            let mut growth = Growth {
                metadata: metadata.map_err(|why| self.table_error(why))?,
                removed: Vec::new(),
                after: None,
            };
            let mut files = Vec::new();
            if changes.needs_rewrite() {
                growth.after = Some(version);
                (growth.removed, files) = self.rewrite(&schema, &mut rewritten).await?;
            }
            let draft = Draft {
                layout,
                steps: Vec::new(),
                further: Vec::new(),
                files,
                growth: Some(growth),
            };
            let Some(state) = &mut self.changes_state else {
                return Ok(false);
            };
            let TableParts { clock, entropy, .. } = &self.parts;
            match commit(&self.changes, state, &draft, clock.as_ref(), entropy).await {
                Ok(version) => {
                    let widened: Vec<&str> = changes
                        .widened
                        .iter()
                        .map(|one| one.column.as_str())
                        .collect();
                    info!(table = %self.parts.table, version, added = ?changes.added, ?widened,
                        files = rewritten.len(), "the table has grown");
                    return Ok(true);
                }
                // Rows came in between; their files are rewritten too.
                Err(Refusal::Overtaken) => {}
                Err(Refusal::LayoutChanged | Refusal::Fenced(_)) => return Ok(false),
                Err(Refusal::Unreadable(why)) => return Err(self.table_error(why)),
                Err(Refusal::NotEncodable(why)) => return Err(WriterError::Internal(why)),
            }
        }
    }

    /// Writes every data file anew in the columns of `schema`, unless it is among `rewritten`
    /// already. The files to be removed, and those that take their place.
    async fn rewrite(
        &self,
        schema: &ChangeSchema,
        rewritten: &mut HashMap<String, Add>,
    ) -> Result<(Vec<Remove>, Vec<Add>), WriterError> {
        let mut columns: Vec<_> = schema.table_schema().fields().iter().cloned().collect();
        columns.retain(|column| column.name() != EVENT_DATE);
        let columns = Arc::new(Schema::new(columns));
        let files = self.patiently(|| self.changes.files()).await?;
        let (mut removed, mut added) = (Vec::new(), Vec::new());
        for file in files {
            if !rewritten.contains_key(&file.path) {
                let path = Path::from(file.path.as_str());
                let read = || async { Ok(self.changes.store().get(&path).await?.bytes().await?) };
                let bytes = self.patiently(read).await?;
                let name = self.parts.entropy.uuid();
                let fresh = rewritten_file(bytes, name, &file, &columns);
                let fresh = fresh.map_err(|why| self.table_error(format!("{path}: {why}")))?;
                let mut fresh = self.upload(&self.changes, vec![fresh]).await;
                fresh.iter_mut().for_each(|add| add.data_change = false);
                rewritten.extend(fresh.pop().map(|add| (file.path.clone(), add)));
            }
            added.extend(rewritten.get(&file.path).cloned());
            removed.push(Remove {
                path: file.path,
                deletion_timestamp: Some(self.parts.clock.now_us() / 1000),
                data_change: false,
                extended_file_metadata: true,
                partition_values: file.partition_values,
                size: Some(file.size),
            });
        }
        Ok((removed, added))
    }

    /// Does something with the store, waiting out one that is down.
    async fn patiently<T, F: Future<Output = Result<T, DeltaLogError>>>(
        &self,
        work: impl Fn() -> F,
    ) -> Result<T, WriterError> {
        let mut patience = Patience::new(&self.parts.entropy, STORE_WAIT_MIN);
        loop {
            match work().await {
                Ok(done) => return Ok(done),
                Err(error @ DeltaLogError::Corrupt { .. }) => {
                    return Err(self.table_error(error.to_string()));
                }
                Err(DeltaLogError::Store(error)) => {
                    warn!(table = %self.parts.table, %error, "the store does not answer; trying again");
                    patience.wait().await;
                }
            }
        }
    }
}

/// A file's rows in other columns.
fn rewritten_file(
    bytes: Bytes,
    name: Uuid,
    file: &Add,
    columns: &SchemaRef,
) -> Result<DataFile, ParquetError> {
    let values = file.partition_values.clone();
    let mut writer = DataFileWriter::in_partition(name, values, Arc::clone(columns))?;
    for batch in ParquetRecordBatchReaderBuilder::try_new(bytes)?.build()? {
        writer.write(&adapt(&batch?, columns)?)?;
    }
    writer.finish()
}
