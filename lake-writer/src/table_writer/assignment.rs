//! Where to go on: progress, sequences and dead letters as the lake has them.

use std::collections::{BTreeSet, HashMap};

use lake_store::DEAD_LETTERS_PATH;
use object_store::ObjectStoreExt;
use object_store::path::Path;
use schemas::TopicPartition;

use super::{Assigned, Owned, Resume, TableWriter};
use crate::dead_letter;
use crate::delta_log::{DeltaLogError, TableState};
use crate::error::WriterError;
use crate::layout;

impl TableWriter {
    /// Looks up where these partitions stand and remembers that as the start of their rows.
    pub(super) async fn assign(
        &mut self,
        epoch: u64,
        partitions: Vec<TopicPartition>,
    ) -> Result<Assigned, WriterError> {
        self.owned.retain(|_, owned| owned.epoch == epoch);
        self.changes_state = self.load(&self.changes).await?;
        self.dead_letters_state = self.load(&self.dead_letters).await?;
        let table = match &self.changes_state {
            None => None,
            Some(state) => {
                let found = layout::contract_of_table(&state.metadata);
                Some(found.map_err(|why| self.table_error(why))?)
            }
        };
        let mut resumes = Vec::with_capacity(partitions.len());
        for partition in partitions {
            resumes.push(self.resume(epoch, partition).await?);
        }
        Ok(Assigned { resumes, table })
    }

    async fn resume(
        &mut self,
        epoch: u64,
        partition: TopicPartition,
    ) -> Result<Resume, WriterError> {
        let txn = |state: &Option<TableState>, app_id: &str| {
            state
                .as_ref()
                .and_then(|state| state.txns.get(app_id).copied())
        };
        let data = txn(&self.changes_state, &self.app_id(&partition));
        let dead_letters = txn(
            &self.dead_letters_state,
            &self.dead_letters_app_id(&partition),
        );
        let dead_lettered = match dead_letters {
            Some(reached) if reached > data.unwrap_or(0) => {
                self.dead_lettered(&partition, data.unwrap_or(0)).await?
            }
            _ => BTreeSet::new(),
        };
        self.owned.insert(
            partition.clone(),
            Owned {
                epoch,
                data,
                dead_letters,
            },
        );
        Ok(Resume {
            sequences: self.sequences(&partition),
            next_offset: data,
            dead_lettered,
            partition,
        })
    }

    fn sequences(&self, partition: &TopicPartition) -> HashMap<String, i64> {
        let prefix = self.sequence_app_id(partition, "");
        let txns = self.changes_state.iter().flat_map(|state| &state.txns);
        txns.filter_map(|(app_id, sequence)| {
            Some((app_id.strip_prefix(&prefix)?.to_owned(), *sequence))
        })
        .collect()
    }

    /// Offsets from `first` on that are dead letters already: a crash came between their commit
    /// and the data commit that passes over them.
    async fn dead_lettered(
        &self,
        partition: &TopicPartition,
        first: i64,
    ) -> Result<BTreeSet<i64>, WriterError> {
        let found = self.dead_letter_offsets(partition, first).await;
        found.map_err(|error| WriterError::Table {
            table: DEAD_LETTERS_PATH.to_owned(),
            why: format!("cannot read the dead letters of {partition}: {error}"),
        })
    }

    async fn dead_letter_offsets(
        &self,
        partition: &TopicPartition,
        first: i64,
    ) -> Result<BTreeSet<i64>, DeltaLogError> {
        let mut offsets = BTreeSet::new();
        for file in self.dead_letters.files().await? {
            let path = Path::from(file.path);
            let bytes = self.dead_letters.store().get(&path).await?.bytes().await?;
            let found = dead_letter::offsets(bytes, partition, first);
            offsets.extend(found.map_err(|error| DeltaLogError::Corrupt {
                path,
                why: error.to_string(),
            })?);
        }
        Ok(offsets)
    }
}
