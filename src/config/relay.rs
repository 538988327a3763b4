//! `[relay]` as it stands in the file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ::capture::{OutboxReading, ReadOutbox};
use bytesize::ByteSize;
use change_events::{Entity, KafkaSettings, RelayLimits, TransactionEncoder};
use schemas::{Contract, TableName};
use serde::{Deserialize, Serialize};

use super::producer::{Producer, default_partitions, default_replication};
use super::secret::Text;

/// A service's outbox, and how it is published.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Relay {
    /// `postgres://user:password@host/database`, by reference where it holds a password, or
    /// `sqlite:PATH`.
    database_url: Text,
    /// How an outbox in Postgres is read.
    #[serde(default)]
    read: Read,
    /// The replication slot, when one is created, and whether it may keep as much log as it will.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    slot: Option<String>,
    #[serde(default)]
    slot_unbounded: bool,
    /// Remove rows from the outbox that the lake of `[lake]` has committed.
    #[serde(default)]
    prune: bool,
    /// Say in the topic `<service>.transaction` where transactions begin and end, if the database
    /// tells.
    #[serde(default = "default_transactions")]
    transactions: bool,
    /// Partitions and copies of a topic that is created because it is missing.
    #[serde(default = "default_partitions")]
    topic_partitions: i32,
    #[serde(default = "default_replication")]
    topic_replication: i32,
    #[serde(default = "default_batch_rows_max")]
    batch_rows_max: u32,
    #[serde(default = "default_in_flight_rows_max")]
    in_flight_rows_max: usize,
    #[serde(default = "default_in_flight_bytes_max")]
    in_flight_bytes_max: ByteSize,
    #[serde(default = "default_parked_rows_max")]
    parked_rows_max: u32,
    #[serde(default = "default_poll_interval", with = "humantime_serde")]
    poll_interval: Duration,
    #[serde(default = "default_prune_interval", with = "humantime_serde")]
    prune_interval: Duration,
    /// How often watermarks are published; none are when left out.
    #[serde(
        default,
        with = "humantime_serde",
        skip_serializing_if = "Option::is_none"
    )]
    watermark_interval: Option<Duration>,
    /// librdkafka's own settings of the producer, beside those of `[kafka.properties]`.
    #[serde(default)]
    properties: BTreeMap<String, Text>,
    #[serde(rename = "entity")]
    entities: Vec<RelayEntity>,
}

/// `read`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Read {
    #[default]
    Auto,
    Replication,
    Polling,
}

/// `[[relay.entity]]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RelayEntity {
    /// The entity, service.entity, as in the outbox.
    name: TableName,
    /// Its topic; the entity's name when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    topic: Option<String>,
    /// An Avro record schema of the entity, with its key.
    contract: PathBuf,
}

/// A relay's settings with their secrets.
pub(crate) struct RelaySettings {
    pub(crate) database: Database,
    pub(crate) reading: OutboxReading,
    pub(crate) service: String,
    pub(crate) kafka: KafkaSettings,
    pub(crate) entities: Vec<Entity>,
    pub(crate) limits: RelayLimits,
    pub(crate) prune: bool,
    pub(crate) transactions: bool,
}

/// Where the outbox is.
#[derive(Clone)]
pub(crate) enum Database {
    Sqlite(PathBuf),
    Postgres(String),
}

impl Relay {
    /// The settings with their secrets; what is wrong goes to `problems`.
    pub(super) fn resolve(
        &self,
        kafka: &lake_writer::KafkaSettings,
        directory: &Path,
        problems: &mut Vec<String>,
    ) -> Option<RelaySettings> {
        let before = problems.len();
        let database = self.database(directory, problems);
        let entities = self.entities(directory, problems);
        let kafka = self.kafka(kafka, directory, problems);
        let limits = self.limits(problems);
        self.check_slot(problems);
        let services = self.entities.iter().map(|entity| entity.name.service());
        let services: std::collections::BTreeSet<&str> = services.collect();
        if services.len() != 1 {
            problems.push(format!(
                "relay.entity: an outbox belongs to one service, and its entities to {}: {services:?}",
                services.len()
            ));
        }
        let transactions = self.transactions(&entities, problems);
        if problems.len() > before {
            return None;
        }
        Some(RelaySettings {
            database: database?,
            reading: self.reading(),
            service: (*services.first()?).to_owned(),
            kafka,
            entities,
            limits,
            prune: self.prune,
            transactions,
        })
    }

    fn reading(&self) -> OutboxReading {
        OutboxReading {
            way: match self.read {
                Read::Auto => ReadOutbox::Auto,
                Read::Replication => ReadOutbox::Replication,
                Read::Polling => ReadOutbox::Polling,
            },
            slot: self.slot.clone(),
            slot_unbounded: self.slot_unbounded,
        }
    }

    fn check_slot(&self, problems: &mut Vec<String>) {
        let is_slot_byte =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        if let Some(slot) = &self.slot
            && (slot.is_empty() || slot.len() > 63 || !slot.bytes().all(is_slot_byte))
        {
            problems.push(format!(
                "relay.slot: {slot:?} must be 1 to 63 of a-z, 0-9 and _"
            ));
        }
    }

