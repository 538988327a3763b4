//! The relay against real Kafka, or any broker that speaks its protocol: `LAKEHEAD_TEST_KAFKA` is
//! its address. Without it the test is skipped, loudly; with `CI=true` that is a failure.

use std::sync::Arc;
use std::time::{Duration, Instant};

use change_events::{KafkaBroker, KafkaSettings, RelayError, RelayLimits};
use rand::distr::{Alphanumeric, SampleString};
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Headers;
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};
use schemas::{WATERMARKS_TOPIC, Watermark};
use serde_json::json;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::service::{Service, seat};

const CHANGES: usize = 3_000;
const SEATS: usize = 50;
const PARTITIONS: i32 = 4;

fn brokers(test: &str) -> Option<String> {
    let brokers = std::env::var("LAKEHEAD_TEST_KAFKA").ok();
    if brokers.is_none() {
        assert!(
            std::env::var("CI").as_deref() != Ok("true"),
            "{test}: LAKEHEAD_TEST_KAFKA is not set"
        );
        eprintln!("SKIPPED {test}: LAKEHEAD_TEST_KAFKA is not set");
    }
    brokers
}

/// Relays until everything is confirmed; answers how many events were published.
async fn relay_all(service: &mut Service, brokers: &str, topic: &str) -> u64 {
    let end = service.end().await;
    let settings = KafkaSettings {
        partitions: PARTITIONS,
        ..KafkaSettings::new(brokers)
    };
    let broker = Arc::new(KafkaBroker::new(settings));
    let relay = service.relay(broker, topic).await.unwrap();
    let progress = relay.progress();
    let cancel = CancellationToken::new();
    let running = tokio::spawn(relay.run(cancel.clone()));
    let deadline = Instant::now() + Duration::from_secs(60);
    while progress.confirmed() < end {
        assert!(!running.is_finished(), "{:?}", running.await);
        assert!(
            Instant::now() < deadline,
            "stands at {} of {end}",
            progress.confirmed()
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    cancel.cancel();
    running.await.unwrap().unwrap();
    progress.published()
}

/// Per partition, each record's key and sequence in the order of offsets.
fn consume(brokers: &str, topic: &str, records: usize) -> Vec<Vec<(Vec<u8>, i64)>> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", topic)
        .create()
        .unwrap();
    let mut assignment = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        assignment
            .add_partition_offset(topic, partition, Offset::Beginning)
            .unwrap();
    }
    consumer.assign(&assignment).unwrap();
    let mut logs = vec![Vec::new(); PARTITIONS as usize];
    let deadline = Instant::now() + Duration::from_secs(60);
    while logs.iter().map(Vec::len).sum::<usize>() < records {
        assert!(Instant::now() < deadline, "records are missing");
        let Some(message) = consumer.poll(Duration::from_millis(200)) else {
            continue;
        };
        let message = message.unwrap();
        let headers = message.headers().unwrap();
        let header = |name| {
            let found = headers.iter().find(|header| header.key == name).unwrap();
            String::from_utf8(found.value.unwrap().to_vec()).unwrap()
        };
        assert!(header("ce_time").starts_with("2013-01-01T10:00:00.00"));
        assert_eq!(header("ce_type"), "cabin.seat.change");
        let sequence = header("lakehead_sequence").parse().unwrap();
        logs[message.partition() as usize].push((message.key().unwrap().to_vec(), sequence));
    }
    logs
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outbox_is_in_kafka_once_and_in_order() {
    let Some(brokers) = brokers("an_outbox_is_in_kafka_once_and_in_order") else {
        return;
    };
    let topic = format!("relay-{}", Uuid::new_v4());
    let mut service = Service::sqlite().await;
    once_and_in_order(&mut service, &brokers, &topic).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outbox_in_postgres_is_in_kafka_once_and_in_order() {
    let test = "an_outbox_in_postgres_is_in_kafka_once_and_in_order";
    let (Some(brokers), Some(mut service)) = (brokers(test), Service::postgres(test).await) else {
        return;
    };
    let topic = format!("relay-{}", Uuid::new_v4());
    once_and_in_order(&mut service, &brokers, &topic).await;
}

async fn once_and_in_order(service: &mut Service, brokers: &str, topic: &str) {
    service.change(CHANGES, SEATS).await;
    let started = Instant::now();
    assert_eq!(relay_all(service, brokers, topic).await, CHANGES as u64);
    eprintln!("{CHANGES} events published in {:?}", started.elapsed());
    // A relay that is stopped and started goes on behind what is confirmed.
    service.change(SEATS, SEATS).await;
    assert_eq!(relay_all(service, brokers, topic).await, SEATS as u64);

    let logs = consume(brokers, topic, CHANGES + SEATS);
    let mut sequences: Vec<i64> = logs
        .iter()
        .flatten()
        .map(|(_, sequence)| *sequence)
        .collect();
    sequences.sort_unstable();
    assert_eq!(
        sequences,
        (1..=(CHANGES + SEATS) as i64).collect::<Vec<_>>()
    );
    assert!(
        logs.iter()
            .all(|log| log.is_sorted_by_key(|(_, sequence)| *sequence))
    );
    let mut home = std::collections::HashMap::new();
    for (partition, log) in logs.iter().enumerate() {
        for (key, _) in log {
            assert_eq!(*home.entry(key.clone()).or_insert(partition), partition);
        }
    }
    assert_eq!(home.len(), SEATS);
}

/// The topic takes 20,000 bytes at once, rows have a thousand each, and one has more than the topic takes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_is_too_large_parks_only_the_row_that_is() {
    let Some(brokers) = brokers("a_batch_that_is_too_large_parks_only_the_row_that_is") else {
        return;
    };
    let topic = format!("relay-{}", Uuid::new_v4());
    let admin = admin(&brokers);
    let new_topic = NewTopic::new(&topic, PARTITIONS, TopicReplication::Fixed(1))
        .set("max.message.bytes", "20000");
    let created = admin
        .create_topics([&new_topic], &AdminOptions::new())
        .await;
    created.unwrap()[0].as_ref().unwrap();
    let mut service = Service::sqlite().await;
    let mut random = rand::rng();
    for id in 0..400 {
        let bytes = if id == 250 { 60_000 } else { 1_000 };
        let holder = Alphanumeric.sample_string(&mut random, bytes);
        service.append(&seat(id, &json!(holder))).await;
    }
    assert!(relay_all(&mut service, &brokers, &topic).await >= 399);
    let parked = "SELECT sequence FROM {}outbox_parked";
    assert_eq!(service.numbers(parked).await, [251]);
}

fn admin(brokers: &str) -> AdminClient<DefaultClientContext> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers).create().unwrap()
}

