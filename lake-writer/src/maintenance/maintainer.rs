//! All tables of a lake, again and again.
//!
//! Three things go on beside each other: current tables are brought up to date, period snapshots are made,
//! and files and logs are kept few. The second takes long at a year's end, the third where there is much to
//! delete; nobody who waits for fresh rows waits for either. Of each, several tables are at it at once: most
//! of the time goes by while the store answers. What takes memory is done one at a time (see
//! [`super::room`]).

use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, stream};
use lake_store::LakeStore;
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

mod care_progress;
mod current_tables;
mod houses;
mod loop_progress;
mod period_snapshots;
mod tables;

pub use care_progress::CareProgress;
use current_tables::CurrentTables;
use houses::Houses;
pub use loop_progress::LoopProgress;
use period_snapshots::PeriodSnapshots;
use tables::{Listing, Tables};

/// Entities that are looked at side by side to derive something of them.
const TABLES_AT_ONCE: usize = 16;

/// Takes care of a lake's tables.
#[derive(Debug)]
pub struct Maintainer {
    /// Time between the beginnings of two rounds.
    interval: Duration,
    listing: Listing,
    current: CurrentTables,
    periods: PeriodSnapshots,
    houses: Houses,
    progress: Arc<CareProgress>,
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
        // Of one table both may be, its current table and its snapshots.
        for table in other.overtaken {
            if !self.overtaken.contains(&table) {
                self.overtaken.push(table);
            }
        }
        self.failed.extend(other.failed);
    }

    /// What was derived of a table, if it could be.
    fn settle<T>(&mut self, table: &TableName, done: Result<T, MaintenanceError>) -> Option<T> {
        match done {
            Ok(done) => return Some(done),
            Err(MaintenanceError::Overtaken { .. }) => self.overtaken.push(table.clone()),
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
            // No writer waits for a checkpoint of what is derived.
            lake: lake.apart().map_store(faults::wrap),
            clock,
            entropy,
            settings: Arc::new(settings),
            room: Arc::default(),
        };
        Self {
            interval: means.settings.interval,
            listing: Listing::new(&means),
            current: CurrentTables::new(means.clone()),
            periods: PeriodSnapshots::new(means.clone()),
            houses: Houses::new(means),
            progress: Arc::default(),
        }
    }

    /// Tells of its rounds there.
    #[must_use]
    pub fn telling(self, progress: Arc<CareProgress>) -> Self {
        Self { progress, ..self }
    }

    /// Rounds over all tables, or over `only` these, until `stop` becomes true. A stop ends what is
    /// being done at once: nothing of it is in a table then, or all of it.
    pub async fn run(&mut self, only: &[TableName], mut stop: watch::Receiver<bool>) {
        let pace = Pace {
            listing: &self.listing,
            only,
            interval: self.interval,
        };
        let (current, periods, houses) = (&mut self.current, &mut self.periods, &mut self.houses);
        let progress = &self.progress;
        // What failed is logged, and tried again in the next round.
        let refresh = async {
            loop {
                let mut turn = pace.begin().await;
                turn.round.extend(current.round(&turn.tables).await);
                pace.end("round over", turn, &progress.refresh).await;
            }
        };
        let keep_periods = async {
            loop {
                let mut turn = pace.begin().await;
                turn.round.extend(periods.round(&turn.tables).await);
                pace.end("periods round over", turn, &progress.periods)
                    .await;
            }
        };
        let keep_house = async {
            loop {
                let mut turn = pace.begin().await;
                turn.round.extend(houses.round(&turn.tables).await);
                pace.end("houses round over", turn, &progress.houses).await;
            }
        };
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => {}
            () = refresh => {}
            () = keep_periods => {}
            () = keep_house => {}
        }
    }

    /// Brings all current tables up to date, or `only` these, then makes the snapshots of periods that are
    /// over, then keeps files and logs few.
    pub async fn round(&mut self, only: &[TableName]) -> Round {
        let mut round = Round::default();
        let tables = self.listing.look(only, Duration::ZERO, &mut round).await;
        round.extend(self.current.round(&tables).await);
        self.progress.refresh.ended(&tables, &round);
        let snapshots = self.periods.round(&tables).await;
        self.progress.periods.ended(&tables, &snapshots);
        round.extend(snapshots);
        let housekept = self.houses.round(&tables).await;
        self.progress.houses.ended(&tables, &housekept);
        round.extend(housekept);
        round
    }

    /// Throws a table's current state away and computes it from all changes. Its readers see the one
    /// or the other.
    ///
    /// # Errors
    /// There is no such table, or none that is derived; or it cannot be read or written.
    pub async fn rebuild(&mut self, table: &TableName) -> Result<Refreshed, MaintenanceError> {
        let rebuilt = self.current.rebuild(table).await?;
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
        self.periods.rebuild(table, period).await
    }
}

/// A round of a loop that goes on.
struct Turn {
    begun: Instant,
    tables: Tables,
    round: Round,
}

/// When the rounds of a loop begin, and over which tables.
struct Pace<'a> {
    listing: &'a Listing,
    only: &'a [TableName],
    interval: Duration,
}

impl Pace<'_> {
    async fn begin(&self) -> Turn {
        let begun = Instant::now();
        let (only, age_max) = (self.only, self.interval / 2);
        let mut round = Round::default();
        let tables = self.listing.look(only, age_max, &mut round).await;
        Turn {
            begun,
            tables,
            round,
        }
    }

    /// Says that a round is over and waits for the next one.
    async fn end(&self, what: &str, turn: Turn, progress: &LoopProgress) {
        let seconds = seconds_since(turn.begun);
        debug!(tables = turn.tables.names.len(), seconds, "{what}");
        progress.ended(&turn.tables, &turn.round);
        sleep_until(turn.begun + self.interval).await;
    }
}

fn seconds_since(begun: Instant) -> f64 {
    begun.elapsed().as_millis() as f64 / 1000.0
}

/// Lets so many turns go on side by side. One that takes long holds up no other; what came of them is in
/// their order.
async fn side_by_side(turns: impl Iterator<Item: Future<Output = Round>>, at_once: usize) -> Round {
    let turns = turns.enumerate();
    let turns = turns.map(|(number, turn)| async move { (number, turn.await) });
    let done = stream::iter(turns).buffer_unordered(at_once);
    let mut done: Vec<(usize, Round)> = done.collect().await;
    done.sort_by_key(|(number, _)| *number);
    let mut round = Round::default();
    done.into_iter().for_each(|(_, turn)| round.extend(turn));
    round
}
