//! The table of dead letters, which all tables of a process write to.
//!
//! One state and one committer for all of them: a state for each table would hold the progress of
//! every partition as often as there are tables, and their commits would be in each other's way.
//! Other processes may commit at any time, as in any table.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lake_store::{DEAD_LETTERS_PATH, LakeStore, dead_letters_schema};
use tokio::sync::{Mutex, MutexGuard};

use crate::action::Add;
use crate::clock::Clock;
use crate::commit::{Draft, Refusal, Step, commit};
use crate::delta_log::{DeltaLog, DeltaLogError, TableState, create, patiently};
use crate::entropy::Entropy;
use crate::error::WriterError;
use crate::layout;
use crate::offset_ranges::OffsetRanges;
use crate::patience::Patience;

mod ahead;

pub(crate) use ahead::Ahead;

/// The log of dead letters of one process.
#[derive(Debug)]
pub(crate) struct DeadLettersLog {
    log: DeltaLog,
    seen: Mutex<Seen>,
    /// Counts the looks at the log that were begun.
    looks: AtomicU64,
    clock: Arc<dyn Clock>,
    entropy: Arc<Entropy>,
}

/// What is known of the log.
#[derive(Debug, Default)]
struct Seen {
    /// `None` if there was no table.
    state: Option<TableState>,
    /// The number of the look that found it.
    look: u64,
}

impl DeadLettersLog {
    pub(crate) fn new(lake: &LakeStore, clock: Arc<dyn Clock>, entropy: Arc<Entropy>) -> Self {
        Self {
            log: DeltaLog::new(lake.table_store(DEAD_LETTERS_PATH)),
            seen: Mutex::default(),
            looks: AtomicU64::new(0),
            clock,
            entropy,
        }
    }

    /// The log itself, to upload files to.
    pub(crate) fn log(&self) -> &DeltaLog {
        &self.log
    }

    /// What the newest version says of these applications; those that it does not know are left
    /// out.
    pub(crate) async fn txns(
        &self,
        app_ids: impl Iterator<Item = String>,
    ) -> Result<HashMap<String, i64>, WriterError> {
        let seen = self.look().await?;
        let Some(state) = &seen.state else {
            return Ok(HashMap::new());
        };
        let known = |app_id: String| {
            let version = *state.txns.get(&app_id)?;
            Some((app_id, version))
        };
        Ok(app_ids.filter_map(known).collect())
    }

    /// Commits files of dead letters and these steps, as [`commit`] does. Makes the table if it is
    /// not there.
    pub(crate) async fn commit(
        &self,
        steps: Vec<Step>,
        files: Vec<Add>,
    ) -> Result<Result<u64, Refusal>, WriterError> {
        let mut seen = self.seen.lock().await;
        let state = self.ensure(&mut seen.state).await?;
        let draft = Draft {
            layout: state.metadata.clone(),
            steps,
            further: Vec::new(),
            files,
            rework: None,
        };
        Ok(commit(&self.log, state, &draft, self.clock.as_ref(), &self.entropy).await)
    }

    /// The offsets of each of these whose letters are committed already.
    pub(crate) async fn find(&self, ahead: &[Ahead]) -> Result<Vec<OffsetRanges>, WriterError> {
        let read = || ahead::read(&self.log, ahead);
        patiently(DEAD_LETTERS_PATH, &self.entropy, read).await
    }

    /// What is known, found by a look that began after this question: at a start many tables ask
    /// at once, and two looks answer all of them.
    async fn look(&self) -> Result<MutexGuard<'_, Seen>, WriterError> {
        let begun = self.looks.load(Ordering::SeqCst);
        let mut seen = self.seen.lock().await;
        if seen.look > begun {
            return Ok(seen);
        }
        let look = self.looks.fetch_add(1, Ordering::SeqCst) + 1;
        let mut patience = Patience::with_store(&self.entropy);
        while let Err(error) = self.catch_up(&mut seen.state).await {
            patience.wait_out(DEAD_LETTERS_PATH, error).await?;
        }
        seen.look = look;
        Ok(seen)
    }

    async fn catch_up(&self, state: &mut Option<TableState>) -> Result<(), DeltaLogError> {
        if let Some(known) = state
            && self.log.refresh(known).await.is_ok()
        {
            return self.log.catch_up(known, |_, _| ()).await;
        }
        *state = self.log.load().await?;
        Ok(())
    }

    async fn ensure<'s>(
        &self,
        state: &'s mut Option<TableState>,
    ) -> Result<&'s mut TableState, WriterError> {
        let refuse = |why: String| WriterError::Table {
            table: DEAD_LETTERS_PATH.to_owned(),
            why,
        };
        let (id, now_us) = (self.entropy.uuid(), self.clock.now_us());
        let ours = layout::system_metadata(&dead_letters_schema(), id, now_us).map_err(refuse)?;
        let found = match state.take() {
            Some(state) => state,
            None => {
                let parts = (self.clock.as_ref(), self.entropy.as_ref());
                create(&self.log, DEAD_LETTERS_PATH, ours.clone(), parts).await?
            }
        };
        let found = state.insert(found);
        layout::check_system(&ours, &found.metadata).map_err(refuse)?;
        Ok(found)
    }
}

#[cfg(test)]
mod tests;
