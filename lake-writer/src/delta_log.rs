//! A table's Delta log: what the newest version says, and putting the next version.
//!
//! Only what a commit must know is kept: protocol, metadata and the `txn` of every application.
//! The list of data files is not, so memory does not grow with the table. Entries and checkpoints
//! follow the Delta protocol (delta-io/delta, PROTOCOL.md). A put is create-if-absent, so of two
//! writers of a version one wins; what went wrong with a put is never guessed from its error but
//! read back (see [`crate::commit`]).

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions};

use crate::action::{self, Action, Add, Metadata, Protocol};
use crate::layout;

mod checkpoint;
mod entries;
mod inventory;
mod version_files;
mod waits;

pub(crate) use checkpoint::{checkpoint_is_due, has_passed_interval, write_checkpoint};
pub(crate) use inventory::Inventory;
pub(crate) use waits::{create, patiently};

/// Times that a log without a beginning is looked at before that is believed.
const LOOKS_MAX: usize = 3;

/// What the newest version of a table says.
#[derive(Clone, Debug)]
pub(crate) struct TableState {
    /// The version this is the state of.
    pub(crate) version: u64,
    pub(crate) protocol: Protocol,
    pub(crate) metadata: Metadata,
    /// The newest `txn` version of each application.
    pub(crate) txns: HashMap<String, i64>,
}

impl TableState {
    /// Whether data files encoded under `other` fit this state.
    pub(crate) fn same_layout(&self, other: &Metadata) -> bool {
        self.protocol == Protocol::PLAIN
            && !layout::forgets_progress(&self.metadata)
            && self.metadata.id == other.id
            && self.metadata.schema_string == other.schema_string
            && self.metadata.partition_columns == other.partition_columns
    }

    fn apply(&mut self, version: u64, actions: &[Action]) {
        self.version = version;
        for action in actions {
            if let Some(protocol) = &action.protocol {
                self.protocol = protocol.clone();
            }
            if let Some(metadata) = &action.meta_data {
                self.metadata = metadata.clone();
            }
            if let Some(txn) = &action.txn {
                self.txns.insert(txn.app_id.clone(), txn.version);
            }
        }
    }
}

/// Why a log could not be read or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DeltaLogError {
    /// The store did not do as asked; try again later.
    #[error("store: {0}")]
    Store(#[from] object_store::Error),
    /// The log does not say what a Delta log must say.
    #[error("{path}: {why}")]
    Corrupt { path: Path, why: String },
}

/// How a put ended.
#[derive(Debug)]
pub(crate) enum Put {
    /// The entry is there.
    Done,
    /// Somebody's entry is there already, perhaps our own of an attempt before.
    Exists,
    /// Nobody knows: the entry may be there, or come later, or never.
    Ambiguous(object_store::Error),
}

/// The log of the table at the root of a store.
#[derive(Clone, Debug)]
pub(crate) struct DeltaLog {
    store: Arc<dyn ObjectStore>,
}

impl DeltaLog {
    pub(crate) fn new(store: Arc<dyn ObjectStore>) -> Self {
        Self { store }
    }

