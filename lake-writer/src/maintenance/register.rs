//! The table of period snapshots, `_system/periods`: what there is, and which changes each is right
//! up to.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use lake_store::{LakeStore, PERIODS_PATH, periods_schema};
use schemas::TableName;

use super::current::Means;
use super::error::FoldError;
use super::kept_table::KeptTable;
use super::period::Period;
use super::reached::Reached;
use super::snapshot::Snapshot;
use crate::action;
use crate::commit::{Draft, Refusal, Step, commit_soon};
use crate::data_file;
use crate::delta_log::{DeltaLog, TableState};
use crate::layout;

/// The newest revision of a period's snapshot, or that there were no rows at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Made {
    /// [`NO_ROWS`] if there is no snapshot, as there were no rows.
    pub(crate) revision: i64,
    pub(crate) until_us: i64,
    /// Which changes its rows are.
    pub(crate) fingerprint: i64,
    /// The version of the changes up to which none came late for it: what it was made of, or further
    /// as far as somebody looked. `None` if it is not told of this revision: an earlier program
    /// registered it.
    pub(crate) reached: Option<Reached>,
}

/// The revision of a period without rows. It is a `txn` only: the table has no row of it.
pub(crate) const NO_ROWS: i64 = 0;

/// What is known of one entity's period snapshots.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    pub(crate) made: BTreeMap<Period, Made>,
    /// Periods whose first snapshot could not be made, and later ones were gone on with. Some may be made
    /// by now.
    pub(crate) owed: BTreeSet<Period>,
}

/// The table, which is looked at once for all entities of a round.
#[derive(Debug)]
pub(crate) struct Register {
    table: KeptTable,
    /// What the newest look found, by the name of the entity; `None` if there is to be another.
    seen: Option<HashMap<String, Known>>,
    /// In this round, what the store said that did not take a registration: nobody else tries.
    refused: Option<String>,
}

impl Register {
    pub(crate) fn new(lake: &LakeStore) -> Self {
        let log = DeltaLog::new(lake.table_store(PERIODS_PATH));
        Self {
            table: KeptTable::new(PERIODS_PATH.to_owned(), log),
            seen: None,
            refused: None,
        }
    }

    /// A round begins: who asks next, looks again.
    pub(crate) fn forget(&mut self) {
        self.seen = None;
        self.refused = None;
    }

    /// What there is of one entity. What is registered by us meanwhile does not count: it is of later
    /// changes than those who asked before have seen.
    pub(crate) async fn of(&mut self, table: &TableName) -> Result<Known, FoldError> {
        let seen = match self.seen.take() {
            Some(seen) => seen,
            // It says something of every period of every entity: that is sorted once a look.
            None => {
                let state = self.table.newest().await?;
                if let Some(state) = &state {
                    check_format(state)?;
                }
                by_table(state)
            }
        };
        let known = seen.get(&table.to_string()).cloned();
        self.seen = Some(seen);
        Ok(known.unwrap_or_default())
    }

    /// Registers a snapshot: one row, whoever tries it how often.
    pub(crate) async fn add(
        &mut self,
        snapshot: &Snapshot,
        means: &Means,
    ) -> Result<(), FoldError> {
        let mut state = self.open(means).await?;
        let app_id = app_id(&snapshot.table, snapshot.period);
        let file = data_file::encode(means.entropy.uuid(), None, &[row(snapshot)?])?;
        let file = file
            .upload(self.table.log.store(), means.clock.now_us())
            .await?;
        let draft = Draft {
            layout: state.metadata.clone(),
            further: told(snapshot).into(),
            steps: vec![Step {
                // The first one may follow a look that found no rows.
                from: match (snapshot.revision, state.txns.get(&app_id)) {
                    (1, Some(&NO_ROWS)) => Some(NO_ROWS),
                    (revision, _) => (revision > 1).then_some(revision - 1),
                },
                to: snapshot.revision,
                app_id,
            }],
            files: vec![file],
            rework: None,
        };
        self.commit(&mut state, &draft, means).await
    }

