//! The order of the changes of one key.

use arrow::array::{Array, AsArray, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{Int32Type, Int64Type};
use arrow::error::ArrowError;
use schemas::Op;

use super::current_layout::OP;
use crate::layout::{GENERATION, OFFSET, PARTITION};

/// A change's place in log order: the later one of a key counts. All changes of a key within a
/// generation are in one partition; the partition is here to make one order of those that are not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LogOrder {
    pub(crate) generation: i32,
    pub(crate) offset: i64,
    pub(crate) partition: i32,
}

impl LogOrder {
    /// A number of 64 bits that hardly any other change has.
    pub(crate) fn mixed(self) -> i64 {
        // SplitMix64's finalizer, once for each part.
        let mix = |bits: u64| {
            let bits = bits.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            bits ^ (bits >> 31)
        };
        let place = u64::from(self.generation.cast_unsigned()) << 32
            | u64::from(self.partition.cast_unsigned());
        mix(mix(place) ^ self.offset.cast_unsigned()).cast_signed()
    }

    /// The earliest becomes the latest, and back.
    pub(crate) fn turned(self) -> Self {
        Self {
            generation: !self.generation,
            offset: !self.offset,
            partition: !self.partition,
        }
    }
}

/// The columns of a batch that say so.
#[derive(Debug)]
pub(crate) struct Orders<'a> {
    generation: &'a Int32Array,
    offset: &'a Int64Array,
    partition: &'a Int32Array,
    op: Option<&'a StringArray>,
}

impl<'a> Orders<'a> {
    pub(crate) fn of(batch: &'a RecordBatch) -> Result<Self, ArrowError> {
        let column = |name: &str| {
            batch
                .column_by_name(name)
                .ok_or_else(|| ArrowError::SchemaError(format!("no {name}")))
        };
        let ints = |name: &str| {
            let typed = column(name)?.as_primitive_opt::<Int32Type>();
            typed.ok_or_else(|| ArrowError::SchemaError(format!("{name} is no int")))
        };
        let offset = column(OFFSET)?.as_primitive_opt::<Int64Type>();
        Ok(Self {
            generation: ints(GENERATION)?,
            offset: offset
                .ok_or_else(|| ArrowError::SchemaError(format!("{OFFSET} is no long")))?,
            partition: ints(PARTITION)?,
            op: batch.column_by_name(OP).and_then(|op| op.as_string_opt()),
        })
    }

    pub(crate) fn at(&self, row: usize) -> LogOrder {
        LogOrder {
            generation: self.generation.value(row),
            offset: self.offset.value(row),
            partition: self.partition.value(row),
        }
    }

    /// Whether the change deletes its key.
    pub(crate) fn is_delete(&self, row: usize) -> bool {
        self.op
            .is_some_and(|op| op.is_valid(row) && op.value(row) == Op::Delete.letter())
    }
}
