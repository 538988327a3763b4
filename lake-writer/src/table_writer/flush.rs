//! One flush: dead letters first, then data files, then the commit that carries rows and offsets.

use arrow::array::RecordBatch;
use lake_store::DEAD_LETTERS_PATH;
use object_store::ObjectStoreExt;
use tokio::time::Instant;
use tracing::{info, warn};

use super::open_files::OpenFiles;
use super::open_flush::OpenFlush;
use super::{DeltaLog, Draft, Outcome, Parts, Refusal, Step, TableParts, TableState, TableWriter};
use crate::action::Add;
use crate::app_id::NO_ORDINAL;
use crate::commit::commit;
use crate::data_file::{self, DataFile};
use crate::dead_letter;
use crate::delta_log::{checkpoint_is_due, has_passed_interval, write_checkpoint};
use crate::error::WriterError;
use crate::faults::{self, Planted, Point};
use crate::patience::Patience;

/// Whether a commit became a version.
enum Landed {
    Yes,
    /// Another writer moved one of its partitions.
    Fenced,
}

impl TableWriter {
    /// Commits what was taken in. If another writer moved one of its partitions, all of it is
    /// dropped and told: it must be read again. The error ends the table's work.
    pub(super) async fn flush(
        &mut self,
        open: OpenFlush,
        opened_at: Instant,
    ) -> Result<Outcome, WriterError> {
        let begun = Instant::now();
        let OpenFlush {
            schema,
            mut parts,
            files,
            repetitions,
            ..
        } = open;
        let mut outcome = Outcome {
            epoch: self.epoch,
            rows: files.rows(),
            repetitions,
            ..Outcome::default()
        };
        for (partition, kept) in std::mem::take(&mut self.kept) {
            parts.entry(partition).or_default().follow(kept);
        }
        let fits = match &schema {
            Some(schema) => self.ensure_changes(schema).await?,
            None => true,
        };
        let landed = match self.commit_dead_letters(&mut parts, &mut outcome).await? {
            // The table has grown beyond these rows: they are read again by its contract.
            Landed::Yes if !fits => Landed::Fenced,
            Landed::Yes if parts.is_empty() => Landed::Yes,
            Landed::Yes if self.changes_state.is_none() => {
                // Nowhere to keep progress: after a restart the records are read again and their
                // dead letters recognised.
                self.kept = parts;
                return Ok(outcome);
            }
            Landed::Yes => {
                let files = self.upload(&self.changes, self.finish(files)?).await;
                faults::point(Point::UploadAfter);
                let bytes: i64 = files.iter().map(|file| file.size).sum();
                let landed = self.commit_changes(&parts, files, &mut outcome).await?;
                self.tell(&outcome, &parts, bytes, (opened_at, begun));
                landed
            }
            Landed::Fenced => Landed::Fenced,
        };
        let marks = parts.iter();
        outcome.last_marks = marks
            .filter_map(|(partition, part)| Some((partition.clone(), part.last_mark?)))
            .collect();
        let partitions = parts.into_iter();
        match landed {
            Landed::Yes => {
                let progress = partitions.map(|(partition, part)| (partition, part.next_offset));
                outcome.committed = progress.collect();
            }
            Landed::Fenced => {
                outcome.rows = 0;
                outcome.fenced = partitions.map(|(partition, _)| partition).collect();
                self.owned
                    .retain(|partition, _| !outcome.fenced.contains(partition));
            }
        }
        self.checkpoint_if_due(&outcome).await;
        Ok(outcome)
    }

    /// Commits the dead letters of all parts, in a version of their own table.
    async fn commit_dead_letters(
        &mut self,
        parts: &mut Parts,
        outcome: &mut Outcome,
    ) -> Result<Landed, WriterError> {
        let mut batches = Vec::new();
        let mut steps = Vec::new();
        for (partition, part) in parts.iter_mut() {
            let letters = std::mem::take(&mut part.dead_letters);
            if !letters.is_empty() {
                let batch = dead_letter::batch(partition, &self.parts.table, &letters);
                batches.push(batch.map_err(|error| self.table_error(error.to_string()))?);
                steps.push(self.dead_letters_step(partition, part.next_offset));
            }
        }
        if batches.is_empty() {
            return Ok(Landed::Yes);
        }
        let file = data_file::encode(self.parts.entropy.uuid(), None, &batches)
            .map_err(|error| self.table_error(error.to_string()))?;
        let letters = &self.parts.dead_letters;
        let files = self.upload(letters.log(), vec![file]).await;
        let result = letters.commit(steps.clone(), files).await?;
        let Some(version) = self.settle(result)? else {
            return Ok(Landed::Fenced);
        };
        outcome.dead_letters_version = Some(version);
        outcome.dead_letters = batches.iter().map(RecordBatch::num_rows).sum();
        self.own_dead_letters(&steps, parts);
        warn!(table = %self.parts.table, rows = outcome.dead_letters, version,
            "dead letters committed; look at them in system.dead_letters");
        faults::point(Point::DeadLettersAfter);
        Ok(Landed::Yes)
    }

