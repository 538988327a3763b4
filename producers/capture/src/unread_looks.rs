//! Whether the server knows of somebody who reads a slot.

use std::sync::Arc;

use tokio::sync::watch;

/// So many looks in a row that the last one was asked after the stream had begun.
const LOOKS: u32 = 2;

/// How many looks in a row have found a slot without a reader: shared by the stream, to which a connection
/// that broke without a word looks like a log at rest, and by the watch that asks the server.
#[derive(Clone, Debug)]
pub(crate) struct UnreadLooks(Arc<watch::Sender<u32>>);

impl UnreadLooks {
    pub(crate) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(0)))
    }

    /// From now on somebody reads the slot.
    pub(crate) fn begin(&self) {
        self.0.send_replace(0);
    }

    /// Takes in what the server says.
    pub(crate) fn look(&self, is_read: bool) {
        self.0.send_modify(|looks| {
            *looks = match is_read {
                true => 0,
                false => looks.saturating_add(1),
            };
        });
    }

    /// Waits until whoever reads the slot is not known to the server any more. May be dropped while it
    /// waits.
    pub(crate) async fn are_enough(&self) {
        let mut looks = self.0.subscribe();
        // The sender is here, so it is never closed.
        looks.wait_for(|looks| *looks >= LOOKS).await.ok();
    }
}
