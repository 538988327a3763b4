//! Up to which version of changes something is made, and whether the changes are still the same.
//!
//! The version's number does not say that. A table of changes that was put back from a backup goes on
//! from an earlier version: it comes to the same numbers again by other entries, with other rows. One that
//! was made again begins anew. So the number of the version's log entry is kept beside it
//! ([`app_id::number_of`] its bytes).
//!
//! A log loses its old entries. Of one that is gone nothing can be said; whoever asks goes on without the
//! entries after it, as offsets tell, or reads all changes again. What an earlier program kept has no
//! number: it is believed, as it was then.

use crate::app_id::{self, NO_ENTRY};
use crate::delta_log::{DeltaLog, DeltaLogError};

/// A version of changes, and which it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reached {
    pub(crate) version: u64,
    /// The number of its entry, if it was kept.
    pub(crate) commit: Option<i64>,
}

/// What a log says of a version that was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// It has that entry, or nothing speaks against it.
    Same,
    /// It has another.
    Other,
    /// The entry is gone.
    Gone,
}

impl Reached {
    /// A version as its log has it now.
    pub(crate) async fn at(log: &DeltaLog, version: u64) -> Result<Self, DeltaLogError> {
        let commit = number(log, version).await?.or(Some(NO_ENTRY));
        Ok(Self { version, commit })
    }

    /// Whether the log still has it.
    pub(crate) async fn found_in(self, log: &DeltaLog) -> Result<Found, DeltaLogError> {
        let Some(commit) = self.commit.filter(|commit| *commit != NO_ENTRY) else {
            return Ok(Found::Same);
        };
        Ok(match number(log, self.version).await? {
            None => Found::Gone,
            Some(found) if found == commit => Found::Same,
            Some(_) => Found::Other,
        })
    }

    /// The version as a `txn` says it.
    pub(crate) fn txn(self) -> i64 {
        i64::try_from(self.version).unwrap_or(i64::MAX)
    }

    /// The entry's number as a `txn` says it.
    pub(crate) fn commit_txn(self) -> i64 {
        self.commit.unwrap_or(NO_ENTRY)
    }
}

async fn number(log: &DeltaLog, version: u64) -> Result<Option<i64>, DeltaLogError> {
    let entry = log.entry_bytes(version).await?;
    Ok(entry.map(|bytes| app_id::number_of(&bytes)))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use object_store::memory::InMemory;
    use object_store::{ObjectStore, ObjectStoreExt};

    use super::*;
    use crate::delta_log::entry_path;

    #[tokio::test]
    async fn a_version_is_known_by_its_entry() {
        let store = Arc::new(InMemory::new());
        let log = DeltaLog::new(Arc::clone(&store) as Arc<dyn ObjectStore>);
        let put =
            async |entry: &'static str| store.put(&entry_path(7), entry.into()).await.unwrap();
        put("one").await;
        let reached = Reached::at(&log, 7).await.unwrap();
        assert_eq!(reached.found_in(&log).await.unwrap(), Found::Same);
        put("another").await;
        assert_eq!(reached.found_in(&log).await.unwrap(), Found::Other);
        store.delete(&entry_path(7)).await.unwrap();
        assert_eq!(reached.found_in(&log).await.unwrap(), Found::Gone);
        let unknown = Reached::at(&log, 7).await.unwrap();
        put("one").await;
        let earlier = Reached {
            commit: None,
            ..reached
        };
        for believed in [reached, unknown, earlier] {
            assert_eq!(believed.found_in(&log).await.unwrap(), Found::Same);
        }
    }
}