    fn own_dead_letters(&mut self, steps: &[Step], parts: &Parts) {
        for (partition, part) in parts {
            let app_id = self.ids().dead_letters(partition);
            let moved = steps.iter().any(|step| step.app_id == app_id);
            if let (true, Some(owned)) = (moved, self.owned.get_mut(partition)) {
                owned.dead_letters = Some(part.next_offset);
            }
        }
    }

    /// Commits rows and offsets in one version.
    async fn commit_changes(
        &mut self,
        parts: &Parts,
        files: Vec<Add>,
        outcome: &mut Outcome,
    ) -> Result<Landed, WriterError> {
        let steps = parts.iter();
        let steps = steps.map(|(partition, part)| self.step(partition, part.next_offset));
        let (steps, further) = (steps.collect(), self.further_txns(parts));
        let Some(state) = &mut self.changes_state else {
            return Ok(Landed::Yes);
        };
        let draft = Draft {
            layout: state.metadata.clone(),
            steps,
            further,
            files,
            rework: None,
        };
        outcome.files = draft.files.len();
        let result = commit_planned(&self.changes, state, draft, &self.parts).await;
        self.forget_sequences();
        let Some(version) = self.settle(result)? else {
            return Ok(Landed::Fenced);
        };
        faults::point(Point::CommitAfter);
        for (partition, part) in parts {
            if let Some(owned) = self.owned.get_mut(partition) {
                owned.data = Some(part.next_offset);
            }
        }
        outcome.version = Some(version);
        Ok(Landed::Yes)
    }

    /// The one event of a commit. `oldest_seconds` counts from when its oldest record was read,
    /// `seconds` from when the flush began.
    fn tell(
        &self,
        outcome: &Outcome,
        parts: &Parts,
        bytes: i64,
        (opened_at, begun): (Instant, Instant),
    ) {
        let Some(version) = outcome.version else {
            return;
        };
        let seconds = |since: Instant| since.elapsed().as_millis() as f64 / 1000.0;
        info!(table = %self.parts.table, version, rows = outcome.rows, files = outcome.files, bytes,
            dead_letters = outcome.dead_letters, repetitions = outcome.repetitions,
            partitions = parts.len(), oldest_seconds = seconds(opened_at),
            seconds = seconds(begun), "committed");
    }

    /// What is known beside the offsets: last sequences, last records, partitions and cluster of the
    /// topic.
    fn further_txns(&self, parts: &Parts) -> Vec<(String, i64)> {
        let mut txns = Vec::new();
        let known = self.changes_state.as_ref().map(|state| &state.txns);
        for (partition, part) in parts {
            let mark = part
                .last_mark
                .map(|mark| (self.ids().last_record(partition), mark));
            txns.extend(mark);
            for (source, sequence) in &part.sequences {
                txns.push((self.ids().sequence(partition, source), sequence.major));
                let app_id = self.ids().ordinal(partition, source);
                // One that is known would be read beside a sequence that has none.
                let is_known = known.is_some_and(|txns| txns.contains_key(&app_id));
                let ordinal = sequence.minor.or(is_known.then_some(NO_ORDINAL));
                txns.extend(ordinal.map(|ordinal| (app_id, ordinal)));
            }
        }
        let topic = parts.keys().next().map(|partition| &partition.topic);
        let of_topic = topic.map(|topic| {
            let count = i64::from(self.partition_count);
            let cluster = self.cluster;
            [
                Some((self.ids().partition_count(topic), count)),
                cluster.map(|number| (self.ids().cluster(topic), number)),
            ]
        });
        let is_news = |(app_id, count): &(String, i64)| {
            known.and_then(|txns| txns.get(app_id)) != Some(count)
        };
        let of_topic = of_topic.into_iter().flatten().flatten();
        txns.extend(of_topic.filter(is_news));
        txns.sort();
        txns
    }

