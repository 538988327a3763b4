//! The period snapshots of all entities.

use std::collections::HashMap;
use std::sync::Arc;

use schemas::TableName;
use tokio::sync::Mutex;

use super::{Round, TABLES_AT_ONCE, Tables, side_by_side};
use crate::maintenance::current::Means;
use crate::maintenance::error::MaintenanceError;
use crate::maintenance::period::Period;
use crate::maintenance::periods::Periods;
use crate::maintenance::register::Register;
use crate::maintenance::snapshot::Snapshot;
use crate::maintenance::watermarks::Watermarks;

/// The period snapshots of a lake.
#[derive(Debug)]
pub(super) struct PeriodSnapshots {
    means: Means,
    /// Of the entities that were met, what is known of their changes. A round and a rebuild of one entity
    /// keep each other out.
    tables: HashMap<TableName, Arc<Mutex<Periods>>>,
    asked: Asked,
}

/// The lake's own tables that are asked about periods, once in a round.
#[derive(Clone, Debug)]
struct Asked {
    register: Arc<Mutex<Register>>,
    watermarks: Arc<Mutex<Watermarks>>,
}

impl PeriodSnapshots {
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

    /// Makes those that are due.
    pub(super) async fn round(&mut self, tables: &Tables) -> Round {
        self.asked.register.lock().await.forget();
        self.asked.watermarks.lock().await.forget();
        if tables.are_all {
            self.tables.retain(|table, _| tables.has(table));
        }
        let names = tables.names.iter();
        let periods: Vec<_> = names
            .map(|table| (table.clone(), self.periods(table)))
            .collect();
        let turns = periods.into_iter();
        let turns = turns.map(|(table, periods)| turn(table, periods, self.asked.clone()));
        side_by_side(turns, TABLES_AT_ONCE).await
    }

    pub(super) async fn rebuild(
        &mut self,
        table: &TableName,
        period: Period,
    ) -> Result<Vec<Snapshot>, MaintenanceError> {
        let periods = self.periods(table);
        let mut periods = periods.lock().await;
        self.asked.register.lock().await.forget();
        periods.rebuild(period, &self.asked.register).await
    }

    fn periods(&mut self, table: &TableName) -> Arc<Mutex<Periods>> {
        let means = &self.means;
        let periods = self.tables.entry(table.clone()).or_insert_with(|| {
            let periods = Periods::new(table.clone(), means.clone());
            Arc::new(Mutex::new(periods))
        });
        Arc::clone(periods)
    }
}

/// One entity's turn.
async fn turn(table: TableName, periods: Arc<Mutex<Periods>>, asked: Asked) -> Round {
    let mut round = Round::default();
    let mut periods = periods.lock().await;
    let snapshots = periods.round(&asked.register, &asked.watermarks).await;
    let snapshots = round.settle(&table, snapshots).unwrap_or_default();
    round.snapshots.extend(snapshots);
    round
}
