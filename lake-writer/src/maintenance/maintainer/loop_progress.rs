//! How one loop of the care goes on.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::time::Instant;

use super::{Round, Tables};

/// What the rounds of one loop came to since the start.
#[derive(Debug)]
pub struct LoopProgress {
    started: Instant,
    rounds: AtomicU64,
    failures: AtomicU64,
    round_failures: AtomicU64,
    tables: AtomicU64,
    /// Milliseconds after the start; 0 before the first round is over.
    ended_ms: AtomicU64,
}

impl Default for LoopProgress {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            rounds: AtomicU64::default(),
            failures: AtomicU64::default(),
            round_failures: AtomicU64::default(),
            tables: AtomicU64::default(),
            ended_ms: AtomicU64::default(),
        }
    }
}

impl LoopProgress {
    /// Rounds that are over.
    pub fn rounds(&self) -> u64 {
        self.rounds.load(Ordering::Relaxed)
    }

    /// What failed in all of them.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// What failed in the last one.
    pub fn round_failures(&self) -> u64 {
        self.round_failures.load(Ordering::Relaxed)
    }

    /// Entities that the last one was over; none if the lake could not be listed.
    pub fn tables(&self) -> u64 {
        self.tables.load(Ordering::Relaxed)
    }

    /// Time since the last one ended, or since the start before the first did, in milliseconds. A loop that
    /// hangs, or has died, is known by it.
    pub fn round_age_ms(&self) -> u64 {
        let last = self.ended_ms.load(Ordering::Relaxed);
        self.since_start_ms().saturating_sub(last)
    }

    /// A round is over.
    pub(super) fn ended(&self, tables: &Tables, round: &Round) {
        let failures = round.failed.len() as u64;
        self.tables
            .store(tables.names.len() as u64, Ordering::Relaxed);
        self.round_failures.store(failures, Ordering::Relaxed);
        self.failures.fetch_add(failures, Ordering::Relaxed);
        self.ended_ms
            .store(self.since_start_ms(), Ordering::Relaxed);
        self.rounds.fetch_add(1, Ordering::Relaxed);
    }

    fn since_start_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::maintenance::error::MaintenanceError;

    fn tables(names: &[&str]) -> Tables {
        Tables {
            names: names.iter().map(|name| name.parse().unwrap()).collect(),
            are_all: true,
        }
    }

    fn round(failures: usize) -> Round {
        let failed = (0..failures).map(|_| MaintenanceError::Internal("a bug".to_owned()));
        Round {
            failed: failed.collect(),
            ..Round::default()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn rounds_and_failures_are_counted_and_the_last_one_is_known() {
        let progress = LoopProgress::default();
        progress.ended(&tables(&["shop.a", "shop.b"]), &round(2));
        assert_eq!((progress.round_failures(), progress.tables()), (2, 2));
        progress.ended(&tables(&["shop.a"]), &round(0));
        assert_eq!((progress.rounds(), progress.failures()), (2, 2));
        assert_eq!((progress.round_failures(), progress.tables()), (0, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn the_age_grows_from_the_start_and_from_the_end_of_each_round() {
        let progress = LoopProgress::default();
        tokio::time::advance(Duration::from_secs(7)).await;
        assert_eq!(progress.round_age_ms(), 7000, "no round was ever over");
        progress.ended(&tables(&[]), &round(0));
        assert_eq!(progress.round_age_ms(), 0);
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!(progress.round_age_ms(), 3000);
    }
}
