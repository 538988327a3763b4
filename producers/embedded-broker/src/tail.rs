//! The end of a partition: where the next batch goes, and who sent the last ones.

use std::collections::BTreeMap;

use slatedb::WriteBatch;
use tansu_sans_io::ErrorCode;
use tansu_sans_io::record::deflated::Batch;

use crate::key::PartitionId;
use crate::producer::{Producer, Sequence, following};

/// Idempotent producers remembered; above it the longest silent one is forgotten.
const PRODUCERS_MAX: usize = 1000;

/// What appending needs to know.
#[derive(Debug)]
pub(crate) struct Tail {
    pub(crate) end: i64,
    pub(crate) producers: BTreeMap<i64, Producer>,
}

impl Tail {
    /// The base offset of a batch that an idempotent producer sends again.
    pub(crate) fn appended_before(&self, batch: &Batch) -> Result<Option<i64>, ErrorCode> {
        if !batch.is_idempotent() {
            return Ok(None);
        }
        let Some(producer) = self.producers.get(&batch.producer_id) else {
            return Ok(None);
        };
        let last = following(batch.base_sequence, batch.last_offset_delta);
        match producer.check(batch.producer_epoch, batch.base_sequence, last)? {
            Sequence::Next => Ok(None),
            Sequence::Appended(base_offset) => Ok(Some(base_offset)),
        }
    }

    /// Adds the producer's new state to the write that appends the batch, and returns it.
    pub(crate) fn note(
        &mut self,
        batch: &Batch,
        id: PartitionId,
        write: &mut WriteBatch,
    ) -> Option<(i64, Producer)> {
        if !batch.is_idempotent() {
            return None;
        }
        let known = self.producers.get(&batch.producer_id).cloned();
        if known.is_none() && self.producers.len() >= PRODUCERS_MAX {
            let silent = self.producers.iter().min_by_key(|(_, p)| p.latest_offset());
            if let Some(silent) = silent.map(|(producer_id, _)| *producer_id) {
                write.delete(id.producer(silent));
                self.producers.remove(&silent);
            }
        }
        let mut producer = known.unwrap_or_default();
        let last = following(batch.base_sequence, batch.last_offset_delta);
        producer.appended(
            batch.producer_epoch,
            batch.base_sequence,
            last,
            batch.base_offset,
        );
        write.put(id.producer(batch.producer_id), producer.encode());
        Some((batch.producer_id, producer))
    }
}
