//! The data files of one version.

use std::collections::BTreeMap;

use super::{DeltaLog, DeltaLogError};
use crate::action::{Action, Add};

impl DeltaLog {
    /// The data files of this version, without their statistics; `None` if the log does not tell them
    /// any more, since it goes on from a later checkpoint. The list is held in memory.
    pub(crate) async fn files_at(&self, version: u64) -> Result<Option<Vec<Add>>, DeltaLogError> {
        let short = |add: Add| Some(Add { stats: None, ..add });
        let files = self.files_as(version, short).await?;
        Ok(files.map(|files| files.into_values().collect()))
    }

    /// The same by their paths, as what is made of each: of a table of many files not more is to be held
    /// than is asked of them. Those that nothing is made of are left out.
    pub(crate) async fn files_as<T>(
        &self,
        version: u64,
        mut of: impl FnMut(Add) -> Option<T>,
    ) -> Result<Option<BTreeMap<String, T>>, DeltaLogError> {
        let checkpoint = self.newest().await?.checkpoint;
        if checkpoint > Some(version) {
            return Ok(None);
        }
        let mut files = BTreeMap::new();
        let apply = |action: Action| {
            if let Some(remove) = action.remove {
                files.remove(&remove.path);
            }
            if let Some(add) = action.add {
                let path = add.path.clone();
                files.extend(of(add).map(|made| (path, made)));
            }
        };
        let reached = self.replay_files(checkpoint, version, apply).await?;
        Ok((reached == Some(version)).then_some(files))
    }
}
