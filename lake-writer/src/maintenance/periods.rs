//! One entity's period snapshots: its rows as they were at the ends of months, quarters and years.
//!
//! A snapshot is of a moment of the owner's time: per key the latest change among those before the
//! first one at or after that moment (see [`super::tail`]). It is made when the period is complete
//! ([`due`]), and never changed. A change that reaches the lake later and would have been in it
//! makes the next revision ([`late`]); both stay. That a period had no rows is registered too, so that a
//! change that comes late for it makes its first one, whoever sees it.
//!
//! A snapshot is a table of its own, created with all its rows in one entry if there is none at its
//! place; then it is registered. Who is killed in between leaves a whole snapshot, which the next round
//! finds at that place and registers. Of two at once one creates it, and the other deletes what it
//! had uploaded for it, which nothing refers to. What is left of one that was killed goes with the next
//! look at that place ([`leftovers`]).

use std::collections::BTreeMap;

use lake_store::CHANGES_SINCE_PROPERTY;
use schemas::TableName;
use tokio::sync::Mutex;

use super::current::Means;
use super::current_layout::CurrentLayout;
use super::error::{FoldError, MaintenanceError};
use super::kept_table::KeptTable;
use super::period::Period;
use super::register::Register;
use super::snapshot::Snapshot;
use super::watermarks::Watermarks;
use crate::delta_log::{DeltaLog, TableState};
use crate::layout;

mod due;
mod late;
mod leftovers;
mod revision;

use late::Looked;

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
}

/// What one round is about.
struct Work {
    layout: CurrentLayout,
    changes: TableState,
}

impl Periods {
    pub(crate) fn new(table: TableName, means: Means) -> Self {
        let path = table.changes_path();
        let log = DeltaLog::new(means.lake.table_store(&path));
        Self {
            changes: KeptTable::new(path, log),
            looked: BTreeMap::new(),
            noted_us: None,
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
        let known = register.lock().await.of(&self.table).await?;
        let Some(mut work) = self.open().await? else {
            return Ok(None);
        };
        let until_us = match known.made.get(&period) {
            Some(made) => made.until_us,
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
        let known = register.lock().await.of(&self.table).await?;
        if known.made.is_empty() && self.means.settings.periods.is_empty() {
            return Ok(Vec::new());
        }
        let Some(mut work) = self.open().await? else {
            return Ok(Vec::new());
        };
        let newest = work.changes.version;
        let mut due = self.over(&work, &known, watermarks).await?;
        // What has passed its retention cannot be folded again: snapshots of it stay as they are.
        let properties = &work.changes.metadata.configuration;
        if !properties.contains_key(CHANGES_SINCE_PROPERTY) {
            due.extend(self.late(&work.changes, &known).await?);
        }
        let mut made = Vec::new();
        for due in due {
            made.extend(self.snapshot(&mut work, due, &known, register).await?);
        }
        self.note(newest, &known, &made, register).await?;
        Ok(made)
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
