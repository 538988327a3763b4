//! How commits went, and what becomes of a table that cannot go on.

use schemas::TableName;
use tracing::{error, info, warn};

use super::{LakeWriter, Until};
use crate::error::WriterError;
use crate::lane::Stopped;
use crate::record_log::RecordLog;
use crate::table_writer::Outcome;

impl<L: RecordLog> LakeWriter<L> {
    pub(super) async fn take_outcomes(&mut self) -> Result<(), WriterError> {
        while let Ok((table, outcome)) = self.outcomes.try_recv() {
            let Some(index) = self.lanes.iter().position(|lane| lane.table == table) else {
                continue;
            };
            self.take_outcome(index, outcome).await?;
        }
        if self.lanes.iter().any(|lane| lane.outlet.is_broken()) {
            return Err(WriterError::Internal("a table's writer died".to_owned()));
        }
        Ok(())
    }

    pub(super) async fn take_outcome(
        &mut self,
        index: usize,
        outcome: Result<Outcome, WriterError>,
    ) -> Result<(), WriterError> {
        let bytes = self.lanes[index].outlet.answered();
        let outcome = match outcome {
            Ok(outcome) => outcome,
            Err(error) => return self.stop_table(index, error),
        };
        if outcome.version.is_some() {
            self.warmth.committed(bytes);
        }
        self.note_committed(index, &outcome);
        let is_read = outcome.epoch == self.epoch && self.lanes[index].stopped.is_none();
        if is_read && !outcome.fenced.is_empty() {
            return self.read_again(index, outcome.fenced).await;
        }
        Ok(())
    }

    /// Takes in an outcome when nothing will be read any more.
    pub(super) fn take_last_outcome(
        &mut self,
        table: &TableName,
        outcome: Result<Outcome, WriterError>,
    ) -> Result<(), WriterError> {
        let Some(index) = self.lanes.iter().position(|lane| &lane.table == table) else {
            return Ok(());
        };
        self.lanes[index].outlet.answered();
        match outcome {
            Ok(outcome) => {
                self.note_committed(index, &outcome);
                Ok(())
            }
            Err(error) => self.stop_table(index, error),
        }
    }

    fn note_committed(&mut self, index: usize, outcome: &Outcome) {
        let now_us = self.clock.now_us();
        let lane = &mut self.lanes[index];
        if outcome.rows > 0
            && let Some(before) = &mut lane.stopped_before
        {
            before.settle();
        }
        self.progress.add_committed(&lane.table, outcome, now_us);
        self.log.report_progress(&outcome.committed);
    }

    /// Stops reading for one table; all others go on. An error that is not one table's ends the
    /// writer.
    pub(super) fn stop_table(
        &mut self,
        index: usize,
        error: WriterError,
    ) -> Result<(), WriterError> {
        if !error.is_of_one_table() {
            return Err(error);
        }
        // What was read before lands; otherwise each try would read it again and drop it again.
        self.flush(index);
        let paused: Vec<_> = self
            .partitions_of(index)
            .map(|partition| partition.partition.clone())
            .collect();
        self.log.pause(&paused)?;
        self.partitions.retain(|partition| partition.lane != index);
        let epoch = self.epoch;
        let lane = &mut self.lanes[index];
        lane.outlet.release(epoch);
        let before = lane.stopped.take().or(lane.stopped_before.take());
        let stopped = Stopped::by(error, before.as_ref());
        error!(table = %lane.table, error = %stopped.error, retry_in = ?stopped.wait(),
            "the table is stopped, all others go on");
        self.progress.table(&lane.table).stopped(&stopped.error);
        lane.stopped = Some(stopped);
        Ok(())
    }

    /// A table is read, perhaps again.
    pub(super) fn go_on(&mut self, index: usize) {
        let lane = &mut self.lanes[index];
        if let Some(stopped) = lane.stopped.take() {
            info!(table = %lane.table, "trying to go on with the table");
            lane.stopped_before = Some(stopped);
        }
        self.progress.table(&lane.table).goes_on();
    }

    /// Tries again to go on with tables that are stopped.
    pub(super) async fn retry_tables(&mut self) -> Result<(), WriterError> {
        if self.until == Until::CaughtUp {
            return Ok(());
        }
        let now = tokio::time::Instant::now();
        for index in 0..self.lanes.len() {
            let stopped = self.lanes[index].stopped.as_ref();
            if stopped.is_none_or(|stopped| stopped.retry_at > now) {
                continue;
            }
            match self.open(index, self.assigned_to(index)).await {
                Ok(()) => {
                    self.go_on(index);
                    if self.assigned_once {
                        self.assign_positions().await?;
                    }
                }
                Err(error) => self.stop_table(index, error)?,
            }
        }
        Ok(())
    }

    /// Looks which partitions the log cannot go on with, and stops their tables.
    pub(super) async fn find_lost_offsets(&mut self) -> Result<(), WriterError> {
        warn!("kafka does not hold the next offset of a partition; looking for it");
        let mut lost = Vec::new();
        for partition in &self.partitions {
            let kept = self.log.offsets_kept(&partition.partition).await;
            match kept.and_then(|kept| partition.check_kept(kept)) {
                Ok(()) => {}
                Err(error) if error.is_of_one_table() => lost.push((partition.lane, error)),
                Err(error) => return Err(error),
            }
        }
        if lost.is_empty() {
            // What was lost is there by now: a topic that was made again grows.
            return self.look_again().await;
        }
        for (index, error) in lost {
            if self.lanes[index].stopped.is_none() {
                self.stop_table(index, error)?;
            }
        }
        self.assign_positions().await
    }
}
