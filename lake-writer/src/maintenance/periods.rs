//! One entity's period snapshots: its rows as they were at the ends of months, quarters and years.
//!
//! A snapshot is of a moment of the owner's time: per key the latest change among those before the
//! first one at or after that moment (see [`super::tail`]). It is made when the period is complete
//! ([`due`]), and never changed. A change that reaches the lake later and would have been in it
//! makes the next revision ([`late`]); both stay. That a period had no rows is registered too, so that a
//! change that comes late for it makes its first one, whoever sees it.
//!
//! Each is a full copy and stays, so none is made while changes of before its end are still coming, but for
//! a first one that watermarks say to be complete. What is waited with is not noted ([`noted`]): whoever
//! comes next finds it in the log of the changes.
//!
//! A snapshot is a table of its own, created with all its rows in one entry if there is none at its
//! place; then it is registered. Who is killed in between leaves a whole snapshot, which the next round
//! finds at that place and registers. Of two at once one creates it, and the other deletes what it
//! had uploaded for it, which nothing refers to. What is left of one that was killed goes with the next
//! look at that place ([`leftovers`]). A register that was moved away is made again of what there is
//! ([`restored`]).

use std::collections::BTreeMap;
use std::time::Duration;

use schemas::TableName;
use tokio::sync::Mutex;
use tracing::warn;

use super::current::Means;
use super::current_layout::CurrentLayout;
use super::error::{FoldError, MaintenanceError};
use super::kept_table::KeptTable;
use super::period::Period;
use super::register::{Known, Register};
use super::snapshot::Snapshot;
use super::watermarks::Watermarks;
use crate::delta_log::{DeltaLog, DeltaLogError, TableState};
use crate::layout;

mod arrivals;
mod due;
mod late;
mod leftovers;
mod noted;
mod restored;
mod revision;

use late::{Due, Looks};
use noted::Looked;

/// One entity's snapshots and the changes that they are made of.
#[derive(Debug)]
pub(crate) struct Periods {
    table: TableName,
    means: Means,
    changes: KeptTable,
    /// How far this process has looked for late changes.
    looked: BTreeMap<Period, Looked>,
    /// When this process last registered that.
    noted_us: Option<i64>,
    /// Whether the register knows of no snapshot, and there is none.
    has_none: bool,
}

/// What one round is about.
struct Work {
    layout: CurrentLayout,
    changes: TableState,
}

/// What came of the snapshots that were due.
#[derive(Default)]
struct Done {
    made: Vec<Snapshot>,
    /// How far was looked for late changes; where something went wrong, with what a snapshot is due for.
    looked: BTreeMap<Period, Looked>,
    /// What went wrong first.
    error: Option<FoldError>,
}

impl Periods {
    pub(crate) fn new(table: TableName, means: Means) -> Self {
        let path = table.changes_path();
        let log = DeltaLog::new(means.lake.table_store(&path));
        Self {
            changes: KeptTable::new(path, log),
            looked: BTreeMap::new(),
            noted_us: None,
            has_none: false,
            table,
            means,
        }
    }

    /// Makes the snapshots of the periods that are complete, and new revisions where changes came late.
    pub(crate) async fn round(
        &mut self,
        register: &Mutex<Register>,
        watermarks: &Mutex<Watermarks>,
    ) -> Result<Vec<Snapshot>, MaintenanceError> {
        let made = self.try_round(register, watermarks).await;
        made.map_err(|error| error.of(&format!("{} (periods)", self.table)))
    }

    /// Computes a period's snapshot anew; a revision more, if it differs from the newest there is.
    pub(crate) async fn rebuild(
        &mut self,
        period: Period,
        register: &Mutex<Register>,
    ) -> Result<Vec<Snapshot>, MaintenanceError> {
        let rebuilt = self.try_rebuild(period, register).await;
        match rebuilt.map_err(|error| error.of(&self.table.to_string()))? {
            Some(made) => Ok(made),
            None => Err(MaintenanceError::NotDerived {
                table: self.table.clone(),
                why: "there are no changes of a keyed entity by this name",
            }),
        }
    }

