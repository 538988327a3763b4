//! Waiting out what is down: doubling waits with jitter.

use std::time::Duration;

use crate::entropy::Entropy;

/// Longest wait between two attempts.
const WAIT_MAX: Duration = Duration::from_secs(10);

/// The waits between attempts at one thing.
#[derive(Debug)]
pub(crate) struct Patience<'a> {
    entropy: &'a Entropy,
    first: Duration,
    next: Duration,
}

impl<'a> Patience<'a> {
    /// Waits of about `first`, then twice that, and so on up to ten seconds.
    pub(crate) fn new(entropy: &'a Entropy, first: Duration) -> Self {
        Self {
            entropy,
            first,
            next: first,
        }
    }

    /// Waits before the next attempt.
    pub(crate) async fn wait(&mut self) {
        tokio::time::sleep(self.entropy.jitter(self.next)).await;
        self.next = (self.next * 2).min(WAIT_MAX);
    }

    /// Something moved: starts over with short waits.
    pub(crate) fn reset(&mut self) {
        self.next = self.first;
    }
}
