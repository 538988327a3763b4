//! What a refresh reads and what it writes anew.

use lake_store::{CHANGES_RETIRED_AT_PROPERTY, CHANGES_SINCE_PROPERTY};
use tracing::warn;

use super::{Current, Mode, Work, buckets_left};
use crate::action::Add;
use crate::commit::Refusal;
use crate::maintenance::buckets::Buckets;
use crate::maintenance::covered::{Covered, moves};
use crate::maintenance::current_layout::{CurrentLayout, Fit};
use crate::maintenance::error::FoldError;
use crate::maintenance::new_changes::{self, NewChanges};
use crate::maintenance::reached::Found;
use crate::maintenance::room::Turn;

/// Versions of changes that a table may be behind for their files to be listed without a turn: tables
/// that are looked at side by side would hold long lists while they wait for theirs.
const VERSIONS_LISTED: u64 = 1_000;

/// What is read and what stays.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) changes: NewChanges,
    /// The buckets that the table has.
    pub(super) base: Buckets,
    /// Files that no bucket goes on from.
    pub(super) dropped: Vec<Add>,
    /// From all changes.
    pub(super) from_all: bool,
    /// The room in memory, where the plan itself needs it: what is to be read may be many files.
    pub(super) turn: Option<Turn>,
}

impl Current {
    /// What is to be done; nothing if the table covers all changes.
    pub(super) async fn plan(
        &self,
        work: &mut Work,
        mode: Mode,
    ) -> Result<Option<Plan>, FoldError> {
        let newest = work.changes.version;
        let known = CurrentLayout::of_table(&work.current.metadata);
        // Versions of another table do not compare.
        let is_of_other = work.covered.is_of_other(&work.changes);
        let (known, buckets) = match (known, work.covered.version()) {
            (known, Some(covered))
                if mode == Mode::Refresh && (covered <= newest || is_of_other) =>
            {
                known.map_err(FoldError::Layout)?
            }
            (_, Some(covered)) if mode == Mode::Refresh => {
                return Err(FoldError::Layout(format!(
                    "it covers version {covered} of the changes, which are at version {newest}: they are not \
                     the ones that it was made of; `lakehead rebuild {}` computes it anew",
                    self.table
                )));
            }
            _ => return self.plan_from_all(work).await.map(Some),
        };
        if work.found == Found::Other {
            warn!(table = %self.table, covered = work.covered.version(),
                "the changes are not those that the current table was made of: they were put back from a \
                 backup, or made again; it is computed from all of them");
            return self.plan_from_all(work).await.map(Some);
        }
        let fit = known.fit(&work.layout);
        let turn = self.turn_to_list(work).await;
        let changes = match fit {
            Fit::Other => None,
            _ => self.new_changes(work).await?,
        };
        let Some(changes) = changes else {
            // Who has the turn waits for itself when it takes another.
            drop(turn);
            return self.plan_from_all(work).await.map(Some);
        };
        let is_moved = !moves(&work.changes, &work.current).is_empty();
        if changes.files.is_empty() && !is_moved && fit == Fit::Same {
            return Ok(None);
        }
        let base = self.current_files(work).await?;
        let base = buckets_left(&work.current, &self.current.path, base);
        Ok(Some(Plan {
            changes,
            base: Buckets {
                files: base.map_err(FoldError::Layout)?,
                count: buckets,
                rewrites: fit == Fit::Widened,
            },
            dropped: Vec::new(),
            from_all: false,
            turn,
        }))
    }

    /// The room in memory, if the list of what is new may be long: the table is far behind, or nobody
    /// can tell how far.
    async fn turn_to_list(&self, work: &Work) -> Option<Turn> {
        let covered = work.covered.version().unwrap_or(0);
        let behind = work.changes.version.saturating_sub(covered);
        match behind > VERSIONS_LISTED || work.found == Found::Gone {
            true => Some(self.means.room.to_fold().await),
            false => None,
        }
    }

    /// The table computed from all changes. It is thrown away for that, unless some of the changes that
    /// it is made of have passed their retention: then its rows stay, and what they have taken in
    /// is not folded again. (A delete may be among what is gone, while an earlier change of its
    /// key is still there, for owners' clocks do not always go forward.)
    ///
    /// Waits for the room in memory, which nobody here may have already.
    pub(super) async fn plan_from_all(&self, work: &mut Work) -> Result<Plan, FoldError> {
        let turn = self.means.room.to_fold().await;
        let changes = new_changes::all(&self.changes.log, &mut work.changes).await?;
        let files = self.current_files(work).await?;
        let properties = &work.changes.metadata.configuration;
        let plan = match properties.contains_key(CHANGES_SINCE_PROPERTY) {
            true => self.plan_beside(work, changes, files).await?,
            false => {
                work.covered = Covered::default();
                Plan {
                    changes,
                    base: Buckets::default(),
                    dropped: files,
                    from_all: true,
                    turn: None,
                }
            }
        };
        Ok(Plan {
            turn: Some(turn),
            ..plan
        })
    }

