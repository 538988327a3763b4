//! The writer of one table: takes chunks of rows in, makes data files of them and commits.
//!
//! One task per table, fed over a channel, so that a table has one committer per process and its
//! flushes land in order. Rows become Parquet as they come; a flush ends the files and commits
//! them. What a partition's rows start from is remembered here and compared with the table in
//! every commit.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use columnar::{ChangeBuffer, ChangeSchema};
use lake_store::LakeStore;
use schemas::{Contract, Sequence, Shape, TableName, TopicPartition};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::Instant;

use crate::app_id::AppIds;
use crate::clock::Clock;
use crate::commit::{Draft, Refusal, Step};
use crate::dead_letter::DeadLetter;
use crate::dead_letters_log::DeadLettersLog;
use crate::delta_log::{DeltaLog, TableState};
use crate::entropy::Entropy;
use crate::error::WriterError;
use crate::offset_ranges::OffsetRanges;

mod assignment;
mod dated_rows;
mod evolution;
mod flush;
mod held;
mod open_files;
mod open_flush;
mod rewrite;
mod table;

pub(crate) use held::Held;
use open_flush::{OpenFlush, Part};

type Parts = BTreeMap<TopicPartition, Part>;

/// What the reader asks of a table's writer.
#[derive(Debug)]
pub(crate) enum Request {
    /// Forget all partitions and what was taken in of them; a new assignment begins.
    Release { epoch: u64 },
    /// Tell where to go on in these partitions, which are read from now on.
    Assign {
        partitions: Vec<TopicPartition>,
        /// How many partitions the topic has.
        partition_count: i32,
        /// The number of its cluster, if that has an id.
        cluster: Option<i64>,
        reply: oneshot::Sender<Result<Assigned, WriterError>>,
    },
    /// Take in what was read.
    Append(Box<Chunk>),
    /// Commit what was taken in, the first of which was read at this moment.
    Flush { opened_at: Instant },
}

/// The answer to [`Request::Assign`].
#[derive(Debug)]
pub(crate) struct Assigned {
    /// Where to go on, in the order of the question.
    pub(crate) resumes: Vec<Resume>,
    /// Contract and shape of the table, if it exists.
    pub(crate) table: Option<(Contract, Shape)>,
    /// How many partitions the topic had when the table was last committed to.
    pub(crate) partition_count: Option<i64>,
    /// The number of the cluster that the topic was of then.
    pub(crate) cluster: Option<i64>,
}

/// Where the table stands in one partition.
#[derive(Debug)]
pub(crate) struct Resume {
    pub(crate) partition: TopicPartition,
    /// The next offset to read; `None` if the table has never seen the partition.
    pub(crate) next_offset: Option<i64>,
    /// The mark of the record before it.
    pub(crate) last_mark: Option<i64>,
    /// How often the partition's offsets began anew.
    pub(crate) generation: i32,
    /// The last sequence that landed, by source.
    pub(crate) sequences: HashMap<String, Sequence>,
    /// Offsets at or above `next_offset` whose dead letters are committed already.
    pub(crate) dead_lettered: OffsetRanges,
}

/// What was read of one partition since its last chunk.
#[derive(Debug)]
pub(crate) struct Chunk {
    /// The table's schema; `None` while no record could be read yet.
    pub(crate) schema: Option<Arc<ChangeSchema>>,
    pub(crate) partition: TopicPartition,
    pub(crate) next_offset: i64,
    /// The mark of the last record read; `None` if none was.
    pub(crate) last_mark: Option<i64>,
    /// How often the partition's offsets had begun anew.
    pub(crate) generation: i32,
    pub(crate) rows: Option<ChangeBuffer>,
    pub(crate) dead_letters: Vec<DeadLetter>,
    /// Last sequences by source, of the sources seen in this chunk.
    pub(crate) sequences: Vec<(String, Sequence)>,
    /// Records dropped because their source had published them before.
    pub(crate) repetitions: u64,
    /// Memory to be given back when it was taken in.
    pub(crate) bytes: usize,
}

/// How a flush ended.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) epoch: u64,
    /// The version that carries the rows; `None` if there is no table yet.
    pub(crate) version: Option<u64>,
    pub(crate) rows: usize,
    pub(crate) dead_letters: usize,
    /// The version that carries the dead letters, if there are any.
    pub(crate) dead_letters_version: Option<u64>,
    pub(crate) repetitions: u64,
    pub(crate) files: usize,
    pub(crate) committed: Vec<(TopicPartition, i64)>,
    /// The marks of the last records committed.
    pub(crate) last_marks: Vec<(TopicPartition, i64)>,
    /// Partitions whose rows were dropped because another writer moved one of them: all of them
    /// must be read again.
    pub(crate) fenced: Vec<TopicPartition>,
}

