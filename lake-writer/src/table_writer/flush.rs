//! One flush: dead letters first, then data files, then the commit that carries rows and offsets.

use std::collections::BTreeMap;
use std::time::Duration;

use arrow::array::RecordBatch;
use lake_store::DEAD_LETTERS_PATH;
use schemas::TopicPartition;
use tracing::{info, warn};

use super::{
    DeltaLog, Draft, Flush, Outcome, Refusal, Slice, Step, TableParts, TableState, TableWriter,
};
use crate::action::Add;
use crate::commit::commit;
use crate::data_file::{self, DataFile};
use crate::dead_letter::{self, DeadLetter};
use crate::delta_log::write_checkpoint;
use crate::error::WriterError;
use crate::faults::{self, Planted, Point};
use crate::patience::Patience;

/// First wait when an upload fails.
const UPLOAD_WAIT_MIN: Duration = Duration::from_millis(100);

/// A slice whose buffer has become batches, by event date.
struct Part {
    partition: TopicPartition,
    next_offset: i64,
    batches: Vec<(i32, RecordBatch)>,
    dead_letters: Vec<DeadLetter>,
    sequences: Vec<(String, i64)>,
}

impl TableWriter {
    /// Commits a flush. Partitions that another writer moved are left out and told; all others
    /// land, or the error ends the writer.
    pub(super) async fn flush(&mut self, flush: Flush) -> Result<Outcome, WriterError> {
        let mut outcome = Outcome {
            epoch: flush.epoch,
            bytes: flush.bytes,
            ..Outcome::default()
        };
        let mut parts = self.parts_of(flush.epoch, flush.slices)?;
        self.commit_dead_letters(&mut parts, &mut outcome).await?;
        if let Some(schema) = &flush.schema {
            self.ensure_changes(schema).await?;
        }
        // Without a table there is nowhere to keep progress: the records are read again after a
        // restart and their dead letters recognised.
        while self.changes_state.is_some() && !parts.is_empty() {
            let files = self.upload(&self.changes, self.encode(&parts)?).await;
            faults::point(Point::UploadAfter);
            if self.commit_changes(&mut parts, files, &mut outcome).await? {
                break;
            }
        }
        outcome.committed = parts
            .into_iter()
            .map(|part| (part.partition, part.next_offset))
            .collect();
        self.checkpoint_if_due(&outcome).await;
        Ok(outcome)
    }

    /// The slices that are still ours, as batches.
    fn parts_of(&self, epoch: u64, slices: Vec<Slice>) -> Result<Vec<Part>, WriterError> {
        let mut parts = Vec::with_capacity(slices.len());
        for slice in slices {
            if self
                .owned
                .get(&slice.partition)
                .is_none_or(|owned| owned.epoch != epoch)
            {
                continue;
            }
            let batches = slice.rows.map(columnar::ChangeBuffer::finish).transpose();
            parts.push(Part {
                partition: slice.partition,
                next_offset: slice.next_offset,
                batches: batches
                    .map_err(|error| self.table_error(error.to_string()))?
                    .unwrap_or_default(),
                dead_letters: slice.dead_letters,
                sequences: slice.sequences,
            });
        }
        Ok(parts)
    }

    /// Commits the dead letters of all parts, in a version of their own table.
    async fn commit_dead_letters(
        &mut self,
        parts: &mut Vec<Part>,
        outcome: &mut Outcome,
    ) -> Result<(), WriterError> {
        loop {
            let mut batches = Vec::new();
            let mut steps = Vec::new();
            for part in parts.iter().filter(|part| !part.dead_letters.is_empty()) {
                let batch =
                    dead_letter::batch(&part.partition, &self.parts.table, &part.dead_letters);
                batches.push(batch.map_err(|error| self.table_error(error.to_string()))?);
                steps.push(self.dead_letters_step(&part.partition, part.next_offset));
            }
            if batches.is_empty() {
                return Ok(());
            }
            self.ensure_dead_letters().await?;
            let name = self.parts.entropy.uuid();
            let file = data_file::encode(name, None, &batches)
                .map_err(|error| self.table_error(error.to_string()))?;
            let files = self.upload(&self.dead_letters, vec![file]).await;
            let Some(state) = &mut self.dead_letters_state else {
                return Ok(());
            };
            let draft = Draft {
                layout: state.metadata.clone(),
                steps,
                further: Vec::new(),
                files,
            };
            let TableParts { clock, entropy, .. } = &self.parts;
            let result = commit(&self.dead_letters, state, &draft, clock.as_ref(), entropy).await;
            if let Some(version) = self.settle(result, &draft.steps, parts, outcome)? {
                outcome.dead_letters = batches.iter().map(RecordBatch::num_rows).sum();
                self.own_dead_letters(parts);
                warn!(table = %self.parts.table, rows = outcome.dead_letters, version,
                    "dead letters committed; look at them in system.dead_letters");
                faults::point(Point::DeadLettersAfter);
                return Ok(());
            }
        }
    }

    fn own_dead_letters(&mut self, parts: &[Part]) {
        for part in parts.iter().filter(|part| !part.dead_letters.is_empty()) {
            if let Some(owned) = self.owned.get_mut(&part.partition) {
                owned.dead_letters = Some(part.next_offset);
            }
        }
    }

