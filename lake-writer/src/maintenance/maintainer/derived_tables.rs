//! What is derived of each entity's changes: its current table and its period snapshots.

use std::collections::HashMap;
use std::sync::Arc;

use schemas::TableName;
use tokio::sync::Mutex;

use super::{Round, Tables, side_by_side};
use crate::maintenance::current::{Current, Means, Mode, Refreshed};
use crate::maintenance::error::MaintenanceError;
use crate::maintenance::period::Period;
use crate::maintenance::periods::Periods;
use crate::maintenance::register::Register;
use crate::maintenance::snapshot::Snapshot;
use crate::maintenance::watermarks::Watermarks;

/// Tables that are looked at side by side.
const TABLES_AT_ONCE: usize = 16;

/// The derived tables of a lake.
#[derive(Debug)]
pub(super) struct DerivedTables {
    means: Means,
    /// Those that were met, with what is known of them: it grows with the number of tables and of
    /// their topic partitions, not with their files.
    tables: HashMap<TableName, Arc<Mutex<Derived>>>,
    asked: Asked,
}

/// The lake's own tables that are asked about periods, once in a round.
#[derive(Clone, Debug)]
struct Asked {
    register: Arc<Mutex<Register>>,
    watermarks: Arc<Mutex<Watermarks>>,
}

/// What is derived of one entity.
#[derive(Debug)]
struct Derived {
    table: TableName,
    current: Current,
    periods: Periods,
}

impl DerivedTables {
    pub(super) fn new(means: Means) -> Self {
        Self {
            asked: Asked {
                register: Arc::new(Mutex::new(Register::new(&means.lake))),
                watermarks: Arc::new(Mutex::new(Watermarks::new(&means.lake))),
            },
            means,
            tables: HashMap::new(),
        }
    }

    /// Brings them up to date.
    pub(super) async fn round(&mut self, tables: &Tables) -> Round {
        self.asked.register.lock().await.forget();
        self.asked.watermarks.lock().await.forget();
        if tables.are_all {
            self.tables.retain(|table, _| tables.names.contains(table));
        }
        let names = tables.names.iter();
        let turns: Vec<_> = names
            .map(|table| turn(self.derived(table), self.asked.clone()))
            .collect();
        side_by_side(turns, TABLES_AT_ONCE).await
    }

    pub(super) async fn rebuild(
        &mut self,
        table: &TableName,
    ) -> Result<Option<Refreshed>, MaintenanceError> {
        let derived = self.derived(table);
        let mut derived = derived.lock().await;
        derived.current.refresh(Mode::Rebuild).await
    }

    pub(super) async fn rebuild_period(
        &mut self,
        table: &TableName,
        period: Period,
    ) -> Result<Vec<Snapshot>, MaintenanceError> {
        let derived = self.derived(table);
        let mut derived = derived.lock().await;
        self.asked.register.lock().await.forget();
        derived.periods.rebuild(period, &self.asked.register).await
    }

    fn derived(&mut self, table: &TableName) -> Arc<Mutex<Derived>> {
        let means = &self.means;
        let derived = self.tables.entry(table.clone()).or_insert_with(|| {
            Arc::new(Mutex::new(Derived {
                current: Current::new(table.clone(), means.clone()),
                periods: Periods::new(table.clone(), means.clone()),
                table: table.clone(),
            }))
        });
        Arc::clone(derived)
    }
}

/// One entity's turn: neither of the two needs the other.
async fn turn(derived: Arc<Mutex<Derived>>, asked: Asked) -> Round {
    let mut derived = derived.lock().await;
    let Derived {
        table,
        current,
        periods,
    } = &mut *derived;
    let mut round = Round::default();
    let refreshed = current.refresh(Mode::Refresh).await;
    let refreshed = round.settle(table, refreshed).flatten();
    round.refreshed.extend(refreshed);
    let snapshots = periods.round(&asked.register, &asked.watermarks).await;
    let snapshots = round.settle(table, snapshots).unwrap_or_default();
    round.snapshots.extend(snapshots);
    round
}
