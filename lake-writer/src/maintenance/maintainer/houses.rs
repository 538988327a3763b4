//! The files and logs of all tables, each of which has its turn now and then.

use std::collections::HashMap;
use std::sync::Arc;

use schemas::TableName;
use tokio::sync::Mutex;
use tracing::warn;

use super::{Round, Tables, side_by_side};
use crate::maintenance::current::Means;
use crate::maintenance::housekeeping::{Housekeeping, own};

/// Entities whose files and logs are kept side by side. Each has the list of a table's files in memory.
const HOUSES_AT_ONCE: usize = 8;

/// Tables whose turns come one after the other.
type House = Arc<Mutex<Vec<Housekeeping>>>;

/// The files and logs of a lake.
#[derive(Debug)]
pub(super) struct Houses {
    means: Means,
    /// Of each entity its changes and its current table.
    entities: HashMap<TableName, House>,
    /// The lake's own tables.
    own: Vec<House>,
}

impl Houses {
    pub(super) fn new(means: Means) -> Self {
        let own = own().into_iter();
        Self {
            means,
            entities: HashMap::new(),
            own: own.map(|one| Arc::new(Mutex::new(vec![one]))).collect(),
        }
    }

    /// Keeps house where it is time; where the lake's own tables are, too, if the tables are all.
    pub(super) async fn round(&mut self, tables: &Tables) -> Round {
        let names = tables.names.iter();
        let mut houses: Vec<House> = names.map(|table| self.house(table)).collect();
        if tables.are_all {
            self.entities.retain(|table, _| tables.has(table));
            houses.extend(self.own.iter().cloned());
        }
        let turns = houses.into_iter();
        let turns = turns.map(|house| turn(house, self.means.clone()));
        side_by_side(turns, HOUSES_AT_ONCE).await
    }

    fn house(&mut self, table: &TableName) -> House {
        let house = self.entities.entry(table.clone()).or_insert_with(|| {
            Arc::new(Mutex::new(vec![
                Housekeeping::of_changes(table),
                Housekeeping::of_table(table.current_path()),
            ]))
        });
        Arc::clone(house)
    }
}

async fn turn(house: House, means: Means) -> Round {
    let mut round = Round::default();
    for one in house.lock().await.iter_mut() {
        let known = round.failed.len();
        let kept = one.round(&means, &mut round.failed).await;
        round.housekept.extend(kept);
        for error in round.failed.iter().skip(known) {
            warn!(%error, "the table's files or log are not tidied up");
        }
    }
    round
}
