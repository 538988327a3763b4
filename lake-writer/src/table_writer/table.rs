//! Finding or making the tables that a flush goes to.

use columnar::ChangeSchema;
use lake_store::{DEAD_LETTERS_PATH, dead_letters_schema};
use serde_json::json;
use tracing::{info, warn};

use super::evolution::Fit;
use super::{STORE_WAIT_MIN, TableWriter};
use crate::action::{self, CommitInfo, Metadata, Protocol};
use crate::delta_log::{DeltaLog, DeltaLogError, TableState};
use crate::error::WriterError;
use crate::layout;
use crate::patience::Patience;

impl TableWriter {
    /// The newest state of a log, waiting out a store that is down.
    pub(super) async fn load(&self, log: &DeltaLog) -> Result<Option<TableState>, WriterError> {
        let mut patience = Patience::new(&self.parts.entropy, STORE_WAIT_MIN);
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

    /// Makes sure that the table of changes is there and holds this schema's rows. False if it has
    /// grown beyond them, so that they must be read again.
    pub(super) async fn ensure_changes(
        &mut self,
        schema: &ChangeSchema,
    ) -> Result<bool, WriterError> {
        let (id, now_us) = (self.parts.entropy.uuid(), self.parts.clock.now_us());
        let ours = layout::changes_metadata(schema, self.parts.shape, id, now_us)
            .map_err(|why| self.table_error(why))?;
        let state = match self.changes_state.take() {
            Some(state) => state,
            None => {
                let state = self.create(&self.changes, ours.clone()).await?;
                info!(table = %self.parts.table, "table created");
                state
            }
        };
        let found = state.metadata.clone();
        self.changes_state = Some(state);
        let (contract, shape) =
            layout::contract_of_table(&found).map_err(|why| self.table_error(why))?;
        match self.fit(schema.contract(), &contract, shape)? {
            Fit::Behind => Ok(false),
            Fit::Grows(changes) => self.grow(&changes).await,
            Fit::Same if layout::same_columns(&ours, &found) => Ok(true),
            Fit::Same => Err(self.table_error(
                "its columns are not those of its contract: another program changed them; nothing \
                 is written to it before they are as they were",
            )),
        }
    }

    /// Makes sure that the table of dead letters is there.
    pub(super) async fn ensure_dead_letters(&mut self) -> Result<(), WriterError> {
        let (id, now_us) = (self.parts.entropy.uuid(), self.parts.clock.now_us());
        let ours = layout::system_metadata(&dead_letters_schema(), id, now_us)
            .map_err(|why| self.table_error(why))?;
        let state = match self.dead_letters_state.take() {
            Some(state) => state,
            None => self.create(&self.dead_letters, ours.clone()).await?,
        };
        let same = layout::same_columns(&ours, &state.metadata);
        self.dead_letters_state = Some(state);
        if same {
            return Ok(());
        }
        Err(WriterError::Table {
            table: DEAD_LETTERS_PATH.to_owned(),
            why: "its columns are not those of this program's version; move it away or use the \
                  version that made it"
                .to_owned(),
        })
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
        let encode = || {
            let actions = [info.try_into()?, Protocol::PLAIN.into(), metadata.into()];
            action::encode(&actions)
        };
        let entry =
            encode().map_err(|error: serde_json::Error| self.table_error(error.to_string()))?;
        let entry = bytes::Bytes::from(entry);
        let mut patience = Patience::new(&self.parts.entropy, STORE_WAIT_MIN);
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
