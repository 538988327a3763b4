//! What is remembered from run to run: whose log it is, where it was published to, how far.
//!
//! One JSON file in the capture's directory, replaced as a whole and fsynced. A process has the
//! directory for itself.

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{CaptureError, Lsn};

const FILE: &str = "capture.json";
const LOCK: &str = "capture.lock";

/// The file's contents.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Progress {
    /// The database system's own number; none before the first run.
    pub(crate) system_identifier: Option<String>,
    pub(crate) timeline: u32,
    /// `ce_source`: the system, the timeline of the first run, the database and the slot.
    pub(crate) source: String,
    pub(crate) database: String,
    pub(crate) slot: String,
    /// The slot is known to be there. Until then it is about to be created.
    pub(crate) slot_created: bool,
    /// The furthest position that the slot may have been told. Saved before it is told.
    pub(crate) confirmed: Lsn,
    /// Kafka's cluster, and the partition counts of its topics.
    pub(crate) cluster: Option<String>,
    pub(crate) partitions: BTreeMap<String, i32>,
    /// The copies of the tables, by `schema.name`.
    pub(crate) copies: BTreeMap<String, TableCopy>,
}

/// How far a table is copied.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TableCopy {
    pub(crate) is_done: bool,
    /// Rows that are copied and acknowledged; the last one's ordinal.
    pub(crate) rows: i64,
    /// The parts of the table by rising key, each copied at one snapshot. Forgotten when the stream
    /// is past the last snapshot.
    pub(crate) parts: Vec<CopiedPart>,
}

impl TableCopy {
    /// Forgets the parts when the stream is past all of them. Each one is told by where the one before
    /// it ends, so that they stay together until then.
    pub(crate) fn settle(&mut self, confirmed: Lsn) {
        if self.is_done && self.parts.iter().all(|part| part.lsn <= confirmed) {
            self.parts.clear();
        }
    }
}

/// A range of keys that was copied at one snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CopiedPart {
    /// Everything that was committed before this place is in the rows that were copied.
    pub(crate) lsn: Lsn,
    /// The last key of the part, by its columns' texts; none for the table's last part.
    pub(crate) to: Option<Vec<String>>,
}

/// The file, held.
#[derive(Debug)]
pub(crate) struct State {
    directory: PathBuf,
    lock: Arc<File>,
    pub(crate) progress: Progress,
}

impl Progress {
    /// A first run's, about to create the slot.
    pub(crate) fn begin(system: &str, timeline: u32, database: &str, slot: &str) -> Self {
        Self {
            system_identifier: Some(system.to_owned()),
            timeline,
            source: format!("postgres://{system}/{database}?slot={slot}&timeline={timeline}"),
            database: database.to_owned(),
            slot: slot.to_owned(),
            ..Self::default()
        }
    }
}

impl State {
    /// Takes the directory; it is made if it is not there.
    pub(crate) fn open(directory: &Path) -> Result<Self, CaptureError> {
        std::fs::create_dir_all(directory).map_err(|error| wrong(directory, error))?;
        let path = directory.join(LOCK);
        let lock = File::create(&path).map_err(|error| wrong(&path, error))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(wrong(directory, "another capture runs with it"));
            }
            Err(TryLockError::Error(error)) => return Err(wrong(&path, error)),
        }
        let path = directory.join(FILE);
        let progress = match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| wrong(&path, error))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Progress::default(),
            Err(error) => return Err(wrong(&path, error)),
        };
        Ok(Self {
            directory: directory.to_owned(),
            lock: Arc::new(lock),
            progress,
        })
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Makes the progress outlive a loss of power.
    pub(crate) async fn save(&self) -> Result<(), CaptureError> {
        let path = self.directory.join(FILE);
        let bytes =
            serde_json::to_vec_pretty(&self.progress).map_err(|error| wrong(&path, error))?;
        self.replace(path, bytes).await
    }

    /// Replaces a file of the directory as a whole, durably.
    pub(crate) async fn replace(&self, path: PathBuf, bytes: Vec<u8>) -> Result<(), CaptureError> {
        // Whoever stops waiting does not stop the work: the directory is held until it is done.
        let lock = Arc::clone(&self.lock);
        let work = tokio::task::spawn_blocking(move || {
            let replaced = replace_blocking(&path, &bytes);
            drop(lock);
            replaced.map_err(|error| wrong(&path, error))
        });
        work.await.map_err(|error| wrong(&self.directory, error))?
    }
}

fn replace_blocking(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let new = path.with_extension("new");
    let mut file = File::create(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&new, path)?;
    // The new name is in the directory, which is a file of its own.
    match path.parent() {
        Some(directory) => File::open(directory)?.sync_all(),
        None => Ok(()),
    }
}

pub(crate) fn wrong(path: &Path, why: impl std::fmt::Display) -> CaptureError {
    CaptureError::Directory {
        path: path.display().to_string(),
        why: why.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_forgotten_together() {
        let part = |lsn, to: Option<&str>| CopiedPart {
            lsn: Lsn(lsn),
            to: to.map(|to| vec![to.to_owned()]),
        };
        let mut copy = TableCopy {
            is_done: true,
            rows: 2,
            parts: vec![part(5, Some("1")), part(9, None)],
        };
        copy.settle(Lsn(8));
        assert_eq!(copy.parts.len(), 2);
        copy.is_done = false;
        copy.settle(Lsn(9));
        assert_eq!(copy.parts.len(), 2);
        copy.is_done = true;
        copy.settle(Lsn(9));
        assert!(copy.parts.is_empty());
    }

    #[tokio::test]
    async fn what_is_saved_is_there_again_and_is_held_by_one() {
        let directory = tempfile::tempdir().unwrap();
        let mut state = State::open(directory.path()).unwrap();
        let error = State::open(directory.path()).unwrap_err();
        assert!(error.to_string().contains("another capture"), "{error}");
        state.progress.confirmed = Lsn(77);
        let part = CopiedPart {
            lsn: Lsn(5),
            to: Some(vec!["1".into()]),
        };
        let copy = TableCopy {
            is_done: false,
            rows: 1,
            parts: vec![part],
        };
        state.progress.copies.insert("public.seat".into(), copy);
        state.save().await.unwrap();
        let saved = state.progress.clone();
        drop(state);
        assert_eq!(State::open(directory.path()).unwrap().progress, saved);
        std::fs::write(directory.path().join(FILE), b"{").unwrap();
        let error = State::open(directory.path()).unwrap_err();
        assert!(error.to_string().contains(FILE), "{error}");
    }
}
