//! A chunk of a copy, saved before it is published: what was published once can be published again as
//! it was, although the snapshot it was read at is gone.

use std::path::{Path, PathBuf};

use schemas::canonical::EventSums;
use serde::{Deserialize, Serialize};

use crate::state::{State, wrong};
use crate::{CaptureError, Lsn};

const FILE: &str = "chunk";

/// What a chunk is of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ChunkHead {
    pub(super) topic: String,
    /// The snapshot's consistent point, and the time of its transaction.
    pub(super) lsn: Lsn,
    pub(super) time_us: i64,
    /// The first row's ordinal in the table's copy, from 1, and how many there are.
    pub(super) first: i64,
    pub(super) rows: i64,
    /// The last row's key, by its columns' texts.
    pub(super) last_key: Vec<String>,
    /// What the rows add up to, if they are counted.
    #[serde(default)]
    pub(super) sums: EventSums,
}

/// Rows by rising key, encoded.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Chunk {
    pub(super) head: ChunkHead,
    /// Keys and values of the records.
    pub(super) records: Vec<(Vec<u8>, Vec<u8>)>,
    bytes: usize,
}

impl Chunk {
    /// A chunk without rows.
    pub(super) fn new(head: ChunkHead) -> Self {
        Self {
            head,
            records: Vec::new(),
            bytes: 0,
        }
    }

    /// Adds the next row, as a record's key and value.
    pub(super) fn push(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.bytes += key.len() + value.len();
        self.records.push((key, value));
        self.head.rows += 1;
    }

    /// Bytes of keys and values.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Replaces the chunk that is on disk.
    pub(super) async fn save(&self, state: &State) -> Result<(), CaptureError> {
        let path = state.directory().join(FILE);
        let mut bytes = Vec::with_capacity(self.bytes + 16 * self.records.len() + 512);
        let head = serde_json::to_vec(&self.head).map_err(|error| wrong(&path, error))?;
        put(&head, &mut bytes);
        for (key, value) in &self.records {
            put(key, &mut bytes);
            put(value, &mut bytes);
        }
        state.replace(path, bytes).await
    }

    /// The chunk that is on disk, if there is one.
    pub(super) fn load(directory: &Path) -> Result<Option<Self>, CaptureError> {
        let path = directory.join(FILE);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(wrong(&path, error)),
        };
        match read(&bytes) {
            Some(chunk) => Ok(Some(chunk)),
            None => Err(wrong(&path, "it is not a chunk of a copy")),
        }
    }

    pub(super) fn remove(directory: &Path) -> Result<(), CaptureError> {
        let path: PathBuf = directory.join(FILE);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(wrong(&path, error)),
            _ => Ok(()),
        }
    }
}

fn put(part: &[u8], out: &mut Vec<u8>) {
    // What fits into a record of Kafka is far below 2^64 bytes.
    out.extend_from_slice(&(part.len() as u64).to_be_bytes());
    out.extend_from_slice(part);
}

fn read(mut bytes: &[u8]) -> Option<Chunk> {
    let head: ChunkHead = serde_json::from_slice(take(&mut bytes)?).ok()?;
    let rows = head.rows;
    let mut chunk = Chunk::new(ChunkHead { rows: 0, ..head });
    while !bytes.is_empty() {
        let key = take(&mut bytes)?.to_vec();
        chunk.push(key, take(&mut bytes)?.to_vec());
    }
    (chunk.head.rows == rows).then_some(chunk)
}

fn take<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, rest) = bytes.split_first_chunk::<8>()?;
    let length = usize::try_from(u64::from_be_bytes(*length)).ok()?;
    let (part, rest) = rest.split_at_checked(length)?;
    *bytes = rest;
    Some(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_chunk_comes_back_as_it_was_or_not_at_all() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(Chunk::load(directory.path()).unwrap(), None);
        let head = ChunkHead {
            topic: "shop.seat".into(),
            lsn: Lsn(0x1_0000_0001),
            time_us: 7,
            first: 3,
            rows: 0,
            last_key: vec!["a\nb".into()],
            sums: EventSums::default(),
        };
        let mut chunk = Chunk::new(head);
        chunk.push(vec![1], vec![0; 300]);
        chunk.push(vec![], vec![2, 3]);
        assert_eq!((chunk.head.rows, chunk.bytes()), (2, 303));
        let state = State::open(directory.path()).unwrap();
        chunk.save(&state).await.unwrap();
        assert_eq!(
            Chunk::load(directory.path()).unwrap().as_ref(),
            Some(&chunk)
        );
        let bytes = std::fs::read(directory.path().join(FILE)).unwrap();
        for cut in 0..bytes.len() {
            assert_eq!(read(&bytes[..cut]), None);
        }
        Chunk::remove(directory.path()).unwrap();
        Chunk::remove(directory.path()).unwrap();
        assert_eq!(Chunk::load(directory.path()).unwrap(), None);
    }
}
