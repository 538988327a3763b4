//! How far a derived table has come: the progress of the changes that its rows are made of.

use std::collections::HashMap;

use super::log_order::LogOrder;
use super::reached::{Found, Reached};
use crate::app_id::{self, AppIds, Place};
use crate::delta_log::{DeltaLog, DeltaLogError, TableState};

/// Where a partition's changes end that are covered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct End {
    generation: i32,
    next_offset: i64,
}

/// The changes that a derived table covers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Covered {
    reached: Option<Reached>,
    /// The number of the id of their table, if it is told.
    table: Option<i64>,
    ends: HashMap<i32, End>,
    has_generations: bool,
}

impl Covered {
    /// What the `txn`s of the table at this path say.
    pub(crate) fn by(state: &TableState, path: &str) -> Self {
        let said = |app_id: String| state.txns.get(&app_id).copied();
        let version = said(app_id::changes_version(path));
        let version = version.and_then(|version| u64::try_from(version).ok());
        let mut covered = Self {
            reached: version.map(|version| Reached {
                version,
                commit: said(app_id::changes_commit(path)),
            }),
            table: said(app_id::changes_table(path)),
            ..Self::default()
        };
        for (app_id, number) in &state.txns {
            match AppIds::place_of(app_id) {
                Some(Place::Progress(partition)) => {
                    let end = covered.ends.entry(partition).or_default();
                    end.next_offset = end.next_offset.max(*number);
                }
                Some(Place::Generation(partition)) => {
                    let generation = i32::try_from(*number).unwrap_or(i32::MAX);
                    let end = covered.ends.entry(partition).or_default();
                    end.generation = end.generation.max(generation);
                    covered.has_generations |= generation > 0;
                }
                None => {}
            }
        }
        covered
    }

    /// The version of the table of changes that is covered; `None`: nothing is.
    pub(crate) fn version(&self) -> Option<u64> {
        self.reached.map(|reached| reached.version)
    }

    /// Whether the changes, which are at this state, are still those that are covered.
    pub(crate) async fn found_in(
        &self,
        log: &DeltaLog,
        changes: &TableState,
    ) -> Result<Found, DeltaLogError> {
        let Some(reached) = self.reached else {
            return Ok(Found::Same);
        };
        if reached.version > changes.version || self.is_of_other(changes) {
            return Ok(Found::Other);
        }
        reached.found_in(log).await
    }

    /// Whether the changes are of another table than those covered: it was made again. Not where that
    /// is not told.
    pub(crate) fn is_of_other(&self, changes: &TableState) -> bool {
        self.table.is_some_and(|table| table != number_of(changes))
    }

    /// Whether offsets ever began anew.
    pub(crate) fn has_generations(&self) -> bool {
        self.has_generations
    }

    /// Whether a change is of an earlier generation than its partition has here.
    pub(crate) fn is_of_the_past(&self, partition: i32, generation: i32) -> bool {
        self.has_generations
            && self
                .ends
                .get(&partition)
                .is_some_and(|end| generation < end.generation)
    }

    /// The latest generation of any partition.
    pub(crate) fn generation(&self) -> i32 {
        let generations = self.ends.values().map(|end| end.generation);
        generations.max().unwrap_or(0)
    }

    /// Whether a change is before the end of its partition. One of an earlier generation is, also if
    /// it came late.
    pub(crate) fn reaches(&self, change: LogOrder) -> bool {
        let end = self.ends.get(&change.partition);
        end.is_some_and(|end| {
            (change.generation, change.offset) < (end.generation, end.next_offset)
        })
    }

    /// Whether a change is among those covered. Only where no offsets ever began anew.
    pub(crate) fn has(&self, partition: i32, offset: i64) -> bool {
        let end = self.ends.get(&partition);
        end.is_some_and(|end| offset < end.next_offset)
    }
}

/// The offsets and generations of a table of changes.
pub(crate) fn progress(changes: &TableState) -> Vec<(String, i64)> {
    let places = changes.txns.iter();
    let places = places.filter(|(app_id, _)| AppIds::place_of(app_id).is_some());
    let mut progress: Vec<(String, i64)> = places
        .map(|(app_id, number)| (app_id.clone(), *number))
        .collect();
    progress.sort();
    progress
}

/// The offsets and generations that a derived table gets by covering what the table of changes has at this
/// state, where they differ from those it has.
pub(crate) fn moves(changes: &TableState, derived: &TableState) -> Vec<(String, i64)> {
    let mut moves = progress(changes);
    // Of changes that others took the place of, nothing is covered any more. A `txn` cannot be taken back.
    let gone = progress(derived).into_iter();
    let gone = gone.filter(|(app_id, _)| !changes.txns.contains_key(app_id));
    moves.extend(gone.map(|(app_id, _)| (app_id, 0)));
    moves.retain(|(app_id, number)| derived.txns.get(app_id) != Some(number));
    moves
}

/// The `txn`s by which the derived table at this path says which version of changes it covers.
pub(crate) async fn told(
    log: &DeltaLog,
    changes: &TableState,
    path: &str,
) -> Result<[(String, i64); 3], DeltaLogError> {
    let reached = Reached::at(log, changes.version).await?;
    Ok([
        (app_id::changes_version(path), reached.txn()),
        (app_id::changes_commit(path), reached.commit_txn()),
        (app_id::changes_table(path), number_of(changes)),
    ])
}

fn number_of(changes: &TableState) -> i64 {
    app_id::number_of(changes.metadata.id.as_bytes())
}
