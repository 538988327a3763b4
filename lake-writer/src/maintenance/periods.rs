//! One entity's period snapshots: its rows as they were at the ends of months, quarters and years.
//!
//! A snapshot is of a moment of the owner's time: per key the latest change among those before the
//! first one at or after that moment (see [`super::tail`]). It is made when the moment is
//! `period_delay` ago, and never changed. A change that reaches the lake later and would have been in
//! it makes the next revision; both stay.
//!
//! A snapshot is a table of its own, created with all its rows in one entry if there is none at its
//! place; then it is registered. Who is killed in between leaves a whole snapshot, which the next round
//! finds at that place and registers. Of two at once one creates it, and the other deletes what it
//! had uploaded for it, which nothing refers to.

use std::collections::BTreeMap;

use lake_store::CHANGES_SINCE_PROPERTY;
use object_store::ObjectStoreExt;
use object_store::path::Path;
use schemas::TableName;
use tracing::{info, warn};

use super::buckets::{Buckets, Written};
use super::covered::{Covered, progress};
use super::current::Means;
use super::current_layout::CurrentLayout;
use super::error::{FoldError, MaintenanceError};
use super::fold::Fold;
use super::kept_table::KeptTable;
use super::new_changes::{self, NewChanges, first_time_us};
use super::period::Period;
use super::register::{Known, Made, Register};
use super::snapshot::Snapshot;
use super::tail::{Slice, Tail};
use crate::action::Add;
use crate::delta_log::{DeltaLog, Put, TableState};
use crate::faults::{self, Point};
use crate::layout;

/// Versions of the changes after which it is noted up to where they were looked at.
const LOOKED_AT_INTERVAL: u64 = 1000;

/// One entity's snapshots and the changes that they are made of.
#[derive(Debug)]
pub(crate) struct Periods {
    table: TableName,
    means: Means,
    changes: KeptTable,
    /// The version of the changes that this process has looked at.
    looked_at: Option<u64>,
    /// Periods before the first change.
    empty: BTreeMap<Period, i64>,
}

/// What one round is about.
struct Work {
    layout: CurrentLayout,
    changes: TableState,
    /// All files of changes, once they are needed.
    files: Option<NewChanges>,
}

impl Periods {
    pub(crate) fn new(table: TableName, means: Means) -> Self {
        let path = table.changes_path();
        let log = DeltaLog::new(means.lake.table_store(&path));
        Self {
            changes: KeptTable::new(path, log),
            looked_at: None,
            empty: BTreeMap::new(),
            table,
            means,
        }
    }

    /// Makes the snapshots of the periods that are over, and new revisions where changes came late.
    pub(crate) async fn round(
        &mut self,
        register: &mut Register,
    ) -> Result<Vec<Snapshot>, MaintenanceError> {
        let made = self.try_round(register).await;
        made.map_err(|error| error.of(&format!("{} (periods)", self.table)))
    }

    /// Computes a period's snapshot anew; a revision more, if it differs from the newest there is.
    pub(crate) async fn rebuild(
        &mut self,
        period: Period,
        register: &mut Register,
    ) -> Result<Vec<Snapshot>, MaintenanceError> {
        let rebuilt = async {
            let Some(mut work) = self.open().await? else {
                return Ok(None);
            };
            let known = register.of(&self.table).await?;
            let until_us = match known.made.get(&period) {
                Some(made) => made.until_us,
                None => self.end_of(period)?,
            };
            let now_us = self.means.clock.now_us();
            if until_us > now_us {
                let why = format!("the period {period} is not over");
                return Err(FoldError::Layout(why));
            }
            self.snapshot(&mut work, (period, until_us), &known, register)
                .await
                .map(Some)
        };
        match rebuilt
            .await
            .map_err(|error: FoldError| error.of(&self.table.to_string()))?
        {
            Some(made) => Ok(made),
            None => Err(MaintenanceError::NotDerived {
                table: self.table.clone(),
                why: "there are no changes of a keyed entity by this name",
            }),
        }
    }

    async fn try_round(&mut self, register: &mut Register) -> Result<Vec<Snapshot>, FoldError> {
        let known = register.of(&self.table).await?;
        let is_none_closed = known.made.is_empty() && self.empty.is_empty();
        if is_none_closed && self.means.settings.periods.is_empty() {
            return Ok(Vec::new());
        }
        let Some(mut work) = self.open().await? else {
            return Ok(Vec::new());
        };
        let newest = work.changes.version;
        let mut due = self.over(&known)?;
        // What has passed its retention cannot be folded again: snapshots of it stay as they are.
        let properties = &work.changes.metadata.configuration;
        if !properties.contains_key(CHANGES_SINCE_PROPERTY) {
            due.extend(self.late(&work, &known).await?);
        }
        let mut made = Vec::new();
        for due in due {
            made.extend(self.snapshot(&mut work, due, &known, register).await?);
        }
        let noted = known.looked_at.unwrap_or(0);
        let is_far = newest >= noted + LOOKED_AT_INTERVAL;
        if !known.made.is_empty() && is_far || !made.is_empty() {
            register.looked_at(&self.table, newest, &self.means).await?;
        }
        self.looked_at = Some(newest);
        Ok(made)
    }