    fn database(&self, directory: &Path, problems: &mut Vec<String>) -> Option<Database> {
        const PLACE: &str = "relay.database_url";
        let url = match self.database_url.resolve(directory) {
            Ok(url) => url,
            Err(why) => {
                problems.push(format!("{PLACE}: {why}"));
                return None;
            }
        };
        if has_password(&url) && !self.database_url.is_reference() {
            problems.push(format!(
                "{PLACE} holds a password and stands in the file; give it as {{ env = \"NAME\" }} \
                 or {{ file = \"PATH\" }}"
            ));
            return None;
        }
        if let Some(path) = url.strip_prefix("sqlite:") {
            return Some(Database::Sqlite(directory.join(path)));
        }
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            return Some(Database::Postgres(url));
        }
        problems.push(format!(
            "{PLACE} starts with neither postgres:// nor sqlite:"
        ));
        None
    }

    fn entities(&self, directory: &Path, problems: &mut Vec<String>) -> Vec<Entity> {
        let mut entities = Vec::with_capacity(self.entities.len());
        for entity in &self.entities {
            let path = directory.join(&entity.contract);
            let contract = std::fs::read_to_string(&path)
                .map_err(|error| error.to_string())
                .and_then(|text| text.parse::<Contract>().map_err(|error| error.to_string()));
            match contract {
                Ok(contract) if contract.key().is_empty() => problems.push(format!(
                    "relay.entity {}: its contract {} has no key (lakehead.key)",
                    entity.name,
                    path.display()
                )),
                Ok(contract) => {
                    let mut found = Entity::new(entity.name.clone(), contract);
                    if let Some(topic) = &entity.topic {
                        found.topic.clone_from(topic);
                    }
                    entities.push(found);
                }
                Err(why) => problems.push(format!(
                    "relay.entity {}: contract {}: {why}",
                    entity.name,
                    path.display()
                )),
            }
        }
        for (index, entity) in entities.iter().enumerate() {
            let earlier = entities.iter().take(index);
            if let Some(twice) = earlier
                .clone()
                .find(|other| other.table == entity.table || other.topic == entity.topic)
            {
                problems.push(format!(
                    "relay.entity {}: its name or its topic {:?} is that of {} already",
                    entity.table, entity.topic, twice.table
                ));
            }
        }
        entities
    }

    /// Whether transactions are told. Their topic must be no entity's.
    fn transactions(&self, entities: &[Entity], problems: &mut Vec<String>) -> bool {
        let services = entities.iter().map(|entity| entity.table.service());
        let mut topics = services.map(TransactionEncoder::topic);
        let taken = topics.find(|topic| entities.iter().any(|entity| entity.topic == *topic));
        if let Some(topic) = taken.filter(|_| self.transactions) {
            problems.push(format!(
                "relay.entity: topic {topic:?} is that of the service's transactions; name another, \
                 or set relay.transactions = false"
            ));
        }
        self.transactions
    }

    fn kafka(
        &self,
        kafka: &lake_writer::KafkaSettings,
        directory: &Path,
        problems: &mut Vec<String>,
    ) -> KafkaSettings {
        let producer = Producer {
            section: "relay",
            topic_partitions: self.topic_partitions,
            topic_replication: self.topic_replication,
            properties: &self.properties,
        };
        producer.resolve(kafka, directory, problems)
    }

    fn limits(&self, problems: &mut Vec<String>) -> RelayLimits {
        let bounds = [
            ("batch_rows_max", self.batch_rows_max == 0),
            ("in_flight_rows_max", self.in_flight_rows_max == 0),
            (
                "in_flight_bytes_max",
                self.in_flight_bytes_max.as_u64() == 0,
            ),
            (
                "watermark_interval",
                self.watermark_interval == Some(Duration::ZERO),
            ),
        ];
        let wrong = bounds.iter().filter(|(_, is_wrong)| *is_wrong);
        problems.extend(wrong.map(|(name, _)| format!("relay.{name} must be above 0")));
        RelayLimits {
            batch_rows_max: self.batch_rows_max,
            in_flight_rows_max: self.in_flight_rows_max,
            in_flight_bytes_max: usize::try_from(self.in_flight_bytes_max.as_u64())
                .unwrap_or(usize::MAX),
            parked_rows_max: self.parked_rows_max,
            poll_interval: self.poll_interval,
            prune_interval: self.prune_interval,
            watermark_interval: self.watermark_interval,
            ..RelayLimits::default()
        }
    }
}

/// Whether an address names a user with a password.
pub(super) fn has_password(url: &str) -> bool {
    let rest = url.split_once("://").map_or("", |(_, rest)| rest);
    let authority = rest.split('/').next().unwrap_or_default();
    let user = authority.rsplit_once('@').map_or("", |(user, _)| user);
    user.contains(':') || url.contains("password=")
}

fn default_transactions() -> bool {
    true
}

fn default_batch_rows_max() -> u32 {
    RelayLimits::default().batch_rows_max
}

fn default_in_flight_rows_max() -> usize {
    RelayLimits::default().in_flight_rows_max
}

fn default_in_flight_bytes_max() -> ByteSize {
    ByteSize::b(RelayLimits::default().in_flight_bytes_max as u64)
}

fn default_parked_rows_max() -> u32 {
    RelayLimits::default().parked_rows_max
}

fn default_poll_interval() -> Duration {
    RelayLimits::default().poll_interval
}

fn default_prune_interval() -> Duration {
    RelayLimits::default().prune_interval
}
