//! What librdkafka is told besides the configuration.

use rdkafka::config::{ClientConfig, RDKafkaLogLevel};

use crate::settings::KafkaSettings;

/// What librdkafka is told unless the configuration says otherwise.
const DEFAULTS: [(&str, &str); 5] = [
    // The default of a second halves the rate of a consumer that is faster than the fetcher.
    ("fetch.queue.backoff.ms", "10"),
    ("topic.metadata.refresh.interval.ms", "10000"),
    // Tells how far fetching has come, past offsets that hold no records.
    ("statistics.interval.ms", "1000"),
    ("client.id", "lakehead-writer"),
    // Measures of the client for the brokers' owner cost a lock and a histogram at every record.
    ("enable.metrics.push", "false"),
];

/// What librdkafka is always told; the configuration refuses these names.
const OWNED: [(&str, &str); 7] = [
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    ("auto.offset.reset", "error"),
    ("partition.assignment.strategy", "range"),
    ("isolation.level", "read_committed"),
    ("check.crcs", "true"),
    // The newer protocol assigns step by step, which is not how partitions are taken here.
    ("group.protocol", "classic"),
];

/// A client of these brokers, with everything that reading must not do otherwise.
pub(crate) fn client_config(settings: &KafkaSettings) -> ClientConfig {
    let mut config = settings.client_config(&DEFAULTS);
    for (name, value) in OWNED {
        config.set(name, value);
    }
    if !matches!(config.log_level, RDKafkaLogLevel::Debug) {
        // It tells why a connection failed, which the context keeps for who asks.
        config.set_log_level(RDKafkaLogLevel::Info);
    }
    config
}

/// Makes librdkafka say when a topic has another id than before: it was deleted and made again. It
/// reads on in the new topic at the old offset, and nothing but its log for debugging tells so.
///
/// Not by the context `topic`, which tells it too. What is logged waits in the queue that is polled; a poll
/// that meets the last word of a partition that is gone frees the partition while it holds the queue, and
/// that is told in the context `topic`: the thread waits for itself, and all others of the client for it.
/// The configuration refuses that context for the same reason.
pub(super) fn watch_topic_ids(config: &mut ClientConfig) {
    let contexts = match config.get("debug") {
        Some(others) => format!("{others},metadata"),
        None => "metadata".to_owned(),
    };
    config.set("debug", contexts);
    config.set_log_level(RDKafkaLogLevel::Debug);
}
