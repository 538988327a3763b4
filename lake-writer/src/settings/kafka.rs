//! `[kafka]`: how the records are reached, and what of librdkafka is ours.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::RangeInclusive;

use bytesize::ByteSize;
use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;
use serde::{Deserialize, Serialize};

use super::WriterSettings;

/// Where the records are and how to talk to the brokers; secrets are resolved already.
#[derive(Clone, PartialEq, Eq)]
pub struct KafkaSettings {
    /// Addresses of brokers, `host:port` separated by commas.
    pub bootstrap_servers: String,
    /// The consumer group. Its committed offsets are for lag displays only; the lake decides.
    pub group_id: String,
    /// How the partitions are shared among processes.
    pub assignment: Assignment,
    /// librdkafka's own settings, passed through. The ones that Lakehead must own are refused.
    pub properties: BTreeMap<String, String>,
    /// Names of the properties whose values are never shown.
    pub secrets: BTreeSet<String>,
    /// The writer's budget. librdkafka is told to queue a quarter of it, and to fetch a
    /// thirty-second part of it from a broker at once, unless the properties say otherwise.
    pub buffer_bytes_max: ByteSize,
}

/// How topic partitions come to a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Assignment {
    /// Kafka shares them among the processes of the group.
    #[default]
    Group,
    /// This process reads all of them. A second process would be fenced, commit by commit.
    All,
}

impl Default for KafkaSettings {
    fn default() -> Self {
        Self {
            bootstrap_servers: "127.0.0.1:9092".to_owned(),
            group_id: "lakehead".to_owned(),
            assignment: Assignment::default(),
            properties: BTreeMap::new(),
            secrets: BTreeSet::new(),
            buffer_bytes_max: WriterSettings::default().buffer_bytes_max,
        }
    }
}

/// Values are left out: which of them are secrets is the caller's word, and may be wrong.
impl fmt::Debug for KafkaSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaSettings")
            .field("bootstrap_servers", &self.bootstrap_servers)
            .field("group_id", &self.group_id)
            .field("assignment", &self.assignment)
            .field("properties", &self.properties.keys())
            .finish_non_exhaustive()
    }
}

/// librdkafka settings that the exactly-once protocol depends on, and why they are ours.
const OWNED_PROPERTIES: [(&str, &str); 14] = [
    ("bootstrap.servers", "set kafka.bootstrap_servers"),
    ("metadata.broker.list", "set kafka.bootstrap_servers"),
    ("group.id", "set kafka.group_id"),
    ("enable.auto.commit", PROGRESS),
    ("auto.commit.enable", PROGRESS),
    ("enable.auto.offset.store", PROGRESS),
    (
        "auto.offset.reset",
        "an offset that is gone must stop the table, not skip records; where a new table starts is \
         the topic's start",
    ),
    ("partition.assignment.strategy", EAGER),
    ("group.protocol", EAGER),
    ("group.remote.assignor", EAGER),
    ("enable.partition.eof", "the writer does not ask for it"),
    (
        "isolation.level",
        "records of aborted transactions never happened",
    ),
    ("check.crcs", "records damaged on the way must not land"),
    (
        "plugin.library.paths",
        "it would load foreign code into the writer",
    ),
];

const PROGRESS: &str = "progress is kept in the lake, in the commit that carries the rows";
const EAGER: &str = "partitions are given up and taken all at once";

/// Bytes of records that wait in librdkafka to be polled, of all partitions together. It looks at
/// this before it fetches, so the answers on their way come on top.
const QUEUE_BYTES: RangeInclusive<u64> = 1 << 20..=64 << 20;

/// Bytes that one broker answers at once. A record batch that is larger is answered alone.
const FETCH_BYTES: RangeInclusive<u64> = 1 << 20..=8 << 20;

/// librdkafka's word for "look where this system keeps its certificates".
const PROBE: &str = "probe";

/// Shorter values are not looked for in messages: they would be found in every word.
const SECRET_BYTES_MIN: usize = 3;

impl KafkaSettings {
    /// Adds what is wrong to `problems`, each with its place in the file.
    pub fn validate(&self, problems: &mut Vec<String>) {
        if self.bootstrap_servers.trim().is_empty() {
            problems.push("kafka.bootstrap_servers is empty".to_owned());
        }
        if self.group_id.trim().is_empty() {
            problems.push("kafka.group_id is empty".to_owned());
        }
        for (name, value) in &self.properties {
            let owned = OWNED_PROPERTIES.iter().find(|(owned, _)| owned == name);
            if let Some((_, why)) = owned {
                problems.push(format!("kafka.properties.\"{name}\" cannot be set: {why}"));
            } else if let Err(why) = self.try_property(name, value) {
                problems.push(format!("kafka.properties.\"{name}\": {why}"));
            }
        }
    }