    /// Registers all snapshots of an entity, of which nothing is registered. What is known of it then,
    /// whoever was first.
    pub(crate) async fn restore(
        &mut self,
        table: &TableName,
        snapshots: &[Snapshot],
        means: &Means,
    ) -> Result<Known, FoldError> {
        let mut state = self.open(means).await?;
        let rows: Vec<RecordBatch> = snapshots.iter().map(row).collect::<Result<_, _>>()?;
        let file = data_file::encode(means.entropy.uuid(), None, &rows)?;
        let file = file
            .upload(self.table.log.store(), means.clock.now_us())
            .await?;
        let mut newest: BTreeMap<Period, &Snapshot> = BTreeMap::new();
        for snapshot in snapshots {
            let known = newest.entry(snapshot.period).or_insert(snapshot);
            if snapshot.revision > known.revision {
                *known = snapshot;
            }
        }
        let steps = newest.values().map(|snapshot| Step {
            app_id: app_id(table, snapshot.period),
            from: None,
            to: snapshot.revision,
        });
        let further = newest.values().flat_map(|snapshot| told(snapshot));
        let draft = Draft {
            layout: state.metadata.clone(),
            steps: steps.collect(),
            further: further.collect(),
            files: vec![file],
            rework: None,
        };
        self.commit_unless_moved(&mut state, &draft, means).await?;
        let mut known = by_table(self.table.newest().await?);
        Ok(known.remove(&table.to_string()).unwrap_or_default())
    }

    /// Registers that a period's first snapshot is still to be made, whatever later ones there are.
    pub(crate) async fn owe(
        &mut self,
        table: &TableName,
        period: Period,
        means: &Means,
    ) -> Result<(), FoldError> {
        let mut state = self.open(means).await?;
        let draft = Draft {
            layout: state.metadata.clone(),
            steps: Vec::new(),
            further: vec![(format!("{}/{OWED}", app_id(table, period)), 1)],
            files: Vec::new(),
            rework: None,
        };
        self.commit(&mut state, &draft, means).await
    }

    /// Registers that an entity had no rows at a period's end, as far as the changes up to this version
    /// tell; also of a period of which that is known up to another version, or another end. Nothing if
    /// somebody else was first.
    pub(crate) async fn add_empty(
        &mut self,
        table: &TableName,
        (period, until_us): (Period, i64),
        reached: Reached,
        means: &Means,
    ) -> Result<(), FoldError> {
        let mut state = self.open(means).await?;
        let app_id = app_id(table, period);
        let known = state.txns.get(&app_id).copied();
        let draft = Draft {
            layout: state.metadata.clone(),
            further: vec![
                (format!("{app_id}/{UNTIL}"), until_us),
                (format!("{app_id}/{VERSION}"), reached.txn()),
                (format!("{app_id}/{COMMIT}"), reached.commit_txn()),
                (format!("{app_id}/{VERSION_OF}"), NO_ROWS),
            ],
            steps: vec![Step {
                from: known.filter(|revision| *revision == NO_ROWS),
                to: NO_ROWS,
                app_id,
            }],
            files: Vec::new(),
            rework: None,
        };
        self.commit_unless_moved(&mut state, &draft, means).await
    }

    /// Notes of periods' revisions up to which version of the changes none came late for them. Nothing
    /// is noted if one of them has another revision by now.
    pub(crate) async fn note(
        &mut self,
        table: &TableName,
        looked: &[(Period, i64, Reached)],
        means: &Means,
    ) -> Result<(), FoldError> {
        let mut state = self.open(means).await?;
        let steps = looked.iter().map(|(period, revision, _)| Step {
            app_id: app_id(table, *period),
            from: Some(*revision),
            to: *revision,
        });
        let further = looked.iter().flat_map(|(period, revision, reached)| {
            let name = |what: &str| format!("{}/{what}", app_id(table, *period));
            [
                (name(VERSION), reached.txn()),
                (name(COMMIT), reached.commit_txn()),
                (name(VERSION_OF), *revision),
            ]
        });
        let draft = Draft {
            layout: state.metadata.clone(),
            steps: steps.collect(),
            further: further.collect(),
            files: Vec::new(),
            rework: None,
        };
        self.commit_unless_moved(&mut state, &draft, means).await
    }

