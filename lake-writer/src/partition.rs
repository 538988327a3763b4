//! One assigned partition: its open buffer, how far it was read, and what it waits for.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use columnar::{ChangeBuffer, ChangeSchema, RecordMeta};
use schemas::{SchemaId, Sequence, TopicPartition, header};
use tokio::time::Instant;

use crate::dead_letter::{DeadLetter, Reason};
use crate::error::WriterError;
use crate::lane::{Lane, Verdict, Wait};
use crate::offset_ranges::OffsetRanges;
use crate::record_log::{Position, Record};
use crate::schema_cache::SchemaCache;
use crate::table_writer::{Chunk, Resume};

/// Rows of one partition that are handed over together at the most.
const CHUNK_ROWS_MAX: usize = 16_384;

/// How long nothing must have come before a log's word counts that nothing more will.
const QUIET_MIN: Duration = Duration::from_secs(3);

/// Sources whose last sequence is kept by partition, in memory and in the table's log.
const SOURCES_MAX: usize = 10_000;

/// A partition that this process reads.
#[derive(Debug)]
pub(crate) struct Partition {
    pub(crate) partition: TopicPartition,
    /// Index of the topic's lane.
    pub(crate) lane: usize,
    /// The next offset to read; lower ones are dropped (a seek races with records on their way).
    pub(crate) next_offset: i64,
    /// The mark of the record before `next_offset`, to be compared when it is read again.
    unproved: Option<i64>,
    /// How often the partition's offsets began anew.
    generation: i32,
    /// The mark of the last record read since the last chunk.
    last_mark: Option<i64>,
    /// What the record at `next_offset` cannot be read without.
    pub(crate) waits_for: Option<Wait>,
    /// Where a run with an end stops.
    pub(crate) end_offset: Option<i64>,
    rows: Option<ChangeBuffer>,
    dead_letters: Vec<DeadLetter>,
    dead_letter_bytes: usize,
    /// Bytes of the records that were read since the last chunk.
    record_bytes: usize,
    /// Offsets whose dead letters are committed already.
    dead_lettered: OffsetRanges,
    sequences: HashMap<String, Last>,
    /// Repetitions dropped since the last chunk.
    repetitions: u64,
    /// `next_offset` when a chunk was last cut; `None` until the table knows of the partition.
    cut_offset: Option<i64>,
    opened_at: Option<Instant>,
    /// When a record was last offered or the position set.
    touched_at: Instant,
}

/// The last sequence of a source.
#[derive(Clone, Copy, Debug)]
struct Last {
    sequence: Sequence,
    changed: bool,
}

/// What one poll has in common for all its records.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    pub(crate) now: Instant,
    pub(crate) now_us: i64,
    pub(crate) record_bytes_max: usize,
}

/// The headers that mean something to the writer.
#[derive(Default)]
struct KnownHeaders<'a> {
    event_id: Option<&'a str>,
    source: Option<&'a str>,
    sequence: Option<Sequence>,
    event_time_us: Option<i64>,
}

impl Partition {
    /// A partition that goes on where the table stands. One that the table does not know begins at
    /// `first_offset`, and that is committed even if nothing is read: otherwise what the log drops
    /// before the first record is read would not be missed.
    pub(crate) fn new(resume: Resume, lane: usize, first_offset: i64, now: Instant) -> Self {
        let known = resume.next_offset;
        let next_offset = known.unwrap_or(first_offset);
        let sequences = resume.sequences.into_iter();
        Self {
            partition: resume.partition,
            lane,
            next_offset,
            unproved: resume.last_mark.filter(|_| first_offset < next_offset),
            generation: resume.generation,
            last_mark: None,
            waits_for: None,
            end_offset: None,
            rows: None,
            dead_letters: Vec::new(),
            dead_letter_bytes: 0,
            record_bytes: 0,
            dead_lettered: resume.dead_lettered,
            sequences: sequences
                .map(|(source, sequence)| {
                    let changed = false;
                    (source, Last { sequence, changed })
                })
                .collect(),
            repetitions: 0,
            cut_offset: known,
            opened_at: known.is_none().then_some(now),
            touched_at: now,
        }
    }