    /// The version if it landed; nothing if another writer was first.
    fn settle(&self, result: Result<u64, Refusal>) -> Result<Option<u64>, WriterError> {
        match result {
            Ok(version) => Ok(Some(version)),
            Err(Refusal::Fenced(moved)) => {
                warn!(table = %self.parts.table, ?moved,
                    "another writer has moved these on; dropping our rows and reading again");
                Ok(None)
            }
            Err(Refusal::LayoutChanged) => {
                warn!(table = %self.parts.table,
                    "another program changed the table's columns; dropping our rows and reading again");
                Ok(None)
            }
            // The latter is no writer's, who waits; looking again would be right.
            Err(Refusal::Overtaken | Refusal::NoAnswer(_)) => Ok(None),
            Err(Refusal::Unreadable(why)) => Err(self.table_error(why)),
            Err(Refusal::NotEncodable(why)) => Err(WriterError::Internal(why)),
        }
    }

    fn finish(&self, files: OpenFiles) -> Result<Vec<DataFile>, WriterError> {
        let files = files.finish(&self.parts.entropy);
        files.map_err(|error| self.table_error(format!("cannot encode a data file: {error}")))
    }

    /// Uploads files, waiting out a store that is down.
    pub(super) async fn upload(&self, log: &DeltaLog, files: Vec<DataFile>) -> Vec<Add> {
        let mut added = Vec::with_capacity(files.len());
        for file in files {
            let mut patience = Patience::with_store(&self.parts.entropy);
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
    async fn checkpoint_if_due(&mut self, outcome: &Outcome) {
        let path = self.parts.table.changes_path();
        if let Some(version) = outcome.version {
            let before = self.checkpoint_looks.changes.replace(version);
            self.checkpoint(&self.changes, &path, (before, version))
                .await;
        }
        if let Some(version) = outcome.dead_letters_version {
            let before = self.checkpoint_looks.dead_letters.replace(version);
            let log = self.parts.dead_letters.log();
            self.checkpoint(log, DEAD_LETTERS_PATH, (before, version))
                .await;
        }
    }

    /// Writes a checkpoint, if one is due since the version at which we looked last.
    async fn checkpoint(&self, log: &DeltaLog, path: &str, (before, version): (Option<u64>, u64)) {
        let interval = self.parts.checkpoint_interval;
        if !has_passed_interval(before, version, interval) {
            return;
        }
        let written = match log.hint().await {
            Ok(last) if !checkpoint_is_due(version, interval, last) => return,
            Ok(_) => write_checkpoint(&self.parts.lake, path, version).await,
            Err(error) => Err(error.to_string()),
        };
        match written {
            Ok(()) => info!(path, version, "checkpoint written"),
            Err(error) => warn!(path, version, error, "checkpoint failed"),
        }
    }
}

/// Commits, or does what a planted bug would.
async fn commit_planned(
    log: &DeltaLog,
    state: &mut TableState,
    mut draft: Draft,
    parts: &TableParts,
) -> Result<u64, Refusal> {
    let TableParts { clock, entropy, .. } = parts;
    if faults::planted(Planted::OffsetsBeforeData) {
        let files = std::mem::take(&mut draft.files);
        commit(log, state, &draft, clock.as_ref(), entropy).await?;
        faults::point(Point::OffsetsBetween);
        draft = Draft {
            steps: Vec::new(),
            further: Vec::new(),
            files,
            ..draft
        };
    }
    let result = commit(log, state, &draft, clock.as_ref(), entropy).await;
    let blind = matches!(&result, Err(Refusal::Fenced(moved)) if moved.is_empty());
    if faults::planted(Planted::NoReadBack) && blind {
        // Whoever starts over without a look writes the same rows to files of other names.
        for file in &mut draft.files {
            let again = format!("{}.again.parquet", file.path);
            let (from, to) = (file.path.as_str().into(), again.as_str().into());
            log.store().copy(&from, &to).await.ok();
            file.path = again;
        }
        return commit(log, state, &draft, clock.as_ref(), entropy).await;
    }
    result
}
