//! What the relay waits for, said once.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// First and longest pause before the relay tries again what failed.
const RETRY_PAUSE_MIN: Duration = Duration::from_millis(100);
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(5);

/// Says once when something is away and once when the relay publishes again; paces the tries.
#[derive(Debug)]
pub(super) struct Health {
    source: String,
    down: Option<&'static str>,
    pause: Duration,
}

impl Health {
    pub(super) fn new(source: &str) -> Self {
        Self {
            source: source.to_owned(),
            down: None,
            pause: RETRY_PAUSE_MIN,
        }
    }

    pub(super) fn down(&mut self, what: &'static str, why: &str) {
        if self.down != Some(what) {
            warn!(source = %self.source, why, "{what} is away; the relay waits for it");
            self.down = Some(what);
        }
    }

    /// Another relay has the outbox; this one takes over when that one ends.
    pub(super) fn standby(&mut self) {
        const TURN: &str = "the outbox, which another relay publishes,";
        if self.down != Some(TURN) {
            info!(source = %self.source, "another relay publishes this outbox; this one waits to take over");
            self.down = Some(TURN);
        }
    }

    /// Something was delivered.
    pub(super) fn up(&mut self) {
        self.pause = RETRY_PAUSE_MIN;
        if let Some(what) = self.down.take() {
            info!(source = %self.source, "{what} is back; the relay goes on");
        }
    }

    /// Waits before the next try; true when cancelled meanwhile.
    pub(super) async fn rest(&mut self, cancel: &CancellationToken) -> bool {
        let pause = self.pause;
        self.pause = (pause * 2).min(RETRY_PAUSE_MAX);
        tokio::select! {
            () = tokio::time::sleep(pause) => false,
            () = cancel.cancelled() => true,
        }
    }
}