    /// The changes, if they are of a keyed entity.
    async fn open(&mut self) -> Result<Option<Work>, FoldError> {
        let Some(changes) = self.changes.newest().await? else {
            return Ok(None);
        };
        let (contract, shape) =
            layout::contract_of_table(&changes.metadata).map_err(FoldError::Layout)?;
        Ok(CurrentLayout::of(contract, shape).map(|layout| Work {
            layout,
            changes,
            files: None,
        }))
    }

    /// Periods that are over and have no snapshot: of each length the newest, and what came since the
    /// last one that has.
    fn over(&self, known: &Known) -> Result<BTreeMap<Period, i64>, FoldError> {
        let settings = &self.means.settings;
        let zone = settings.zone().map_err(FoldError::Layout)?;
        let delay_us = i64::try_from(settings.period_delay.as_micros()).unwrap_or(i64::MAX);
        let time_us = self.means.clock.now_us().saturating_sub(delay_us);
        let mut due = BTreeMap::new();
        for length in &settings.periods {
            let Some(over) = Period::over_at(*length, time_us, zone) else {
                continue;
            };
            let made = known
                .made
                .keys()
                .filter(|period| period.length() == *length);
            let mut next = made.max().map_or(over, |last| last.next());
            while next <= over {
                if !self.empty.contains_key(&next) {
                    due.insert(next, self.end_of(next)?);
                }
                next = next.next();
            }
        }
        Ok(due)
    }

    /// Periods that changes came late for, perhaps.
    async fn late(&self, work: &Work, known: &Known) -> Result<BTreeMap<Period, i64>, FoldError> {
        let made = known
            .made
            .iter()
            .map(|(period, made)| (*period, made.until_us));
        let closed = made.chain(
            self.empty
                .iter()
                .map(|(period, until_us)| (*period, *until_us)),
        );
        let Some(looked_at) = self.looked_at.or(known.looked_at) else {
            // Nobody has noted anything: all of them are looked at.
            return Ok(closed.collect());
        };
        let since = new_changes::since(&self.changes.log, looked_at, work.changes.version);
        let first_us = match since.await? {
            Some(changes) => changes.files.iter().map(first_time_us).min(),
            None => Some(i64::MIN),
        };
        Ok(match first_us {
            Some(first_us) => closed
                .filter(|(_, until_us)| first_us < *until_us)
                .collect(),
            None => BTreeMap::new(),
        })
    }

    fn end_of(&self, period: Period) -> Result<i64, FoldError> {
        let zone = self.means.settings.zone().map_err(FoldError::Layout)?;
        let end = period.end_us(zone);
        end.ok_or_else(|| FoldError::Layout(format!("{period} is beyond the calendar")))
    }

    /// Makes the next revision of a period's snapshot, unless it would be the one there is.
    async fn snapshot(
        &mut self,
        work: &mut Work,
        (period, until_us): (Period, i64),
        known: &Known,
        register: &mut Register,
    ) -> Result<Vec<Snapshot>, FoldError> {
        let mut newest = known.made.get(&period).copied();
        let mut made = Vec::new();
        loop {
            let revision = newest.map_or(1, |made| made.revision + 1);
            let path = self.table.period_path(&period.to_string(), revision);
            let log = DeltaLog::new(self.means.lake.table_store(&path));
            // One that was made by somebody who was killed before it was registered.
            let found = match log.load().await? {
                Some(state) => Some(self.found(&state, &path)?),
                None => self.make(work, (period, until_us), newest, &log).await?,
            };
            let Some(snapshot) = found else {
                return Ok(made);
            };
            faults::point(Point::PeriodMade);
            register.add(&snapshot, &self.means).await?;
            self.empty.remove(&period);
            info!(table = %self.table, %period, revision, rows = snapshot.rows,
                changes_version = snapshot.changes_version, path, "period snapshot made");
            let is_up_to_date = snapshot.changes_version == work.changes.version;
            newest = Some(Made {
                revision,
                until_us,
                fingerprint: snapshot.fingerprint,
            });
            made.push(snapshot);
            if is_up_to_date {
                return Ok(made);
            }
        }
    }

    fn found(&self, state: &TableState, path: &str) -> Result<Snapshot, FoldError> {
        let found = Snapshot::of_table(&self.table, &state.metadata);
        found.ok_or_else(|| {
            FoldError::Layout(format!(
                "{path} is there and is no period snapshot; move it away"
            ))
        })
    }

