//! The latest batches of a partition, kept in memory so that a consumer near the end reads no file.

use std::collections::VecDeque;
use std::sync::Mutex;

use slatedb::bytes::Bytes;

use crate::batch::base_offset;

const BYTES_MAX: usize = 2 * 1024 * 1024;

#[derive(Debug, Default)]
pub(crate) struct Recent(Mutex<Batches>);

#[derive(Debug, Default)]
struct Batches {
    /// By last offset; contiguous.
    batches: VecDeque<(i64, Bytes)>,
    bytes: usize,
}

impl Recent {
    /// Keeps the batch that was appended after the last one kept.
    pub(crate) fn keep(&self, last_offset: i64, bytes: Bytes) {
        let Ok(mut recent) = self.0.lock() else {
            return;
        };
        recent.bytes += bytes.len();
        recent.batches.push_back((last_offset, bytes));
        while recent.bytes > BYTES_MAX {
            let Some((_, oldest)) = recent.batches.pop_front() else {
                break;
            };
            recent.bytes -= oldest.len();
        }
    }

    /// The batches from the one that holds `offset` on, when that one is kept.
    pub(crate) fn since(&self, offset: i64) -> Option<Vec<Bytes>> {
        let recent = self.0.lock().ok()?;
        let start = recent.batches.partition_point(|(last, _)| *last < offset);
        let is_kept = start > 0 || base_offset(&recent.batches.front()?.1)? <= offset;
        let batches = recent.batches.range(start..);
        is_kept.then(|| batches.map(|(_, bytes)| bytes.clone()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(base_offset: i64, bytes: usize) -> Bytes {
        let mut batch = base_offset.to_be_bytes().to_vec();
        batch.resize(bytes, 0);
        Bytes::from(batch)
    }

    #[test]
    fn batches_are_found_by_any_offset_in_them() {
        let recent = Recent::default();
        assert!(recent.since(0).is_none());
        for base_offset in [100, 110, 120] {
            recent.keep(base_offset + 9, batch(base_offset, 100));
        }
        let count = |offset| recent.since(offset).map(|batches| batches.len());
        assert_eq!(count(99), None);
        assert_eq!([100, 105, 109].map(count), [Some(3); 3]);
        assert_eq!([110, 119].map(count), [Some(2); 2]);
        assert_eq!(count(129), Some(1));
        assert_eq!(count(130), Some(0));
    }

    #[test]
    fn the_oldest_goes_first() {
        let recent = Recent::default();
        for base_offset in 0..5 {
            recent.keep(base_offset, batch(base_offset, BYTES_MAX / 3));
        }
        assert!(recent.since(1).is_none());
        assert_eq!(recent.since(2).unwrap().len(), 3);
    }
}
