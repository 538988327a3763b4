//! All that one version of a table says, its list of data files too: for maintenance and rewrites.

use std::collections::BTreeMap;

use futures::TryStreamExt;

use super::{DeltaLog, DeltaLogError, TableState, checkpoint_path, entry_path, state_of};
use crate::action::{Action, Add};

/// Times a log is read again because it was cleaned up under the reader.
const ATTEMPTS_MAX: usize = 3;

/// One version of a table. Grows with the number of its files, by some hundred bytes each.
#[derive(Clone, Debug)]
pub(crate) struct Inventory {
    pub(crate) state: TableState,
    /// The data files, by path, without their statistics.
    pub(crate) files: BTreeMap<String, Add>,
    /// When the files that left the table did so, in milliseconds since 1970-01-01T00:00Z, by path,
    /// as far back as the log tells.
    pub(crate) tombstones: BTreeMap<String, Option<i64>>,
}

/// The data files of a version, and those that have left.
#[derive(Default)]
struct Files {
    there: BTreeMap<String, Add>,
    tombstones: BTreeMap<String, Option<i64>>,
}

impl Files {
    /// Takes in an action of a checkpoint, in which actions come in any order.
    fn take(&mut self, action: Action) {
        if let Some(remove) = action.remove {
            self.tombstones
                .insert(remove.path, remove.deletion_timestamp);
        }
        if let Some(add) = action.add {
            let add = Add { stats: None, ..add };
            self.there.insert(add.path.clone(), add);
        }
    }

    /// What a checkpoint has both of is there. A path comes and leaves at once when another program
    /// gives its file another deletion vector: the file itself is in use.
    fn settle(&mut self) {
        let Self { there, tombstones } = self;
        tombstones.retain(|path, _| !there.contains_key(path));
    }

    /// Takes in the next version. Of a path that it has both of, the file is there, as above.
    fn pass(&mut self, actions: Vec<Action>) {
        let (mut added, mut others) = (Vec::new(), Vec::new());
        for action in actions {
            match action.add.is_some() {
                true => added.push(action),
                false => others.push(action),
            }
        }
        for action in others.into_iter().chain(added) {
            if let Some(remove) = &action.remove {
                self.there.remove(&remove.path);
            }
            if let Some(add) = &action.add {
                self.tombstones.remove(&add.path);
            }
            self.take(action);
        }
    }
}

impl DeltaLog {
    /// The newest version; `None` if there is no table.
    pub(crate) async fn inventory(&self) -> Result<Option<Inventory>, DeltaLogError> {
        let mut attempt = 1;
        loop {
            let newest = self.newest().await?;
            let found = self.inventory_from(newest.checkpoint, u64::MAX).await?;
            let Some(found) = found else {
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

    /// The table from a checkpoint, or version 0, on, up to version `to` or the end of the log;
    /// `None` if the log does not begin there.
    pub(crate) async fn inventory_from(
        &self,
        checkpoint: Option<u64>,
        to: u64,
    ) -> Result<Option<Inventory>, DeltaLogError> {
        let mut files = Files::default();
        let mut state = match checkpoint {
            Some(version) => {
                let (kinds, mut others) =
                    (["protocol", "metaData", "txn", "add", "remove"], Vec::new());
                let sort = |action: Action| match action.add.is_some() || action.remove.is_some() {
                    true => files.take(action),
                    false => others.push(action),
                };
                self.checkpoint_in_short(version, &kinds, sort).await?;
                files.settle();
                state_of(version, &others, &checkpoint_path(version))?
            }
            None => {
                let Some(actions) = self.entry(0).await? else {
                    return Ok(None);
                };
                let state = state_of(0, &actions, &entry_path(0))?;
                files.pass(actions);
                state
            }
        };
        let mut entries = self.entries(state.version + 1..=to);
        while let Some((version, actions)) = entries.try_next().await? {
            state.apply(version, &actions);
            files.pass(actions);
        }
        Ok(Some(Inventory {
            state,
            files: files.there,
            tombstones: files.tombstones,
        }))
    }
}
