//! All tables of a lake, again and again.
//!
//! Two things go on beside each other: derived tables are brought up to date, and files and logs are
//! kept few. The latter takes long where there is much to delete; nobody who waits for fresh rows waits for
//! that. Of either, several tables are at it at once: most of the time goes by while the store answers.
//! What takes memory is done one at a time (see [`super::room`]).

use std::sync::Arc;

use futures::{StreamExt, stream};
use lake_store::{LakeStore, LakeStoreError};
use schemas::TableName;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tracing::{debug, warn};

use super::current::{Means, Refreshed};
use super::error::MaintenanceError;
use super::housekeeping::Housekept;
use super::period::Period;
use super::settings::MaintenanceSettings;
use super::snapshot::Snapshot;
use crate::clock::Clock;
use crate::entropy::Entropy;
use crate::faults;

mod derived_tables;
mod houses;

use derived_tables::DerivedTables;
use houses::Houses;

/// Takes care of a lake's tables.
#[derive(Debug)]
pub struct Maintainer {
    means: Means,
    derived: DerivedTables,
    houses: Houses,
}

/// What one round over the tables came to.
#[derive(Debug, Default)]
pub struct Round {
    /// What was brought up to date.
    pub refreshed: Vec<Refreshed>,
    /// Period snapshots that were made.
    pub snapshots: Vec<Snapshot>,
    /// Tables whose files or logs were tidied up.
    pub housekept: Vec<Housekept>,
    /// What another process was at, at the same time, and was first. The next round looks again.
    pub overtaken: Vec<TableName>,
    /// What could not be, and why.
    pub failed: Vec<MaintenanceError>,
}

impl Round {
    /// A round over more tables.
    fn extend(&mut self, other: Self) {
        self.refreshed.extend(other.refreshed);
        self.snapshots.extend(other.snapshots);
        self.housekept.extend(other.housekept);
        self.overtaken.extend(other.overtaken);
        self.failed.extend(other.failed);
    }

    /// What was derived of a table, if it could be.
    fn settle<T>(&mut self, table: &TableName, done: Result<T, MaintenanceError>) -> Option<T> {
        match done {
            Ok(done) => return Some(done),
            Err(MaintenanceError::Overtaken { .. }) => {
                if self.overtaken.last() != Some(table) {
                    self.overtaken.push(table.clone());
                }
            }
            Err(error) => {
                warn!(%table, %error, "the table's derived tables are not up to date");
                self.failed.push(error);
            }
        }
        None
    }
}

impl Maintainer {
    /// Reads nothing yet. Must run on a multi-threaded tokio runtime.
    pub fn new(
        lake: LakeStore,
        clock: Arc<dyn Clock>,
        entropy: Arc<Entropy>,
        settings: MaintenanceSettings,
    ) -> Self {
        let means = Means {
            lake: lake.map_store(faults::wrap),
            clock,
            entropy,
            settings,
            room: Arc::default(),
        };
        Self {
            derived: DerivedTables::new(means.clone()),
            houses: Houses::new(means.clone()),
            means,
        }
    }

    /// Rounds over all tables, or over `only` these, until `stop` becomes true. A stop ends what is
    /// being done at once: nothing of it is in a table then, or all of it.
    pub async fn run(&mut self, only: &[TableName], mut stop: watch::Receiver<bool>) {
        let (lake, interval) = (&self.means.lake, self.means.settings.interval);
        let (derived, houses) = (&mut self.derived, &mut self.houses);
        let derive = async {
            loop {
                let begun = Instant::now();
                // What failed is logged, and tried again in the next round.
                let tables = Tables::of(lake, only, &mut Round::default()).await;
                derived.round(&tables).await;
                let seconds = seconds_since(begun);
                debug!(tables = tables.names.len(), seconds, "round over");
                sleep_until(begun + interval).await;
            }
        };
        let keep_house = async {
            loop {
                let begun = Instant::now();
                let tables = Tables::of(lake, only, &mut Round::default()).await;
                houses.round(&tables).await;
                let seconds = seconds_since(begun);
                debug!(tables = tables.names.len(), seconds, "houses round over");
                sleep_until(begun + interval).await;
            }
        };
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => {}
            () = derive => {}
            () = keep_house => {}
        }
    }

    /// Brings all tables up to date, or `only` these, and keeps their files and logs few.
    pub async fn round(&mut self, only: &[TableName]) -> Round {
        let mut round = Round::default();
        let tables = Tables::of(&self.means.lake, only, &mut round).await;
        round.extend(self.derived.round(&tables).await);
        round.extend(self.houses.round(&tables).await);
        round
    }

    /// Throws a table's current state away and computes it from all changes. Its readers see the one
    /// or the other.
    ///
    /// # Errors
    /// There is no such table, or none that is derived; or it cannot be read or written.
    pub async fn rebuild(&mut self, table: &TableName) -> Result<Refreshed, MaintenanceError> {
        let rebuilt = self.derived.rebuild(table).await?;
        rebuilt.ok_or_else(|| MaintenanceError::NotDerived {
            table: table.clone(),
            why: "there are no changes of a keyed entity by this name; `lakehead status` and \
                  `system.tables` show those there are",
        })
    }

    /// Computes a period's snapshot from all changes. It becomes the next revision if it differs from
    /// the newest there is, or if there is none.
    ///
    /// # Errors
    /// As [`Self::rebuild`], or the period is not over.
    pub async fn rebuild_period(
        &mut self,
        table: &TableName,
        period: Period,
    ) -> Result<Vec<Snapshot>, MaintenanceError> {
        self.derived.rebuild_period(table, period).await
    }
}

/// The tables that a round is over.
struct Tables {
    names: Vec<TableName>,
    /// All there are.
    are_all: bool,
}

impl Tables {
    /// Those of `only` that there are, or all. None if the lake cannot be listed.
    async fn of(lake: &LakeStore, only: &[TableName], round: &mut Round) -> Self {
        let names = match only {
            [] => lake.tables().await,
            only => Self::named(lake, only, round).await,
        };
        let are_all = only.is_empty() && names.is_ok();
        let names = names.unwrap_or_else(|error| {
            warn!(%error, "the lake cannot be listed");
            round.failed.push(error.into());
            Vec::new()
        });
        Self { names, are_all }
    }

    async fn named(
        lake: &LakeStore,
        only: &[TableName],
        round: &mut Round,
    ) -> Result<Vec<TableName>, LakeStoreError> {
        let mut names = Vec::new();
        for name in only {
            match lake.has_log(&name.changes_path()).await? {
                true => names.push(name.clone()),
                false => round.failed.push(MaintenanceError::NotDerived {
                    table: name.clone(),
                    why: "there are no changes by this name; `lakehead status` and `system.tables` show those \
                          there are",
                }),
            }
        }
        Ok(names)
    }
}

fn seconds_since(begun: Instant) -> f64 {
    begun.elapsed().as_millis() as f64 / 1000.0
}

/// Lets so many turns go on side by side. One that takes long holds up no other; what came of them is in
/// their order.
async fn side_by_side(turns: Vec<impl Future<Output = Round>>, at_once: usize) -> Round {
    let turns = turns.into_iter().enumerate();
    let turns = turns.map(|(number, turn)| async move { (number, turn.await) });
    let done = stream::iter(turns).buffer_unordered(at_once);
    let mut done: Vec<(usize, Round)> = done.collect().await;
    done.sort_by_key(|(number, _)| *number);
    let mut round = Round::default();
    done.into_iter().for_each(|(_, turn)| round.extend(turn));
    round
}