    /// The store whose root is the table.
    pub(crate) fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.store
    }

    /// The state of the newest version; `None` if there is no table yet.
    pub(crate) async fn load(&self) -> Result<Option<TableState>, DeltaLogError> {
        let mut looks = 0;
        loop {
            looks += 1;
            let newest = self.newest().await?;
            let wrong = match self.beginning(newest.checkpoint).await? {
                Some(mut state) => {
                    self.catch_up(&mut state, |_, _| ()).await?;
                    match newest.gap_after(state.version) {
                        None => return Ok(Some(state)),
                        Some(gap) => gap,
                    }
                }
                None => {
                    let log = Path::from("_delta_log");
                    match self.store.list(Some(&log)).try_next().await? {
                        None => return Ok(None),
                        Some(found) => headless(found.location),
                    }
                }
            };
            // Somebody may have made the table just now, or cleaned its log up.
            if looks == LOOKS_MAX {
                return Err(wrong);
            }
        }
    }

    /// The state from which the log is read on: this checkpoint's, or version 0's.
    async fn beginning(
        &self,
        checkpoint: Option<u64>,
    ) -> Result<Option<TableState>, DeltaLogError> {
        let Some(version) = checkpoint else {
            let actions = self.entry(0).await?;
            let state = actions.map(|actions| state_of(0, &actions, &entry_path(0)));
            return state.transpose();
        };
        let (kinds, mut actions) = (["protocol", "metaData", "txn"], Vec::new());
        let each = |action| actions.push(action);
        self.checkpoint(version, &kinds, each).await?;
        state_of(version, &actions, &checkpoint_path(version)).map(Some)
    }

    /// The data files of the newest version that are wanted, without their statistics. The list is
    /// held in memory.
    pub(crate) async fn files(
        &self,
        mut wanted: impl FnMut(&Add) -> bool,
    ) -> Result<Vec<Add>, DeltaLogError> {
        let mut files = BTreeMap::new();
        let apply = |action: Action| {
            if let Some(remove) = action.remove {
                files.remove(&remove.path);
            }
            if let Some(mut add) = action.add.filter(&mut wanted) {
                add.stats = None;
                files.insert(add.path.clone(), add);
            }
        };
        let newest = self.newest().await?;
        let reached = self.replay_files(newest.checkpoint, u64::MAX, apply);
        if let Some(gap) = reached.await?.and_then(|reached| newest.gap_after(reached)) {
            return Err(gap);
        }
        Ok(files.into_values().collect())
    }

    /// Tells `each` of the actions that add and remove data files, from this checkpoint or version 0
    /// on, up to version `to` or the end of the log; the version that it came to.
    async fn replay_files(
        &self,
        checkpoint: Option<u64>,
        to: u64,
        mut each: impl FnMut(Action),
    ) -> Result<Option<u64>, DeltaLogError> {
        if let Some(version) = checkpoint {
            self.checkpoint(version, &["add"], &mut each).await?;
        }
        let mut reached = checkpoint;
        let next = checkpoint.map_or(0, |version| version + 1);
        let mut entries = self.entries(next..=to);
        while let Some((version, actions)) = entries.try_next().await? {
            actions.into_iter().for_each(&mut each);
            reached = Some(version);
        }
        Ok(reached)
    }

    /// Tells `each` of the actions of these kinds in a checkpoint.
    async fn checkpoint(
        &self,
        version: u64,
        kinds: &[&str],
        each: impl FnMut(Action),
    ) -> Result<(), DeltaLogError> {
        let path = checkpoint_path(version);
        let bytes = self.store.get(&path).await?.bytes().await?;
        let read = checkpoint::read(&bytes, kinds, each);
        read.map_err(|why| DeltaLogError::Corrupt { path, why })
    }

    /// Hands out the actions of these kinds in a checkpoint, without what is most of it: statistics.
    async fn checkpoint_in_short(
        &self,
        version: u64,
        kinds: &[&str],
        each: impl FnMut(Action),
    ) -> Result<(), DeltaLogError> {
        let path = checkpoint_path(version);
        let bytes = self.store.get(&path).await?.bytes().await?;
        let read = checkpoint::read_in_short(&bytes, kinds, each);
        read.map_err(|why| DeltaLogError::Corrupt { path, why })
    }

    /// Makes sure that the next version is still this state's successor: when the state's own entry
    /// was cleaned up or deleted, its successors may have been too, and a missing entry would look
    /// like the end of the log. True if entries were passed over that cannot be read any more.
    pub(crate) async fn refresh(&self, state: &mut TableState) -> Result<bool, DeltaLogError> {
        let known = state.version;
        if self.has_entry(known).await? {
            return Ok(false);
        }
        let newest = self.load().await?;
        *state = newest.ok_or_else(|| DeltaLogError::Corrupt {
            path: entry_path(known),
            why: "the table was deleted while it was written to".to_owned(),
        })?;
        Ok(state.version != known)
    }

    async fn has_entry(&self, version: u64) -> Result<bool, DeltaLogError> {
        match self.store.head(&entry_path(version)).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Applies all entries that came after `state`; `seen` is told of each.
    pub(crate) async fn catch_up(
        &self,
        state: &mut TableState,
        mut seen: impl FnMut(u64, &[Action]),
    ) -> Result<(), DeltaLogError> {
        let mut entries = self.entries(state.version + 1..=u64::MAX);
        while let Some((version, actions)) = entries.try_next().await? {
            state.apply(version, &actions);
            seen(version, &actions);
        }
        Ok(())
    }

    /// The actions of one version's entry; `None` if there is no such entry.
    pub(crate) async fn entry(&self, version: u64) -> Result<Option<Vec<Action>>, DeltaLogError> {
        let Some(bytes) = self.entry_bytes(version).await? else {
            return Ok(None);
        };
        let corrupt = |why: serde_json::Error| DeltaLogError::Corrupt {
            path: entry_path(version),
            why: why.to_string(),
        };
        action::decode(&bytes).map(Some).map_err(corrupt)
    }

    /// One version's entry as it is in the store. It never changes, and no two are the same: each has
    /// the id of its commit. Whoever reads an entry comes here, so that one of nothing is refused.
    pub(crate) async fn entry_bytes(&self, version: u64) -> Result<Option<Bytes>, DeltaLogError> {
        let path = entry_path(version);
        let bytes = match self.store.get(&path).await {
            Ok(found) => found.bytes().await?,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        // Every commit says something. Taken for one without actions, its rows would be passed over.
        if bytes.trim_ascii().is_empty() {
            let why = "it is empty, as a power loss leaves a file; put it back from a backup";
            return Err(DeltaLogError::Corrupt {
                path,
                why: why.to_owned(),
            });
        }
        Ok(Some(bytes))
    }

    /// Creates one version's entry, if nobody has.
    pub(crate) async fn put(&self, version: u64, entry: Bytes) -> Put {
        let options = PutOptions {
            mode: PutMode::Create,
            ..PutOptions::default()
        };
        match self
            .store
            .put_opts(&entry_path(version), entry.into(), options)
            .await
        {
            Ok(_) => Put::Done,
            Err(object_store::Error::AlreadyExists { .. }) => Put::Exists,
            Err(error) => Put::Ambiguous(error),
        }
    }

    /// The version and the size in bytes that the hint to the newest checkpoint names.
    pub(crate) async fn hint(&self) -> Result<Option<(u64, u64)>, DeltaLogError> {
        let path = Path::from("_delta_log/_last_checkpoint");
        match self.store.get(&path).await {
            Ok(found) => Ok(hinted(&found.bytes().await?)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The newest checkpoint and the newest entry. Listed from where the hint `_last_checkpoint` points,
    /// since the hint may be stale or missing after a crash.
    async fn newest(&self) -> Result<Newest, DeltaLogError> {
        let hint = self.hint().await?.map_or(0, |(version, _)| version);
        let log = Path::from("_delta_log");
        let from = Path::from(format!("_delta_log/{hint:020}"));
        let mut newest = Newest::default();
        let mut listing = self.store.list_with_offset(Some(&log), &from);
        while let Some(meta) = listing.try_next().await? {
            let file = meta.location.filename().unwrap_or_default();
            newest.checkpoint = newest.checkpoint.max(checkpoint_version(file));
            newest.entry = newest.entry.max(entry_version(file));
        }
        Ok(newest)
    }
}

/// The newest versions that a log was listed to have.
#[derive(Clone, Copy, Debug, Default)]
struct Newest {
    checkpoint: Option<u64>,
    entry: Option<u64>,
}

impl Newest {
    /// What is wrong if entries end at this version though there are later ones: whoever took it for the
    /// end of the log would pass over rows, and fill the gap by a commit.
    fn gap_after(self, version: u64) -> Option<DeltaLogError> {
        let last = self.entry.filter(|last| *last > version)?;
        Some(DeltaLogError::Corrupt {
            path: entry_path(version + 1),
            why: format!(
                "it is missing, though version {last} is there; put it back from a backup"
            ),
        })
    }
}

fn headless(path: Path) -> DeltaLogError {
    let why = "the log begins with neither version 0 nor a checkpoint in one file; a table that \
               another program has checkpointed in parts cannot be written to";
    DeltaLogError::Corrupt {
        path,
        why: why.to_owned(),
    }
}

fn hinted(hint: &[u8]) -> Option<(u64, u64)> {
    let hint: serde_json::Value = serde_json::from_slice(hint).unwrap_or_default();
    Some((
        hint["version"].as_u64()?,
        hint["sizeInBytes"].as_u64().unwrap_or(0),
    ))
}

fn state_of(version: u64, actions: &[Action], path: &Path) -> Result<TableState, DeltaLogError> {
    let corrupt = |why: &str| DeltaLogError::Corrupt {
        path: path.clone(),
        why: why.to_owned(),
    };
    let protocol = actions.iter().find_map(|action| action.protocol.clone());
    let metadata = actions.iter().find_map(|action| action.meta_data.clone());
    let mut state = TableState {
        version,
        protocol: protocol.ok_or_else(|| corrupt("no protocol action"))?,
        metadata: metadata.ok_or_else(|| corrupt("no metaData action"))?,
        txns: HashMap::new(),
    };
    state.apply(version, actions);
    Ok(state)
}

pub(crate) fn entry_path(version: u64) -> Path {
    Path::from(format!("_delta_log/{version:020}.json"))
}

pub(crate) fn checkpoint_path(version: u64) -> Path {
    Path::from(format!("_delta_log/{version:020}.checkpoint.parquet"))
}

/// The version of a classic, single-file checkpoint's file name.
pub(crate) fn checkpoint_version(file: &str) -> Option<u64> {
    version(file.strip_suffix(".checkpoint.parquet")?)
}

/// The version of an entry's file name.
pub(crate) fn entry_version(file: &str) -> Option<u64> {
    version(file.strip_suffix(".json")?)
}

fn version(digits: &str) -> Option<u64> {
    let is_version = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_version.then(|| digits.parse().ok()).flatten()
}

#[cfg(test)]
mod tests;
