//! A file in memory, in pieces.

use std::io::Write;

use bytes::Bytes;
use object_store::PutPayload;

/// Bytes of a piece.
const PIECE_BYTES: usize = 1 << 20;

/// What was written so far. One buffer that doubles would be copied again and again, each time into
/// memory that the system has to clear first.
#[derive(Default)]
pub(super) struct Pieces {
    full: Vec<Bytes>,
    open: Vec<u8>,
}

impl Pieces {
    /// Memory held.
    pub(super) fn memory_bytes(&self) -> usize {
        self.full.len() * PIECE_BYTES + self.open.capacity()
    }

    /// What is put into a store.
    pub(super) fn into_payload(mut self) -> PutPayload {
        self.full.push(self.open.into());
        self.full.into_iter().collect()
    }
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.open.len() == PIECE_BYTES {
            let next = Vec::with_capacity(PIECE_BYTES);
            let full = std::mem::replace(&mut self.open, next);
            self.full.push(full.into());
        }
        let room = PIECE_BYTES - self.open.len();
        let (now, _) = bytes.split_at(bytes.len().min(room));
        self.open.extend_from_slice(now);
        Ok(now.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_make_the_whole() {
        let whole: Vec<u8> = (0..5 * PIECE_BYTES / 2).map(|n| (n % 251) as u8).collect();
        for step in [1000, PIECE_BYTES, whole.len()] {
            let mut pieces = Pieces::default();
            for part in whole.chunks(step) {
                pieces.write_all(part).unwrap();
            }
            assert_eq!(pieces.memory_bytes(), 3 * PIECE_BYTES);
            let payload = pieces.into_payload();
            assert_eq!(payload.iter().count(), 3);
            assert_eq!(Bytes::from(payload), whole);
        }
    }
}
