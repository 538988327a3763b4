//! How the relay reaches Kafka.

use std::collections::BTreeMap;
use std::fmt;

use rdkafka::ClientConfig;

/// Partitions of a topic that the relay creates. More partitions let more lake-writers share the
/// work; the count cannot be changed later without breaking the order per key.
const PARTITIONS_DEFAULT: i32 = 8;

/// Copies of a topic that the relay creates; 3 on a cluster that must outlive a broker.
const REPLICATION_DEFAULT: i32 = 1;

/// What the relay's guarantees rest on; not to be set otherwise.
const FIXED: [(&str, &str); 8] = [
    ("acks", "all"),
    ("enable.idempotence", "true"),
    // The first record that fails ends the connection: nothing overtakes it.
    ("enable.gapless.guarantee", "true"),
    // Nothing is given up locally: the relay waits for the brokers as long as it takes.
    ("message.timeout.ms", "0"),
    // As Java's clients place records, so that other producers of a topic agree with us.
    ("partitioner", "murmur2_random"),
    // Above the relay's own bounds, which are kept row by row, so that a row always finds room.
    ("queue.buffering.max.messages", "1000000"),
    ("queue.buffering.max.kbytes", "1048576"),
    ("delivery.report.only.error", "false"),
];

/// Settings that may be overridden in [`KafkaSettings::properties`].
const DEFAULTS: [(&str, &str); 5] = [
    ("client.id", "lakehead-relay"),
    ("compression.codec", "lz4"),
    ("linger.ms", "10"),
    ("message.max.bytes", "8388608"),
    // A broker that is back is found within a second.
    ("reconnect.backoff.max.ms", "1000"),
];

/// Where Kafka is and how to talk to it.
#[derive(Clone, PartialEq, Eq)]
pub struct KafkaSettings {
    /// Host and port of one or more brokers, separated by commas.
    pub bootstrap_servers: String,
    /// Partitions of a topic that is created because it is missing.
    pub partitions: i32,
    /// Copies of each partition of a topic that is created.
    pub replication: i32,
    /// librdkafka's own names, passed through. Those that the guarantees rest on are refused.
    pub properties: BTreeMap<String, String>,
}

/// The values of properties are left out: some are secrets.
impl fmt::Debug for KafkaSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaSettings")
            .field("bootstrap_servers", &self.bootstrap_servers)
            .field("partitions", &self.partitions)
            .field("replication", &self.replication)
            .field("properties", &self.properties.keys())
            .finish()
    }
}

/// A property that may not be set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "kafka property {name:?} may not be set: the relay's guarantees need {name} = {value:?}; remove it"
)]
pub struct KafkaSettingsError {
    name: &'static str,
    value: &'static str,
}

impl KafkaSettings {
    /// The defaults for these brokers: 8 partitions, 1 copy, lz4.
    pub fn new(bootstrap_servers: impl Into<String>) -> Self {
        Self {
            bootstrap_servers: bootstrap_servers.into(),
            partitions: PARTITIONS_DEFAULT,
            replication: REPLICATION_DEFAULT,
            properties: BTreeMap::new(),
        }
    }

    /// The configuration of an administrative client: where, and as whom.
    pub(crate) fn client_config(&self) -> Result<ClientConfig, KafkaSettingsError> {
        if let Some(&(name, value)) = FIXED
            .iter()
            .find(|(name, _)| self.properties.contains_key(*name))
        {
            return Err(KafkaSettingsError { name, value });
        }
        let mut config = ClientConfig::new();
        for (name, value) in DEFAULTS {
            config.set(name, value);
        }
        for (name, value) in &self.properties {
            config.set(name, value);
        }
        config.set("bootstrap.servers", &self.bootstrap_servers);
        Ok(config)
    }

    /// The configuration of the producer.
    pub(crate) fn producer_config(&self) -> Result<ClientConfig, KafkaSettingsError> {
        let mut config = self.client_config()?;
        for (name, value) in FIXED {
            config.set(name, value);
        }
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_guarantees_rest_on_cannot_be_overridden() {
        let mut settings = KafkaSettings::new("b:9092");
        settings.properties.insert("linger.ms".into(), "0".into());
        let config = settings.producer_config().unwrap();
        assert_eq!(config.get("linger.ms"), Some("0"));
        assert_eq!(config.get("acks"), Some("all"));
        settings.properties.insert("acks".into(), "1".into());
        let error = settings.producer_config().unwrap_err();
        assert!(error.to_string().contains("\"acks\""), "{error}");
    }
}
