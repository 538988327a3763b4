//! The way from a lane to its table's writer, and what has gone it since the last flush.

use std::collections::VecDeque;
use std::sync::Arc;

use columnar::ChangeSchema;
use schemas::TopicPartition;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::error::WriterError;
use crate::partition::Partition;
use crate::table_writer::{Assigned, Held, Request};

/// Flushes of one table that age, size and the budget put on their way at once: one in the making,
/// one waiting. What must not wait (a contract that grows, a table that stops, the end) comes on top.
const IN_FLIGHT_MAX: usize = 2;

/// Requests to one table's writer.
#[derive(Debug)]
pub(crate) struct Outlet {
    requests: mpsc::UnboundedSender<Request>,
    /// What the table's writer holds in memory.
    pub(crate) held: Arc<Held>,
    /// Rows and bytes handed over since the last flush.
    pub(crate) rows: usize,
    pub(crate) bytes: usize,
    /// When the oldest record of the next flush was read.
    pub(crate) opened_at: Option<Instant>,
    /// Bytes of rows of each flush on its way.
    in_flight: VecDeque<usize>,
    /// Bytes that the flushes on their way will give back.
    leaving: usize,
    /// Whether rows were ever flushed.
    has_flushed: bool,
    /// Counts releases; what was flushed before the last one is nobody's any more.
    epoch: u64,
}

impl Outlet {
    pub(crate) fn new(requests: mpsc::UnboundedSender<Request>, held: Arc<Held>) -> Self {
        Self {
            requests,
            held,
            rows: 0,
            bytes: 0,
            opened_at: None,
            in_flight: VecDeque::with_capacity(IN_FLIGHT_MAX),
            leaving: 0,
            has_flushed: false,
            epoch: 0,
        }
    }

    /// Hands over what was read of a partition since its last chunk.
    pub(crate) fn hand_over(
        &mut self,
        partition: &mut Partition,
        schema: Option<&Arc<ChangeSchema>>,
    ) {
        let (rows, opened_at) = (partition.rows(), partition.opened_at());
        let Some(chunk) = partition.cut(schema.map(Arc::clone)) else {
            return;
        };
        self.rows += rows;
        self.bytes += chunk.bytes;
        self.opened_at = self.opened_at.or(opened_at);
        self.held.add_waiting(chunk.bytes);
        // Fails only when the table's writer died, which is looked for before every poll.
        self.requests.send(Request::Append(Box::new(chunk))).ok();
    }

    /// Whether the table's writer died.
    pub(crate) fn is_broken(&self) -> bool {
        self.requests.is_closed()
    }

    /// Whether another flush may be on its way.
    pub(crate) fn takes_flush(&self) -> bool {
        self.in_flight.len() < IN_FLIGHT_MAX
    }

    /// Commits what was handed over, if there is anything.
    pub(crate) fn flush(&mut self) {
        if let Some(opened_at) = self.opened_at {
            self.in_flight.push_back(self.bytes);
            self.leaving = self.held.bytes();
            self.has_flushed |= self.rows > 0;
            self.requests.send(Request::Flush { opened_at }).ok();
        }
        self.forget();
    }

    /// The oldest flush on its way was answered; the bytes of its rows.
    pub(crate) fn answered(&mut self) -> usize {
        let bytes = self.in_flight.pop_front().unwrap_or_default();
        // Of two flushes the later one is left, which is no more than what is held.
        self.leaving = match self.in_flight.is_empty() {
            true => 0,
            false => self.leaving.min(self.held.bytes()),
        };
        bytes
    }

    /// Bytes held that no flush on its way will give back.
    pub(crate) fn staying_bytes(&self) -> usize {
        self.held.bytes().saturating_sub(self.leaving)
    }

    /// Whether rows were flushed since the process started.
    pub(crate) fn has_flushed(&self) -> bool {
        self.has_flushed
    }

    /// Whether everything that was handed over is answered.
    pub(crate) fn is_idle(&self) -> bool {
        self.in_flight.is_empty() && self.opened_at.is_none()
    }

    /// Whether a flush waits for its answer.
    pub(crate) fn waits(&self) -> bool {
        !self.in_flight.is_empty()
    }

    /// Drops what was handed over and not flushed.
    pub(crate) fn release(&mut self) {
        self.epoch += 1;
        self.forget();
        let epoch = self.epoch;
        self.requests.send(Request::Release { epoch }).ok();
    }

    /// How often the table was released: what [`crate::table_writer::Outcome`] says of a flush of now.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Asks where to go on in these partitions. There is no answer if the table's writer died.
    pub(crate) fn assign(
        &self,
        partitions: Vec<TopicPartition>,
        partition_count: i32,
        cluster: Option<i64>,
    ) -> oneshot::Receiver<Result<Assigned, WriterError>> {
        let (reply, answer) = oneshot::channel();
        let request = Request::Assign {
            partitions,
            partition_count,
            cluster,
            reply,
        };
        self.requests.send(request).ok();
        answer
    }

    fn forget(&mut self) {
        (self.rows, self.bytes, self.opened_at) = (0, 0, None);
    }
}
