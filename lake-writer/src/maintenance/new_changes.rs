//! Which files of a table of changes hold what a derived table does not cover yet.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use futures::TryStreamExt;

use super::covered::Covered;
use super::error::FoldError;
use super::tail::Wanted;
use crate::action::{Action, Add};
use crate::commit::Refusal;
use crate::delta_log::{DeltaLog, TableState};

mod facts;
mod origins;

use facts::first_time_us;
pub(crate) use facts::{Facts, last_time_us};
use origins::Origins;

/// Times that the list of files is asked for, while checkpoints come in between.
const ATTEMPTS_MAX: usize = 3;

/// Microseconds of a day.
pub(crate) const DAY_US: i64 = 86_400_000_000;

/// Files to be read, the newest first.
#[derive(Clone, Debug)]
pub(crate) struct NewChanges {
    pub(crate) files: Vec<NewFile>,
    /// Whether all changes of the table are among these: then nothing that comes late is missed.
    pub(crate) are_all: bool,
}

/// A file, and which of its changes count.
#[derive(Clone, Debug)]
pub(crate) struct NewFile {
    pub(crate) path: String,
    pub(crate) facts: Facts,
    pub(crate) wanted: Wanted,
}

impl NewChanges {
    fn new(
        files: impl IntoIterator<Item = (String, Facts)>,
        wanted: Wanted,
        are_all: bool,
    ) -> Self {
        let file = |(path, facts)| NewFile {
            path,
            facts,
            wanted,
        };
        Self {
            files: files.into_iter().map(file).collect(),
            are_all,
        }
    }

    /// The same files, the newest first.
    fn newest_first(mut self) -> Self {
        self.files
            .sort_by_key(|file| Reverse(file.facts.ingested_at));
        self
    }

    /// The same, of the version `newest`, for a table that keeps what it has taken in: it is not to be
    /// folded again.
    pub(crate) async fn beside(
        self,
        log: &DeltaLog,
        covered: &Covered,
        newest: &TableState,
    ) -> Result<Self, FoldError> {
        let generation = Covered::by(newest, "").generation();
        let version = covered.version().unwrap_or(0);
        let origins = Origins::since(log, version, newest.version).await?;
        let merged = origins.merged(log, generation).await?.into_iter();
        let known = self.files.into_iter().map(|file| (file.path, file.facts));
        let files = merged.chain(known).map(|(path, facts)| NewFile {
            wanted: origins.wanted(&path),
            path,
            facts,
        });
        // What is settled is only asked whether something came too late.
        let is_needed = |file: &NewFile| generation > 0 || file.wanted != Wanted::Settled;
        Ok(Self {
            files: files.filter(is_needed).collect(),
            are_all: true,
        })
    }
}

/// The files that came after the version covered, as the entries in between tell. A file that was
/// written anew since (compacted, or in wider columns) is read in its first form, which the store
/// keeps for readers of older versions; what it was written anew as has `dataChange: false`.
///
/// `None` if the log does not have all these entries any more.
pub(crate) async fn since(
    log: &DeltaLog,
    covered: u64,
    newest: u64,
) -> Result<Option<NewChanges>, FoldError> {
    let mut files = Vec::new();
    let mut entries = log.entries(covered.saturating_add(1)..=newest);
    let mut reached = covered;
    while let Some((version, actions)) = entries.try_next().await? {
        let adds = actions.into_iter().filter_map(|action| action.add);
        files.extend(adds.filter(|add| add.data_change).map(of));
        reached = version;
    }
    if reached < newest {
        return Ok(None);
    }
    files.reverse();
    Ok(Some(NewChanges::new(files, Wanted::All, false)))
}

/// When the first of the changes that came with an entry was committed by its owner, at the earliest, in
/// microseconds since 1970-01-01T00:00Z; `None` if there are none. `places` is where partitions are by
/// now.
pub(crate) fn first_change_us(entry: &[Action], places: &Covered) -> Option<i64> {
    let adds = entry.iter().filter_map(|action| action.add.as_ref());
    let new = adds.filter(|add| add.data_change);
    // Among changes of the past, a later one ends the time of those after it.
    let first_us = new.map(|add| match Facts::of(add).is_of_the_past(places) {
        true => i64::MIN,
        false => first_time_us(add),
    });
    first_us.min()
}

/// A file as it is held.
fn of(add: Add) -> (String, Facts) {
    let facts = Facts::of(&add);
    (add.path, facts)
}

/// The files of the newest version that may have changes that are not covered, by their statistics.
/// Only where no offsets ever began anew.
pub(crate) async fn not_covered(
    log: &DeltaLog,
    state: &mut TableState,
    covered: &Covered,
) -> Result<NewChanges, FoldError> {
    let not_covered = |add: Add| {
        let facts = Facts::of(&add);
        (!facts.is_covered(covered)).then_some(facts)
    };
    let files = newest(log, state, not_covered).await?;
    Ok(NewChanges::new(files, Wanted::NotCovered, false).newest_first())
}

/// All files of the newest version, to which `state` is brought.
pub(crate) async fn all(log: &DeltaLog, state: &mut TableState) -> Result<NewChanges, FoldError> {
    let files = newest(log, state, |add| Some(Facts::of(&add))).await?;
    Ok(NewChanges::new(files, Wanted::All, true).newest_first())
}

/// The paths of those files of the newest version, to which `state` is brought, that may have what is
/// sought.
pub(crate) async fn paths(
    log: &DeltaLog,
    state: &mut TableState,
    may_have: impl Fn(&Add) -> bool,
) -> Result<Vec<String>, FoldError> {
    let files = newest(log, state, |add| may_have(&add).then_some(()));
    Ok(files.await?.into_keys().collect())
}

async fn newest<T>(
    log: &DeltaLog,
    state: &mut TableState,
    mut of: impl FnMut(Add) -> Option<T>,
) -> Result<BTreeMap<String, T>, FoldError> {
    let columns = state.metadata.schema_string.clone();
    for _ in 0..ATTEMPTS_MAX {
        if let Some(files) = log.files_as(state.version, &mut of).await? {
            return Ok(files);
        }
        log.catch_up(state, |_, _| ()).await?;
        if state.metadata.schema_string != columns {
            // Whoever asks, reads by the columns that there were.
            return Err(FoldError::Refused(Refusal::Overtaken));
        }
    }
    Err(FoldError::Layout(
        "its log was checkpointed faster than it could be read; it is tried again".to_owned(),
    ))
}
