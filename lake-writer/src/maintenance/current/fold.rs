//! The work of a refresh: the tail is found, and buckets are written anew.

use std::collections::BTreeSet;

use tracing::warn;

use super::plan::Plan;
use super::{Attempt, Current, Work, buckets_left};
use crate::action::{Add, Remove};
use crate::maintenance::error::FoldError;
use crate::maintenance::fold::{Fold, Folded};

impl Current {
    /// Writes what the plan says; from all changes, if it turns out that others will not do.
    pub(super) async fn attempt(&self, work: Work, mut plan: Plan) -> Result<Attempt, FoldError> {
        let why = match self.fold(&work, &mut plan).await {
            Ok(Some(folded)) => return Ok(self.written(work, &plan, folded)),
            Ok(None) => "changes of an earlier generation came late".to_owned(),
            Err(error) if error.is_not_found() && !plan.from_all => error.to_string(),
            Err(error) => return Err(error),
        };
        warn!(table = %self.table, why, "the current table is computed from all changes");
        self.attempt_from_all(work).await
    }

    /// Writes the table anew, whatever is there.
    pub(super) async fn attempt_from_all(&self, mut work: Work) -> Result<Attempt, FoldError> {
        let mut plan = self.plan_from_all(&mut work).await?;
        match self.fold(&work, &mut plan).await? {
            Some(folded) => Ok(self.written(work, &plan, folded)),
            None => Err(FoldError::Internal("all changes came late".to_owned())),
        }
    }

    /// Writes buckets anew; `None` if a change came late, so that all changes must be read. The room in
    /// memory is free when it ends: a commit may wait.
    pub(super) async fn fold(
        &self,
        work: &Work,
        plan: &mut Plan,
    ) -> Result<Option<Folded>, FoldError> {
        let _turn = match plan.turn.take() {
            Some(turn) => turn,
            None => self.means.room.to_fold().await,
        };
        let fold = Fold {
            log: &self.changes.log,
            changes: &plan.changes,
            layout: &work.layout,
            covered: &work.covered,
            until_us: None,
            means: &self.means,
        };
        fold.write(&plan.base, &self.current.log).await
    }

    /// What was written takes the place of the buckets that its rows come from.
    fn written(&self, work: Work, plan: &Plan, folded: Folded) -> Attempt {
        let replaced = folded.written.replaced.iter();
        let replaced = replaced.filter_map(|bucket| plan.base.files.get(bucket));
        let removed = self.removed(replaced.chain(&plan.dropped));
        let gone: BTreeSet<&str> = removed.iter().map(|file| file.path.as_str()).collect();
        let base = plan.base.files.values();
        let stay = base.filter(|file| !gone.contains(file.path.as_str()));
        Attempt {
            stay: buckets_left::number(0, stay),
            removed,
            from_all: plan.from_all,
            work,
            folded,
        }
    }

    /// Files leave the table as of now.
    pub(super) fn removed<'a>(&self, files: impl Iterator<Item = &'a Add>) -> Vec<Remove> {
        let now_ms = self.means.clock.now_us() / 1000;
        files
            .map(|file| Remove::of(file.clone(), now_ms, true))
            .collect()
    }
}
