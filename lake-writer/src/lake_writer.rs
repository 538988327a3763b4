//! The writer's loop: poll, read into buffers, hand full buffers to the tables' writers, take in
//! how their commits went.
//!
//! ```text
//! RecordLog ─▶ Lane + Partition (decode, buffer) ─▶ TableWriter (Parquet, commit) ─▶ outcome
//!     ▲                                                                                 │
//!     └────────────── seek after a fence, pause above the budget ◀──────────────────────┘
//! ```

use std::sync::Arc;
use std::time::Duration;

use lake_store::LakeStore;
use schemas::{Contract, SchemaRegistry, TableName, TopicPartition};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tracing::info;

use crate::clock::Clock;
use crate::entropy::Entropy;
use crate::error::WriterError;
use crate::lane::Lane;
use crate::partition::{Partition, Reading};
use crate::progress::WriterProgress;
use crate::record_log::{Membership, RecordLog};
use crate::schema_cache::SchemaCache;
use crate::settings::{TopicSettings, WriterSettings};
use crate::table_writer::{Flush, Outcome, TableParts, TableWriter};

mod assignment;

/// Longest time one poll lasts, so that stops, schemas and flushes are seen in time.
const POLL_WAIT_MAX: Duration = Duration::from_millis(100);

/// Records handed out by one poll.
const POLL_RECORDS_MAX: usize = 10_000;

/// Flushes of one table that may be on their way at once: one in the making, one waiting.
const IN_FLIGHT_MAX: usize = 2;

/// Longest time a stop waits for the last commits.
const STOP_WAIT_MAX: Duration = Duration::from_secs(30);

/// How often ids that the registry did not know are forgotten.
const FORGET_INTERVAL: Duration = Duration::from_secs(60);

/// What the writer works with.
#[derive(Debug)]
pub struct Parts {
    /// The lake to write to.
    pub lake: LakeStore,
    /// The registry of Avro schemas; not needed for JSON.
    pub registry: Option<Arc<dyn SchemaRegistry>>,
    /// Tells the time of day.
    pub clock: Arc<dyn Clock>,
    /// Names files and commits, and jitters waits.
    pub entropy: Arc<Entropy>,
    /// Where tables are written and schemas fetched: a multi-threaded runtime, or in a simulation
    /// the one everything runs on.
    pub runtime: Handle,
    /// Counts what was done.
    pub progress: Arc<WriterProgress>,
}

/// A topic to read, with its contract if one is configured.
#[derive(Clone, Debug)]
pub struct Topic {
    /// The topic's settings.
    pub settings: TopicSettings,
    /// The entity's contract.
    pub contract: Option<Contract>,
}

/// When the writer ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// Never: it goes on until it is stopped.
    Stopped,
    /// When everything that was in the topics at the start is committed.
    CaughtUp,
}

/// Copies change events from a [`RecordLog`] into the tables of a lake, exactly once.
pub struct LakeWriter<L> {
    log: L,
    settings: WriterSettings,
    until: Until,
    lanes: Vec<Lane>,
    partitions: Vec<Partition>,
    schemas: SchemaCache,
    outcomes: mpsc::UnboundedReceiver<(TableName, Result<Outcome, WriterError>)>,
    clock: Arc<dyn Clock>,
    progress: Arc<WriterProgress>,
    /// Counts assignments; rows of an earlier one are dropped.
    epoch: u64,
    assigned_once: bool,
    paused: bool,
    in_flight_bytes: usize,
    forget_at: Instant,
}

impl<L> std::fmt::Debug for LakeWriter<L> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LakeWriter")
            .field("partitions", &self.partitions)
            .finish_non_exhaustive()
    }
}

