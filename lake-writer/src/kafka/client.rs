//! One of librdkafka's clients, from its making until it has left the group.

use std::ops::Deref;
use std::sync::atomic::Ordering;

use rdkafka::consumer::{BaseConsumer, Consumer};
use tracing::debug;

use super::client_config;
use super::context::Context;
use super::error::told;
use super::properties::watch_topic_ids;
use crate::error::WriterError;
use crate::settings::KafkaSettings;

/// A consumer that reads nothing yet.
pub(super) struct Client(BaseConsumer<Context>);

impl Client {
    /// Does not wait for the brokers.
    pub(super) fn new(settings: &KafkaSettings) -> Result<Self, WriterError> {
        let mut config = client_config(settings);
        watch_topic_ids(&mut config);
        let consumer = config.create_with_context(Context::default());
        let refused = |error| WriterError::Kafka(settings.redact(&told(&error)));
        consumer.map(Self).map_err(refused)
    }

    /// Leaves the group while others go on: that may wait for a broker.
    pub(super) fn leave(self) {
        let thread = std::thread::Builder::new().name("kafka-leave".to_owned());
        if let Err(error) = thread.spawn(move || drop(self)) {
            debug!(%error, "no thread to leave the group on; it was left here");
        }
    }
}

impl Deref for Client {
    type Target = BaseConsumer<Context>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl Drop for Client {
    /// Leaves the group. Closing waits for an answer to the last revocation, and nobody polls any
    /// more to give it, so from here on rebalances are answered where they are noted.
    fn drop(&mut self) {
        self.0.context().closing.store(true, Ordering::Relaxed);
        if let Err(error) = self.0.unassign() {
            debug!(%error, "partitions could not be given up before closing");
        }
    }
}
