//! A file in memory, in pieces.

use std::io::{Read, Write};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use object_store::PutPayload;
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};

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

/// A file that is read where its pieces are.
#[derive(Clone, Debug)]
pub(crate) struct InPieces(Arc<[Bytes]>);

impl From<Bytes> for InPieces {
    fn from(whole: Bytes) -> Self {
        Self(Arc::new([whole]))
    }
}

impl From<&PutPayload> for InPieces {
    fn from(payload: &PutPayload) -> Self {
        Self(payload.iter().cloned().collect())
    }
}

impl InPieces {
    /// What comes at a place and after it.
    fn rest_at(&self, start: u64) -> Rest {
        let mut at = usize::try_from(start).unwrap_or(usize::MAX);
        let mut piece = 0;
        while let Some(bytes) = self.0.get(piece).filter(|bytes| bytes.len() <= at) {
            at -= bytes.len();
            piece += 1;
        }
        Rest {
            pieces: Arc::clone(&self.0),
            piece,
            at,
        }
    }
}

impl Length for InPieces {
    fn len(&self) -> u64 {
        self.0.iter().map(|piece| piece.len() as u64).sum()
    }
}

impl ChunkReader for InPieces {
    type T = Rest;

    fn get_read(&self, start: u64) -> parquet::errors::Result<Rest> {
        Ok(self.rest_at(start))
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<Bytes> {
        let bytes = self.rest_at(start).cut(length);
        bytes.ok_or_else(|| ParquetError::EOF(format!("{length} bytes at {start} are asked for")))
    }
}

/// What comes at a place of a file and after it.
#[derive(Debug)]
pub(crate) struct Rest {
    pieces: Arc<[Bytes]>,
    piece: usize,
    /// Within the piece.
    at: usize,
}

impl Rest {
    /// So many bytes, copied only where they lie in several pieces; `None` if there are fewer.
    fn cut(mut self, length: usize) -> Option<Bytes> {
        let here = self
            .pieces
            .get(self.piece)
            .filter(|piece| self.at + length <= piece.len());
        if let Some(piece) = here {
            return Some(piece.slice(self.at..self.at + length));
        }
        let mut bytes = BytesMut::zeroed(length);
        self.read_exact(&mut bytes).ok().map(|()| bytes.freeze())
    }
}

impl Read for Rest {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let Some(piece) = self.pieces.get(self.piece) else {
            return Ok(0);
        };
        let rest = piece.get(self.at..).unwrap_or_default();
        let count = rest.len().min(into.len());
        into[..count].copy_from_slice(&rest[..count]);
        self.at += count;
        if self.at == piece.len() {
            (self.piece, self.at) = (self.piece + 1, 0);
        }
        Ok(count)
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

    #[test]
    fn a_file_is_read_across_its_pieces() {
        let whole: Vec<u8> = (0..100).collect();
        let cut: PutPayload = [&whole[..10], &whole[10..11], &whole[11..60], &whole[60..]]
            .map(Bytes::copy_from_slice)
            .into_iter()
            .collect();
        for file in [
            InPieces::from(&cut),
            InPieces::from(Bytes::from(whole.clone())),
        ] {
            assert_eq!(file.len(), 100);
            for start in 0..=100 {
                let mut rest = Vec::new();
                let mut read = file.get_read(start as u64).unwrap();
                read.read_to_end(&mut rest).unwrap();
                assert_eq!(rest, whole[start..]);
                for end in start..=100 {
                    let found = file.get_bytes(start as u64, end - start).unwrap();
                    assert_eq!(found, whole[start..end]);
                }
                assert!(file.get_bytes(start as u64, 101 - start).is_err());
            }
        }
    }
}
