//! All that one version of a table says, its list of data files too: for maintenance and rewrites.

use std::collections::BTreeMap;

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

impl Inventory {
    fn apply(&mut self, action: Action) {
        apply(&mut self.files, &mut self.tombstones, action);
    }
}

fn apply(
    files: &mut BTreeMap<String, Add>,
    tombstones: &mut BTreeMap<String, Option<i64>>,
    action: Action,
) {
    if let Some(remove) = action.remove {
        files.remove(&remove.path);
        tombstones.insert(remove.path, remove.deletion_timestamp);
    }
    if let Some(add) = action.add {
        tombstones.remove(&add.path);
        let add = Add { stats: None, ..add };
        files.insert(add.path.clone(), add);
    }
}

impl DeltaLog {
    /// The newest version; `None` if there is no table.
    pub(crate) async fn inventory(&self) -> Result<Option<Inventory>, DeltaLogError> {
        let mut attempt = 1;
        loop {
            let checkpoint = self.newest_checkpoint().await?;
            let found = self.inventory_from(checkpoint, u64::MAX).await?;
            let Some(found) = found else {
                return Ok(None);
            };
            let version = found.state.version;
            // The end of the log is where entries end, unless they were deleted meanwhile.
            if Some(version) == checkpoint || self.has_entry(version).await? {
                return Ok(Some(found));
            }
            if attempt == ATTEMPTS_MAX {
                return Err(DeltaLogError::Corrupt {
                    path: entry_path(version),
                    why: "it is deleted again and again while the log is read".to_owned(),
                });
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
        let (mut files, mut tombstones) = (BTreeMap::new(), BTreeMap::new());
        let mut others = Vec::new();
        let sort = |action: Action| match action.add.is_some() || action.remove.is_some() {
            true => apply(&mut files, &mut tombstones, action),
            false => others.push(action),
        };
        let (version, path) = match checkpoint {
            Some(version) => {
                let kinds = ["protocol", "metaData", "txn", "add", "remove"];
                self.checkpoint_in_short(version, &kinds, sort).await?;
                (version, checkpoint_path(version))
            }
            None => match self.entry(0).await? {
                Some(actions) => {
                    actions.into_iter().for_each(sort);
                    (0, entry_path(0))
                }
                None => return Ok(None),
            },
        };
        let mut inventory = Inventory {
            state: state_of(version, &others, &path)?,
            files,
            tombstones,
        };
        while inventory.state.version < to {
            let next = inventory.state.version + 1;
            let Some(actions) = self.entry(next).await? else {
                break;
            };
            inventory.state.apply(next, &actions);
            for action in actions {
                inventory.apply(action);
            }
        }
        Ok(Some(inventory))
    }
}