    /// Asks librdkafka what it thinks of one property, so that all are told at once.
    fn try_property(&self, name: &str, value: &str) -> Result<(), String> {
        if let Some(context) = hanging_context(name, value) {
            return Err(format!("{context:?} lets librdkafka hang"));
        }
        let mut alone = ClientConfig::new();
        alone.set(name, value);
        match alone.create_native_config() {
            Ok(_) => Ok(()),
            // The error's last part would be the value.
            Err(KafkaError::ClientConfig(_, why, _, _)) => Err(self.redact(&why)),
            Err(error) => Err(self.redact(&error.to_string())),
        }
    }

    /// The address and the properties, as librdkafka takes them.
    pub(crate) fn client_config(&self, defaults: &[(&str, &str)]) -> ClientConfig {
        let mut config = ClientConfig::new();
        for (name, value) in defaults {
            config.set(*name, *value);
        }
        for (name, value) in self.fetch_properties() {
            config.set(name, value);
        }
        for (name, value) in &self.properties {
            config.set(name, value);
        }
        for (name, value) in self.connection_properties() {
            config.set(name, value);
        }
        config.set("bootstrap.servers", &self.bootstrap_servers);
        config.set("group.id", &self.group_id);
        config
    }

    /// How much librdkafka holds. Left alone, each broker would answer up to 50 MiB at once.
    fn fetch_properties(&self) -> [(&str, String); 2] {
        let share = |part: u64, bounds: &RangeInclusive<u64>| {
            let bytes = self.buffer_bytes_max.as_u64() / part;
            bytes.clamp(*bounds.start(), *bounds.end())
        };
        // librdkafka refuses a fetch that is smaller than a message may be.
        let message = self.properties.get("message.max.bytes");
        let message = message.and_then(|bytes| bytes.parse().ok());
        let fetch = share(32, &FETCH_BYTES).max(message.unwrap_or(0));
        [
            (
                "queued.max.messages.kbytes",
                (share(4, &QUEUE_BYTES) >> 10).to_string(),
            ),
            ("fetch.max.bytes", fetch.to_string()),
        ]
    }

    /// What a client of another kind, a producer, needs to be let into the same cluster.
    pub fn connection_properties(&self) -> BTreeMap<String, String> {
        let of_connection = |name: &str| {
            let groups = ["security.", "sasl.", "ssl.", "socket.", "broker."];
            groups.iter().any(|group| name.starts_with(group))
        };
        let given = self.properties.iter();
        let mut properties: BTreeMap<String, String> = given
            .filter(|(name, _)| of_connection(name))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        if let Some(location) = self.default_certificates() {
            properties.insert("ssl.ca.location".to_owned(), location);
        }
        properties
    }

    /// Where certificate authorities are if the configuration does not say.
    ///
    /// librdkafka brings an OpenSSL of its own, which looks where it was built, not where this
    /// system keeps its certificates.
    fn default_certificates(&self) -> Option<String> {
        let protocol = self.properties.get("security.protocol")?;
        let encrypted = protocol.to_ascii_lowercase().ends_with("ssl");
        let given = ["ssl.ca.location", "ssl.ca.pem"];
        if !encrypted || given.iter().any(|name| self.properties.contains_key(*name)) {
            return None;
        }
        let from_environment = ["SSL_CERT_FILE", "SSL_CERT_DIR"]
            .iter()
            .find_map(|name| std::env::var(name).ok().filter(|place| !place.is_empty()));
        Some(from_environment.unwrap_or_else(|| PROBE.to_owned()))
    }

    /// A message without the secrets that librdkafka may have put into it.
    pub(crate) fn redact(&self, message: &str) -> String {
        let mut message = message.to_owned();
        for name in &self.secrets {
            match self.properties.get(name) {
                Some(secret) if secret.len() >= SECRET_BYTES_MIN => {
                    message = message.replace(secret.as_str(), "(secret)");
                }
                _ => {}
            }
        }
        message
    }
}

