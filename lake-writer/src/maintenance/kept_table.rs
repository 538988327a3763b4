//! A table that is looked at again and again.
//!
//! What was seen of it is gone on from while the version has the very entry that was seen. A table that
//! was put back from a backup comes to the same versions by other entries, and what the entries that
//! are gone said of a partition would stay where no other one speaks of it.

use lake_store::LakeStore;
use tracing::{info, warn};

use super::reached::{Found, Reached};
use crate::app_id::NO_ENTRY;
use crate::delta_log::{DeltaLog, DeltaLogError, TableState, write_checkpoint};

/// A table's log, with the newest state that was seen of it.
#[derive(Debug)]
pub(crate) struct KeptTable {
    /// Below the lake's root.
    pub(crate) path: String,
    pub(crate) log: DeltaLog,
    /// The state, and which entry it ends with.
    seen: Option<(TableState, Reached)>,
}

impl KeptTable {
    pub(crate) fn new(path: String, log: DeltaLog) -> Self {
        Self {
            path,
            log,
            seen: None,
        }
    }

    /// The newest state; `None` if there is no table.
    pub(crate) async fn newest(&mut self) -> Result<Option<TableState>, DeltaLogError> {
        // After an error it is looked at as if for the first time.
        let (state, reached) = match self.still().await? {
            None => (self.log.load().await?, None),
            Some((mut state, reached)) => {
                self.log.catch_up(&mut state, |_, _| ()).await?;
                (Some(state), Some(reached))
            }
        };
        match state {
            Some(state) => self.see(state, reached).await.map(Some),
            None => Ok(None),
        }
    }

    /// The entry of this version, if it is what was seen last.
    pub(crate) fn reached(&self, version: u64) -> Option<Reached> {
        let reached = self.seen.as_ref().map(|(_, reached)| *reached);
        reached.filter(|reached| reached.version == version)
    }

    /// What was seen, if the table still has it.
    async fn still(&mut self) -> Result<Option<(TableState, Reached)>, DeltaLogError> {
        let Some((state, reached)) = self.seen.take() else {
            return Ok(None);
        };
        let found = reached.found_in(&self.log).await?;
        Ok((found == Found::Same).then_some((state, reached)))
    }

    /// Keeps a state and gives it back; `before`: what was known of its entry or an earlier one. A state
    /// whose entry is gone is not kept: nobody could tell whether the next look finds what follows it.
    async fn see(
        &mut self,
        state: TableState,
        before: Option<Reached>,
    ) -> Result<TableState, DeltaLogError> {
        let reached = match before.filter(|before| before.version == state.version) {
            Some(reached) => reached,
            None => Reached::at(&self.log, state.version).await?,
        };
        if reached.commit_txn() == NO_ENTRY {
            return Ok(state);
        }
        // The copy is for who asked: what is kept stays where it is in memory, look after look.
        let (kept, _) = self.seen.insert((state, reached));
        Ok(kept.clone())
    }

    /// Writes a checkpoint if the version is a multiple of the interval. One that fails is no loss: the
    /// next one is tried at the next interval. Must run on a multi-threaded tokio runtime.
    pub(crate) async fn checkpoint_if_due(&self, lake: &LakeStore, version: u64, interval: u64) {
        if version == 0 || !version.is_multiple_of(interval) {
            return;
        }
        let path = &self.path;
        match write_checkpoint(lake, path, version).await {
            Ok(()) => info!(path, version, "checkpoint written"),
            Err(error) => warn!(path, version, error, "checkpoint failed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use object_store::ObjectStoreExt;

    use super::*;
    use crate::delta_log::entry_path;
    use crate::maintenance::fixture::{DAY, Fixture, PATH};

    /// A table of two partitions, which is put back to before the second one had anything, and comes to
    /// as many versions again, or more, between two looks.
    #[tokio::test]
    async fn what_was_put_back_is_looked_at_anew() {
        for more in 1..=2 {
            let mut table = Fixture::new(Fixture::in_memory(), more).await;
            let mut kept = KeptTable::new(PATH.to_owned(), table.log.clone());
            table.append(&[(0, 10)], DAY).await;
            table.append(&[(1, 10)], DAY).await;
            let seen = kept.newest().await.unwrap().unwrap();
            assert_eq!((seen.version, &seen.txns), (2, &table.state.txns));
            table.log.store().delete(&entry_path(2)).await.unwrap();
            table.state = table.log.load().await.unwrap().unwrap();
            for _ in 0..more {
                table.append(&[(0, 5)], DAY).await;
            }
            for _ in 0..2 {
                let seen = kept.newest().await.unwrap().unwrap();
                assert_eq!((seen.version, &seen.txns), (1 + more, &table.state.txns));
                assert!(!seen.txns.contains_key(&Fixture::app_id(1)));
            }
        }
    }

    /// The entry of its newest version is gone: a checkpoint tells the state.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_state_whose_entry_is_gone_is_looked_at_anew() {
        let directory = tempfile::tempdir().unwrap();
        let lake = LakeStore::open(directory.path().to_str().unwrap(), &[], true).unwrap();
        let mut table = Fixture::new(lake, 1).await;
        let mut kept = KeptTable::new(PATH.to_owned(), table.log.clone());
        table.append(&[(0, 10)], DAY).await;
        write_checkpoint(&table.lake, PATH, 1).await.unwrap();
        for version in 0..=1 {
            let entry = entry_path(version);
            table.log.store().delete(&entry).await.unwrap();
        }
        for more in 0..3 {
            if more > 0 {
                table.append(&[(1, 10)], DAY).await;
            }
            let seen = kept.newest().await.unwrap().unwrap();
            assert_eq!((seen.version, &seen.txns), (1 + more, &table.state.txns));
        }
    }
}