/// What the writer of a table is made of.
#[derive(Clone, Debug)]
pub(crate) struct TableParts {
    pub(crate) lake: LakeStore,
    pub(crate) table: TableName,
    pub(crate) shape: Shape,
    /// Whether its columns are inferred from values.
    pub(crate) infers: bool,
    pub(crate) pipeline: String,
    pub(crate) checkpoint_interval: u64,
    pub(crate) held: Arc<Held>,
    /// Where all tables of the process put their dead letters.
    pub(crate) dead_letters: Arc<DeadLettersLog>,
    /// Has one permit: one table of the process writes its data files anew at a time.
    pub(crate) rewrites: Arc<Semaphore>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<Entropy>,
}

/// Where the table stood in a partition when we last committed or looked.
#[derive(Clone, Copy, Debug)]
struct Owned {
    data: Option<i64>,
    dead_letters: Option<i64>,
}

pub(crate) struct TableWriter {
    parts: TableParts,
    changes: DeltaLog,
    /// Without the sequences of sources, which the reader keeps.
    changes_state: Option<TableState>,
    /// The last release that was asked for.
    epoch: u64,
    partition_count: i32,
    cluster: Option<i64>,
    owned: HashMap<TopicPartition, Owned>,
    /// Progress that waits for the table to exist: no record could be read yet.
    kept: Parts,
    checkpoint_looks: CheckpointLooks,
}

/// The versions at which it was last asked whether a checkpoint is due.
#[derive(Debug, Default)]
struct CheckpointLooks {
    changes: Option<u64>,
    dead_letters: Option<u64>,
}

impl TableWriter {
    pub(crate) fn new(parts: TableParts) -> Self {
        let store = parts.lake.table_store(&parts.table.changes_path());
        Self {
            changes: DeltaLog::new(store),
            changes_state: None,
            epoch: 0,
            partition_count: 0,
            cluster: None,
            owned: HashMap::new(),
            kept: Parts::new(),
            checkpoint_looks: CheckpointLooks::default(),
            parts,
        }
    }

    /// Serves requests until the channel closes. Every flush has one outcome; after a failure
    /// everything is dropped until the partitions are assigned anew.
    pub(crate) async fn run(
        mut self,
        mut requests: mpsc::UnboundedReceiver<Request>,
        outcomes: mpsc::UnboundedSender<(TableName, Result<Outcome, WriterError>)>,
    ) {
        let mut open = OpenFlush::default();
        // Why chunks could not be taken in; told at the next flush.
        let mut failure = None;
        while let Some(request) = requests.recv().await {
            match request {
                Request::Release { epoch } => {
                    self.epoch = epoch;
                    self.disown();
                    (open, failure) = (OpenFlush::default(), None);
                }
                Request::Assign {
                    partitions,
                    partition_count,
                    cluster,
                    reply,
                } => {
                    (self.partition_count, self.cluster) = (partition_count, cluster);
                    let assigned = match partitions.iter().find(|part| open.holds(part)) {
                        None => self.assign(partitions).await,
                        // They would land twice.
                        Some(part) => Err(WriterError::Internal(format!(
                            "{part} is assigned anew while rows of it wait to be committed"
                        ))),
                    };
                    // Nobody waits for the answer once the reader is gone.
                    reply.send(assigned).ok();
                }
                Request::Append(chunk) => {
                    let bytes = chunk.bytes;
                    if self.owned.contains_key(&chunk.partition)
                        && let Err(why) = open.append(*chunk, &self.parts.entropy)
                    {
                        failure = Some(self.table_error(why));
                        self.disown();
                        open = OpenFlush::default();
                    }
                    self.parts.held.take_waiting(bytes);
                }
                Request::Flush { opened_at } => {
                    let outcome = match failure.take() {
                        Some(error) => Err(error),
                        None => self.flush(std::mem::take(&mut open), opened_at).await,
                    };
                    if outcome.is_err() {
                        self.disown();
                    }
                    // Who hears of it counts what is held anew.
                    self.parts.held.set_files(0);
                    outcomes.send((self.parts.table.clone(), outcome)).ok();
                }
            }
            self.parts.held.set_files(open.memory_bytes());
        }
    }

    /// From here on chunks are dropped, until partitions are assigned.
    fn disown(&mut self) {
        self.owned.clear();
        self.kept.clear();
    }

    fn step(&self, partition: &TopicPartition, to: i64) -> Step {
        let from = self.owned.get(partition).and_then(|owned| owned.data);
        Step {
            app_id: self.ids().progress(partition),
            from,
            to,
        }
    }

    fn dead_letters_step(&self, partition: &TopicPartition, to: i64) -> Step {
        let from = self
            .owned
            .get(partition)
            .and_then(|owned| owned.dead_letters);
        Step {
            app_id: self.ids().dead_letters(partition),
            from,
            to,
        }
    }

    fn ids(&self) -> AppIds<'_> {
        AppIds::new(&self.parts.pipeline)
    }

    fn table_error(&self, why: impl Into<String>) -> WriterError {
        WriterError::Table {
            table: self.parts.table.to_string(),
            why: why.into(),
        }
    }
}

#[cfg(test)]
mod tests;
