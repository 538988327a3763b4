//! All tables of a lake, one after the other, again and again.

use std::collections::HashMap;
use std::sync::Arc;

use lake_store::LakeStore;
use schemas::TableName;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tracing::{debug, warn};

use super::current::{Current, Means, Mode, Refreshed};
use super::error::MaintenanceError;
use super::housekeeping::{self, Housekeeping, Housekept};
use super::period::Period;
use super::periods::Periods;
use super::register::Register;
use super::settings::MaintenanceSettings;
use super::snapshot::Snapshot;
use super::watermarks::Watermarks;
use crate::clock::Clock;
use crate::entropy::Entropy;
use crate::faults;

/// Takes care of a lake's tables.
#[derive(Debug)]
pub struct Maintainer {
    means: Means,
    /// Those that were met, with what is known of them: it grows with the number of tables and of
    /// their topic partitions, not with their files.
    tables: HashMap<TableName, Cared>,
    periods: PeriodTables,
    /// The files and logs of the lake's own tables.
    own: Vec<Housekeeping>,
}

/// The lake's own tables that are asked about periods, once in a round.
#[derive(Debug)]
struct PeriodTables {
    register: Register,
    watermarks: Watermarks,
}

/// One entity's tables.
#[derive(Debug)]
struct Cared {
    current: Current,
    periods: Periods,
    /// The files and logs of its changes and of its current table.
    house: [Housekeeping; 2],
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
        };
        Self {
            periods: PeriodTables {
                register: Register::new(&means.lake),
                watermarks: Watermarks::new(&means.lake),
            },
            own: housekeeping::own(),
            means,
            tables: HashMap::new(),
        }
    }

    /// Rounds over all tables, or over `only` these, until `stop` becomes true. A stop ends what is
    /// being done at once: nothing of it is in a table then, or all of it.
    pub async fn run(&mut self, only: &[TableName], mut stop: watch::Receiver<bool>) {
        loop {
            let next = Instant::now() + self.means.settings.interval;
            let round = async {
                let begun = Instant::now();
                // What failed is logged, and tried again in the next round.
                self.round(only).await;
                let seconds = begun.elapsed().as_millis() as f64 / 1000.0;
                debug!(tables = self.tables.len(), seconds, "round over");
                sleep_until(next).await;
            };
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return,
                () = round => {}
            }
        }
    }

    /// Brings all tables up to date, or `only` these.
    pub async fn round(&mut self, only: &[TableName]) -> Round {
        let mut round = Round::default();
        self.periods.register.forget();
        self.periods.watermarks.forget();
        let tables = match only {
            [] => self.means.lake.tables().await,
            only => Ok(only.to_vec()),
        };
        let tables = tables.unwrap_or_else(|error| {
            warn!(%error, "the lake cannot be listed");
            round.failed.push(error.into());
            Vec::new()
        });
        if only.is_empty() {
            self.tables.retain(|table, _| tables.contains(table));
        }
        for table in tables {
            let means = self.means.clone();
            let (cared, _) = self.table(&table);
            compact_first(&mut cared.house, &means, &mut round).await;
            self.derive(&table, &mut round).await;
            let (cared, _) = self.table(&table);
            keep_house(&mut cared.house, &means, &mut round).await;
        }
        if only.is_empty() {
            keep_house(&mut self.own, &self.means, &mut round).await;
        }
        round
    }

    /// The current table and the period snapshots: neither needs the other.
    async fn derive(&mut self, table: &TableName, round: &mut Round) {
        let (cared, tables) = self.table(table);
        let refreshed = cared.current.refresh(Mode::Refresh).await;
        let refreshed = round.settle(table, refreshed).flatten();
        round.refreshed.extend(refreshed);
        let (register, watermarks) = (&mut tables.register, &mut tables.watermarks);
        let snapshots = cared.periods.round(register, watermarks).await;
        let snapshots = round.settle(table, snapshots).unwrap_or_default();
        round.snapshots.extend(snapshots);
    }

    /// Throws a table's current state away and computes it from all changes. Its readers see the one
    /// or the other.
    ///
    /// # Errors
    /// There is no such table, or none that is derived; or it cannot be read or written.
    pub async fn rebuild(&mut self, table: &TableName) -> Result<Refreshed, MaintenanceError> {
        let (cared, _) = self.table(table);
        let rebuilt = cared.current.refresh(Mode::Rebuild).await?;
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
        self.periods.register.forget();
        let (cared, tables) = self.table(table);
        let register = &mut tables.register;
        cared.periods.rebuild(period, register).await
    }

    fn table(&mut self, table: &TableName) -> (&mut Cared, &mut PeriodTables) {
        let means = &self.means;
        let cared = self.tables.entry(table.clone()).or_insert_with(|| Cared {
            current: Current::new(table.clone(), means.clone()),
            periods: Periods::new(table.clone(), means.clone()),
            house: [
                Housekeeping::of_changes(table),
                Housekeeping::of_table(table.current_path()),
            ],
        });
        (cared, &mut self.periods)
    }
}

async fn compact_first(house: &mut [Housekeeping], means: &Means, round: &mut Round) {
    for one in house {
        one.compact_first(means, &mut round.failed).await;
    }
}

async fn keep_house(house: &mut [Housekeeping], means: &Means, round: &mut Round) {
    for one in house {
        let known = round.failed.len();
        round
            .housekept
            .extend(one.round(means, &mut round.failed).await);
        for error in round.failed.iter().skip(known) {
            warn!(%error, "the table's files or log are not tidied up");
        }
    }
}
