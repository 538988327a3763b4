//! Finding or making the tables that a flush goes to.

use std::time::Duration;

use columnar::ChangeSchema;
use lake_store::DEAD_LETTERS_PATH;
use serde_json::json;
use tracing::{info, warn};

use super::TableWriter;
use crate::action::{self, Action, CommitInfo, Metadata, Protocol};
use crate::dead_letter;
use crate::delta_log::{DeltaLog, DeltaLogError, TableState};
use crate::error::WriterError;
use crate::layout;
use crate::patience::Patience;

/// First wait when the store does not answer.
const WAIT_MIN: Duration = Duration::from_millis(100);

impl TableWriter {
    /// The newest state of a log, waiting out a store that is down.
    pub(super) async fn load(&self, log: &DeltaLog) -> Result<Option<TableState>, WriterError> {
        let mut patience = Patience::new(&self.parts.entropy, WAIT_MIN);
        loop {
            match log.load().await {
                Ok(state) => return Ok(state),
                Err(error @ DeltaLogError::Corrupt { .. }) => {
                    return Err(self.table_error(error.to_string()));
                }
                Err(DeltaLogError::Store(error)) => {
                    warn!(table = %self.parts.table, %error, "cannot read the table's log; trying again");
                    patience.wait().await;
                }
            }
        }
    }

    /// Makes sure that the table of changes is there and of this schema.
    pub(super) async fn ensure_changes(
        &mut self,
        schema: &ChangeSchema,
    ) -> Result<(), WriterError> {
        if self.changes_state.is_none() {
            let (id, now_us) = (self.parts.entropy.uuid(), self.parts.clock.now_us());
            let metadata = layout::changes_metadata(schema, self.parts.shape, id, now_us)
                .map_err(|why| self.table_error(why))?;
            self.changes_state = Some(self.create(&self.changes, metadata).await?);
            info!(table = %self.parts.table, "table created");
        }
        let Some(state) = &self.changes_state else {
            return Ok(());
        };
        let (contract, shape) =
            layout::contract_of_table(&state.metadata).map_err(|why| self.table_error(why))?;
        let ours = schema.contract();
        if contract.fields() != ours.fields() || contract.key() != ours.key() {
            return Err(self.table_error(format!(
                "its contract (key {:?}, {} fields) is not the topic's (key {:?}, {} fields); use \
                 another table for the topic, or the table's contract",
                contract.key(),
                contract.fields().len(),
                ours.key(),
                ours.fields().len()
            )));
        }
        if shape != self.parts.shape {
            return Err(self.table_error(format!(
                "it holds changes of shape {shape}, the topic is configured as {}",
                self.parts.shape
            )));
        }
        Ok(())
    }

    /// Makes sure that the table of dead letters is there.
    pub(super) async fn ensure_dead_letters(&mut self) -> Result<(), WriterError> {
        if self.dead_letters_state.is_some() {
            return Ok(());
        }
        let (id, now_us) = (self.parts.entropy.uuid(), self.parts.clock.now_us());
        let metadata = layout::system_metadata(&dead_letter::schema(), id, now_us)
            .map_err(|why| self.table_error(why))?;
        let wanted = metadata.schema_string.clone();
        let state = self.create(&self.dead_letters, metadata).await?;
        if state.metadata.schema_string != wanted {
            return Err(WriterError::Table {
                table: DEAD_LETTERS_PATH.to_owned(),
                why: "its columns are not those of this program's version".to_owned(),
            });
        }
        self.dead_letters_state = Some(state);
        Ok(())
    }

    /// Puts version 0, or finds the one that somebody else put.
    async fn create(&self, log: &DeltaLog, metadata: Metadata) -> Result<TableState, WriterError> {
        let info = CommitInfo {
            timestamp: self.parts.clock.now_us() / 1000,
            operation: "CREATE TABLE".to_owned(),
            operation_parameters: [("mode".to_owned(), json!("ErrorIfExists"))].into(),
            engine_info: concat!("lakehead/", env!("CARGO_PKG_VERSION")).to_owned(),
            ..CommitInfo::default()
        };
        let actions: [Action; 3] = [info.into(), Protocol::PLAIN.into(), metadata.into()];
        let entry =
            action::encode(&actions).map_err(|error| self.table_error(error.to_string()))?;
        let entry = bytes::Bytes::from(entry);
        let mut patience = Patience::new(&self.parts.entropy, WAIT_MIN);
        loop {
            // Whose entry it is does not matter: the layout is compared by the caller.
            let put = log.put(0, entry.clone()).await;
            if let Some(state) = self.load(log).await? {
                return Ok(state);
            }
            warn!(table = %self.parts.table, ?put, "cannot create the table; trying again");
            patience.wait().await;
        }
    }
}
