//! What is remembered from run to run: whose log it is, where it was published to, how far.
//!
//! One JSON file in the capture's directory, replaced as a whole and fsynced. A process has the
//! directory for itself.

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use change_events::Position;
use schemas::TopicPartition;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use crate::table_copy::TableCopies;
use crate::watermarks::CountedTables;
use crate::{CaptureError, CapturedTable, Lsn};

const FILE: &str = "capture.json";
const LOCK: &str = "capture.lock";

/// Log for which what may be sent is reserved at once, so that the file is written rarely.
const RESERVED_BYTES: u64 = 4 << 20;

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
    /// The last commit of which something was about to be sent when this was saved: the server had it.
    #[serde(default)]
    pub(crate) sent: Lsn,
    /// No later commit has anything with the brokers, whether it is acknowledged or not.
    #[serde(default)]
    pub(crate) reserved: Lsn,
    /// Kafka's cluster, and the partition counts of its topics.
    pub(crate) cluster: Option<String>,
    pub(crate) partitions: BTreeMap<String, i32>,
    pub(crate) copies: TableCopies,
    /// For each topic partition, the offset after the last record acknowledged: at least all records of
    /// what is confirmed are below.
    #[serde(default)]
    pub(crate) offsets: BTreeMap<String, BTreeMap<i32, i64>>,
    /// Nothing was published before `offsets` were kept.
    #[serde(default)]
    pub(crate) offsets_complete: bool,
    /// What the events of what is confirmed add up to; none if they are not counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) counted: Option<CountedTables>,
}

/// The file, held.
#[derive(Debug)]
pub(crate) struct State {
    directory: PathBuf,
    lock: Arc<Mutex<File>>,
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
            offsets_complete: true,
            ..Self::default()
        }
    }

    /// Notes where records are that were acknowledged.
    pub(crate) fn note_offsets(&mut self, changed: BTreeMap<TopicPartition, i64>) {
        for (place, offset) in changed {
            let of_topic = self.offsets.entry(place.topic.to_string()).or_default();
            of_topic.insert(place.partition, offset);
        }
    }

    /// Where records are, as it was saved.
    pub(crate) fn saved_offsets(&self) -> BTreeMap<TopicPartition, i64> {
        let places = self.offsets.iter().flat_map(|(topic, of_topic)| {
            let place = |partition: &i32| TopicPartition::new(topic.as_str(), *partition);
            of_topic
                .iter()
                .map(move |(partition, offset)| (place(partition), *offset))
        });
        places.collect()
    }

    /// Forgets where the records of a topic that was made again are, once its table is left out.
    pub(crate) fn forget_fallen(&mut self, tables: &[CapturedTable]) {
        self.offsets.retain(|topic, of_topic| {
            let has_fallen = of_topic.values().any(|offset| *offset == Position::UNKNOWN);
            !has_fallen || tables.iter().any(|table| table.topic() == *topic)
        });
    }

    /// Whether the offsets say where all records of a topic are.
    pub(crate) fn knows_offsets_of(&self, topic: &str) -> bool {
        let known = self.offsets.get(topic).map_or(0, BTreeMap::len);
        let count = self.partitions.get(topic).copied().unwrap_or(i32::MAX);
        // A later record of every partition is behind all that came before it.
        self.offsets_complete || usize::try_from(count).is_ok_and(|count| known >= count)
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
        let path = file_in(directory);
        let progress = match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| wrong(&path, error))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Progress::default(),
            Err(error) => return Err(wrong(&path, error)),
        };
        Ok(Self {
            directory: directory.to_owned(),
            lock: Arc::new(Mutex::new(lock)),
            progress,
        })
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Makes sure that it is on disk that this commit may be with the brokers. To be called before
    /// anything of it is sent.
    pub(crate) async fn reserve(&mut self, commit: Lsn) -> Result<(), CaptureError> {
        let progress = &mut self.progress;
        progress.sent = progress.sent.max(commit);
        if commit <= progress.reserved {
            return Ok(());
        }
        progress.reserved = Lsn(commit.0.saturating_add(RESERVED_BYTES));
        self.save().await
    }

    /// Gives back what is reserved beyond what was sent; false if there is nothing.
    pub(crate) fn give_back(&mut self) -> bool {
        let progress = &mut self.progress;
        let is_beyond = progress.reserved > progress.sent;
        progress.reserved = progress.sent;
        is_beyond
    }

    /// Makes the progress outlive a loss of power.
    pub(crate) async fn save(&self) -> Result<(), CaptureError> {
        let path = file_in(&self.directory);
        let bytes =
            serde_json::to_vec_pretty(&self.progress).map_err(|error| wrong(&path, error))?;
        self.replace(path, bytes).await
    }

    /// Replaces a file of the directory as a whole, durably.
    pub(crate) async fn replace(&self, path: PathBuf, bytes: Vec<u8>) -> Result<(), CaptureError> {
        // Whoever stops waiting does not stop the work: until it is done the directory is held, and the next
        // work on it waits.
        let held = Arc::clone(&self.lock).lock_owned().await;
        let work = tokio::task::spawn_blocking(move || {
            let replaced = replace_blocking(&path, &bytes);
            drop(held);
            replaced.map_err(|error| wrong(&path, error))
        });
        work.await.map_err(|error| wrong(&self.directory, error))?
    }
}