    /// Reads one record: a row, a dead letter, a repetition that is dropped, or a wait.
    pub(crate) fn accept(
        &mut self,
        record: &Record<'_>,
        lane: &mut Lane,
        schemas: &mut SchemaCache,
        reading: &Reading,
    ) -> Result<(), WriterError> {
        self.touched_at = reading.now;
        if record.offset < self.next_offset {
            return self.prove(record);
        }
        // The record before is not there any more, which compaction may do.
        self.unproved = None;
        if self.waits_for.is_some() {
            lane.look_ahead(record, schemas);
            return Ok(());
        }
        let headers = KnownHeaders::of(record);
        self.check_source(&headers, record.offset)?;
        if self.is_repetition(&headers) {
            self.repetitions += 1;
        } else {
            let verdict = if self.dead_lettered.pass(record.offset) {
                // Whatever it would be today, it is a dead letter of the lake already.
                Verdict::Passed
            } else if record.size_bytes() > reading.record_bytes_max {
                let text = format!(
                    "the record has {} bytes, writer.record_bytes_max is {}",
                    record.size_bytes(),
                    reading.record_bytes_max
                );
                Verdict::Dead(None, Reason::new("too_large", text))
            } else {
                let meta = headers.meta(record, reading);
                lane.read(record, meta, &mut self.rows, schemas)?
            };
            match verdict {
                Verdict::Row | Verdict::Passed => {}
                Verdict::Waits(what) => {
                    self.waits_for = Some(what);
                    return Ok(());
                }
                Verdict::Dead(schema_id, reason) => {
                    let letter = DeadLetter::of(record, schema_id, reason, reading.now_us);
                    self.dead_letter_bytes += letter.bytes();
                    self.dead_letters.push(letter);
                }
            }
            self.note_sequence(&headers);
        }
        self.next_offset = record.offset + 1;
        self.last_mark = Some(record.mark());
        self.record_bytes += record.size_bytes();
        self.opened_at.get_or_insert(reading.now);
        Ok(())
    }

    /// Where to read from: the record before the next one, if it can show that this is still the
    /// topic that was copied.
    pub(crate) fn position(&self) -> Position {
        Position {
            partition: self.partition.clone(),
            next_offset: self.next_offset - i64::from(self.unproved.is_some()),
        }
    }

    /// The registry does not let us ask for the schema of the next record.
    pub(crate) fn refused_schema(&self, id: SchemaId, why: String) -> WriterError {
        WriterError::RegistryRefused {
            partition: self.partition.clone(),
            offset: self.next_offset,
            id,
            why,
        }
    }

    fn prove(&mut self, record: &Record<'_>) -> Result<(), WriterError> {
        if record.offset + 1 != self.next_offset {
            return Ok(());
        }
        match self.unproved.take() {
            Some(mark) if mark != record.mark() => Err(WriterError::TopicReplaced {
                partition: self.partition.clone(),
                offset: record.offset,
            }),
            _ => Ok(()),
        }
    }

    /// Whether the source published this event before: it is not above the last one that counted.
    fn is_repetition(&self, headers: &KnownHeaders<'_>) -> bool {
        let (Some(source), Some(sequence)) = (headers.source, headers.sequence) else {
            return false;
        };
        self.sequences
            .get(source)
            .is_some_and(|last| sequence <= last.sequence)
    }

    /// Refuses a source more than can be remembered, before anything of its event is taken in.
    fn check_source(&self, headers: &KnownHeaders<'_>, offset: i64) -> Result<(), WriterError> {
        match (headers.source, headers.sequence) {
            (Some(source), Some(_))
                if self.sequences.len() >= SOURCES_MAX && !self.sequences.contains_key(source) =>
            {
                Err(WriterError::TooManySources {
                    partition: self.partition.clone(),
                    offset,
                })
            }
            _ => Ok(()),
        }
    }

    fn note_sequence(&mut self, headers: &KnownHeaders<'_>) {
        let (Some(source), Some(sequence)) = (headers.source, headers.sequence) else {
            return;
        };
        let last = Last {
            sequence,
            changed: true,
        };
        match self.sequences.get_mut(source) {
            Some(known) => *known = last,
            None => {
                self.sequences.insert(source.to_owned(), last);
            }
        }
    }