    async fn commit_unless_moved(
        &mut self,
        state: &mut TableState,
        draft: &Draft,
        means: &Means,
    ) -> Result<(), FoldError> {
        match self.commit(state, draft, means).await {
            Err(FoldError::Refused(Refusal::Fenced(_))) => Ok(()),
            done => done,
        }
    }

    async fn commit(
        &mut self,
        state: &mut TableState,
        draft: &Draft,
        means: &Means,
    ) -> Result<(), FoldError> {
        let (clock, entropy) = (means.clock.as_ref(), &means.entropy);
        let landed = commit_soon(&self.table.log, state, draft, clock, entropy).await;
        if let Err(Refusal::NoAnswer(why)) = &landed {
            self.refused = Some(why.clone());
        }
        let version = landed?;
        let interval = CHECKPOINT_INTERVAL;
        self.table
            .checkpoint_if_due(&means.lake, version, interval)
            .await;
        Ok(())
    }

    async fn open(&mut self, means: &Means) -> Result<TableState, FoldError> {
        if let Some(why) = &self.refused {
            return Err(FoldError::Refused(Refusal::NoAnswer(why.clone())));
        }
        let (id, now_us) = (means.entropy.uuid(), means.clock.now_us());
        let metadata = layout::system_metadata(&periods_schema(), id, now_us);
        let metadata = metadata.map_err(FoldError::Layout)?;
        if self.table.newest().await?.is_none() {
            let entry = action::creation(metadata.clone(), now_us);
            let entry = entry.map_err(|error| FoldError::Internal(error.to_string()))?;
            // Whose entry it is does not matter; whether it landed is seen by looking.
            self.table.log.put(0, entry).await;
        }
        let state = self.table.newest().await?;
        if let Some(state) = &state {
            check_format(state)?;
        }
        match state {
            Some(state) if layout::same_columns(&metadata, &state.metadata) => Ok(state),
            _ => Err(FoldError::Layout(format!(
                "{PERIODS_PATH} is not as this program's version has it; move it away, and the \
                 snapshots are registered again"
            ))),
        }
    }
}

/// Versions between two checkpoints.
const CHECKPOINT_INTERVAL: u64 = 100;

const VERSION: &str = "changes_version";
/// The number of that version's entry.
const COMMIT: &str = "changes_commit";
/// The revision that the version is of.
const VERSION_OF: &str = "changes_version_of";
const UNTIL: &str = "until";
const FINGERPRINT: &str = "fingerprint";
/// That the first snapshot is still to be made.
const OWED: &str = "owed";

/// What the application ids of all snapshots begin with.
const PLACE: &str = "lakehead/periods/";

/// What the application ids of a table's snapshots begin with.
fn place(table: &TableName) -> String {
    format!("{PLACE}{table}")
}

/// The application id whose number is the revision of a period's snapshot.
fn app_id(table: &TableName, period: Period) -> String {
    format!("{}/{period}", place(table))
}

/// What is told of a period's newest snapshot beside its revision.
fn told(snapshot: &Snapshot) -> [(String, i64); 5] {
    let app_id = app_id(&snapshot.table, snapshot.period);
    let name = |what: &str| format!("{app_id}/{what}");
    let reached = snapshot.reached();
    [
        (name(FINGERPRINT), snapshot.fingerprint),
        (name(UNTIL), snapshot.until_us),
        (name(VERSION), reached.txn()),
        (name(COMMIT), reached.commit_txn()),
        (name(VERSION_OF), snapshot.revision),
    ]
}

/// What a table of another format says is not to be guessed.
fn check_format(state: &TableState) -> Result<(), FoldError> {
    let checked = layout::check_format(&state.metadata);
    checked.map_err(|why| FoldError::Layout(format!("{PERIODS_PATH}: {why}")))
}

