//! The making of one revision of a period's snapshot.

use lake_store::CHANGES_SINCE_PROPERTY;
use object_store::ObjectStoreExt;
use object_store::path::Path;
use tokio::sync::Mutex;
use tracing::{info, warn};

use super::{Periods, Work, leftovers};
use crate::commit::{Refusal, any_expired};
use crate::delta_log::{DeltaLog, Put, TableState};
use crate::faults::{self, Point};
use crate::layout;
use crate::maintenance::buckets::Buckets;
use crate::maintenance::covered::{Covered, progress};
use crate::maintenance::error::FoldError;
use crate::maintenance::fold::{Fold, Folded};
use crate::maintenance::new_changes::{self, NewChanges};
use crate::maintenance::period::Period;
use crate::maintenance::reached::Reached;
use crate::maintenance::register::{Known, Made, NO_ROWS, Register};
use crate::maintenance::snapshot::Snapshot;

impl Periods {
    /// Makes the next revision of a period's snapshot, unless it would be the one there is.
    pub(super) async fn snapshot(
        &mut self,
        work: &mut Work,
        (period, mut until_us): (Period, i64),
        known: &Known,
        register: &Mutex<Register>,
    ) -> Result<Vec<Snapshot>, FoldError> {
        let mut newest = known.made.get(&period).copied();
        let mut made = Vec::new();
        loop {
            let revision = newest.map_or(1, |made| made.revision + 1);
            let path = self.table.period_path(&period.to_string(), revision);
            let log = DeltaLog::new(self.means.lake.table_store(&path));
            // One that was made by somebody else, who was perhaps killed before it was registered.
            let found = match log.load().await? {
                Some(state) => Some(self.found(&state, &path)?),
                None => self.make(work, (period, until_us), newest, &log).await?,
            };
            let Some(snapshot) = found else {
                leftovers::sweep(&log, self.means.clock.now_us()).await;
                // Who is stopped before the round is over need not fold this one again.
                let (table, means) = (&self.table, &self.means);
                let reached = Reached::at(&self.changes.log, work.changes.version).await?;
                let mut register = register.lock().await;
                match newest.filter(|made| made.revision != NO_ROWS) {
                    Some(newest) => {
                        let looked = [(period, newest.revision, reached)];
                        register.note(table, &looked, means).await?;
                    }
                    None => {
                        let empty = (period, until_us);
                        register.add_empty(table, empty, reached, means).await?;
                    }
                }
                return Ok(made);
            };
            faults::point(Point::PeriodMade);
            leftovers::sweep(&log, self.means.clock.now_us()).await;
            let mut registers = register.lock().await;
            registers.add(&snapshot, &self.means).await?;
            drop(registers);
            info!(table = %self.table, %period, revision, rows = snapshot.rows,
                changes_version = snapshot.changes_version, path, "period snapshot made");
            // What another process made of later changes is not to be made of earlier ones again.
            let is_up_to_date = snapshot.changes_version >= work.changes.version;
            // One that was found may be of another time zone than is set by now; the next one is of its.
            until_us = snapshot.until_us;
            newest = Some(Made {
                revision,
                until_us,
                fingerprint: snapshot.fingerprint,
                reached: Some(snapshot.reached()),
            });
            made.push(snapshot);
            if is_up_to_date {
                return Ok(made);
            }
        }
    }

    /// What a revision says of itself; `None` if its table is not there.
    pub(super) async fn told(
        &self,
        period: Period,
        revision: i64,
    ) -> Result<Option<Snapshot>, FoldError> {
        let path = self.table.period_path(&period.to_string(), revision);
        let log = DeltaLog::new(self.means.lake.table_store(&path));
        let Some(state) = log.load().await? else {
            return Ok(None);
        };
        check_format(&state, &path)?;
        Ok(Snapshot::of_table(&self.table, &state.metadata))
    }

