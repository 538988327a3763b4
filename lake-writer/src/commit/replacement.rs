//! Data files in the place of others, beside whoever appends: what compaction, retention and the
//! like commit.
//!
//! Appends that come in between do not matter, so the writer is never in the way nor held up. What
//! does matter is checked on the state of every attempt: all that a draft asks for, and that each
//! file that leaves is still in the table. Of two that replace the same file one lands, the other is
//! refused.

use std::collections::HashSet;

use super::{Candidate, Draft, Limit, Refusal, land};
use crate::action::Action;
use crate::clock::Clock;
use crate::delta_log::{DeltaLog, TableState};
use crate::entropy::Entropy;

/// The version that plans are made on, and what has left the table since.
#[derive(Clone, Debug)]
pub(crate) struct Base {
    pub(crate) state: TableState,
    gone: HashSet<String>,
    /// Entries came in between that nobody could read any more.
    blind: bool,
}

impl Base {
    pub(crate) fn new(state: TableState) -> Self {
        Self {
            state,
            gone: HashSet::new(),
            blind: false,
        }
    }
}

/// Commits a draft whose files were planned on `base`, which is brought up to the newest version
/// seen. Waits and ends as [`commit_soon`](super::commit_soon) does.
pub(crate) async fn replace(
    log: &DeltaLog,
    base: &mut Base,
    draft: &Draft,
    clock: &dyn Clock,
    entropy: &Entropy,
) -> Result<u64, Refusal> {
    let Base { state, gone, blind } = base;
    let mut based = Based { draft, gone, blind };
    let limit = Limit::of_care();
    land(log, state, &mut based, draft, limit, (clock, entropy)).await
}

/// A draft, with what has left the table since it was planned.
struct Based<'a> {
    draft: &'a Draft,
    gone: &'a mut HashSet<String>,
    blind: &'a mut bool,
}

impl Based<'_> {
    fn removed(&self) -> impl Iterator<Item = &String> {
        let rework = self.draft.rework.iter();
        rework.flat_map(|rework| rework.removed.iter().map(|file| &file.path))
    }
}

impl Candidate for Based<'_> {
    fn check(&self, state: &TableState, now_us: i64) -> Result<(), Refusal> {
        self.draft.check(state, now_us)?;
        match *self.blind || self.removed().any(|path| self.gone.contains(path)) {
            true => Err(Refusal::Overtaken),
            false => Ok(()),
        }
    }

    fn passed(&mut self, actions: &[Action]) {
        let removed = actions.iter().filter_map(|action| action.remove.as_ref());
        self.gone.extend(removed.map(|file| file.path.clone()));
    }

    fn passed_unseen(&mut self) {
        *self.blind = true;
    }

    fn absorb(&mut self, state: &mut TableState, version: u64) {
        let removed: Vec<String> = self.removed().cloned().collect();
        self.gone.extend(removed);
        self.draft.absorb(state, version);
    }
}

#[cfg(test)]
mod tests;