/// The file of a capture's directory.
pub(crate) fn file_in(directory: &Path) -> PathBuf {
    directory.join(FILE)
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
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;
    use crate::table_copy::{CopiedPart, TableCopy};

    #[tokio::test]
    async fn what_may_be_sent_is_on_disk_before_and_is_given_back() {
        let directory = tempfile::tempdir().unwrap();
        let saved = || {
            let bytes = std::fs::read(directory.path().join(FILE)).unwrap();
            serde_json::from_slice::<Progress>(&bytes).unwrap()
        };
        let mut state = State::open(directory.path()).unwrap();
        state.reserve(Lsn(100)).await.unwrap();
        let ahead = Lsn(100 + RESERVED_BYTES);
        assert_eq!((saved().sent, saved().reserved), (Lsn(100), ahead));
        // What is reserved already costs no write.
        state.reserve(Lsn(200)).await.unwrap();
        assert_eq!(saved().sent, Lsn(100));
        assert!(state.give_back() && !state.give_back());
        assert_eq!(state.progress.reserved, Lsn(200));
        state.reserve(Lsn(201)).await.unwrap();
        assert_eq!(saved().reserved, Lsn(201 + RESERVED_BYTES));
    }

    #[tokio::test]
    async fn what_was_given_up_is_not_written_over_what_came_after_it() {
        let directory = tempfile::tempdir().unwrap();
        let state = State::open(directory.path()).unwrap();
        let path = directory.path().join("chunk");
        for n in 0..20_u8 {
            let long = vec![n; 4 << 20];
            // On a busy machine it may be done before it is given up.
            timeout(Duration::ZERO, state.replace(path.clone(), long))
                .await
                .ok();
            state.replace(path.clone(), vec![n; 3]).await.unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), [n; 3]);
        }
        // The last one is not followed by what was given up before it.
        drop(state.lock.lock().await);
        assert_eq!(std::fs::read(&path).unwrap(), [19; 3]);
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
            oid: 7,
            is_done: false,
            rows: 1,
            parts: vec![part],
            membership: None,
        };
        state.progress.copies.insert("shop.seat".into(), copy);
        state.save().await.unwrap();
        let saved = state.progress.clone();
        drop(state);
        assert_eq!(State::open(directory.path()).unwrap().progress, saved);
        std::fs::write(directory.path().join(FILE), b"{").unwrap();
        let error = State::open(directory.path()).unwrap_err();
        assert!(error.to_string().contains(FILE), "{error}");
    }
}