    fn found(&self, state: &TableState, path: &str) -> Result<Snapshot, FoldError> {
        check_format(state, path)?;
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
        // Asked of the newest revision first: one of another format is refused before anything is folded.
        let time_zone = self.zone_of(period, newest).await?;
        let turn = self.means.room.to_rewrite().await;
        let files = new_changes::all(&self.changes.log, &mut work.changes).await?;
        // Of the version that the files are of: it may be a later one than the round began with.
        let properties = &work.changes.metadata.configuration;
        if let Some(since) = properties.get(CHANGES_SINCE_PROPERTY) {
            return Err(FoldError::Layout(format!(
                "changes before {since} have passed their retention, so the rows at the end of {period} \
                 cannot be told from those that are left; set maintenance.periods = [], or keep changes"
            )));
        }
        let folded = self.fold(work, &files, until_us, log).await?;
        // What follows may wait for the store.
        drop((files, turn));
        let is_same = match newest.filter(|made| made.revision != NO_ROWS) {
            Some(made) if made.fingerprint == folded.written.fingerprint => {
                self.is_there(period, made.revision).await?
            }
            Some(_) => false,
            None => folded.written.rows == 0,
        };
        if is_same {
            folded.written.discard(log).await;
            return Ok(None);
        }
        let reached = Reached::at(&self.changes.log, work.changes.version).await?;
        let snapshot = Snapshot {
            table: self.table.clone(),
            period,
            revision: newest.map_or(1, |made| made.revision + 1),
            until_us,
            time_zone,
            changes_version: reached.version,
            changes_commit: reached.commit,
            rows: folded.written.rows,
            made_at_us: self.means.clock.now_us(),
            fingerprint: folded.written.fingerprint,
        };
        self.create(work, snapshot, folded, log).await.map(Some)
    }

    /// Whether a revision's table has all its files, and is of the one version that it was made in. Nothing
    /// of ours deletes one, or goes on with it.
    async fn is_there(&self, period: Period, revision: i64) -> Result<bool, FoldError> {
        let path = self.table.period_path(&period.to_string(), revision);
        let log = DeltaLog::new(self.means.lake.table_store(&path));
        let Some(inventory) = log.inventory().await? else {
            return Ok(false);
        };
        let version = inventory.state.version;
        if version != Snapshot::VERSION {
            warn!(table = %self.table, %period, path, version,
                "another program wrote to the folder of a period's snapshot, so what it says is not known to \
                 be right: the next revision is made of the changes, and both stay");
            return Ok(false);
        }
        for path in inventory.files.keys() {
            match log.store().head(&Path::from(path.as_str())).await {
                Ok(_) => {}
                Err(object_store::Error::NotFound { .. }) => return Ok(false),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(true)
    }

    /// Whose calendar a period is of: of a revision that there is, whatever the setting says by now.
    async fn zone_of(&self, period: Period, newest: Option<Made>) -> Result<String, FoldError> {
        let before = match newest.filter(|made| made.revision != NO_ROWS) {
            Some(made) => self.told(period, made.revision).await?,
            None => None,
        };
        let zone = before.map(|before| before.time_zone);
        Ok(zone.unwrap_or_else(|| self.means.settings.time_zone.clone()))
    }

    async fn fold(
        &self,
        work: &Work,
        files: &NewChanges,
        until_us: i64,
        log: &DeltaLog,
    ) -> Result<Folded, FoldError> {
        let fold = Fold {
            log: &self.changes.log,
            changes: files,
            layout: &work.layout,
            covered: &Covered::default(),
            until_us: Some(until_us),
            means: &self.means,
        };
        let folded = fold.write(&Buckets::default(), log).await?;
        folded.ok_or_else(|| FoldError::Internal("changes of all came late".to_owned()))
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
        // Whoever was held up for so long may find them deleted by another one.
        if any_expired(files, self.means.clock.now_us()) {
            folded.written.discard(log).await;
            return Err(FoldError::Refused(Refusal::Overtaken));
        }
        let put = log.put(Snapshot::VERSION, entry.into()).await;
        let Some(actions) = log.entry(Snapshot::VERSION).await? else {
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
            folded.written.discard(log).await;
        }
        let path = snapshot.path();
        let state = log.load().await?;
        let state = state.ok_or_else(|| FoldError::Layout(format!("{path} is gone")))?;
        self.found(&state, &path)
    }
}

/// What a table of another format says is not to be guessed.
fn check_format(state: &TableState, path: &str) -> Result<(), FoldError> {
    let checked = layout::check_format(&state.metadata);
    checked.map_err(|why| FoldError::Layout(format!("{path}: {why}")))
}
