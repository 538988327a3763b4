//! One assigned partition: its open buffer, how far it was read, and what it waits for.

use std::collections::{BTreeSet, HashMap};

use columnar::{ChangeBuffer, RecordMeta};
use schemas::{SchemaId, TopicPartition, header};
use tokio::time::Instant;

use crate::dead_letter::{DeadLetter, Reason};
use crate::error::WriterError;
use crate::lane::{Lane, Verdict};
use crate::record_log::Record;
use crate::schema_cache::SchemaCache;
use crate::table_writer::{Resume, Slice};

/// A partition that this process reads.
#[derive(Debug)]
pub(crate) struct Partition {
    pub(crate) partition: TopicPartition,
    /// Index of the topic's lane.
    pub(crate) lane: usize,
    /// The next offset to read; lower ones are dropped (a seek races with records on their way).
    pub(crate) next_offset: i64,
    /// The schema that the record at `next_offset` cannot be read without.
    pub(crate) waits_for: Option<SchemaId>,
    /// Where a run with an end stops.
    pub(crate) end_offset: Option<i64>,
    rows: Option<ChangeBuffer>,
    dead_letters: Vec<DeadLetter>,
    dead_letter_bytes: usize,
    /// Offsets whose dead letters are committed already.
    dead_lettered: BTreeSet<i64>,
    sequences: HashMap<String, Sequence>,
    /// `next_offset` when the buffer was last handed over.
    flushed_offset: i64,
    opened_at: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Sequence {
    last: i64,
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
    sequence: Option<i64>,
    event_time_us: Option<i64>,
}

impl Partition {
    pub(crate) fn new(resume: Resume, lane: usize, first_offset: i64) -> Self {
        let next_offset = resume.next_offset.unwrap_or(first_offset);
        let sequences = resume.sequences.into_iter();
        Self {
            partition: resume.partition,
            lane,
            next_offset,
            waits_for: None,
            end_offset: None,
            rows: None,
            dead_letters: Vec::new(),
            dead_letter_bytes: 0,
            dead_lettered: resume.dead_lettered,
            sequences: sequences
                .map(|(source, last)| {
                    (
                        source,
                        Sequence {
                            last,
                            changed: false,
                        },
                    )
                })
                .collect(),
            flushed_offset: next_offset,
            opened_at: None,
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
        if record.offset < self.next_offset || self.waits_for.is_some() {
            return Ok(());
        }
        let headers = KnownHeaders::of(record);
        if !self.is_repetition(&headers) {
            let verdict = if record.size_bytes() > reading.record_bytes_max {
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
                Verdict::Waits(id) => {
                    self.waits_for = Some(id);
                    return Ok(());
                }
                Verdict::Dead(schema_id, reason) => {
                    self.bury(DeadLetter::of(record, schema_id, reason, reading.now_us));
                }
            }
            self.note_sequence(&headers);
        }
        self.next_offset = record.offset + 1;
        self.opened_at.get_or_insert(reading.now);
        Ok(())
    }

    /// Whether the source published this event before: it is not above the last one that counted.
    fn is_repetition(&self, headers: &KnownHeaders<'_>) -> bool {
        let (Some(source), Some(sequence)) = (headers.source, headers.sequence) else {
            return false;
        };
        self.sequences
            .get(source)
            .is_some_and(|known| sequence <= known.last)
    }

    fn note_sequence(&mut self, headers: &KnownHeaders<'_>) {
        let (Some(source), Some(last)) = (headers.source, headers.sequence) else {
            return;
        };
        match self.sequences.get_mut(source) {
            Some(known) => {
                *known = Sequence {
                    last,
                    changed: true,
                }
            }
            None => {
                self.sequences.insert(
                    source.to_owned(),
                    Sequence {
                        last,
                        changed: true,
                    },
                );
            }
        }
    }

    fn bury(&mut self, letter: DeadLetter) {
        if !self.dead_lettered.remove(&letter.offset) {
            self.dead_letter_bytes += letter.bytes();
            self.dead_letters.push(letter);
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

    /// When the first record since the last flush was read.
    pub(crate) fn opened_at(&self) -> Option<Instant> {
        self.opened_at
    }

    /// Whether a run with an end has read all of it.
    pub(crate) fn is_at_end(&self) -> bool {
        self.end_offset.is_none_or(|end| self.next_offset >= end)
    }

    /// Takes what was read since the last flush; `None` if there was nothing.
    pub(crate) fn take(&mut self) -> Option<Slice> {
        if self.next_offset == self.flushed_offset {
            return None;
        }
        self.flushed_offset = self.next_offset;
        self.opened_at = None;
        self.dead_letter_bytes = 0;
        let mut sequences = Vec::new();
        for (source, sequence) in &mut self.sequences {
            if std::mem::take(&mut sequence.changed) {
                sequences.push((source.clone(), sequence.last));
            }
        }
        Some(Slice {
            partition: self.partition.clone(),
            next_offset: self.next_offset,
            rows: self.rows.take().filter(|rows| rows.rows() > 0),
            dead_letters: std::mem::take(&mut self.dead_letters),
            sequences,
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
            sequence: self.sequence,
            event_time_us: self.event_time_us,
        }
    }
}
