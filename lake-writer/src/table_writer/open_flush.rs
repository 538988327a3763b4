//! The flush in the making: what was taken in since the last commit.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use columnar::ChangeSchema;
use parquet::errors::ParquetError;
use schemas::{Sequence, TopicPartition};

use super::Chunk;
use super::open_files::OpenFiles;
use crate::dead_letter::DeadLetter;
use crate::entropy::Entropy;

/// What the next commit will hold.
#[derive(Default)]
pub(super) struct OpenFlush {
    /// The schema of the files; `None` while no record could be read.
    pub(super) schema: Option<Arc<ChangeSchema>>,
    pub(super) parts: BTreeMap<TopicPartition, Part>,
    pub(super) files: OpenFiles,
    letter_bytes: usize,
    pub(super) repetitions: u64,
}

/// What one partition adds.
#[derive(Default)]
pub(super) struct Part {
    pub(super) next_offset: i64,
    pub(super) last_mark: Option<i64>,
    pub(super) dead_letters: Vec<DeadLetter>,
    /// The last sequence of every source seen.
    pub(super) sequences: HashMap<String, Sequence>,
}

impl Part {
    /// Continues what an earlier part began.
    pub(super) fn follow(&mut self, earlier: Self) {
        self.next_offset = self.next_offset.max(earlier.next_offset);
        self.last_mark = self.last_mark.or(earlier.last_mark);
        for (source, last) in earlier.sequences {
            self.sequences.entry(source).or_insert(last);
        }
    }
}

impl OpenFlush {
    /// Memory held, in bytes.
    pub(super) fn memory_bytes(&self) -> usize {
        self.files.memory_bytes() + self.letter_bytes
    }

    /// Whether anything of a partition waits for the commit.
    pub(super) fn holds(&self, partition: &TopicPartition) -> bool {
        self.parts.contains_key(partition)
    }

    /// Takes a chunk in; an error says what is wrong with its rows.
    pub(super) fn append(&mut self, chunk: Chunk, entropy: &Entropy) -> Result<(), String> {
        self.repetitions += chunk.repetitions;
        self.schema = chunk.schema.or(self.schema.take());
        let part = self.parts.entry(chunk.partition).or_default();
        part.next_offset = chunk.next_offset;
        part.last_mark = chunk.last_mark.or(part.last_mark);
        self.letter_bytes += chunk
            .dead_letters
            .iter()
            .map(DeadLetter::bytes)
            .sum::<usize>();
        part.dead_letters.extend(chunk.dead_letters);
        part.sequences.extend(chunk.sequences);
        let Some(rows) = chunk.rows else {
            return Ok(());
        };
        let batch = rows.finish(chunk.generation);
        batch
            .map_err(ParquetError::from)
            .and_then(|batch| self.files.append(batch, entropy))
            .map_err(|error| format!("cannot encode a data file: {error}"))
    }
}