impl<L: RecordLog> LakeWriter<L> {
    /// A writer of these topics. Starts the tables' writers on `parts.runtime`.
    pub fn new(
        log: L,
        settings: WriterSettings,
        topics: Vec<Topic>,
        until: Until,
        parts: Parts,
    ) -> Result<Self, WriterError> {
        let lake = parts.lake.map_store(crate::faults::wrap);
        let (outcomes_in, outcomes) = mpsc::unbounded_channel();
        let mut lanes = Vec::with_capacity(topics.len());
        for topic in topics {
            let table = topic.settings.table_name();
            let table = table.map_err(|error| WriterError::Settings(error.to_string()))?;
            let (requests, incoming) = mpsc::unbounded_channel();
            let writer = TableWriter::new(TableParts {
                lake: lake.clone(),
                table: table.clone(),
                shape: topic.settings.shape,
                pipeline: settings.pipeline.clone(),
                checkpoint_interval: settings.checkpoint_interval,
                clock: Arc::clone(&parts.clock),
                entropy: Arc::clone(&parts.entropy),
            });
            parts
                .runtime
                .spawn(writer.run(incoming, outcomes_in.clone()));
            let TopicSettings {
                name,
                format,
                shape,
                key,
                ..
            } = topic.settings;
            let mut lane = Lane::new(name.into(), table, format, shape, key, requests);
            if let Some(contract) = topic.contract {
                lane.set_contract(contract)?;
            }
            lanes.push(lane);
        }
        Ok(Self {
            log,
            settings,
            until,
            lanes,
            partitions: Vec::new(),
            schemas: SchemaCache::new(parts.registry, parts.runtime, parts.entropy),
            outcomes,
            clock: parts.clock,
            progress: parts.progress,
            epoch: 0,
            assigned_once: false,
            paused: false,
            in_flight_bytes: 0,
            forget_at: Instant::now() + FORGET_INTERVAL,
        })
    }