/// The watermarks of a source.
fn marks(brokers: &str, source: &str) -> Vec<Watermark> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers);
    let consumer: BaseConsumer = config.set("group.id", source).create().unwrap();
    let timeout = Duration::from_secs(10);
    let ends = consumer.fetch_watermarks(WATERMARKS_TOPIC, 0, timeout);
    let (_, end) = ends.unwrap();
    let mut assignment = TopicPartitionList::new();
    let beginning = Offset::Beginning;
    let assigned = assignment.add_partition_offset(WATERMARKS_TOPIC, 0, beginning);
    assigned.unwrap();
    consumer.assign(&assignment).unwrap();
    let (mut marks, mut next) = (Vec::new(), 0);
    let deadline = Instant::now() + Duration::from_secs(60);
    while next < end {
        assert!(Instant::now() < deadline, "stands at {next} of {end}");
        let Some(message) = consumer.poll(Duration::from_millis(200)) else {
            continue;
        };
        let message = message.unwrap();
        next = message.offset() + 1;
        let mark = Watermark::from_json(message.payload().unwrap()).unwrap();
        marks.extend(Some(mark).filter(|mark| mark.source == source));
    }
    marks
}

/// How many records are in a topic of [`PARTITIONS`].
fn stored(brokers: &str, topic: &str) -> usize {
    let admin = admin(brokers);
    let end = |partition| {
        let timeout = Duration::from_secs(10);
        let ends = admin.inner().fetch_watermarks(topic, partition, timeout);
        usize::try_from(ends.unwrap().1).unwrap()
    };
    (0..PARTITIONS).map(end).sum()
}

/// librdkafka sends to added partitions as soon as it knows them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_that_are_added_while_the_relay_runs_end_it_by_name() {
    let test = "partitions_that_are_added_while_the_relay_runs_end_it_by_name";
    let Some(brokers) = brokers(test) else {
        return;
    };
    let topic = format!("relay-{}", Uuid::new_v4());
    let mut service = Service::sqlite().await;
    let mut settings = KafkaSettings::new(&brokers);
    settings.partitions = 1;
    let refresh = ("topic.metadata.refresh.interval.ms", "1000");
    settings
        .properties
        .insert(refresh.0.into(), refresh.1.into());
    let broker = Arc::new(KafkaBroker::new(settings));
    let relay = service.relay(broker, &topic).await.unwrap();
    let relay = relay.with_limits(RelayLimits {
        watermark_interval: Some(Duration::from_millis(50)),
        ..RelayLimits::default()
    });
    let (source, progress) = (service.source.clone(), relay.progress());
    let running = tokio::spawn(relay.run(CancellationToken::new()));
    let deadline = Instant::now() + Duration::from_secs(60);
    service.change(SEATS, SEATS).await;
    while progress.confirmed() < SEATS as i64 || marks(&brokers, &source).is_empty() {
        assert!(Instant::now() < deadline, "no watermark is published");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let more = NewPartitions::new(&topic, PARTITIONS as usize);
    let added = admin(&brokers)
        .create_partitions([&more], &AdminOptions::new())
        .await;
    added.unwrap()[0].as_ref().unwrap();
    while !running.is_finished() {
        assert!(Instant::now() < deadline, "it runs on");
        service.change(SEATS, SEATS).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let error = running.await.unwrap().unwrap_err();
    let is_known = matches!(&error, RelayError::PartitionsChanged { topic: named, known: 1, found: 2.. }
        if *named == topic);
    assert!(is_known, "{error}");

    // A watermark names the end of the first partition alone, so it is of nothing that is in another.
    let logs = consume(&brokers, &topic, stored(&brokers, &topic));
    let others = logs[1..].iter().flatten();
    let first = others.map(|(_, sequence)| *sequence).min().unwrap();
    let marks = marks(&brokers, &source);
    assert!(!marks.is_empty() && marks.iter().all(|mark| mark.through < first));
}