    /// The rows that there are stay, whatever the changes that are left say of them.
    async fn plan_beside(
        &self,
        work: &Work,
        changes: NewChanges,
        files: Vec<Add>,
    ) -> Result<Plan, FoldError> {
        let known = CurrentLayout::of_table(&work.current.metadata);
        let known = known.and_then(|(known, buckets)| match known.fit(&work.layout) {
            Fit::Other => Err("its key is another one".to_owned()),
            _ => Ok(buckets),
        });
        let base = known.and_then(|buckets| match (work.covered.version(), work.found) {
            (Some(version), Found::Other) => Err(format!(
                "version {version} of {}, which it covers, is another one now, as that was put back from a \
                 backup or made again",
                self.changes.path
            )),
            (Some(_), _) => {
                self.check_retired(work)?;
                let files = buckets_left(&work.current, &self.current.path, files)?;
                Ok((files, buckets))
            }
            (None, _) => Err("it covers no changes".to_owned()),
        });
        let (files, count) = match base {
            Ok(base) => base,
            Err(why) => return Err(self.refused(&why, work).await),
        };
        let log = &self.changes.log;
        let changes = changes.beside(log, &work.covered, &work.changes);
        Ok(Plan {
            changes: changes.await?,
            base: Buckets {
                files,
                count,
                rewrites: true,
            },
            dropped: Vec::new(),
            from_all: true,
            turn: None,
        })
    }

    /// What the table does not cover; `None` if that cannot be told any more.
    pub(super) async fn new_changes(
        &self,
        work: &mut Work,
    ) -> Result<Option<NewChanges>, FoldError> {
        let (log, newest) = (&self.changes.log, work.changes.version);
        let Some(covered) = work.covered.version() else {
            return Ok(None);
        };
        // Where the entry of the version covered is gone, nobody knows what those after it come after.
        let since = match work.found {
            Found::Gone => None,
            _ => new_changes::since(log, covered, newest).await?,
        };
        match since {
            Some(changes) => Ok(Some(changes)),
            // Entries are gone, so rows are told from those covered by their offsets.
            None if !Covered::by(&work.changes, &self.current.path).has_generations() => {
                let changes =
                    new_changes::not_covered(log, &mut work.changes, &work.covered).await?;
                match self.check_retired(work) {
                    Ok(()) => Ok(Some(changes)),
                    Err(why) => Err(self.refused(&why, work).await),
                }
            }
            None => Ok(None),
        }
    }

    /// Makes sure that the table has taken in what has left the changes. One that was put back from a
    /// backup may not have: it covers less than the one that retention went by.
    fn check_retired(&self, work: &Work) -> Result<(), String> {
        let properties = &work.changes.metadata.configuration;
        let Some(retired_at) = properties.get(CHANGES_RETIRED_AT_PROPERTY) else {
            return Ok(());
        };
        let needed = retired_at.parse().unwrap_or(u64::MAX);
        match work.covered.version() {
            Some(covered) if covered < needed => Err(format!(
                "it covers version {covered} of {}, and some of what it had taken in up to version \
                 {retired_at} is gone there",
                self.changes.path
            )),
            _ => Ok(()),
        }
    }

    /// That the table cannot be computed from the changes that are left; unless somebody else has
    /// brought it further meanwhile, so that it is to be looked at again.
    async fn refused(&self, why: &str, work: &Work) -> FoldError {
        match self.current.log.entry_bytes(work.current.version + 1).await {
            Ok(None) => {}
            Ok(Some(_)) => return FoldError::Refused(Refusal::Overtaken),
            Err(error) => return error.into(),
        }
        let properties = &work.changes.metadata.configuration;
        let since = properties.get(CHANGES_SINCE_PROPERTY);
        let since = since.map_or("some date", String::as_str);
        let backup = match properties.get(CHANGES_RETIRED_AT_PROPERTY) {
            Some(version) => format!("a backup that covers at least version {version} of them"),
            None => "a backup".to_owned(),
        };
        FoldError::Layout(format!(
            "{why}; but changes before {since} have passed their retention, so it cannot be computed \
             from those that are left: restore its folder from {backup}, and both tables from one \
             backup if both were put back"
        ))
    }

    pub(super) async fn current_files(&self, work: &Work) -> Result<Vec<Add>, FoldError> {
        let files = self.current.log.files_at(work.current.version).await?;
        files.ok_or(FoldError::Refused(Refusal::Overtaken))
    }
}
