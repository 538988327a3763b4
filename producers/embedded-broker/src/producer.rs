//! What a partition remembers of an idempotent producer: enough to append every batch once, in
//! order, however often it is sent.

use std::collections::VecDeque;

use tansu_sans_io::ErrorCode;

/// Kafka's own number: a client keeps at most five batches of a partition in flight.
const BATCHES_MAX: usize = 5;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sent {
    first_sequence: i32,
    last_sequence: i32,
    base_offset: i64,
}

/// The last batches of one producer in one partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Producer {
    epoch: i16,
    batches: VecDeque<Sent>,
}

/// What is to be done with a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sequence {
    /// Append it.
    Next,
    /// It was appended before, at this base offset: answer that.
    Appended(i64),
}

impl Producer {
    /// Compares a batch with what came before, by Kafka's rules: a producer that is not known yet
    /// may start anywhere, a new epoch starts at 0, and there is no gap.
    pub(crate) fn check(&self, epoch: i16, first: i32, last: i32) -> Result<Sequence, ErrorCode> {
        let Some(latest) = self.batches.back() else {
            return Ok(Sequence::Next);
        };
        if epoch < self.epoch {
            return Err(ErrorCode::InvalidProducerEpoch);
        }
        if epoch > self.epoch {
            return match first {
                0 => Ok(Sequence::Next),
                _ => Err(ErrorCode::OutOfOrderSequenceNumber),
            };
        }
        let again = |sent: &&Sent| sent.first_sequence == first && sent.last_sequence == last;
        if let Some(sent) = self.batches.iter().find(again) {
            return Ok(Sequence::Appended(sent.base_offset));
        }
        if first == following(latest.last_sequence, 1) {
            Ok(Sequence::Next)
        } else {
            Err(ErrorCode::OutOfOrderSequenceNumber)
        }
    }

    /// Notes a batch that was appended.
    pub(crate) fn appended(&mut self, epoch: i16, first: i32, last: i32, base_offset: i64) {
        if epoch != self.epoch {
            self.batches.clear();
            self.epoch = epoch;
        }
        if self.batches.len() == BATCHES_MAX {
            self.batches.pop_front();
        }
        self.batches.push_back(Sent {
            first_sequence: first,
            last_sequence: last,
            base_offset,
        });
    }

    /// The offset of its latest batch, by which the longest silent producer is found.
    pub(crate) fn latest_offset(&self) -> i64 {
        self.batches.back().map_or(-1, |sent| sent.base_offset)
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = self.epoch.to_be_bytes().to_vec();
        for sent in &self.batches {
            bytes.extend_from_slice(&sent.first_sequence.to_be_bytes());
            bytes.extend_from_slice(&sent.last_sequence.to_be_bytes());
            bytes.extend_from_slice(&sent.base_offset.to_be_bytes());
        }
        bytes
    }

    /// The reverse of [`Producer::encode`]; `None` for anything else.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (epoch, mut rest) = bytes.split_first_chunk()?;
        let mut batches = VecDeque::new();
        while !rest.is_empty() {
            let (first, after) = rest.split_first_chunk()?;
            let (last, after) = after.split_first_chunk()?;
            let (base_offset, after) = after.split_first_chunk()?;
            batches.push_back(Sent {
                first_sequence: i32::from_be_bytes(*first),
                last_sequence: i32::from_be_bytes(*last),
                base_offset: i64::from_be_bytes(*base_offset),
            });
            rest = after;
        }
        Some(Self {
            epoch: i16::from_be_bytes(*epoch),
            batches,
        })
    }
}

/// The sequence number `count` after `sequence`: past the greatest comes 0.
pub(crate) fn following(sequence: i32, count: i32) -> i32 {
    let sum = i64::from(sequence) + i64::from(count);
    (sum % (i64::from(i32::MAX) + 1)) as i32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_batch_sent_again_is_answered_with_its_first_offset() {
        let mut producer = Producer::default();
        for (index, first) in [0, 10, 20, 30, 40, 50].into_iter().enumerate() {
            assert_eq!(producer.check(0, first, first + 9), Ok(Sequence::Next));
            producer.appended(0, first, first + 9, 100 * index as i64);
        }
        assert_eq!(producer.check(0, 50, 59), Ok(Sequence::Appended(500)));
        assert_eq!(producer.check(0, 10, 19), Ok(Sequence::Appended(100)));
        // The first has been forgotten: a client never sends it again after five others.
        assert_eq!(
            producer.check(0, 0, 9),
            Err(ErrorCode::OutOfOrderSequenceNumber)
        );
    }

    #[test]
    fn gaps_and_old_epochs_are_refused() {
        let mut producer = Producer::default();
        assert_eq!(producer.check(0, 77, 77), Ok(Sequence::Next));
        producer.appended(3, 0, 9, 0);
        assert_eq!(
            producer.check(3, 11, 12),
            Err(ErrorCode::OutOfOrderSequenceNumber)
        );
        assert_eq!(
            producer.check(2, 10, 12),
            Err(ErrorCode::InvalidProducerEpoch)
        );
        assert_eq!(
            producer.check(4, 10, 12),
            Err(ErrorCode::OutOfOrderSequenceNumber)
        );
        assert_eq!(producer.check(4, 0, 2), Ok(Sequence::Next));
    }

    #[test]
    fn sequences_wrap_to_zero() {
        assert_eq!(following(i32::MAX, 1), 0);
        assert_eq!(following(i32::MAX - 1, 4), 2);
        let mut producer = Producer::default();
        producer.appended(0, i32::MAX - 9, i32::MAX, 5);
        assert_eq!(producer.check(0, 0, 4), Ok(Sequence::Next));
    }

    proptest! {
        #[test]
        fn encoding_loses_nothing(epoch: i16, batches in prop::collection::vec(any::<(i32, i32, i64)>(), 0..9)) {
            let mut producer = Producer { epoch, ..Producer::default() };
            for (first, last, offset) in batches {
                producer.appended(epoch, first, last, offset);
            }
            prop_assert_eq!(Producer::decode(&producer.encode()), Some(producer));
        }

        #[test]
        fn decoding_never_panics(bytes: Vec<u8>) {
            let _ = Producer::decode(&bytes);
        }
    }
}
