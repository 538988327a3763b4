//! The writer's loop: poll, decode into chunks, hand them to the tables' writers, take in how
//! their commits went.
//!
//! ```text
//! RecordLog ─▶ Lane + Partition (decode) ─chunks─▶ TableWriter (Parquet, commit) ─▶ outcome
//!     ▲                                                                               │
//!     └──────────── seek after a fence, hold back above the budget ◀──────────────────┘
//! ```

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use lake_store::LakeStore;
use schemas::{Contract, SchemaRegistry, TableName, TopicPartition};
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;
use tracing::info;

use crate::clock::Clock;
use crate::entropy::Entropy;
use crate::error::WriterError;
use crate::lane::{Lane, Outlet};
use crate::partition::{Partition, Reading};
use crate::progress::WriterProgress;
use crate::record_log::{Notice, Record, RecordLog};
use crate::schema_cache::SchemaCache;
use crate::settings::{TopicSettings, WriterSettings};
use crate::table_writer::{Held, Outcome, TableParts, TableWriter};

mod assignment;
mod outcome;
mod pace;

use pace::Flow;

/// Longest time one poll lasts, so that stops, schemas and flushes are seen in time.
const POLL_WAIT_MAX: Duration = Duration::from_millis(100);

/// Records, and bytes of them, handed out by one poll.
const POLL_RECORDS_MAX: usize = 10_000;
const POLL_BYTES_MAX: usize = 8 << 20;

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
    assigned: Vec<TopicPartition>,
    assigned_once: bool,
    flow: Flow,
    /// Told when a table's writer has made room.
    room: Arc<Notify>,
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
        let room = Arc::new(Notify::new());
        let mut lanes = Vec::with_capacity(topics.len());
        for topic in topics {
            let table = topic.settings.table_name();
            let table = table.map_err(|error| WriterError::Settings(error.to_string()))?;
            let (requests, incoming) = mpsc::unbounded_channel();
            let held = Arc::new(Held::new(Arc::clone(&room)));
            let writer = TableWriter::new(TableParts {
                lake: lake.clone(),
                table: table.clone(),
                shape: topic.settings.shape,
                pipeline: settings.pipeline.clone(),
                checkpoint_interval: settings.checkpoint_interval,
                held: Arc::clone(&held),
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
            let mut lane = Lane::new(
                name.into(),
                table,
                format,
                shape,
                key,
                Outlet::new(requests, held),
            );
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
            assigned: Vec::new(),
            assigned_once: false,
            flow: Flow::Free,
            room,
            forget_at: Instant::now() + FORGET_INTERVAL,
        })
    }

    /// Runs until `stop` says so, the end is reached or an error makes going on wrong. What was
    /// read by then is committed.
    ///
    /// With [`crate::KafkaLog`] this blocks: give it a thread with a runtime of its own.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) -> Result<(), WriterError> {
        loop {
            // A step may wait for a store that is down, for ever; dropping it loses nothing.
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => break,
                step = self.step() => step?,
            }
            if self.is_caught_up() {
                break;
            }
        }
        self.finish().await
    }

    async fn step(&mut self) -> Result<(), WriterError> {
        self.progress.turned();
        self.take_outcomes().await?;
        self.take_schemas().await?;
        self.retry_tables().await?;
        if matches!(self.flow, Flow::Held(_)) || self.waits_for_commits() {
            self.wait_for_room().await;
        } else {
            match self.poll().await? {
                Some(Notice::Assigned(partitions)) => self.take_assignment(partitions).await?,
                Some(Notice::Revoked) => self.give_up_partitions().await?,
                Some(Notice::OffsetLost) => self.find_lost_offsets().await?,
                Some(Notice::TopicsChanged) => self.look_again().await?,
                None => {}
            }
        }
        self.wait_for_schemas()?;
        self.flush_what_is_due();
        self.keep_to_budget()
    }

    async fn poll(&mut self) -> Result<Option<Notice>, WriterError> {
        let reading = Reading {
            now: Instant::now(),
            now_us: self.clock.now_us(),
            record_bytes_max: usize::try_from(self.settings.record_bytes_max.as_u64())
                .unwrap_or(usize::MAX),
        };
        let chunk_bytes_max = self.chunk_bytes_max();
        let (mut failures, mut last, mut read, mut bytes) = (Vec::new(), 0, 0, 0);
        let Self {
            log,
            lanes,
            partitions,
            schemas,
            progress,
            ..
        } = self;
        let mut each = |record: Record<'_>| {
            let Some(index) = find(partitions, &record, last) else {
                return ControlFlow::Continue(());
            };
            last = index;
            let partition = &mut partitions[index];
            let lane = &mut lanes[partition.lane];
            if let Err(error) = partition.accept(&record, lane, schemas, &reading) {
                failures.push((partition.lane, error));
                return ControlFlow::Break(());
            }
            if partition.is_full(chunk_bytes_max) {
                lane.outlet.hand_over(partition, lane.schema.as_ref());
            }
            read += 1;
            bytes += record.size_bytes();
            match bytes < POLL_BYTES_MAX {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(()),
            }
        };
        let notice = log.poll(POLL_WAIT_MAX, POLL_RECORDS_MAX, &mut each).await?;
        progress.add_read(read);
        for (index, error) in failures {
            self.stop_table(index, error)?;
        }
        Ok(notice)
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
                let place = &partition.partition;
                self.log
                    .seek(place, partition.position().next_offset)
                    .await?;
                if self.flow != Flow::Paused {
                    self.log.resume(std::slice::from_ref(place))?;
                }
            }
        }
        Ok(())
    }

    /// Keeps the log from handing out records that would be dropped.
    fn wait_for_schemas(&mut self) -> Result<(), WriterError> {
        let waiting = self.partitions.iter();
        let waiting = waiting.filter(|partition| partition.waits_for.is_some());
        let waiting: Vec<TopicPartition> = waiting
            .map(|partition| partition.partition.clone())
            .collect();
        if waiting.is_empty() {
            Ok(())
        } else {
            self.log.pause(&waiting)
        }
    }

    /// The open partitions of one lane.
    fn partitions_of(&self, index: usize) -> impl Iterator<Item = &Partition> {
        self.partitions
            .iter()
            .filter(move |partition| partition.lane == index)
    }

    /// Whether a run with an end has read all of it.
    fn has_read_everything(&self) -> bool {
        self.until == Until::CaughtUp
            && self.assigned_once
            && self.partitions.iter().all(Partition::is_at_end)
    }

    /// Whether there is nothing to do but to wait for the last commits.
    fn waits_for_commits(&self) -> bool {
        self.has_read_everything() && self.lanes.iter().any(|lane| lane.outlet.waits())
    }

    /// Whether a run with an end has committed all of it.
    fn is_caught_up(&self) -> bool {
        self.has_read_everything() && self.lanes.iter().all(|lane| lane.outlet.is_idle())
    }

    /// Commits what was read. Bounded: what is not committed by then is read again next time.
    async fn finish(&mut self) -> Result<(), WriterError> {
        let deadline = Instant::now() + STOP_WAIT_MAX;
        for index in 0..self.lanes.len() {
            self.flush(index);
        }
        while self.lanes.iter().any(|lane| lane.outlet.waits()) {
            match tokio::time::timeout_at(deadline, self.outcomes.recv()).await {
                Ok(Some((table, outcome))) => self.take_last_outcome(&table, outcome)?,
                Ok(None) => return Err(WriterError::Internal("a table's writer died".to_owned())),
                Err(_) => return Err(WriterError::StopTimeout(STOP_WAIT_MAX)),
            }
        }
        let stopped = self.lanes.iter().filter_map(|lane| {
            let stopped = lane.stopped.as_ref()?;
            Some(format!("{}: {}", lane.topic, stopped.error))
        });
        let stopped: Vec<String> = stopped.collect();
        match stopped.is_empty() {
            true => {
                info!("everything that was read is committed");
                Ok(())
            }
            false => Err(WriterError::TablesStopped(stopped)),
        }
    }
}

/// The partition a record is of; most records are of the same one as the record before.
fn find(partitions: &[Partition], record: &Record<'_>, last: usize) -> Option<usize> {
    let is_of = |partition: &Partition| {
        partition.partition.partition == record.partition
            && partition.partition.topic.as_ref() == record.topic
    };
    if partitions.get(last).is_some_and(is_of) {
        return Some(last);
    }
    partitions.iter().position(is_of)
}
