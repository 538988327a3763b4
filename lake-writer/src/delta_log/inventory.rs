//! All that one version of a table says, its list of data files too: for maintenance and rewrites.
//!
//! What has left the table is told to who asks for it, and not held: a table with a commit every few
//! seconds has few files, and hundreds of thousands that left it within a week.

use std::collections::BTreeMap;

use futures::TryStreamExt;

use super::{DeltaLog, DeltaLogError, TableState, checkpoint_path, entry_path, state_of};
use crate::action::{Action, Add, Remove};

/// Times a log is read again because it was cleaned up under the reader.
const ATTEMPTS_MAX: usize = 3;

/// Kinds of a checkpoint's actions that say what a version has.
const THERE: [&str; 4] = ["protocol", "metaData", "txn", "add"];

/// The same, and what has left.
const THERE_AND_LEFT: [&str; 5] = ["protocol", "metaData", "txn", "add", "remove"];

/// One version of a table. Grows with the number of its files, by some hundred bytes each.
#[derive(Clone, Debug)]
pub(crate) struct Inventory {
    pub(crate) state: TableState,
    /// The data files, by path, without their statistics.
    pub(crate) files: BTreeMap<String, Add>,
}

/// The data files of a version, by path.
#[derive(Default)]
struct Files(BTreeMap<String, Add>);

impl Files {
    fn add(&mut self, add: Add) {
        let add = Add { stats: None, ..add };
        self.0.insert(add.path.clone(), add);
    }

    /// Takes in the next version; `left` is told of what it removes. Of a path that it has both of, the
    /// file is there: a path comes and leaves at once when another program gives its file another
    /// deletion vector.
    fn pass(&mut self, actions: Vec<Action>, left: &mut impl FnMut(Remove)) {
        let mut added = Vec::new();
        for action in actions {
            if let Some(remove) = action.remove {
                self.0.remove(&remove.path);
                left(remove);
            }
            added.extend(action.add);
        }
        for add in added {
            self.add(add);
        }
    }
}

impl DeltaLog {
    /// The newest version; `None` if there is no table.
    pub(crate) async fn inventory(&self) -> Result<Option<Inventory>, DeltaLogError> {
        self.newest_inventory(&THERE, |_| ()).await
    }

    /// The same; `left` is told of every removal of a data file, as far back as the log tells. It may
    /// be told of one twice, and is also told of files that are there again, or still: those are in the
    /// inventory.
    pub(crate) async fn inventory_and_removals(
        &self,
        left: impl FnMut(Remove),
    ) -> Result<Option<Inventory>, DeltaLogError> {
        self.newest_inventory(&THERE_AND_LEFT, left).await
    }

    /// The table from a checkpoint, or version 0, on, up to version `to` or the end of the log;
    /// `None` if the log does not begin there.
    pub(crate) async fn inventory_from(
        &self,
        checkpoint: Option<u64>,
        to: u64,
    ) -> Result<Option<Inventory>, DeltaLogError> {
        self.replayed(checkpoint, to, &THERE, |_| ()).await
    }

    /// The newest version, for which actions of these kinds are read in its checkpoint.
    async fn newest_inventory(
        &self,
        kinds: &[&str],
        mut left: impl FnMut(Remove),
    ) -> Result<Option<Inventory>, DeltaLogError> {
        let mut attempt = 1;
        loop {
            let newest = self.newest().await?;
            let found = self.replayed(newest.checkpoint, u64::MAX, kinds, &mut left);
            let Some(found) = found.await? else {
                return Ok(None);
            };
            let version = found.state.version;
            // The end of the log is where entries end, unless they were deleted meanwhile.
            let gap = newest.gap_after(version);
            let is_end = Some(version) == newest.checkpoint || self.has_entry(version).await?;
            if is_end && gap.is_none() {
                return Ok(Some(found));
            }
            if attempt == ATTEMPTS_MAX {
                return Err(gap.unwrap_or_else(|| DeltaLogError::Corrupt {
                    path: entry_path(version),
                    why: "it is deleted again and again while the log is read".to_owned(),
                }));
            }
            attempt += 1;
        }
    }

    /// As [`Self::inventory_from`], for which actions of these kinds are read in the checkpoint.
    async fn replayed(
        &self,
        checkpoint: Option<u64>,
        to: u64,
        kinds: &[&str],
        mut left: impl FnMut(Remove),
    ) -> Result<Option<Inventory>, DeltaLogError> {
        let mut files = Files::default();
        let mut state = match checkpoint {
            Some(version) => {
                let mut others = Vec::new();
                // In a checkpoint actions come in any order. A path that it has both of is there.
                let sort = |action: Action| match action {
                    Action { add: Some(add), .. } => files.add(add),
                    Action {
                        remove: Some(remove),
                        ..
                    } => left(remove),
                    other => others.push(other),
                };
                self.checkpoint_in_short(version, kinds, sort).await?;
                state_of(version, &others, &checkpoint_path(version))?
            }
            None => {
                let Some(actions) = self.entry(0).await? else {
                    return Ok(None);
                };
                let state = state_of(0, &actions, &entry_path(0))?;
                files.pass(actions, &mut left);
                state
            }
        };
        let mut entries = self.entries(state.version + 1..=to);
        while let Some((version, actions)) = entries.try_next().await? {
            state.apply(version, &actions);
            files.pass(actions, &mut left);
        }
        Ok(Some(Inventory {
            state,
            files: files.0,
        }))
    }
}