    /// Runs until `stop` says so, the end is reached or an error makes going on wrong. What was
    /// read by then is committed.
    ///
    /// With [`crate::KafkaLog`] this blocks: give it a thread with a runtime of its own.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) -> Result<(), WriterError> {
        while !*stop.borrow_and_update() {
            self.take_outcomes().await?;
            self.take_schemas().await?;
            let membership = self.poll().await?;
            match membership {
                Some(Membership::Assigned(partitions)) => self.take_assignment(partitions).await?,
                Some(Membership::Revoked) => self.give_up_partitions().await?,
                None => {}
            }
            self.wait_for_schemas()?;
            self.flush_what_is_due();
            self.keep_to_budget()?;
            if self.is_caught_up() {
                break;
            }
        }
        self.finish().await
    }

    async fn poll(&mut self) -> Result<Option<Membership>, WriterError> {
        let reading = Reading {
            now: Instant::now(),
            now_us: self.clock.now_us(),
            record_bytes_max: self
                .settings
                .record_bytes_max
                .as_u64()
                .try_into()
                .unwrap_or(usize::MAX),
        };
        let Self {
            log,
            lanes,
            partitions,
            schemas,
            progress,
            ..
        } = self;
        let mut failure = None;
        let mut last = 0;
        let mut read = 0;
        let mut each = |record: crate::record_log::Record<'_>| {
            let Some(index) = find(partitions, &record, last) else {
                return;
            };
            last = index;
            let partition = &mut partitions[index];
            let lane = &mut lanes[partition.lane];
            if let Err(error) = partition.accept(&record, lane, schemas, &reading) {
                failure.get_or_insert(error);
            }
            read += 1;
        };
        let membership = log.poll(POLL_WAIT_MAX, POLL_RECORDS_MAX, &mut each).await?;
        progress.add_read(read);
        match failure {
            Some(error) => Err(error),
            None => Ok(membership),
        }
    }

    /// Goes on where partitions waited for a schema that is known by now.
    async fn take_schemas(&mut self) -> Result<(), WriterError> {
        if Instant::now() >= self.forget_at {
            self.schemas.forget_failures();
            self.forget_at = Instant::now() + FORGET_INTERVAL;
        }
        if !self.schemas.take_answers() {
            return Ok(());
        }
        for partition in &mut self.partitions {
            let Some(id) = partition.waits_for else {
                continue;
            };
            if self.schemas.get(id).is_some() {
                partition.waits_for = None;
                self.log
                    .seek(&partition.partition, partition.next_offset)
                    .await?;
                if !self.paused {
                    self.log
                        .resume(std::slice::from_ref(&partition.partition))?;
                }
            }
        }
        Ok(())
    }

    /// Keeps the log from handing out records that would be dropped.
    fn wait_for_schemas(&mut self) -> Result<(), WriterError> {
        let waiting: Vec<TopicPartition> = self
            .partitions
            .iter()
            .filter(|partition| partition.waits_for.is_some())
            .map(|partition| partition.partition.clone())
            .collect();
        if waiting.is_empty() {
            Ok(())
        } else {
            self.log.pause(&waiting)
        }
    }

    fn flush_what_is_due(&mut self) {
        let now = Instant::now();
        for lane in 0..self.lanes.len() {
            let mine = || {
                self.partitions
                    .iter()
                    .filter(|partition| partition.lane == lane)
            };
            let rows: usize = mine().map(Partition::rows).sum();
            let bytes: usize = mine().map(Partition::bytes).sum();
            let oldest = mine().filter_map(Partition::opened_at).min();
            let age = oldest.map_or(Duration::ZERO, |oldest| {
                now.saturating_duration_since(oldest)
            });
            let due = rows >= self.settings.flush_rows_max
                || bytes as u64 >= self.settings.flush_bytes_max.as_u64()
                || age >= self.settings.flush_age_max
                || (self.paused && rows > 0);
            if due && self.lanes[lane].in_flight < IN_FLIGHT_MAX {
                self.flush(lane);
            }
        }
    }

    /// Hands over everything that was read for one table.
    fn flush(&mut self, lane_index: usize) {
        let mut slices = Vec::new();
        let mut bytes = 0;
        for partition in self
            .partitions
            .iter_mut()
            .filter(|partition| partition.lane == lane_index)
        {
            let held = partition.bytes();
            if let Some(slice) = partition.take() {
                slices.push(slice);
                bytes += held;
            }
        }
        if slices.is_empty() {
            return;
        }
        let lane = &mut self.lanes[lane_index];
        let schema = lane.schema.as_ref().map(Arc::clone);
        let flush = Flush {
            epoch: self.epoch,
            schema,
            slices,
            bytes,
        };
        self.in_flight_bytes += bytes;
        lane.in_flight += 1;
        // The table's writer ends only after us; if it died, the missing outcome tells.
        lane.requests
            .send(crate::table_writer::Request::Flush(flush))
            .ok();
    }

    /// Above the budget no more records are taken; well below it they flow again.
    fn keep_to_budget(&mut self) -> Result<(), WriterError> {
        let buffered: usize = self.partitions.iter().map(Partition::bytes).sum();
        let held = (buffered + self.in_flight_bytes) as u64;
        let most = self.settings.buffer_bytes_max.as_u64();
        self.progress.set_buffered_bytes(held);
        let flowing = || {
            let open = self
                .partitions
                .iter()
                .filter(|partition| partition.waits_for.is_none());
            open.map(|partition| partition.partition.clone())
                .collect::<Vec<_>>()
        };
        if !self.paused && held > most {
            let partitions = flowing();
            self.log.pause(&partitions)?;
            self.paused = true;
        } else if self.paused && held < most / 4 * 3 {
            let partitions = flowing();
            self.log.resume(&partitions)?;
            self.paused = false;
        }
        Ok(())
    }

    async fn take_outcomes(&mut self) -> Result<(), WriterError> {
        while let Ok((table, outcome)) = self.outcomes.try_recv() {
            self.take_outcome(&table, outcome?).await?;
        }
        Ok(())
    }

    async fn take_outcome(
        &mut self,
        table: &TableName,
        outcome: Outcome,
    ) -> Result<(), WriterError> {
        self.in_flight_bytes -= outcome.bytes;
        if let Some(lane) = self.lanes.iter_mut().find(|lane| &lane.table == table) {
            lane.in_flight -= 1;
        }
        self.progress.add_committed(&outcome);
        self.log.report_progress(&outcome.committed);
        if outcome.epoch == self.epoch && !outcome.fenced.is_empty() {
            self.read_again(&outcome.fenced).await?;
        }
        Ok(())
    }

    fn is_caught_up(&self) -> bool {
        self.until == Until::CaughtUp
            && self.assigned_once
            && self.partitions.iter().all(Partition::is_at_end)
    }

    /// Commits what was read. Bounded: what is not committed by then is read again next time.
    async fn finish(&mut self) -> Result<(), WriterError> {
        let deadline = Instant::now() + STOP_WAIT_MAX;
        for lane in 0..self.lanes.len() {
            self.flush(lane);
        }
        while self.lanes.iter().any(|lane| lane.in_flight > 0) {
            match tokio::time::timeout_at(deadline, self.outcomes.recv()).await {
                Ok(Some((table, outcome))) => self.take_outcome(&table, outcome?).await?,
                Ok(None) => return Err(WriterError::Internal("a table's writer died".to_owned())),
                Err(_) => {
                    return Err(WriterError::Internal(format!(
                        "the last commits were not over within {STOP_WAIT_MAX:?}; nothing is lost, \
                         the records are read again at the next start"
                    )));
                }
            }
        }
        info!("everything that was read is committed");
        Ok(())
    }
}

/// The partition a record is of; most records are of the same one as the record before.
fn find(
    partitions: &[Partition],
    record: &crate::record_log::Record<'_>,
    last: usize,
) -> Option<usize> {
    let is_of = |partition: &Partition| {
        partition.partition.partition == record.partition
            && partition.partition.topic.as_ref() == record.topic
    };
    if partitions.get(last).is_some_and(is_of) {
        return Some(last);
    }
    partitions.iter().position(is_of)
}
