//! The writer of one table: takes finished buffers, makes data files of them and commits.
//!
//! One task per table, fed over a channel, so that a table has one committer per process and its
//! flushes land in order. What a partition's rows start from is remembered here and compared with
//! the table in every commit.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use columnar::{ChangeBuffer, ChangeSchema};
use lake_store::{DEAD_LETTERS_PATH, LakeStore};
use schemas::{Contract, Shape, TableName, TopicPartition};
use tokio::sync::{mpsc, oneshot};

use crate::clock::Clock;
use crate::commit::{Draft, Refusal, Step};
use crate::dead_letter::DeadLetter;
use crate::delta_log::{DeltaLog, TableState};
use crate::entropy::Entropy;
use crate::error::WriterError;

mod assignment;
mod flush;
mod table;

/// What the reader asks of a table's writer.
#[derive(Debug)]
pub(crate) enum Request {
    /// Tell where to go on in these partitions, which are read from now on.
    Assign {
        epoch: u64,
        partitions: Vec<TopicPartition>,
        reply: oneshot::Sender<Result<Assigned, WriterError>>,
    },
    /// Commit these rows.
    Flush(Flush),
}

/// The answer to [`Request::Assign`].
#[derive(Debug)]
pub(crate) struct Assigned {
    /// Where to go on, in the order of the question.
    pub(crate) resumes: Vec<Resume>,
    /// Contract and shape of the table, if it exists.
    pub(crate) table: Option<(Contract, Shape)>,
}

/// Where the table stands in one partition.
#[derive(Debug)]
pub(crate) struct Resume {
    pub(crate) partition: TopicPartition,
    /// The next offset to read; `None` if the table has never seen the partition.
    pub(crate) next_offset: Option<i64>,
    /// The last sequence that landed, by source.
    pub(crate) sequences: HashMap<String, i64>,
    /// Offsets at or above `next_offset` whose dead letters are committed already.
    pub(crate) dead_lettered: BTreeSet<i64>,
}

/// Rows of one table that are to be committed together.
#[derive(Debug)]
pub(crate) struct Flush {
    pub(crate) epoch: u64,
    /// The table's schema; `None` while no record could be read yet.
    pub(crate) schema: Option<Arc<ChangeSchema>>,
    pub(crate) slices: Vec<Slice>,
    /// Memory to be given back when the flush is over.
    pub(crate) bytes: usize,
}

/// What one partition adds to a flush.
#[derive(Debug)]
pub(crate) struct Slice {
    pub(crate) partition: TopicPartition,
    pub(crate) next_offset: i64,
    pub(crate) rows: Option<ChangeBuffer>,
    pub(crate) dead_letters: Vec<DeadLetter>,
    /// Last sequences by source, of the sources seen in this slice.
    pub(crate) sequences: Vec<(String, i64)>,
}

/// How a flush ended.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) epoch: u64,
    /// The version that carries the rows; `None` if there is no table yet.
    pub(crate) version: Option<u64>,
    pub(crate) rows: usize,
    pub(crate) dead_letters: usize,
    pub(crate) files: usize,
    pub(crate) bytes: usize,
    pub(crate) committed: Vec<(TopicPartition, i64)>,
    /// Partitions that another writer moved; their rows are dropped and must be read again.
    pub(crate) fenced: Vec<TopicPartition>,
}

/// What the writer of a table is made of.
#[derive(Clone, Debug)]
pub(crate) struct TableParts {
    pub(crate) lake: LakeStore,
    pub(crate) table: TableName,
    pub(crate) shape: Shape,
    pub(crate) pipeline: String,
    pub(crate) checkpoint_interval: u64,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<Entropy>,
}

/// Where the table stood in a partition when we last committed or looked.
#[derive(Clone, Copy, Debug)]
struct Owned {
    epoch: u64,
    data: Option<i64>,
    dead_letters: Option<i64>,
}

pub(crate) struct TableWriter {
    parts: TableParts,
    changes: DeltaLog,
    changes_state: Option<TableState>,
    dead_letters: DeltaLog,
    dead_letters_state: Option<TableState>,
    owned: HashMap<TopicPartition, Owned>,
}

impl TableWriter {
    pub(crate) fn new(parts: TableParts) -> Self {
        let log = |path: &str| DeltaLog::new(parts.lake.table_store(path));
        Self {
            changes: log(&parts.table.changes_path()),
            changes_state: None,
            dead_letters: log(DEAD_LETTERS_PATH),
            dead_letters_state: None,
            owned: HashMap::new(),
            parts,
        }
    }

    /// Serves requests until the channel closes.
    pub(crate) async fn run(
        mut self,
        mut requests: mpsc::UnboundedReceiver<Request>,
        outcomes: mpsc::UnboundedSender<(TableName, Result<Outcome, WriterError>)>,
    ) {
        while let Some(request) = requests.recv().await {
            match request {
                Request::Assign {
                    epoch,
                    partitions,
                    reply,
                } => {
                    // Nobody waits for the answer once the reader is gone.
                    reply.send(self.assign(epoch, partitions).await).ok();
                }
                Request::Flush(flush) => {
                    let outcome = self.flush(flush).await;
                    outcomes.send((self.parts.table.clone(), outcome)).ok();
                }
            }
        }
    }

    fn step(&self, partition: &TopicPartition, to: i64) -> Step {
        let from = self.owned.get(partition).and_then(|owned| owned.data);
        Step {
            app_id: self.app_id(partition),
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
            app_id: self.dead_letters_app_id(partition),
            from,
            to,
        }
    }

    fn app_id(&self, partition: &TopicPartition) -> String {
        format!("{}/{partition}", self.parts.pipeline)
    }

    fn sequence_app_id(&self, partition: &TopicPartition, source: &str) -> String {
        format!("{}/{partition}/sequence/{source}", self.parts.pipeline)
    }

    fn dead_letters_app_id(&self, partition: &TopicPartition) -> String {
        format!("{}/dead_letters/{partition}", self.parts.pipeline)
    }

    fn table_error(&self, why: impl Into<String>) -> WriterError {
        WriterError::Table {
            table: self.parts.table.to_string(),
            why: why.into(),
        }
    }
}
