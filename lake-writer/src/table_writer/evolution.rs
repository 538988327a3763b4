//! A table that grows: a new contract in its metadata and, where a column's type widens, its data
//! files written anew, in one version.
//!
//! Readers see the table before or after. Writers of the old layout find it changed and read again
//! (see [`crate::commit`]). Files that are rewritten keep their rows, and the old ones stay in the
//! store for readers of older versions.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use arrow::datatypes::Schema;
use columnar::ChangeSchema;
use schemas::{Changes, Contract, Evolution, Shape};
use tracing::info;

use super::rewrite::Rewrite;
use super::{TableParts, TableWriter};
use crate::action::{Add, Metadata, Remove};
use crate::commit::{Draft, Refusal, Rework, any_expired, commit};
use crate::error::WriterError;
use crate::layout::{self, EVENT_DATE};

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
        let mut rewritten: HashMap<String, Vec<Add>> = HashMap::new();
        loop {
            let Some(state) = &self.changes_state else {
                return Ok(false);
            };
            let (layout, version) = (state.metadata.clone(), state.version);
            let metadata = layout::grown(&layout, &schema, self.parts.shape);
            let mut rework = Rework {
                operation: "ADD COLUMNS",
                metadata: metadata.map_err(|why| self.table_error(why))?,
                removed: Vec::new(),
                after: None,
            };
            let mut files = Vec::new();
            if changes.needs_rewrite() {
                let now_us = self.parts.clock.now_us();
                rewritten.retain(|_, pieces| !any_expired(pieces, now_us));
                (rework.operation, rework.after) = ("CHANGE COLUMNS", Some(version));
                let rewrite = self.rewrite(&schema, &rework.metadata, &mut rewritten);
                (rework.removed, files) = rewrite.await?;
            }
            let draft = Draft {
                layout,
                steps: Vec::new(),
                further: Vec::new(),
                files,
                rework: Some(rework),
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
                // Rows came in between; their files are rewritten too. (The latter is no writer's.)
                Err(Refusal::Overtaken | Refusal::NoAnswer(_)) => {}
                Err(Refusal::LayoutChanged | Refusal::Fenced(_)) => return Ok(false),
                Err(Refusal::Unreadable(why)) => return Err(self.table_error(why)),
                Err(Refusal::NotEncodable(why)) => return Err(WriterError::Internal(why)),
            }
        }
    }

    /// Writes every data file anew in the columns of `schema`, unless it is among `rewritten`
    /// already. The files to be removed, and those that take their place. One table of the process
    /// at a time.
    async fn rewrite(
        &self,
        schema: &ChangeSchema,
        metadata: &Metadata,
        rewritten: &mut HashMap<String, Vec<Add>>,
    ) -> Result<(Vec<Remove>, Vec<Add>), WriterError> {
        let turn = self.parts.rewrites.acquire().await;
        let _turn = turn.map_err(|error| WriterError::Internal(error.to_string()))?;
        let mut columns: Vec<_> = schema.table_schema().fields().iter().cloned().collect();
        columns.retain(|column| column.name() != EVENT_DATE);
        let columns = Arc::new(Schema::new(columns));
        let store = self.changes.store();
        let rewrite = Rewrite::new(&self.parts, store, columns, &metadata.schema_string);
        let files = self.patiently(|| self.changes.files(|_| true)).await?;
        let (mut removed, mut added) = (Vec::new(), Vec::new());
        for file in files {
            let pieces = match rewritten.entry(file.path.clone()) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(place) => place.insert(rewrite.pieces_of(&file).await?),
            };
            added.extend(pieces.iter().cloned());
            removed.push(Remove::of(file, self.parts.clock.now_us() / 1000, false));
        }
        Ok((removed, added))
    }
}
