//! Topics that Kafka may not let us see or read.
//!
//! A fetch that is refused is told without the name of its topic, and only once. Every topic that is
//! read is then suspected, until one fetch of it by itself has shown that it may be read.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::{Offset, TopicPartitionList};

use super::{REQUEST_TIMEOUT, client_config, is_forbidden, refused};
use crate::error::WriterError;
use crate::settings::KafkaSettings;

/// How long a fetch waits for records that it does not need.
const FETCH_WAIT: &str = "10";

/// How long one listens for the answer before the deadline is looked at again.
const LISTEN_TIME: Duration = Duration::from_millis(200);

/// We may not see the topic.
pub(super) fn hidden(topic: &str) -> WriterError {
    WriterError::TopicForbidden {
        topic: topic.to_owned(),
        operation: "see",
    }
}

/// What is suspected, and the client that finds out.
#[derive(Default)]
pub(super) struct Permission {
    suspected: HashSet<String>,
    /// Hidden topics that were told.
    hidden: HashSet<String>,
    client: Option<BaseConsumer>,
}

impl Permission {
    /// One of these topics may not be read.
    pub(super) fn suspect<'t>(&mut self, topics: impl Iterator<Item = &'t str>) {
        self.suspected.extend(topics.map(str::to_owned));
    }

    /// Takes in which topics are hidden; whether one is that was not before.
    pub(super) fn see_hidden(&mut self, hidden: HashSet<String>) -> bool {
        let news = hidden.difference(&self.hidden).next().is_some();
        self.hidden = hidden;
        news
    }

    /// Refuses a topic that may not be read. One that does not show it in time stays suspected.
    pub(super) fn check(
        &mut self,
        settings: &KafkaSettings,
        topic: &str,
    ) -> Result<(), WriterError> {
        if !self.suspected.contains(topic) {
            return Ok(());
        }
        if !self.is_readable(settings, topic)? {
            return Err(WriterError::TopicForbidden {
                topic: topic.to_owned(),
                operation: "read",
            });
        }
        self.suspected.remove(topic);
        if self.suspected.is_empty() {
            self.client = None;
        }
        Ok(())
    }

    /// Fetches from the end of one partition: what may be done in one may be done in all.
    fn is_readable(&mut self, settings: &KafkaSettings, topic: &str) -> Result<bool, WriterError> {
        let client = match &mut self.client {
            Some(client) => client,
            none => none.insert(client_of(settings)?),
        };
        let mut end = TopicPartitionList::with_capacity(1);
        end.add_partition_offset(topic, 0, Offset::End)
            .map_err(refused)?;
        client.assign(&end).map_err(refused)?;
        let deadline = Instant::now() + REQUEST_TIMEOUT;
        let mut readable = false;
        while !readable && Instant::now() < deadline {
            match client.poll(LISTEN_TIME) {
                Some(Ok(_) | Err(KafkaError::PartitionEOF(_))) => readable = true,
                Some(Err(error)) if is_forbidden(&error) => break,
                // What is wrong otherwise is told where it is read.
                Some(Err(_)) | None => {}
            }
        }
        client.unassign().map_err(refused)?;
        Ok(readable)
    }
}

fn client_of(settings: &KafkaSettings) -> Result<BaseConsumer, WriterError> {
    let mut config = client_config(settings);
    config.set("enable.partition.eof", "true");
    config.set("fetch.wait.max.ms", FETCH_WAIT);
    config.set("statistics.interval.ms", "0");
    config.create().map_err(refused)
}
