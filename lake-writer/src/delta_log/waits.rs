//! Asking a store that may be down, for as long as it is.

use std::collections::HashMap;
use std::time::Duration;

use tracing::warn;

use super::{DeltaLog, DeltaLogError, Put, TableState};
use crate::action::{self, Metadata, Protocol};
use crate::clock::Clock;
use crate::entropy::Entropy;
use crate::error::WriterError;
use crate::patience::Patience;

/// First wait when the store does not answer.
const WAIT_MIN: Duration = Duration::from_millis(100);

impl<'a> Patience<'a> {
    /// Waits for a store.
    pub(crate) fn with_store(entropy: &'a Entropy) -> Self {
        Self::new(entropy, WAIT_MIN)
    }

    /// Waits out a store that is down. Anything else is what is wrong with the table.
    pub(crate) async fn wait_out(
        &mut self,
        table: &str,
        error: DeltaLogError,
    ) -> Result<(), WriterError> {
        match error {
            DeltaLogError::Store(error) => {
                warn!(table, %error, "the store does not do as asked; trying again");
                self.wait().await;
                Ok(())
            }
            DeltaLogError::Corrupt { .. } => Err(WriterError::Table {
                table: table.to_owned(),
                why: error.to_string(),
            }),
        }
    }
}

/// Does something with a table's store until it is done.
pub(crate) async fn patiently<T, F: Future<Output = Result<T, DeltaLogError>>>(
    table: &str,
    entropy: &Entropy,
    work: impl Fn() -> F,
) -> Result<T, WriterError> {
    let mut patience = Patience::with_store(entropy);
    loop {
        match work().await {
            Ok(done) => return Ok(done),
            Err(error) => patience.wait_out(table, error).await?,
        }
    }
}

/// Puts version 0, or finds the one that somebody else put.
pub(crate) async fn create(
    log: &DeltaLog,
    table: &str,
    metadata: Metadata,
    (clock, entropy): (&dyn Clock, &Entropy),
) -> Result<TableState, WriterError> {
    let entry = action::creation(metadata.clone(), clock.now_us());
    let entry = entry.map_err(|error| WriterError::Internal(error.to_string()))?;
    let mut patience = Patience::with_store(entropy);
    loop {
        let put = log.put(0, entry.clone()).await;
        if let Put::Done = put {
            return Ok(TableState {
                version: 0,
                protocol: Protocol::PLAIN,
                metadata,
                txns: HashMap::new(),
            });
        }
        // Whose entry it is does not matter: the layout is compared by the caller.
        if let Some(state) = patiently(table, entropy, || log.load()).await? {
            return Ok(state);
        }
        warn!(table, ?put, "cannot create the table; trying again");
        patience.wait().await;
    }
}
