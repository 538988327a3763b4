//! librdkafka, set up as Lakehead sets it up.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{Offset, TopicPartitionList};

/// Ends what would hang, and nothing else.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Received {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) timestamp: Option<i64>,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Received {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(self.value.as_deref().unwrap()).unwrap()
    }
}

impl From<BorrowedMessage<'_>> for Received {
    fn from(message: BorrowedMessage<'_>) -> Self {
        let headers = message.headers().into_iter().flat_map(|all| all.iter());
        Self {
            partition: message.partition(),
            offset: message.offset(),
            timestamp: message.timestamp().to_millis(),
            key: message.key().map(<[u8]>::to_vec),
            value: message.payload().map(<[u8]>::to_vec),
            headers: headers
                .map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec)))
                .collect(),
        }
    }
}

/// A name that no other test, and no earlier run against the same Kafka, uses.
pub(crate) fn unique(name: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    format!("{name}-{}-{}-{count}", now.as_micros(), std::process::id())
}

pub(crate) fn admin(servers: &str) -> AdminClient<DefaultClientContext> {
    ClientConfig::new()
        .set("bootstrap.servers", servers)
        .create()
        .unwrap()
}

pub(crate) async fn create_topic(servers: &str, name: &str, partitions: i32) -> String {
    let topic = unique(name);
    // Tests write old timestamps, by which a real Kafka would delete records while they run.
    let new =
        NewTopic::new(&topic, partitions, TopicReplication::Fixed(1)).set("retention.ms", "-1");
    let created = admin(servers)
        .create_topics([&new], &AdminOptions::new())
        .await
        .unwrap();
    assert_eq!(created, [Ok(topic.clone())]);
    topic
}

pub(crate) fn producer_with(servers: &str, settings: &[(&str, &str)]) -> FutureProducer {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", servers)
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("message.timeout.ms", "120000");
    for (name, value) in settings {
        config.set(*name, *value);
    }
    config.create().unwrap()
}

pub(crate) fn producer(servers: &str) -> FutureProducer {
    producer_with(servers, &[])
}

/// Sends a record and waits for the acknowledgement: its partition and offset.
pub(crate) async fn send(
    producer: &FutureProducer,
    record: FutureRecord<'_, [u8], [u8]>,
) -> (i32, i64) {
    let delivered = producer.send(record, PATIENCE).await.unwrap();
    (delivered.partition, delivered.offset)
}

/// Sends numbered records to one partition as one burst, and waits for all acknowledgements.
pub(crate) async fn send_numbers(
    producer: &FutureProducer,
    topic: &str,
    partition: i32,
    numbers: std::ops::Range<usize>,
) {
    let texts: Vec<_> = numbers.map(|number| number.to_string()).collect();
    let sent: Vec<_> = texts
        .iter()
        .map(|text| {
            let record = FutureRecord::<[u8], [u8]>::to(topic)
                .partition(partition)
                .payload(text.as_bytes());
            producer
                .send_result(record)
                .map_err(|(error, _)| error)
                .unwrap()
        })
        .collect();
    for delivery in sent {
        delivery.await.unwrap().map_err(|(error, _)| error).unwrap();
    }
}

pub(crate) fn consumer_with(servers: &str, settings: &[(&str, &str)]) -> BaseConsumer {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", servers)
        .set("group.id", unique("group"))
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest");
    for (name, value) in settings {
        config.set(*name, *value);
    }
    config.create().unwrap()
}

/// A consumer of given partitions from given offsets.
pub(crate) fn assigned(servers: &str, topic: &str, from: &[(i32, Offset)]) -> BaseConsumer {
    let consumer = consumer_with(servers, &[("auto.offset.reset", "error")]);
    let mut assignment = TopicPartitionList::new();
    for (partition, offset) in from {
        assignment
            .add_partition_offset(topic, *partition, *offset)
            .unwrap();
    }
    consumer.assign(&assignment).unwrap();
    consumer
}

/// Receives exactly `count` records, and no other within a moment after.
pub(crate) fn receive(consumer: &BaseConsumer, count: usize) -> Vec<Received> {
    let deadline = Instant::now() + PATIENCE;
    let mut received = Vec::with_capacity(count);
    while received.len() < count {
        let left = deadline.saturating_duration_since(Instant::now());
        assert!(
            !left.is_zero(),
            "{} of {count} records came",
            received.len()
        );
        if let Some(message) = consumer.poll(left) {
            received.push(Received::from(message.unwrap()));
        }
    }
    if let Some(more) = consumer.poll(Duration::from_millis(100)) {
        panic!(
            "more than {count} records: {:?}",
            Received::from(more.unwrap())
        );
    }
    received
}

/// Everything in one partition, from its first record.
pub(crate) fn receive_all(
    servers: &str,
    topic: &str,
    partition: i32,
    count: usize,
) -> Vec<Received> {
    let consumer = assigned(servers, topic, &[(partition, Offset::Beginning)]);
    receive(&consumer, count)
}