/// A context of librdkafka's log for debugging in which it tells that it frees a partition: from within
/// the queue that takes what is told, where a consumer polls.
fn hanging_context<'v>(name: &str, value: &'v str) -> Option<&'v str> {
    let mut contexts = value.split(',').map(str::trim);
    let hangs = |context: &&str| ["all", "topic"].contains(context);
    contexts.find(hangs).filter(|_| name == "debug")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(properties: &[(&str, &str)]) -> KafkaSettings {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        KafkaSettings {
            properties: properties.iter().map(own).collect(),
            ..KafkaSettings::default()
        }
    }

    fn problems(settings: &KafkaSettings) -> Vec<String> {
        let mut problems = Vec::new();
        settings.validate(&mut problems);
        problems
    }

    #[test]
    fn what_is_ours_unknown_or_wrong_is_told_at_once() {
        let settings = with(&[
            ("auto.offset.reset", "latest"),
            ("debug", "broker, topic"),
            ("sasl.pasword", "hunter2"),
            ("security.protocol", "tls"),
            ("session.timeout.ms", "6000"),
        ]);
        let problems = problems(&settings);
        assert_eq!(problems.len(), 4, "{problems:#?}");
        assert!(problems[0].contains("must stop the table"), "{problems:?}");
        assert!(problems[1].contains("\"topic\" lets"), "{problems:?}");
        assert!(problems[2].contains("sasl.pasword"), "{problems:?}");
        assert!(problems[3].contains("\"tls\""), "{problems:?}");
    }

    #[test]
    fn secrets_are_never_shown() {
        let mut settings = with(&[
            ("sasl.password", "hunter2"),
            ("security.protocol", "hunter2"),
        ]);
        let names = settings.properties.keys().cloned();
        settings.secrets = names.collect();
        let told = format!("{settings:?} {:?}", problems(&settings));
        assert!(!told.contains("hunter2"), "{told}");
        assert!(told.contains("sasl.password"), "{told}");
    }

    #[test]
    fn every_property_that_clusters_ask_for_is_known() {
        let settings = with(&[
            ("security.protocol", "SASL_SSL"),
            ("sasl.mechanism", "SCRAM-SHA-512"),
            ("sasl.username", "u"),
            ("sasl.password", "p"),
            ("ssl.ca.location", "/ca.pem"),
            ("ssl.certificate.location", "/client.pem"),
            ("ssl.key.location", "/client.key"),
            ("ssl.key.password", "p"),
            ("ssl.endpoint.identification.algorithm", "https"),
        ]);
        assert!(problems(&settings).is_empty(), "{:?}", problems(&settings));
    }

    #[test]
    fn what_librdkafka_holds_follows_the_budget() {
        let held = |budget: ByteSize, properties: &[(&str, &str)]| {
            let settings = KafkaSettings {
                buffer_bytes_max: budget,
                ..with(properties)
            };
            let config = settings.client_config(&[]);
            // librdkafka agrees that they go together.
            config.create_native_config().unwrap();
            config.create::<rdkafka::consumer::BaseConsumer>().unwrap();
            let number = |name: &str| config.get(name).unwrap().parse::<u64>().unwrap();
            (
                number("queued.max.messages.kbytes") >> 10,
                number("fetch.max.bytes"),
            )
        };
        assert_eq!(held(ByteSize::mib(128), &[]), (32, 4 << 20));
        assert_eq!(held(ByteSize::mib(16), &[]), (4, 1 << 20));
        assert_eq!(held(ByteSize::gib(4), &[]), (64, 8 << 20));
        let large = [("message.max.bytes", "20000000")];
        assert_eq!(held(ByteSize::mib(128), &large), (32, 20_000_000));
        let theirs = [
            ("fetch.max.bytes", "2000000"),
            ("queued.max.messages.kbytes", "8192"),
        ];
        assert_eq!(held(ByteSize::mib(128), &theirs), (8, 2_000_000));
    }

    #[test]
    fn certificates_are_looked_for_only_where_the_connection_is_encrypted() {
        let location = |properties: &[(&str, &str)]| {
            let config = with(properties).client_config(&[]);
            config.get("ssl.ca.location").map(str::to_owned)
        };
        assert_eq!(location(&[]), None);
        assert_eq!(location(&[("security.protocol", "SASL_PLAINTEXT")]), None);
        assert!(location(&[("security.protocol", "SASL_SSL")]).is_some());
        let given = [("security.protocol", "ssl"), ("ssl.ca.location", "/ca.pem")];
        assert_eq!(location(&given).as_deref(), Some("/ca.pem"));
    }
}
