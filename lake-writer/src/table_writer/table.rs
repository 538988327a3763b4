//! Finding or making the table that a flush goes to.

use columnar::ChangeSchema;
use tracing::info;

use super::TableWriter;
use super::evolution::Fit;
use crate::delta_log::{DeltaLogError, TableState, create, patiently};
use crate::error::WriterError;
use crate::layout;

impl TableWriter {
    /// The newest state of the table of changes, waiting out a store that is down.
    pub(super) async fn load(&self) -> Result<Option<TableState>, WriterError> {
        self.patiently(|| self.changes.load()).await
    }

    /// Does something with the table's store, waiting out one that is down.
    pub(super) async fn patiently<T, F: Future<Output = Result<T, DeltaLogError>>>(
        &self,
        work: impl Fn() -> F,
    ) -> Result<T, WriterError> {
        patiently(&self.name(), &self.parts.entropy, work).await
    }

    fn name(&self) -> String {
        self.parts.table.to_string()
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
                let parts = (self.parts.clock.as_ref(), self.parts.entropy.as_ref());
                let state = create(&self.changes, &self.name(), ours.clone(), parts).await?;
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
}