    /// Makes one revision, if it differs from the newest there is.
    async fn make(
        &mut self,
        work: &mut Work,
        (period, until_us): (Period, i64),
        newest: Option<Made>,
        log: &DeltaLog,
    ) -> Result<Option<Snapshot>, FoldError> {
        if let Some(since) = work
            .changes
            .metadata
            .configuration
            .get(CHANGES_SINCE_PROPERTY)
        {
            return Err(FoldError::Layout(format!(
                "changes before {since} have passed their retention, so the rows at the end of {period} \
                 cannot be told from those that are left; set maintenance.periods = [], or keep changes"
            )));
        }
        let files = match work.files.take() {
            Some(files) => files,
            None => new_changes::all(&self.changes.log, &mut work.changes).await?,
        };
        let folded = self.fold(work, &files, until_us, log).await;
        work.files = Some(files);
        let folded = folded?;
        let is_same = match newest {
            Some(made) => made.fingerprint == folded.fingerprint,
            None => folded.written.rows == 0,
        };
        if is_same {
            if newest.is_none() {
                self.empty.insert(period, until_us);
            }
            self.forget(log, &folded.written.added).await;
            return Ok(None);
        }
        let snapshot = Snapshot {
            table: self.table.clone(),
            period,
            revision: newest.map_or(1, |made| made.revision + 1),
            until_us,
            time_zone: self.means.settings.time_zone.clone(),
            changes_version: work.changes.version,
            rows: folded.written.rows,
            made_at_us: self.means.clock.now_us(),
            fingerprint: folded.fingerprint,
        };
        self.create(work, snapshot, folded, log).await.map(Some)
    }

    async fn fold(
        &self,
        work: &Work,
        files: &NewChanges,
        until_us: i64,
        log: &DeltaLog,
    ) -> Result<Folded, FoldError> {
        let covered = Covered::default();
        let fold = Fold {
            log: &self.changes.log,
            changes: files,
            layout: &work.layout,
            covered: &covered,
            until_us: Some(until_us),
            settings: &self.means.settings,
        };
        let (mut slices, mut buckets) = (vec![Slice::ALL], None);
        let (mut written, mut fingerprint) = (Written::default(), 0_i64);
        while let Some(slice) = slices.pop() {
            let mut tail = fold.tail(slice, buckets).await?;
            slices.extend(tail.take_left());
            let to = *buckets.get_or_insert_with(|| fold.buckets_of(&tail));
            fingerprint = fingerprint.wrapping_add(fingerprint_of(&tail));
            let table = (log, &self.means);
            Buckets::default()
                .write(tail, to, table, &mut written)
                .await?;
        }
        Ok(Folded {
            written,
            fingerprint,
            buckets: buckets.unwrap_or(1),
        })
    }

    /// Creates the table with all its rows, unless somebody else was first: then the other one counts.
    async fn create(
        &self,
        work: &Work,
        snapshot: Snapshot,
        folded: Folded,
        log: &DeltaLog,
    ) -> Result<Snapshot, FoldError> {
        let (id, commit_id) = (
            self.means.entropy.uuid(),
            self.means.entropy.uuid().to_string(),
        );
        let metadata = work
            .layout
            .metadata(folded.buckets, id, snapshot.made_at_us);
        let metadata = metadata.map_err(FoldError::Layout)?;
        let files = &folded.written.added;
        let entry = snapshot.entry(metadata, &progress(&work.changes), files, &commit_id);
        let entry = entry.map_err(|error| FoldError::Internal(error.to_string()))?;
        let put = log.put(0, entry.into()).await;
        let Some(actions) = log.entry(0).await? else {
            return Err(match put {
                Put::Ambiguous(error) => error.into(),
                other => FoldError::Internal(format!("{other:?}, and there is no entry")),
            });
        };
        let mut infos = actions
            .iter()
            .filter_map(|action| action.commit_info.as_ref());
        if infos.any(|info| info["txnId"] == commit_id.as_str()) {
            return Ok(snapshot);
        }
        if !matches!(put, Put::Ambiguous(_)) {
            self.forget(log, files).await;
        }
        let path = snapshot.path();
        let state = log.load().await?;
        let state = state.ok_or_else(|| FoldError::Layout(format!("{path} is gone")))?;
        self.found(&state, &path)
    }

    /// Deletes files that nothing refers to, nor ever will.
    async fn forget(&self, log: &DeltaLog, files: &[Add]) {
        for file in files {
            if let Err(error) = log.store().delete(&Path::from(file.path.as_str())).await {
                warn!(table = %self.table, path = file.path, %error, "a file that is not needed stays");
            }
        }
    }
}

/// What is to be in a snapshot.
struct Folded {
    written: Written,
    fingerprint: i64,
    buckets: u32,
}

/// A number that tells which changes the rows are, in whatever order and in how many parts.
fn fingerprint_of(tail: &Tail) -> i64 {
    let live = tail.entries().iter().filter(|entry| !entry.is_delete);
    live.fold(0, |sum: i64, entry| sum.wrapping_add(entry.order.mixed()))
}
