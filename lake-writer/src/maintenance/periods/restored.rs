//! What the register says of an entity's snapshots, or they say themselves, where it knows of none: it was
//! moved away, or is another one than there was.

use std::sync::Arc;

use object_store::ObjectStore;
use object_store::path::Path;
use tokio::sync::Mutex;
use tracing::info;

use super::Periods;
use crate::delta_log::DeltaLogError;
use crate::maintenance::error::FoldError;
use crate::maintenance::period::Period;
use crate::maintenance::register::{Known, Register};
use crate::maintenance::snapshot::{Snapshot, folder};

impl Periods {
    /// What is registered of the entity; and the snapshots that were not, and are from now on.
    pub(super) async fn known(
        &mut self,
        register: &Mutex<Register>,
    ) -> Result<(Known, Vec<Snapshot>), FoldError> {
        let known = register.lock().await.of(&self.table).await?;
        if !known.made.is_empty() {
            self.has_none = false;
            return Ok((known, Vec::new()));
        }
        if self.has_none {
            return Ok((known, Vec::new()));
        }
        let found = self.there().await?;
        if found.is_empty() {
            self.has_none = true;
            return Ok((known, found));
        }
        let mut register = register.lock().await;
        let known = register.restore(&self.table, &found, &self.means);
        let known = known.await?;
        drop(register);
        info!(table = %self.table, snapshots = found.len(),
            "period snapshots were there that nobody had registered; they are now");
        Ok((known, found))
    }

    /// The snapshots that there are, in order. What is none is passed over: whoever wants its place says
    /// so. One of another format is an error: without it an earlier revision would be taken for the newest.
    async fn there(&self) -> Result<Vec<Snapshot>, FoldError> {
        let store = self.means.lake.table_store(&folder(&self.table));
        let mut found = Vec::new();
        for name in folders(&store, None).await? {
            let Ok(period) = name.parse::<Period>() else {
                continue;
            };
            let below = Path::from(name);
            for name in folders(&store, Some(&below)).await? {
                if let Some(revision) = revision_of(&name) {
                    found.extend(self.one_at(period, revision).await?);
                }
            }
        }
        found.sort_by_key(|snapshot| (snapshot.period, snapshot.revision));
        Ok(found)
    }

    async fn one_at(&self, period: Period, revision: i64) -> Result<Option<Snapshot>, FoldError> {
        match self.told(period, revision).await {
            Ok(told) => Ok(told.filter(|told| (told.period, told.revision) == (period, revision))),
            Err(FoldError::Log(DeltaLogError::Corrupt { .. })) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// The revision whose folder has this name.
fn revision_of(name: &str) -> Option<i64> {
    let number = name.strip_prefix('r')?;
    let revision: i64 = number.parse().ok()?;
    (revision > 0 && revision.to_string() == number).then_some(revision)
}

/// The names of the folders in a folder.
async fn folders(
    store: &Arc<dyn ObjectStore>,
    below: Option<&Path>,
) -> Result<Vec<String>, FoldError> {
    match store.list_with_delimiter(below).await {
        Ok(listed) => {
            let folders = listed.common_prefixes.iter();
            let names = folders.filter_map(|folder| folder.filename());
            Ok(names.map(str::to_owned).collect())
        }
        Err(object_store::Error::NotFound { .. }) => Ok(Vec::new()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_has_one_name() {
        assert_eq!(revision_of("r12"), Some(12));
        for name in ["r0", "r01", "r-1", "r+1", "r", "12", "x1", "r1x"] {
            assert_eq!(revision_of(name), None, "{name}");
        }
    }
}
