//! A table that is looked at again and again.

use lake_store::LakeStore;
use tracing::{info, warn};

use crate::delta_log::{DeltaLog, DeltaLogError, TableState, write_checkpoint};

/// A table's log, with the newest state that was seen of it.
#[derive(Debug)]
pub(crate) struct KeptTable {
    /// Below the lake's root.
    pub(crate) path: String,
    pub(crate) log: DeltaLog,
    state: Option<TableState>,
}

impl KeptTable {
    pub(crate) fn new(path: String, log: DeltaLog) -> Self {
        Self {
            path,
            log,
            state: None,
        }
    }

    /// The newest state; `None` if there is no table.
    pub(crate) async fn newest(&mut self) -> Result<Option<TableState>, DeltaLogError> {
        // After an error it is looked at as if for the first time.
        self.state = match self.state.take() {
            None => self.log.load().await?,
            Some(mut state) => {
                self.log.refresh(&mut state).await?;
                self.log.catch_up(&mut state, |_, _| ()).await?;
                Some(state)
            }
        };
        Ok(self.state.clone())
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

    /// The state after a commit of our own.
    pub(crate) fn is_now(&mut self, state: TableState) {
        self.state = Some(state);
    }
}