    /// Commits rows and offsets in one version; false if partitions were fenced off and the rest
    /// must be encoded again.
    async fn commit_changes(
        &mut self,
        parts: &mut Vec<Part>,
        files: Vec<Add>,
        outcome: &mut Outcome,
    ) -> Result<bool, WriterError> {
        let Some(state) = &self.changes_state else {
            return Ok(true);
        };
        let draft = Draft {
            layout: state.metadata.clone(),
            steps: parts
                .iter()
                .map(|part| self.step(&part.partition, part.next_offset))
                .collect(),
            further: self.sequence_txns(parts),
            files,
        };
        let steps = draft.steps.clone();
        let Some(state) = &mut self.changes_state else {
            return Ok(true);
        };
        let result = commit_planned(&self.changes, state, draft.clone(), &self.parts).await;
        let Some(version) = self.settle(result, &steps, parts, outcome)? else {
            return Ok(false);
        };
        faults::point(Point::CommitAfter);
        for part in parts.iter() {
            if let Some(owned) = self.owned.get_mut(&part.partition) {
                owned.data = Some(part.next_offset);
            }
        }
        outcome.version = Some(version);
        outcome.files = draft.files.len();
        outcome.rows = parts
            .iter()
            .flat_map(|part| &part.batches)
            .map(|(_, batch)| batch.num_rows())
            .sum();
        info!(table = %self.parts.table, version, rows = outcome.rows, files = outcome.files,
            partitions = parts.len(), "committed");
        Ok(true)
    }

    fn sequence_txns(&self, parts: &[Part]) -> Vec<(String, i64)> {
        let mut txns = Vec::new();
        for part in parts {
            for (source, sequence) in &part.sequences {
                txns.push((self.sequence_app_id(&part.partition, source), *sequence));
            }
        }
        txns
    }

    /// Takes fenced partitions out of `parts` and of what we own; the version if it landed.
    fn settle(
        &mut self,
        result: Result<u64, Refusal>,
        steps: &[Step],
        parts: &mut Vec<Part>,
        outcome: &mut Outcome,
    ) -> Result<Option<u64>, WriterError> {
        let moved = match result {
            Ok(version) => return Ok(Some(version)),
            Err(Refusal::Fenced(moved)) => moved,
            Err(Refusal::LayoutChanged) => {
                return Err(self.table_error(
                    "its columns or protocol were changed by another program while rows were on \
                     their way; nothing of them was committed, start the writer again",
                ));
            }
            Err(Refusal::NotEncodable(why)) => return Err(WriterError::Internal(why)),
        };
        let is_ours = |app_id: &String| steps.iter().any(|step| &step.app_id == app_id);
        debug_assert!(moved.iter().all(is_ours), "refused for {moved:?}");
        let fenced: Vec<TopicPartition> = parts
            .iter()
            .map(|part| &part.partition)
            .filter(|partition| {
                moved.contains(&self.app_id(partition))
                    || moved.contains(&self.dead_letters_app_id(partition))
            })
            .cloned()
            .collect();
        parts.retain(|part| !fenced.contains(&part.partition));
        for partition in fenced {
            warn!(table = %self.parts.table, %partition,
                "another writer has moved this partition on; dropping our rows and reading again");
            self.owned.remove(&partition);
            outcome.fenced.push(partition);
        }
        Ok(None)
    }

    /// One data file per event date, partitions one after the other, offsets rising within each.
    fn encode(&self, parts: &[Part]) -> Result<Vec<DataFile>, WriterError> {
        let mut days: BTreeMap<i32, Vec<RecordBatch>> = BTreeMap::new();
        for part in parts {
            for (day, batch) in &part.batches {
                days.entry(*day).or_default().push(batch.clone());
            }
        }
        let encode = |(day, batches): (i32, Vec<RecordBatch>)| {
            data_file::encode(self.parts.entropy.uuid(), Some(day), &batches)
        };
        let files: Result<Vec<DataFile>, _> = days.into_iter().map(encode).collect();
        files.map_err(|error| WriterError::Internal(format!("cannot encode a data file: {error}")))
    }

    /// Uploads files, waiting out a store that is down.
    async fn upload(&self, log: &DeltaLog, files: Vec<DataFile>) -> Vec<Add> {
        let mut added = Vec::with_capacity(files.len());
        for file in files {
            let mut patience = Patience::new(&self.parts.entropy, UPLOAD_WAIT_MIN);
            loop {
                match file.upload(log.store(), self.parts.clock.now_us()).await {
                    Ok(add) => break added.push(add),
                    Err(error) => {
                        warn!(table = %self.parts.table, %error, "upload failed; trying again");
                        patience.wait().await;
                    }
                }
            }
        }
        added
    }

    /// A checkpoint that fails is no loss: the next one is tried at the next interval.
    async fn checkpoint_if_due(&self, outcome: &Outcome) {
        let interval = self.parts.checkpoint_interval;
        let path = self.parts.table.changes_path();
        let changes = outcome.version.map(|version| (version, path.as_str()));
        let letters = self
            .dead_letters_state
            .as_ref()
            .filter(|_| outcome.dead_letters > 0);
        let letters = letters.map(|state| (state.version, DEAD_LETTERS_PATH));
        for (version, path) in changes.into_iter().chain(letters) {
            if version == 0 || version % interval != 0 {
                continue;
            }
            match write_checkpoint(&self.parts.lake, path, version).await {
                Ok(()) => info!(path, version, "checkpoint written"),
                Err(error) => warn!(path, version, error, "checkpoint failed"),
            }
        }
    }
}

/// Commits, or, as a planted bug, commits the offsets ahead of the data.
async fn commit_planned(
    log: &DeltaLog,
    state: &mut TableState,
    mut draft: Draft,
    parts: &TableParts,
) -> Result<u64, Refusal> {
    if faults::planted(Planted::OffsetsBeforeData) {
        let files = std::mem::take(&mut draft.files);
        commit(log, state, &draft, parts.clock.as_ref(), &parts.entropy).await?;
        faults::point(Point::OffsetsBetween);
        draft = Draft {
            steps: Vec::new(),
            further: Vec::new(),
            files,
            layout: draft.layout,
        };
    }
    commit(log, state, &draft, parts.clock.as_ref(), &parts.entropy).await
}
