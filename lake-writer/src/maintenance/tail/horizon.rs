//! Changes up to a moment of their owner's time.
//!
//! Within a key, log order decides, and a change is never earlier than one before it: the first one
//! at or after the moment ends the key's history, whatever its owner's clock says of later ones. So
//! that one is found first, in a pass over the files that may have such.

use arrow::array::{AsArray, RecordBatch, TimestampMicrosecondArray};
use arrow::datatypes::TimestampMicrosecondType;
use arrow::error::ArrowError;

use super::index::{Entry, KeyIndex, Place};
use crate::layout::EVENT_TIME;
use crate::maintenance::log_order::LogOrder;

/// A moment, and where the histories of keys end that go on after it.
#[derive(Debug)]
pub(super) struct Horizon {
    time_us: i64,
    /// By key, the first change at or after the moment: in an index of the latest, its order turned
    /// around.
    ends: KeyIndex,
}

impl Horizon {
    /// In microseconds since 1970-01-01T00:00Z; changes at the moment itself are after it.
    pub(super) fn at(time_us: i64) -> Self {
        Self {
            time_us,
            ends: KeyIndex::default(),
        }
    }

    pub(super) fn is_after(&self, time_us: i64) -> bool {
        time_us >= self.time_us
    }

    /// A key has this change at or after the moment.
    pub(super) fn ends(&mut self, key: &[u8], hash: u32, order: LogOrder) {
        let place = Place::new(0, 0);
        self.ends
            .offer(key, Entry::new(hash, order.turned(), place, false));
    }

    /// Whether the history of the key goes as far as this change.
    pub(super) fn has(&self, key: &[u8], hash: u32, order: LogOrder) -> bool {
        let end = self.ends.find(key, hash);
        end.is_none_or(|end| order < end.order.turned())
    }

    pub(super) fn retain(&mut self, keeps: impl Fn(u32) -> bool) {
        self.ends.retain(|entry| keeps(entry.hash));
    }

    pub(super) fn keys(&self) -> usize {
        self.ends.entries().len()
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.ends.memory_bytes()
    }
}

/// When owners committed the changes of a batch.
pub(super) fn times(batch: &RecordBatch) -> Result<&TimestampMicrosecondArray, ArrowError> {
    let column = batch.column_by_name(EVENT_TIME);
    let times = column.and_then(|times| times.as_primitive_opt::<TimestampMicrosecondType>());
    times.ok_or_else(|| ArrowError::SchemaError(format!("{EVENT_TIME} is no time")))
}
