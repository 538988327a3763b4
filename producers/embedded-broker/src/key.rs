//! Where the log's parts lie in the key space that it shares with tansu.
//!
//! Tansu's own keys start with a byte 1 (groups, offsets) or with a lower-case word (topics); ours
//! with an upper-case L. Numbers are big-endian, so that keys sort as the numbers do.

use uuid::Uuid;

/// One partition of one creation of a topic: a topic deleted and created again has a new id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PartitionId {
    pub(crate) topic: Uuid,
    pub(crate) index: i32,
}

/// The next producer id to hand out.
pub(crate) const NEXT_PRODUCER_ID: &[u8] = b"Ln";

impl PartitionId {
    /// A record batch, by its *last* offset: the first key from an offset on is then the batch
    /// that holds this offset, wherever in the batch it lies.
    pub(crate) fn batch(self, last_offset: i64) -> Vec<u8> {
        let mut key = self.batches();
        key.extend_from_slice(&last_offset.to_be_bytes());
        key
    }

    /// The prefix of every record batch.
    pub(crate) fn batches(self) -> Vec<u8> {
        self.prefixed(b"Lr")
    }

    /// The end offset.
    pub(crate) fn end(self) -> Vec<u8> {
        self.prefixed(b"Le")
    }

    /// What is known of an idempotent producer.
    pub(crate) fn producer(self, producer_id: i64) -> Vec<u8> {
        let mut key = self.producers();
        key.extend_from_slice(&producer_id.to_be_bytes());
        key
    }

    /// The prefix of every idempotent producer.
    pub(crate) fn producers(self) -> Vec<u8> {
        self.prefixed(b"Lp")
    }

    fn prefixed(self, kind: &[u8]) -> Vec<u8> {
        let mut key = Vec::with_capacity(kind.len() + 28);
        key.extend_from_slice(kind);
        key.extend_from_slice(self.topic.as_bytes());
        key.extend_from_slice(&self.index.to_be_bytes());
        key
    }
}

/// The number at the end of a key of [`PartitionId::producer`].
pub(crate) fn trailing_number(key: &[u8]) -> Option<i64> {
    key.last_chunk().map(|bytes| i64::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_sort_by_partition_then_offset() {
        let topic = Uuid::from_u128(7);
        let one = PartitionId { topic, index: 1 };
        let two = PartitionId { topic, index: 2 };
        let keys = [one.batch(0), one.batch(255), one.batch(256), two.batch(0)];
        assert!(keys.is_sorted());
        assert!(keys[1].starts_with(&one.batches()) && !keys[3].starts_with(&one.batches()));
        assert_eq!(trailing_number(&one.producer(42)), Some(42));
    }
}
