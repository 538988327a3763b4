//! What librdkafka tells beside its records: rebalances, statistics, its log.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Statistics, TopicPartitionList};
use schemas::TopicPartition;
use tracing::{debug, warn};

use super::trouble::Trouble;
use crate::record_log::Notice;

/// Notes rebalances; the writer answers them after the poll in which they came.
#[derive(Debug, Default)]
pub(super) struct Context {
    pub(super) notices: Mutex<VecDeque<Notice>>,
    /// A topic was made again since the last poll.
    pub(super) topics_changed: AtomicBool,
    /// How far partitions were fetched whose records are all handed out.
    pub(super) fetched: Mutex<HashMap<TopicPartition, i64>>,
    pub(super) closing: AtomicBool,
    pub(super) trouble: Trouble,
}

impl ClientContext for Context {
    fn stats(&self, statistics: Statistics) {
        let Ok(mut fetched) = self.fetched.lock() else {
            return;
        };
        fetched.clear();
        for topic in statistics.topics.into_values() {
            let name: Arc<str> = topic.topic.into();
            let done = topic.partitions.into_values();
            let done = done.filter(|partition| partition.fetchq_cnt == 0);
            fetched.extend(done.map(|partition| {
                let place = TopicPartition::new(Arc::clone(&name), partition.partition);
                (place, partition.next_offset)
            }));
        }
    }

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        if tells_new_topic(facility, message) {
            self.topics_changed.store(true, Ordering::Relaxed);
        }
        self.trouble.hear(facility, message);
        match level {
            RDKafkaLogLevel::Emerg
            | RDKafkaLogLevel::Alert
            | RDKafkaLogLevel::Critical
            | RDKafkaLogLevel::Error
            | RDKafkaLogLevel::Warning => warn!(facility, "{message}"),
            RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info | RDKafkaLogLevel::Debug => {
                debug!(facility, "{message}");
            }
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        // The log and the poll tell it, too, the latter not more often than it helps.
        debug!(%error, "kafka: {reason}");
        self.trouble.see(&error, reason);
    }
}

impl ConsumerContext for Context {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        event: RDKafkaRespErr,
        partitions: &mut TopicPartitionList,
    ) {
        if self.closing.load(Ordering::Relaxed) {
            if let Err(error) = consumer.unassign() {
                debug!(%error, "partitions could not be given up while closing");
            }
            return;
        }
        let notice = match event {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => Notice::Assigned(
                partitions
                    .elements()
                    .iter()
                    .map(|element| TopicPartition::new(element.topic(), element.partition()))
                    .collect(),
            ),
            _ => Notice::Revoked,
        };
        if let Ok(mut waiting) = self.notices.lock() {
            waiting.push_back(notice);
        }
    }
}

/// Whether a line of librdkafka's log says that a topic was made again, or that another cluster
/// answers. The first id of a topic that it learns replaces one of zeros.
fn tells_new_topic(facility: &str, line: &str) -> bool {
    const NO_ID: &str = "from AAAAAAAAAAAAAAAAAAAAAA to";
    match facility {
        "METADATA" => line.contains(" changed id from ") && !line.contains(NO_ID),
        "CLUSTERID" => line.contains(" reports different ClusterId "),
        _ => false,
    }
}
