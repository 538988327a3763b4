//! The data files of one version.

use std::collections::BTreeMap;

use super::{DeltaLog, DeltaLogError};
use crate::action::{Action, Add};

impl DeltaLog {
    /// The data files of this version; `None` if the log does not tell them any more, since it goes
    /// on from a later checkpoint. The list is held in memory.
    pub(crate) async fn files_at(&self, version: u64) -> Result<Option<Vec<Add>>, DeltaLogError> {
        let checkpoint = self.newest_checkpoint().await?;
        if checkpoint > Some(version) {
            return Ok(None);
        }
        let mut files = BTreeMap::new();
        let apply = |action: Action| {
            if let Some(remove) = action.remove {
                files.remove(&remove.path);
            }
            if let Some(add) = action.add {
                files.insert(add.path.clone(), add);
            }
        };
        let reached = self.replay_files(checkpoint, version, apply).await?;
        Ok((reached == Some(version)).then(|| files.into_values().collect()))
    }
}
