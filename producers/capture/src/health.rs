//! What the capture waits for, said once.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// First and longest pause before what failed is tried again.
const RETRY_PAUSE_MIN: Duration = Duration::from_millis(100);
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(5);

/// Says once when something is away and once when the capture goes on; paces the tries.
#[derive(Debug)]
pub(crate) struct Health {
    slot: String,
    down: Option<&'static str>,
    pause: Duration,
}

impl Health {
    pub(crate) fn new(slot: &str) -> Self {
        Self {
            slot: slot.to_owned(),
            down: None,
            pause: RETRY_PAUSE_MIN,
        }
    }

    pub(crate) fn down(&mut self, what: &'static str, why: &str) {
        if self.down != Some(what) {
            warn!(slot = %self.slot, why, "{what} is away; the capture waits for it");
            self.down = Some(what);
        }
    }

    /// Something was delivered, or Postgres streams.
    pub(crate) fn up(&mut self) {
        self.pause = RETRY_PAUSE_MIN;
        if let Some(what) = self.down.take() {
            info!(slot = %self.slot, "{what} is back; the capture goes on");
        }
    }

    /// Rests before the next try; true when cancelled meanwhile.
    pub(crate) async fn rest(&mut self, cancel: &CancellationToken) -> bool {
        let pause = self.pause;
        self.pause = (pause * 2).min(RETRY_PAUSE_MAX);
        tokio::select! {
            () = cancel.cancelled() => true,
            () = tokio::time::sleep(pause) => false,
        }
    }
}