/// What a version of the register says, by the name of the entity.
fn by_table(state: Option<TableState>) -> HashMap<String, Known> {
    let mut tables: HashMap<String, Known> = HashMap::new();
    let Some(state) = state else {
        return tables;
    };
    for (app_id, number) in &state.txns {
        let name = app_id.strip_prefix(PLACE);
        let Some((table, period)) = name.and_then(|name| name.split_once('/')) else {
            continue;
        };
        let owed = period.strip_suffix(OWED);
        let owed = owed.and_then(|period| period.strip_suffix('/'));
        let Ok(period) = owed.unwrap_or(period).parse::<Period>() else {
            continue;
        };
        let known = tables.entry(table.to_owned()).or_default();
        if owed.is_some() {
            known.owed.insert(period);
            continue;
        }
        let of = |what: &str| state.txns.get(&format!("{app_id}/{what}")).copied();
        // An earlier program moves the revision and leaves the version of the one before.
        let version = of(VERSION).filter(|_| of(VERSION_OF) == Some(*number));
        let version = version.and_then(|version| u64::try_from(version).ok());
        let made = Made {
            revision: *number,
            until_us: of(UNTIL).unwrap_or(0),
            fingerprint: of(FINGERPRINT).unwrap_or(0),
            reached: version.map(|version| Reached {
                version,
                commit: of(COMMIT),
            }),
        };
        known.made.insert(period, made);
    }
    tables
}

fn row(snapshot: &Snapshot) -> Result<RecordBatch, arrow::error::ArrowError> {
    let text = |text: String| -> ArrayRef { Arc::new(StringArray::from(vec![text])) };
    let long = |number: i64| -> ArrayRef { Arc::new(Int64Array::from(vec![number])) };
    let time = |time_us: i64| -> ArrayRef {
        Arc::new(TimestampMicrosecondArray::from(vec![time_us]).with_timezone("UTC"))
    };
    let columns = vec![
        text(snapshot.table.to_string()),
        text(snapshot.period.to_string()),
        long(snapshot.revision),
        time(snapshot.until_us),
        text(snapshot.time_zone.clone()),
        text(snapshot.path()),
        long(snapshot.reached().txn()),
        long(i64::try_from(snapshot.rows).unwrap_or(i64::MAX)),
        time(snapshot.made_at_us),
    ];
    RecordBatch::try_new(periods_schema(), columns)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::action::Protocol;

    #[test]
    fn what_is_known_is_sorted_by_entity_and_period() {
        let metadata = layout::system_metadata(&periods_schema(), uuid::Uuid::nil(), 0);
        let txns = [
            ("lakehead/periods/a.b/2026-01", 2),
            ("lakehead/periods/a.b/2026-01/until", 7),
            ("lakehead/periods/a.b/2026-01/fingerprint", 8),
            ("lakehead/periods/a.b/2026-01/changes_version", 5),
            ("lakehead/periods/a.b/2026-01/changes_commit", 99),
            ("lakehead/periods/a.b/2026-01/changes_version_of", 2),
            // Of the revision before.
            ("lakehead/periods/a.b/2026", 2),
            ("lakehead/periods/a.b/2026/changes_version", 5),
            ("lakehead/periods/a.b/2026/changes_version_of", 1),
            ("lakehead/periods/a.bc/2026-01", NO_ROWS),
            ("lakehead/periods/a.bc/2026-02/owed", 1),
            ("lakehead/periods/a.b", 1),
            ("another/a.b/2026-02", 1),
        ];
        let txns = txns.map(|(app_id, number)| (app_id.to_owned(), number));
        let known = by_table(Some(TableState {
            version: 1,
            protocol: Protocol::PLAIN,
            metadata: metadata.unwrap(),
            txns: txns.into(),
        }));
        let of = |table: &str, period: &str| known[table].made[&period.parse::<Period>().unwrap()];
        let january = Made {
            revision: 2,
            until_us: 7,
            fingerprint: 8,
            reached: Some(Reached {
                version: 5,
                commit: Some(99),
            }),
        };
        assert_eq!(of("a.b", "2026-01"), january);
        assert_eq!(of("a.b", "2026").reached, None);
        assert_eq!(of("a.bc", "2026-01").revision, NO_ROWS);
        let periods = known.values().map(|known| known.made.len());
        assert_eq!((known.len(), periods.sum::<usize>()), (2, 3));
        let owed: Vec<Period> = known["a.bc"].owed.iter().copied().collect();
        assert_eq!(owed, ["2026-02".parse::<Period>().unwrap()]);
        assert!(known["a.b"].owed.is_empty());
    }
}
