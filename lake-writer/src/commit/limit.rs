//! How long a commit waits for a store that does not do as asked.

use std::fmt::Display;
use std::time::Duration;

use tokio::time::Instant;

use super::Refusal;

/// Longest that the care of a table waits: other tables wait meanwhile. The next round tries again.
pub(crate) const CARE_MAX: Duration = Duration::from_secs(60);

/// The wait of one commit.
#[derive(Debug)]
pub(super) struct Limit {
    /// `None`: whoever waits has nothing else to do.
    wait_max: Option<Duration>,
    /// The first of the store's errors since it last did as asked, and its words for the last.
    errors: Option<(Instant, String)>,
}

impl Limit {
    /// As long as it takes.
    pub(super) fn none() -> Self {
        Self {
            wait_max: None,
            errors: None,
        }
    }

    /// Of the care of tables.
    pub(super) fn of_care() -> Self {
        Self {
            wait_max: Some(CARE_MAX),
            ..Self::none()
        }
    }

    /// The store did not do as asked.
    pub(super) fn note(&mut self, error: &dyn Display) {
        let first = self.errors.take().map(|(first, _)| first);
        let first = first.unwrap_or_else(Instant::now);
        self.errors = Some((first, error.to_string()));
    }

    /// The store did as asked.
    pub(super) fn reset(&mut self) {
        self.errors = None;
    }

    /// Whether to go on waiting.
    pub(super) fn check(&self) -> Result<(), Refusal> {
        match (self.wait_max, &self.errors) {
            (Some(wait_max), Some((first, why))) if first.elapsed() > wait_max => {
                Err(Refusal::NoAnswer(why.clone()))
            }
            _ => Ok(()),
        }
    }
}
