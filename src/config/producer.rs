//! Properties of a producer: what `[kafka]` says, and a section's own.

use std::collections::BTreeMap;
use std::path::Path;

use change_events::{KafkaBroker, KafkaSettings};

use super::secret::Text;

/// How a section that publishes reaches Kafka.
pub(super) struct Producer<'a> {
    /// The section's name.
    pub(super) section: &'a str,
    pub(super) topic_partitions: i32,
    pub(super) topic_replication: i32,
    /// librdkafka's own settings, beside those of `[kafka.properties]`.
    pub(super) properties: &'a BTreeMap<String, Text>,
}

impl Producer<'_> {
    /// The settings with their secrets; what is wrong goes to `problems`.
    pub(super) fn resolve(
        &self,
        kafka: &lake_writer::KafkaSettings,
        directory: &Path,
        problems: &mut Vec<String>,
    ) -> KafkaSettings {
        let section = self.section;
        let counts = [
            ("topic_partitions", self.topic_partitions),
            ("topic_replication", self.topic_replication),
        ];
        let wrong = counts.iter().filter(|(_, count)| *count < 1);
        problems.extend(wrong.map(|(name, _)| format!("{section}.{name} must be above 0")));
        let mut settings = KafkaSettings::new(&kafka.bootstrap_servers);
        settings.partitions = self.topic_partitions;
        settings.replication = self.topic_replication;
        settings.properties.clone_from(&kafka.properties);
        for (name, text) in self.properties {
            let place = format!("{section}.properties.\"{name}\"");
            if let Some(value) = text.resolve_named(&place, name, directory, problems) {
                settings.properties.insert(name.clone(), value);
            }
        }
        let client = settings.properties.entry("client.id".to_owned());
        client.or_insert_with(|| format!("lakehead-{section}"));
        if let Err(why) = KafkaBroker::new(settings.clone()).validate() {
            problems.push(format!("{section}: kafka property {why}"));
        }
        settings
    }
}

/// Partitions of a topic that is created because it is missing.
pub(super) fn default_partitions() -> i32 {
    KafkaSettings::new("").partitions
}

/// Copies of each of them.
pub(super) fn default_replication() -> i32 {
    KafkaSettings::new("").replication
}
