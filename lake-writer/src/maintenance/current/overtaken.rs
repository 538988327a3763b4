//! What becomes of files that another process's commit came before.
//!
//! They are in no version, and never will be: their entry was only ever to be the one after the version
//! that they were made on, and that one is another's by now. Those of a refresh are deleted; the next
//! round looks again. Those of a rebuild hold the whole table as of the changes that there were when it began, so it
//! goes on from them: what came since is folded into them, and they take the place of whatever the other one
//! left. Each lap has only the changes of the time that the lap before took, so a rebuild ends beside refreshes,
//! unless they come faster than what is left of it, [`LAPS_MAX`] times.

use std::collections::BTreeSet;

use tracing::info;

use super::buckets_left::by_bucket;
use super::plan::Plan;
use super::{Attempt, Current, Mode, Refreshed, Work};
use crate::action::Add;
use crate::commit::Refusal;
use crate::maintenance::buckets::{Buckets, Written};
use crate::maintenance::covered::{Covered, moves, told};
use crate::maintenance::current_layout::Fit;
use crate::maintenance::error::FoldError;
use crate::maintenance::fold::Folded;
use crate::maintenance::new_changes::NewChanges;
use crate::maintenance::reached::Found;

/// Laps of a rebuild. More mean that the others are faster than what is left of it.
const LAPS_MAX: usize = 32;

impl Current {
    /// Commits an attempt; of a rebuild, as many as it takes.
    pub(super) async fn land(
        &mut self,
        mut attempt: Attempt,
        mode: Mode,
    ) -> Result<Refreshed, FoldError> {
        let mut laps = 1;
        loop {
            let refusal = match self.commit(&attempt).await {
                Err(FoldError::Refused(why @ (Refusal::Fenced(_) | Refusal::Overtaken))) => why,
                done => return done,
            };
            if !self.is_passed(&attempt).await? {
                return Err(FoldError::Refused(refusal));
            }
            if mode == Mode::Refresh || laps == LAPS_MAX {
                attempt.folded.written.discard(&self.current.log).await;
                return Err(FoldError::Refused(refusal));
            }
            laps += 1;
            info!(table = %self.table, laps, "another process was first; the rebuild goes on");
            attempt = self.next_lap(attempt).await?;
        }
    }

    /// Whether another's entry is where the attempt's would have to be.
    async fn is_passed(&self, attempt: &Attempt) -> Result<bool, FoldError> {
        let after = attempt.work.current.version;
        let entry = self.current.log.entry(after + 1).await?;
        let files = &attempt.folded.written.added;
        Ok(entry.is_some_and(|actions| {
            let mut added = actions.iter().filter_map(|action| action.add.as_ref());
            !added.any(|add| files.iter().any(|file| file.path == add.path))
        }))
    }

    /// Folds what came since into the files that an attempt has written.
    async fn next_lap(&mut self, before: Attempt) -> Result<Attempt, FoldError> {
        let Some(mut work) = self.look(Mode::Rebuild).await? else {
            return Err(FoldError::Layout("its changes are gone".to_owned()));
        };
        work.covered = self.covered_by(&before.work).await?;
        work.found = work
            .covered
            .found_in(&self.changes.log, &work.changes)
            .await?;
        let fit = before.work.layout.fit(&work.layout);
        let written = before.folded.written;
        let is_other = fit == Fit::Other || work.found == Found::Other;
        let changes = match is_other {
            true => None,
            false => self.new_changes(&mut work).await?,
        };
        let Some(changes) = changes else {
            return self.begin_anew(work, written).await;
        };
        let files = by_bucket(written.added.clone()).map_err(FoldError::Internal)?;
        let base = Buckets {
            files,
            count: before.folded.buckets,
            rewrites: fit == Fit::Widened,
        };
        let mut plan = self.plan_of_lap(&work, changes, base).await?;
        match self.fold(&work, &mut plan).await {
            Ok(Some(mut folded)) => {
                folded.changes += before.folded.changes;
                Ok(self.over(work, plan, written, folded).await)
            }
            Ok(None) => self.begin_anew(work, written).await,
            Err(error) if error.is_not_found() => self.begin_anew(work, written).await,
            Err(error) => Err(error),
        }
    }

    /// All that the newest version has leaves it.
    async fn plan_of_lap(
        &self,
        work: &Work,
        changes: NewChanges,
        base: Buckets,
    ) -> Result<Plan, FoldError> {
        Ok(Plan {
            changes,
            base,
            dropped: self.current_files(work).await?,
            from_all: true,
            turn: None,
        })
    }

    /// What the table would cover if the attempt had landed.
    async fn covered_by(&self, work: &Work) -> Result<Covered, FoldError> {
        let path = &self.current.path;
        let mut landed = work.current.clone();
        landed.txns.extend(moves(&work.changes, &work.current));
        let told = told(&self.changes.log, &work.changes, path).await?;
        landed.txns.extend(told);
        Ok(Covered::by(&landed, path))
    }

    /// The files of a lap, and those of the laps before that it has not written anew.
    async fn over(&self, work: Work, plan: Plan, before: Written, lap: Folded) -> Attempt {
        let replaced = lap.written.replaced.iter();
        let replaced = replaced.filter_map(|bucket| plan.base.files.get(bucket));
        let replaced: BTreeSet<&str> = replaced.map(|add| add.path.as_str()).collect();
        let files = before.added.into_iter();
        let (stale, kept): (Vec<Add>, Vec<Add>) =
            files.partition(|add| replaced.contains(add.path.as_str()));
        let stale = Written {
            added: stale,
            ..Written::default()
        };
        stale.discard(&self.current.log).await;
        let mut folded = lap;
        folded.written.added.extend(kept);
        folded.written.buckets += before.buckets;
        folded.written.rows += before.rows;
        Attempt {
            removed: self.removed(plan.dropped.iter()),
            stay: 0,
            from_all: true,
            work,
            folded,
        }
    }

    /// Lets go of what was written.
    async fn begin_anew(&self, mut work: Work, written: Written) -> Result<Attempt, FoldError> {
        written.discard(&self.current.log).await;
        work.covered = Covered::by(&work.current, &self.current.path);
        work.found = work
            .covered
            .found_in(&self.changes.log, &work.changes)
            .await?;
        self.attempt_from_all(work).await
    }
}