    /// Rows and dead letters in the buffer.
    pub(crate) fn rows(&self) -> usize {
        self.rows.as_ref().map_or(0, ChangeBuffer::rows) + self.dead_letters.len()
    }

    /// Memory held by the buffer.
    pub(crate) fn bytes(&self) -> usize {
        self.rows.as_ref().map_or(0, ChangeBuffer::bytes) + self.dead_letter_bytes
    }

    /// When the first record since the last chunk was read.
    pub(crate) fn opened_at(&self) -> Option<Instant> {
        self.opened_at
    }

    /// Whether a run with an end has read all of it. `passed`: how far the log says that it has
    /// handed everything out, which counts once nothing has come for a while.
    pub(crate) fn is_at_end(&self, passed: Option<i64>) -> bool {
        let is_quiet = self.waits_for.is_none() && self.touched_at.elapsed() >= QUIET_MIN;
        let reached = passed
            .filter(|_| is_quiet)
            .unwrap_or(0)
            .max(self.next_offset);
        self.end_offset.is_none_or(|end| reached >= end)
    }

    /// Whether the log, which keeps the offsets from `first` up to `end`, can go on here.
    pub(crate) fn check_kept(&self, (first, end): (i64, i64)) -> Result<(), WriterError> {
        if (first..=end).contains(&self.next_offset) {
            return Ok(());
        }
        Err(WriterError::OffsetOutOfRange {
            partition: self.partition.clone(),
            next_offset: self.next_offset,
            why: format!("it holds the offsets from {first} to {end}"),
        })
    }

    /// Whether it is time to cut a chunk.
    pub(crate) fn is_full(&self, chunk_bytes_max: usize) -> bool {
        self.record_bytes >= chunk_bytes_max || self.rows() >= CHUNK_ROWS_MAX
    }

    /// Takes what was read since the last chunk; `None` if there was nothing.
    pub(crate) fn cut(&mut self, schema: Option<Arc<ChangeSchema>>) -> Option<Chunk> {
        if self.cut_offset == Some(self.next_offset) {
            return None;
        }
        let bytes = self.bytes();
        self.cut_offset = Some(self.next_offset);
        self.opened_at = None;
        self.dead_letter_bytes = 0;
        self.record_bytes = 0;
        let repetitions = std::mem::take(&mut self.repetitions);
        let mut sequences = Vec::new();
        for (source, last) in &mut self.sequences {
            if std::mem::take(&mut last.changed) {
                sequences.push((source.clone(), last.sequence));
            }
        }
        Some(Chunk {
            schema,
            partition: self.partition.clone(),
            next_offset: self.next_offset,
            last_mark: self.last_mark.take(),
            generation: self.generation,
            rows: self.rows.take().filter(|rows| rows.rows() > 0),
            dead_letters: std::mem::take(&mut self.dead_letters),
            sequences,
            repetitions,
            bytes,
        })
    }
}

impl<'a> KnownHeaders<'a> {
    fn of(record: &Record<'a>) -> Self {
        let mut known = Self::default();
        for (name, value) in record.headers() {
            let Some(text) = value.and_then(|value| std::str::from_utf8(value).ok()) else {
                continue;
            };
            match name {
                header::EVENT_ID => known.event_id = Some(text),
                header::SOURCE => known.source = Some(text),
                header::SEQUENCE => known.sequence = text.parse().ok(),
                header::TIME => {
                    let time = chrono::DateTime::parse_from_rfc3339(text).ok();
                    known.event_time_us = time.map(|time| time.timestamp_micros());
                }
                _ => {}
            }
        }
        known
    }

    fn meta(&self, record: &Record<'_>, reading: &Reading) -> RecordMeta<'a> {
        RecordMeta {
            offset: record.offset,
            record_time_us: record.timestamp_ms.saturating_mul(1000),
            ingest_time_us: reading.now_us,
            schema_id: None,
            event_id: self.event_id,
            source: self.source,
            sequence: self.sequence.map(|sequence| sequence.major),
            event_time_us: self.event_time_us,
        }
    }
}
