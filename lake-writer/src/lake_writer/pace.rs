//! When to commit, and when to stop reading because too much is held.

use std::time::Duration;

use schemas::TopicPartition;
use tokio::time::Instant;

use super::{LakeWriter, POLL_WAIT_MAX};
use crate::error::WriterError;
use crate::lane::Outlet;
use crate::partition::Partition;
use crate::record_log::RecordLog;

/// Most bytes that wait to become Parquet: enough to keep encoders busy, few enough to stay in
/// the caches and out of the budget.
const WAITING_BYTES_MAX: usize = 32 << 20;

/// Chunks of one partition are at most this large, and at least this, however many there are.
const CHUNK_BYTES: std::ops::RangeInclusive<usize> = 64 << 10..=4 << 20;

/// Longest time the log is not polled for want of room. After that partitions are paused and the
/// log is polled again, or the group would take us for dead.
const HOLD_MAX: Duration = Duration::from_secs(5);

/// Longest time the first record of a table waits after a start: whoever starts a writer sees that
/// it works, and one that keeps being killed gets on.
const FIRST_AGE_MAX: Duration = Duration::from_secs(1);

/// How far reading is held back.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) enum Flow {
    #[default]
    Free,
    /// The log is not polled, since then.
    Held(Instant),
    /// Partitions are paused.
    Paused,
}

impl<L: RecordLog> LakeWriter<L> {
    /// Bytes after which a partition's rows are handed over.
    pub(super) fn chunk_bytes_max(&self) -> usize {
        let share = self.budget_bytes() / 8 / self.partitions.len().max(1);
        share.clamp(*CHUNK_BYTES.start(), *CHUNK_BYTES.end())
    }

    fn budget_bytes(&self) -> usize {
        let most = usize::try_from(self.settings.buffer_bytes_max.as_u64()).unwrap_or(usize::MAX);
        self.warmth.share_of(most)
    }

    /// Commits every table whose rows, bytes or age have come far enough.
    pub(super) fn flush_what_is_due(&mut self) {
        let now = Instant::now();
        let at_end = self.has_read_everything();
        for index in 0..self.lanes.len() {
            let outlet = &self.lanes[index].outlet;
            if !outlet.takes_flush() {
                continue;
            }
            let mut rows = outlet.rows;
            let mut bytes = outlet.bytes;
            let mut opened_at = outlet.opened_at;
            for partition in self.partitions_of(index) {
                rows += partition.rows();
                bytes += partition.bytes();
                opened_at = [opened_at, partition.opened_at()]
                    .into_iter()
                    .flatten()
                    .min();
            }
            let Some(opened_at) = opened_at else { continue };
            // Where nothing was read yet, progress alone may wait for the rows.
            let age_max = match rows == 0 || self.lanes[index].outlet.has_flushed() {
                true => self.settings.flush_age_max,
                false => self.settings.flush_age_max.min(FIRST_AGE_MAX),
            };
            if at_end
                || rows >= self.settings.flush_rows_max
                || bytes as u64 >= self.settings.flush_bytes_max.as_u64()
                || now.saturating_duration_since(opened_at) >= age_max
            {
                self.flush(index);
            }
        }
    }

    /// Hands over everything that was read for one table and commits it.
    pub(super) fn flush(&mut self, index: usize) {
        let lane = &mut self.lanes[index];
        let mine = |partition: &&mut Partition| partition.lane == index;
        for partition in self.partitions.iter_mut().filter(mine) {
            lane.outlet.hand_over(partition, lane.schema.as_ref());
        }
        lane.outlet.flush();
    }

    /// Holds reading back while too much is held, and lets it go again.
    pub(super) fn keep_to_budget(&mut self) -> Result<(), WriterError> {
        let buffered: usize = self.partitions.iter().map(Partition::bytes).sum();
        let outlets = || self.lanes.iter().map(|lane| &lane.outlet);
        let most = self.budget_bytes();
        // A table whose files are written anew may take long, and all others go on meanwhile.
        let rewriting = outlets().map(|outlet| outlet.held.rewriting_bytes());
        let rewriting = rewriting.sum::<usize>().min(most / 2);
        let held =
            buffered + outlets().map(|outlet| outlet.held.bytes()).sum::<usize>() + rewriting;
        let waiting: usize = outlets().map(|outlet| outlet.held.waiting_bytes()).sum();
        self.progress.set_buffered_bytes(held as u64);
        let staying = buffered + outlets().map(Outlet::staying_bytes).sum::<usize>();
        if staying > most / 2 {
            self.flush_largest();
        }
        let is_full = held > most || waiting > WAITING_BYTES_MAX.min(most / 4);
        self.flow = match self.flow {
            Flow::Free if is_full => Flow::Held(Instant::now()),
            Flow::Held(since) if is_full && since.elapsed() >= HOLD_MAX => {
                let flowing = self.flowing();
                self.log.pause(&flowing)?;
                Flow::Paused
            }
            Flow::Held(_) if !is_full => Flow::Free,
            Flow::Paused if held < most / 4 * 3 && !is_full => {
                let flowing = self.flowing();
                self.log.resume(&flowing)?;
                Flow::Free
            }
            flow => flow,
        };
        Ok(())
    }

    /// Commits the table that holds most beyond what is on its way already, unless too many of its
    /// flushes are.
    fn flush_largest(&mut self) {
        let lanes = self.lanes.iter().enumerate();
        let free = lanes.filter(|(_, lane)| lane.outlet.takes_flush());
        let held = |index: usize| {
            let buffers: usize = self.partitions_of(index).map(Partition::bytes).sum();
            buffers + self.lanes[index].outlet.staying_bytes()
        };
        if let Some(index) = free
            .map(|(index, _)| index)
            .max_by_key(|&index| held(index))
        {
            self.flush(index);
        }
    }

    /// Waits until a table's writer has made room, or a moment.
    pub(super) async fn wait_for_room(&self) {
        tokio::time::timeout(POLL_WAIT_MAX, self.room.notified())
            .await
            .ok();
    }

    /// Partitions that are paused only when there is no room.
    fn flowing(&self) -> Vec<TopicPartition> {
        let open = self.partitions.iter();
        let open = open.filter(|partition| partition.waits_for.is_none());
        open.map(|partition| partition.partition.clone()).collect()
    }
}
