//! The work of a refresh: the tail is found, and buckets are written anew.

use super::plan::Plan;
use super::{Current, Work};
use crate::action::Remove;
use crate::maintenance::error::FoldError;
use crate::maintenance::fold::{Fold, Folded};

impl Current {
    /// Writes what the plan says; also the files that leave the table. `None` if a change came late,
    /// so that all changes must be read. The room in memory is free when it ends: a commit may wait.
    pub(super) async fn fold(
        &self,
        work: &Work,
        plan: &mut Plan,
    ) -> Result<Option<(Folded, Vec<Remove>)>, FoldError> {
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
        let Some(folded) = fold.write(&plan.base, &self.current.log).await? else {
            return Ok(None);
        };
        let replaced = folded.written.replaced.iter();
        let replaced = replaced.filter_map(|bucket| plan.base.files.get(bucket));
        let now_ms = self.means.clock.now_us() / 1000;
        let removed = replaced.chain(&plan.dropped).cloned();
        let removed = removed.map(|file| Remove::of(file, now_ms, true)).collect();
        Ok(Some((folded, removed)))
    }
}