    async fn try_rebuild(
        &mut self,
        period: Period,
        register: &Mutex<Register>,
    ) -> Result<Option<Vec<Snapshot>>, FoldError> {
        let (known, _) = self.known(register).await?;
        let Some(mut work) = self.open().await? else {
            return Ok(None);
        };
        let until_us = match known.made.get(&period) {
            Some(made) => self.until_of(period, made)?,
            None => self.end_of(period)?,
        };
        if until_us > self.means.clock.now_us() {
            let why = format!("the period {period} is not over");
            return Err(FoldError::Layout(why));
        }
        let made = self.snapshot(&mut work, (period, until_us), &known, register);
        made.await.map(Some)
    }

    /// What is known of snapshots is read before the changes are: so none is known that was made of
    /// later changes.
    async fn try_round(
        &mut self,
        register: &Mutex<Register>,
        watermarks: &Mutex<Watermarks>,
    ) -> Result<Vec<Snapshot>, FoldError> {
        let (known, mut made) = self.known(register).await?;
        if known.made.is_empty() && self.means.settings.periods.is_empty() {
            return Ok(made);
        }
        let Some(mut work) = self.open().await? else {
            return Ok(made);
        };
        let over = self.over(&work, &known, watermarks).await?;
        let Looks { due, mut looked } = self.look(&work.changes, &known, &over).await?;
        let done = self.make_all(&mut work, due, &known, register).await;
        looked.extend(done.looked);
        let noted = self.note(looked, &known, register).await;
        if let Some(error) = done.error {
            return Err(error);
        }
        noted?;
        made.extend(done.made);
        Ok(made)
    }

    /// Makes what is due. What is wrong with one period's folder costs no other period.
    async fn make_all(
        &mut self,
        work: &mut Work,
        due: BTreeMap<Period, Due>,
        known: &Known,
        register: &Mutex<Register>,
    ) -> Done {
        let mut done = Done::default();
        let mut dues = due.into_iter();
        for (period, due) in dues.by_ref() {
            let made = self.snapshot(work, (period, due.until_us), known, register);
            let error = match made.await {
                Ok(made) => {
                    let looked = made.last().map(Looked::at).or(due.looked);
                    done.looked.extend(looked.map(|looked| (period, looked)));
                    done.made.extend(made);
                    continue;
                }
                Err(error) => error,
            };
            done.looked
                .extend(due.unmade.map(|looked| (period, looked)));
            let goes_on = is_of_one(&error) && self.owe(period, known, register).await;
            if done.error.is_some() {
                warn!(table = %self.table, %period, %error, "the period's snapshot is not made");
            } else {
                done.error = Some(error);
            }
            if !goes_on {
                break;
            }
        }
        let unmade = dues.filter_map(|(period, due)| Some((period, due.unmade?)));
        done.looked.extend(unmade);
        done
    }

    /// Keeps a first snapshot in mind that could not be made, before later ones are: whoever comes next
    /// goes on from these. Whether it is kept.
    async fn owe(&self, period: Period, known: &Known, register: &Mutex<Register>) -> bool {
        if known.made.contains_key(&period) || known.owed.contains(&period) {
            return true;
        }
        let mut register = register.lock().await;
        let owed = register.owe(&self.table, period, &self.means).await;
        if let Err(error) = &owed {
            warn!(table = %self.table, %period, %error,
                "it is not registered that the period's snapshot is owed: later ones wait for it");
        }
        owed.is_ok()
    }

    /// The changes, if they are of a keyed entity.
    async fn open(&mut self) -> Result<Option<Work>, FoldError> {
        let newest = self.changes.newest().await;
        let newest = newest.map_err(|error| FoldError::of_changes(&self.changes.path, &error))?;
        let Some(changes) = newest else {
            return Ok(None);
        };
        let (contract, shape) =
            layout::contract_of_table(&changes.metadata).map_err(FoldError::Layout)?;
        Ok(CurrentLayout::of(contract, shape).map(|layout| Work { layout, changes }))
    }

    fn end_of(&self, period: Period) -> Result<i64, FoldError> {
        let zone = self.means.settings.zone().map_err(FoldError::Layout)?;
        let end = period.end_us(zone);
        end.ok_or_else(|| FoldError::Layout(format!("{period} is beyond the calendar")))
    }
}

/// Whether it is wrong with one snapshot, so that others may be right. A store that does not answer is not
/// asked for each of them.
fn is_of_one(error: &FoldError) -> bool {
    match error {
        FoldError::Layout(_)
        | FoldError::File { .. }
        | FoldError::Rows(_)
        | FoldError::Encoding(_)
        | FoldError::Log(DeltaLogError::Corrupt { .. }) => true,
        other => other.is_not_found(),
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
