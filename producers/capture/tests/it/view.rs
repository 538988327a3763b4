//! What a consumer finds in a topic, and what the lake keeps of it.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Headers;
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};
use schemas::{SchemaId, SchemaRegistry, Sequence, wire};
use serde_json::Value;

use crate::road::PATIENCE;

/// One record, decoded.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Event {
    pub(crate) partition: i32,
    pub(crate) sequence: Sequence,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) key: Value,
    pub(crate) value: Value,
    /// The value's schema.
    pub(crate) schema: SchemaId,
}

impl Event {
    pub(crate) fn op(&self) -> &str {
        self.value["op"].as_str().unwrap()
    }
}

/// The records of a topic by partition and offset.
pub(crate) struct View {
    pub(crate) events: Vec<Event>,
}

impl View {
    pub(crate) async fn read(brokers: &str, topic: &str, registry: &dyn SchemaRegistry) -> Self {
        let (brokers, topic) = (brokers.to_owned(), topic.to_owned());
        let raw = tokio::task::spawn_blocking(move || consume(&brokers, &topic))
            .await
            .unwrap();
        let mut schemas: HashMap<SchemaId, Schema> = HashMap::new();
        let mut events = Vec::new();
        for (partition, headers, key, value) in raw {
            let key = decode(&key, registry, &mut schemas).await.1;
            let (schema, value) = decode(&value, registry, &mut schemas).await;
            let sequence = headers["lakehead_sequence"].parse().unwrap();
            events.push(Event {
                partition,
                sequence,
                headers,
                key,
                value,
                schema,
            });
        }
        Self { events }
    }

    /// What the lake-writer lands: per source and partition what is above the last sequence. Checks that
    /// what it drops was there before, the same but for the time of publishing.
    pub(crate) fn landed(&self) -> Vec<Event> {
        let mut last: HashMap<(String, i32), Sequence> = HashMap::new();
        let mut seen: HashMap<Sequence, Value> = HashMap::new();
        let mut landed = Vec::new();
        for event in &self.events {
            let place = (event.headers["ce_source"].clone(), event.partition);
            let mut value = event.value.clone();
            value["ts_ms"] = Value::Null;
            match last.get(&place) {
                Some(last) if event.sequence <= *last => {
                    assert_eq!(
                        seen.get(&event.sequence),
                        Some(&value),
                        "dropped, and never there: {event:?}"
                    );
                }
                _ => {
                    last.insert(place, event.sequence);
                    assert_eq!(
                        seen.insert(event.sequence, value),
                        None,
                        "there twice: {event:?}"
                    );
                    landed.push(event.clone());
                }
            }
        }
        landed
    }

    /// The rows that the landed events leave, by key.
    pub(crate) fn rows(&self) -> BTreeMap<String, Value> {
        let mut rows = BTreeMap::new();
        for event in self.landed() {
            let key = event.key.to_string();
            match event.op() {
                "d" => rows.remove(&key),
                _ => rows.insert(key, event.value["after"].clone()),
            };
        }
        rows
    }
}

pub(crate) type Raw = (i32, BTreeMap<String, String>, Vec<u8>, Vec<u8>);

pub(crate) fn consume(brokers: &str, topic: &str) -> Vec<Raw> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", topic)
        .set("fetch.queue.backoff.ms", "10")
        .create()
        .unwrap();
    let metadata = consumer.fetch_metadata(Some(topic), PATIENCE).unwrap();
    let partitions = metadata.topics()[0].partitions().len();
    let mut assignment = TopicPartitionList::new();
    let mut left = 0;
    for partition in 0..i32::try_from(partitions).unwrap() {
        let (first, end) = consumer
            .fetch_watermarks(topic, partition, PATIENCE)
            .unwrap();
        left += end - first;
        assignment
            .add_partition_offset(topic, partition, Offset::Beginning)
            .unwrap();
    }
    consumer.assign(&assignment).unwrap();
    let deadline = Instant::now() + PATIENCE;
    let mut records: Vec<Raw> = Vec::new();
    while left > 0 {
        assert!(
            Instant::now() < deadline,
            "{topic}: {left} records did not come"
        );
        let Some(message) = consumer.poll(Duration::from_millis(200)) else {
            continue;
        };
        let message = message.unwrap();
        let headers = message.headers().unwrap().iter().map(|header| {
            let text = String::from_utf8(header.value.unwrap().to_vec()).unwrap();
            (header.key.to_owned(), text)
        });
        let payload = message.payload().unwrap().to_vec();
        records.push((
            message.partition(),
            headers.collect(),
            message.key().unwrap().to_vec(),
            payload,
        ));
        left -= 1;
    }
    records.sort_by_key(|(partition, ..)| *partition);
    records
}

async fn decode(
    bytes: &[u8],
    registry: &dyn SchemaRegistry,
    schemas: &mut HashMap<SchemaId, Schema>,
) -> (SchemaId, Value) {
    let (id, mut body) = wire::unframe(bytes).unwrap();
    let schema = match schemas.entry(id) {
        Entry::Occupied(known) => known.into_mut(),
        Entry::Vacant(unknown) => {
            let text = registry.schema_by_id(id).await.unwrap();
            unknown.insert(Schema::parse_str(&text).unwrap())
        }
    };
    let value = GenericDatumReader::builder(schema)
        .build()
        .unwrap()
        .read_value(&mut body)
        .unwrap();
    assert!(body.is_empty(), "{} bytes are left over", body.len());
    (id, json(value))
}

/// Avro's value as JSON; decimals as their unscaled number's text.
fn json(value: apache_avro::types::Value) -> Value {
    use apache_avro::types::Value as Avro;
    match value {
        Avro::Record(fields) => Value::Object(
            fields
                .into_iter()
                .map(|(name, value)| (name, json(value)))
                .collect(),
        ),
        Avro::Union(_, value) => json(*value),
        Avro::Array(items) => Value::Array(items.into_iter().map(json).collect()),
        Avro::Null => Value::Null,
        Avro::Boolean(value) => value.into(),
        Avro::Int(value) => value.into(),
        Avro::Long(value) => value.into(),
        Avro::Float(value) => float(f64::from(value)),
        Avro::Double(value) => float(value),
        Avro::String(value) => value.into(),
        Avro::Bytes(value) => value
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
            .into(),
        Avro::Decimal(value) => {
            let bytes: Vec<u8> = value.try_into().unwrap();
            let mut wide = [if bytes[0] >= 0x80 { 0xFF } else { 0 }; 16];
            wide[16 - bytes.len()..].copy_from_slice(&bytes);
            i128::from_be_bytes(wide).to_string().into()
        }
        other => panic!("{other:?}"),
    }
}

/// JSON has no NaN and no infinity.
fn float(value: f64) -> Value {
    serde_json::Number::from_f64(value).map_or_else(|| value.to_string().into(), Value::Number)
}
