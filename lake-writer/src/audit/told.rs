//! What a check has found.

use std::fmt;

use schemas::{TableName, TopicPartition};

/// One table's check.
#[derive(Debug)]
pub struct TableAudit {
    /// The table.
    pub table: TableName,
    /// The version that was checked.
    pub version: u64,
    /// Its data files.
    pub files: usize,
    /// The rows of those that could be read.
    pub rows: u64,
    /// Its topic partitions.
    pub partitions: Vec<PartitionAudit>,
    /// What is not as it must be.
    pub findings: Vec<Finding>,
}

/// How one topic partition is accounted for.
#[derive(Debug)]
pub struct PartitionAudit {
    /// The partition.
    pub partition: TopicPartition,
    /// How often its offsets began anew.
    pub generation: i64,
    /// Where the table goes on; `None` for an earlier generation.
    pub next_offset: Option<i64>,
    /// Rows.
    pub rows: u64,
    /// Dead letters.
    pub dead_letters: u64,
    /// Offsets below the next one that have neither: repetitions, markers of transactions, and what
    /// Kafka compacted.
    pub without_row: u64,
}

/// Something that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// A data file that the log names is not there.
    FileMissing {
        /// Its path in the table.
        file: String,
    },
    /// A data file has another size than the log says.
    FileSize {
        /// Its path in the table.
        file: String,
        /// Bytes by the log.
        expected: i64,
        /// Bytes in the store.
        found: u64,
    },
    /// A data file cannot be read.
    FileUnreadable {
        /// Its path in the table.
        file: String,
        /// The reader's words.
        why: String,
    },
    /// Offsets are in the table more than once.
    Doubled {
        /// The partition.
        partition: TopicPartition,
        /// How often its offsets began anew.
        generation: i64,
        /// The first of the offsets.
        first: i64,
        /// How many of them there are in this file.
        offsets: u64,
        /// The file that has them again.
        file: String,
    },
    /// An offset is a row and a dead letter.
    RowAndLetter {
        /// The partition.
        partition: TopicPartition,
        /// The offset.
        offset: i64,
    },
    /// There are rows of a partition, and no version tells how far it was copied.
    NoProgress {
        /// The partition.
        partition: TopicPartition,
    },
    /// There are rows at or beyond the next offset that the version tells.
    BeyondProgress {
        /// The partition.
        partition: TopicPartition,
        /// Where the table goes on.
        next_offset: i64,
        /// The last row's offset.
        last: i64,
    },
}

impl Finding {
    /// The invariant that is broken, as in docs/verify.md.
    pub fn invariant(&self) -> &'static str {
        match self {
            Self::FileMissing { .. } | Self::FileSize { .. } | Self::FileUnreadable { .. } => "I10",
            Self::Doubled { .. } | Self::RowAndLetter { .. } => "I2",
            Self::NoProgress { .. } | Self::BeyondProgress { .. } => "I4",
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.invariant())?;
        match self {
            Self::FileMissing { file } => write!(f, "the log names {file}, and it is not there"),
            Self::FileSize {
                file,
                expected,
                found,
            } => write!(f, "{file} has {found} bytes, the log says {expected}"),
            Self::FileUnreadable { file, why } => write!(f, "{file} cannot be read: {why}"),
            Self::Doubled {
                partition,
                generation,
                first,
                offsets,
                file,
            } => {
                let more = match offsets - 1 {
                    0 => String::new(),
                    more => format!(" and {more} more"),
                };
                let generation = match generation {
                    0 => String::new(),
                    number => format!(" (generation {number})"),
                };
                write!(
                    f,
                    "{partition}{generation}: offset {first}{more} of {file} is in the table twice"
                )
            }
            Self::RowAndLetter { partition, offset } => {
                write!(f, "{partition}: offset {offset} is a row and a dead letter")
            }
            Self::NoProgress { partition } => write!(
                f,
                "{partition}: there are rows, and the log tells no progress: it would be copied again \
                 from its start"
            ),
            Self::BeyondProgress {
                partition,
                next_offset,
                last,
            } => write!(
                f,
                "{partition}: there are rows up to offset {last}, and progress is at {next_offset}: \
                 they would be copied again"
            ),
        }
    }
}
