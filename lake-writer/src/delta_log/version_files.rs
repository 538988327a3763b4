//! The data files of one version.

use std::collections::BTreeMap;

use super::{DeltaLog, DeltaLogError};
use crate::action::Add;

impl DeltaLog {
    /// The data files of this version; `None` if the log does not tell them any more, since it goes
    /// on from a later checkpoint. The list is held in memory.
    pub(crate) async fn files_at(&self, version: u64) -> Result<Option<Vec<Add>>, DeltaLogError> {
        let checkpoint = self.newest_checkpoint().await?;
        let (mut files, mut next) = (BTreeMap::new(), 0);
        if let Some(checkpoint) = checkpoint {
            if checkpoint > version {
                return Ok(None);
            }
            let adds = self.checkpoint(checkpoint, &["add"]).await?.into_iter();
            let adds = adds.filter_map(|action| action.add);
            files.extend(adds.map(|add| (add.path.clone(), add)));
            next = checkpoint + 1;
        }
        while next <= version {
            let Some(actions) = self.entry(next).await? else {
                return Ok(None);
            };
            for action in actions {
                if let Some(remove) = action.remove {
                    files.remove(&remove.path);
                }
                if let Some(add) = action.add {
                    files.insert(add.path.clone(), add);
                }
            }
            next += 1;
        }
        Ok(Some(files.into_values().collect()))
    }
}
