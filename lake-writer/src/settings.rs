//! The writer's sections of the configuration file.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use schemas::{Shape, TableName};
use serde::{Deserialize, Serialize};

/// `[kafka]`: where the records are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KafkaSettings {
    /// Addresses of brokers, `host:port` separated by commas.
    pub bootstrap_servers: String,
    /// The consumer group. Its committed offsets are for lag displays only; the lake decides.
    pub group_id: String,
    /// How the partitions are shared among processes.
    pub assignment: Assignment,
    /// librdkafka's own settings, passed through. The ones that Lakehead must own are refused.
    pub properties: BTreeMap<String, String>,
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
        }
    }
}

/// librdkafka settings that the exactly-once protocol depends on, and why they are ours.
const OWNED_PROPERTIES: [(&str, &str); 9] = [
    ("bootstrap.servers", "set kafka.bootstrap_servers"),
    ("group.id", "set kafka.group_id"),
    (
        "enable.auto.commit",
        "progress is kept in the lake, in the commit that carries the rows",
    ),
    (
        "enable.auto.offset.store",
        "progress is kept in the lake, in the commit that carries the rows",
    ),
    (
        "auto.offset.reset",
        "an offset that is gone must stop the table, not skip records",
    ),
    (
        "partition.assignment.strategy",
        "revocation is handled for all partitions at once",
    ),
    ("enable.partition.eof", "the writer does not ask for it"),
    (
        "isolation.level",
        "records of aborted transactions never happened",
    ),
    ("check.crcs", "records damaged on the way must not land"),
];

impl KafkaSettings {
    /// Adds what is wrong to `problems`, each with its place in the file.
    pub fn validate(&self, problems: &mut Vec<String>) {
        if self.bootstrap_servers.trim().is_empty() {
            problems.push("kafka.bootstrap_servers is empty".to_owned());
        }
        if self.group_id.trim().is_empty() {
            problems.push("kafka.group_id is empty".to_owned());
        }
        for (name, why) in OWNED_PROPERTIES {
            if self.properties.contains_key(name) {
                problems.push(format!("kafka.properties.\"{name}\" cannot be set: {why}"));
            }
        }
    }
}

/// `[writer]`: when to commit and how much to hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WriterSettings {
    /// Names this road in the lake; first part of every `txn` application id. Two pipelines that
    /// write to one table would each land every record.
    pub pipeline: String,
    /// Rows of a table that are committed together at the latest.
    pub flush_rows_max: usize,
    /// Buffered bytes of a table that are committed together at the latest.
    pub flush_bytes_max: ByteSize,
    /// Longest time a record waits in a buffer.
    #[serde(with = "humantime_serde")]
    pub flush_age_max: Duration,
    /// Bytes buffered over all tables, above which partitions are paused.
    pub buffer_bytes_max: ByteSize,
    /// Largest record, key and value, that is read; a larger one is a dead letter.
    pub record_bytes_max: ByteSize,
    /// Versions of a table between two Delta checkpoints.
    pub checkpoint_interval: u64,
}

impl Default for WriterSettings {
    fn default() -> Self {
        Self {
            pipeline: "lakehead".to_owned(),
            flush_rows_max: 1_000_000,
            flush_bytes_max: ByteSize::mib(64),
            flush_age_max: Duration::from_secs(10),
            buffer_bytes_max: ByteSize::mib(256),
            record_bytes_max: ByteSize::mib(4),
            checkpoint_interval: 100,
        }
    }
}

impl WriterSettings {
    /// Adds what is wrong to `problems`, each with its place in the file.
    pub fn validate(&self, problems: &mut Vec<String>) {
        if self.pipeline.is_empty() || self.pipeline.contains('/') {
            problems.push("writer.pipeline must be a name without a slash".to_owned());
        }
        if self.flush_rows_max == 0 {
            problems.push("writer.flush_rows_max must be at least 1".to_owned());
        }
        if self.flush_age_max.is_zero() {
            problems.push("writer.flush_age_max must be above 0".to_owned());
        }
        if self.checkpoint_interval == 0 {
            problems.push("writer.checkpoint_interval must be at least 1".to_owned());
        }
        if self.flush_bytes_max > self.buffer_bytes_max {
            problems.push("writer.flush_bytes_max is above writer.buffer_bytes_max".to_owned());
        }
        if self.record_bytes_max > self.buffer_bytes_max {
            problems.push("writer.record_bytes_max is above writer.buffer_bytes_max".to_owned());
        }
    }
}

/// `[[topic]]`: one topic and the table it lands in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TopicSettings {
    /// The topic's name.
    pub name: String,
    /// The table, `service.entity`; the topic's name when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
    /// How values are encoded.
    #[serde(default)]
    pub format: Format,
    /// What a value stands for.
    #[serde(default)]
    pub shape: Shape,
    /// The key columns; the contract's key, or the fields of the key's schema, when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Vec<String>>,
    /// An Avro record schema of the entity, a path relative to the configuration file. JSON needs
    /// one; for Avro the first record's schema is taken when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contract: Option<PathBuf>,
}

/// How the values and keys of a topic are encoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Avro in the Confluent wire format, schemas in the registry.
    #[default]
    Avro,
    /// JSON text.
    Json,
}

impl TopicSettings {
    /// The table's name, checked.
    pub fn table_name(&self) -> Result<TableName, schemas::NameError> {
        self.table.as_deref().unwrap_or(&self.name).parse()
    }

    /// Adds what is wrong with `topics` to `problems`, each with its place in the file.
    pub fn validate_all(topics: &[Self], problems: &mut Vec<String>) {
        if topics.is_empty() {
            problems.push("there is no [[topic]]: name at least one".to_owned());
        }
        let mut tables = BTreeMap::new();
        for topic in topics {
            let place = format!("topic {:?}", topic.name);
            match topic.table_name() {
                Err(error) => problems.push(format!("{place}: {error}")),
                Ok(table) => {
                    if let Some(other) = tables.insert(table.clone(), &topic.name) {
                        problems.push(format!(
                            "{place}: table {table} is already fed by topic {other:?}"
                        ));
                    }
                }
            }
            if topic.format == Format::Json && topic.contract.is_none() {
                problems.push(format!(
                    "{place}: format json needs a contract, a path to an Avro record schema"
                ));
            }
            if topic.key.as_ref().is_some_and(Vec::is_empty) && topic.shape != Shape::Append {
                problems.push(format!(
                    "{place}: key is empty, but shape {} needs one",
                    topic.shape
                ));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_is_told_at_once() {
        let topic = |name: &str, table: &str, format| TopicSettings {
            name: name.to_owned(),
            table: Some(table.to_owned()),
            format,
            shape: Shape::Debezium,
            key: None,
            contract: None,
        };
        let mut problems = Vec::new();
        let topics = [
            topic("a", "x.y", Format::Avro),
            topic("b", "x.y", Format::Json),
            topic("c", "system.y", Format::Avro),
        ];
        TopicSettings::validate_all(&topics, &mut problems);
        let mut kafka = KafkaSettings::default();
        kafka
            .properties
            .insert("auto.offset.reset".to_owned(), "latest".to_owned());
        kafka.validate(&mut problems);
        let writer = WriterSettings {
            flush_rows_max: 0,
            ..WriterSettings::default()
        };
        writer.validate(&mut problems);
        assert_eq!(problems.len(), 5, "{problems:#?}");
    }
}
