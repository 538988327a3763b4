//! The current tables of all entities.

use std::collections::HashMap;
use std::sync::Arc;

use schemas::TableName;
use tokio::sync::Mutex;

use super::{Round, TABLES_AT_ONCE, Tables, side_by_side};
use crate::maintenance::current::{Current, Means, Mode, Refreshed};
use crate::maintenance::error::MaintenanceError;

/// The current tables of a lake.
#[derive(Debug)]
pub(super) struct CurrentTables {
    means: Means,
    /// Those that were met, with what is known of them: it grows with the number of tables and of
    /// their topic partitions, not with their files.
    tables: HashMap<TableName, Arc<Mutex<Current>>>,
}

impl CurrentTables {
    pub(super) fn new(means: Means) -> Self {
        Self {
            means,
            tables: HashMap::new(),
        }
    }

    /// Brings them up to date.
    pub(super) async fn round(&mut self, tables: &Tables) -> Round {
        if tables.are_all {
            self.tables.retain(|table, _| tables.has(table));
        }
        let names = tables.names.iter();
        let current: Vec<_> = names
            .map(|table| (table.clone(), self.current(table)))
            .collect();
        let turns = current.into_iter();
        let turns = turns.map(|(table, current)| turn(table, current));
        side_by_side(turns, TABLES_AT_ONCE).await
    }

    pub(super) async fn rebuild(
        &mut self,
        table: &TableName,
    ) -> Result<Option<Refreshed>, MaintenanceError> {
        let current = self.current(table);
        let mut current = current.lock().await;
        current.refresh(Mode::Rebuild).await
    }

    fn current(&mut self, table: &TableName) -> Arc<Mutex<Current>> {
        let means = &self.means;
        let current = self.tables.entry(table.clone()).or_insert_with(|| {
            let current = Current::new(table.clone(), means.clone());
            Arc::new(Mutex::new(current))
        });
        Arc::clone(current)
    }
}

/// One entity's turn.
async fn turn(table: TableName, current: Arc<Mutex<Current>>) -> Round {
    let mut round = Round::default();
    let refreshed = current.lock().await.refresh(Mode::Refresh).await;
    let refreshed = round.settle(&table, refreshed).flatten();
    round.refreshed.extend(refreshed);
    round
}
