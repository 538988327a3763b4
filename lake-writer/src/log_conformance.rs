//! What the writer needs of a [`RecordLog`], tried against Kafka. Kafka runs where `LAKEHEAD_TEST_KAFKA` names it; under `CI=true` it must.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use schemas::TopicPartition;
use uuid::Uuid;

use crate::record_log::{Notice, Position, RecordLog};
use crate::settings::{Assignment, KafkaSettings, Start};
use crate::{KafkaLog, WriterError};

const RECORDS: i64 = 500;
/// Ends what would hang, and nothing else.
const DEADLINE: Duration = Duration::from_secs(180);
const WAIT: Duration = Duration::from_millis(100);

/// Brokers of a real Kafka, or a loud skip.
fn kafka() -> Option<String> {
    let found = std::env::var("LAKEHEAD_TEST_KAFKA")
        .ok()
        .filter(|found| !found.is_empty());
    if found.is_none() {
        let ci = std::env::var("CI").unwrap_or_default();
        assert_ne!(ci, "true", "LAKEHEAD_TEST_KAFKA must be set under CI=true");
        println!("SKIPPED log_conformance: LAKEHEAD_TEST_KAFKA is not set");
    }
    found
}

/// A topic of two partitions with numbered records in the first.
async fn topic(brokers: &str) -> String {
    let name = format!("conformance-{}", Uuid::new_v4());
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers);
    let admin: AdminClient<DefaultClientContext> = config.create().unwrap();
    let topic = NewTopic::new(&name, 2, TopicReplication::Fixed(1));
    admin
        .create_topics([&topic], &AdminOptions::new())
        .await
        .unwrap()[0]
        .as_ref()
        .unwrap();
    let producer: BaseProducer = config.create().unwrap();
    for number in 0..RECORDS {
        let value = number.to_string();
        let record = BaseRecord::<str, str>::to(&name)
            .partition(0)
            .key("k")
            .payload(&value);
        producer.send(record).unwrap();
    }
    producer.flush(DEADLINE).unwrap();
    name
}

fn open(brokers: &str, topic: &str, assignment: Assignment) -> KafkaLog {
    let settings = KafkaSettings {
        bootstrap_servers: brokers.to_owned(),
        group_id: topic.to_owned(),
        assignment,
        ..KafkaSettings::default()
    };
    KafkaLog::new(&settings, vec![topic.to_owned()]).unwrap()
}

/// Offsets of the first partition until `enough` says so.
async fn read(
    log: &mut KafkaLog,
    enough: impl Fn(&[i64]) -> bool,
) -> Result<Vec<i64>, WriterError> {
    let (mut offsets, started) = (Vec::new(), Instant::now());
    while !enough(&offsets) {
        assert!(
            started.elapsed() < DEADLINE,
            "only {} records came",
            offsets.len()
        );
        log.poll(WAIT, 100, &mut |record| {
            assert_eq!(record.value, Some(record.offset.to_string().as_bytes()));
            offsets.push(record.offset);
            ControlFlow::Continue(())
        })
        .await?;
    }
    Ok(offsets)
}

async fn assigned(log: &mut KafkaLog) -> Vec<TopicPartition> {
    let started = Instant::now();
    loop {
        assert!(started.elapsed() < DEADLINE, "no assignment came");
        let each = &mut |record: crate::Record<'_>| panic!("{record:?} before an assignment");
        if let Some(Notice::Assigned(partitions)) = log.poll(WAIT, 100, each).await.unwrap() {
            return partitions;
        }
    }
}

async fn conforms(brokers: &str, assignment: Assignment) {
    let topic = topic(brokers).await;
    let mut log = open(brokers, &topic, assignment);
    let mut partitions = assigned(&mut log).await;
    partitions.sort();
    let both = [0, 1].map(|number| TopicPartition::new(topic.as_str(), number));
    assert_eq!(partitions, both);
    let [first, second] = both;
    let gone = TopicPartition::new(format!("{topic}-gone"), 0);
    let places = [first.clone(), gone, second.clone()];
    for places in [&places[..], &places[2..], &[]] {
        let kept = log.offsets_kept(places).await.unwrap();
        let kept = kept
            .into_iter()
            .map(|kept| kept.map_err(|error| error.code()));
        let expected = [Ok((0, RECORDS)), Err("topic_missing"), Ok((0, 0))];
        assert_eq!(kept.collect::<Vec<_>>(), expected[3 - places.len()..]);
    }
    let at = |partition: &TopicPartition, next_offset| Position {
        partition: partition.clone(),
        next_offset,
    };
    let positions = [at(&first, 100), at(&second, 0)];
    for _ in 0..20 {
        // What is taken back before it has begun.
        log.assign(&positions).await.unwrap();
        log.assign(&positions).await.unwrap();
        log.unassign().await.unwrap();
    }
    log.assign(&positions).await.unwrap();
    let begun = read(&mut log, |offsets| !offsets.is_empty()).await.unwrap();
    log.lose_resume(std::slice::from_ref(&first));
    let rest = read(&mut log, |offsets| offsets.last() == Some(&(RECORDS - 1)));
    assert_eq!(
        [begun, rest.await.unwrap()].concat(),
        (100..RECORDS).collect::<Vec<_>>(),
        "though a resume is lost"
    );
    log.assign(&positions).await.unwrap();
    let offsets = read(&mut log, |offsets| offsets.last() == Some(&(RECORDS - 1)))
        .await
        .unwrap();
    assert_eq!(
        offsets,
        (100..RECORDS).collect::<Vec<_>>(),
        "from the position, in order"
    );
    log.seek(&first, 490).await.unwrap();
    log.pause(std::slice::from_ref(&first)).unwrap();
    log.poll(WAIT * 5, 100, &mut |record| {
        panic!("{record:?} of a paused partition")
    })
    .await
    .unwrap();
    log.resume(std::slice::from_ref(&first)).unwrap();
    let offsets = read(&mut log, |offsets| offsets.last() == Some(&(RECORDS - 1)))
        .await
        .unwrap();
    assert_eq!(
        offsets,
        (490..RECORDS).collect::<Vec<_>>(),
        "after a seek back"
    );
    log.pause(std::slice::from_ref(&first)).unwrap();
    log.unassign().await.unwrap();
    log.assign(&positions).await.unwrap();
    let offsets = read(&mut log, |offsets| offsets.last() == Some(&(RECORDS - 1)));
    assert_eq!(
        offsets.await.unwrap(),
        (100..RECORDS).collect::<Vec<_>>(),
        "an assignment ends every pause"
    );
    log.report_progress(&[(first, RECORDS)]);
    log.unassign().await.unwrap();
}

#[tokio::test]
async fn kafka_conforms_in_a_group_and_alone() {
    let Some(brokers) = kafka() else { return };
    conforms(&brokers, Assignment::Group).await;
    conforms(&brokers, Assignment::All).await;
}

/// Where a partition that no table has seen starts, and what the cluster tells of itself.
#[tokio::test]
async fn kafka_tells_where_to_start() {
    let Some(brokers) = kafka() else { return };
    let before = chrono::Utc::now().timestamp_millis();
    let topic = topic(&brokers).await;
    let mut log = open(&brokers, &topic, Assignment::All);
    log.check(DEADLINE, || false).unwrap();
    let [first, empty] = [0, 1].map(|number| TopicPartition::new(topic.as_str(), number));
    let at = |unix_ms| Start::At { unix_ms };
    for (partition, start, offset) in [
        (&first, Start::Earliest, 0),
        (&first, Start::Latest, RECORDS),
        (&first, at(before - 1), 0),
        (&first, at(before + 3_600_000), RECORDS),
        (&empty, Start::Earliest, 0),
        (&empty, at(before), 0),
    ] {
        let found = log.start_offset(partition, start).await.unwrap();
        assert_eq!(found, offset, "{partition} {start}");
    }
    let topics = log.topics().await.unwrap();
    assert!(topics.contains(&topic));
    assert_eq!(log.partition_count(&topic).await.unwrap(), 2);
    assert!(topics.is_sorted());
    assert!(log.cluster_id().is_some_and(|id| !id.is_empty()));
}

/// Topics may be added while the log is read.
#[tokio::test]
async fn kafka_reads_a_topic_that_is_found_later() {
    let Some(brokers) = kafka() else { return };
    for assignment in [Assignment::Group, Assignment::All] {
        let (early, late) = (topic(&brokers).await, topic(&brokers).await);
        let mut log = open(&brokers, &early, assignment);
        assert_eq!(assigned(&mut log).await.len(), 2);
        log.assign(&[]).await.unwrap();
        log.read_topics(vec![early.clone(), late.clone()]).unwrap();
        let started = Instant::now();
        let mut partitions = reassigned(&mut log).await;
        // A rebalance may come before the late topic is known to the client.
        while partitions.len() < 4 {
            assert!(started.elapsed() < DEADLINE, "{partitions:?}");
            log.assign(&[]).await.unwrap();
            partitions = reassigned(&mut log).await;
        }
        partitions.sort();
        let mut expected: Vec<TopicPartition> = [early, late]
            .iter()
            .flat_map(|topic| [0, 1].map(|number| TopicPartition::new(topic.as_str(), number)))
            .collect();
        expected.sort();
        assert_eq!(partitions, expected);
        log.unassign().await.unwrap();
    }
}

/// The partitions after a rebalance that takes the earlier ones away first.
async fn reassigned(log: &mut KafkaLog) -> Vec<TopicPartition> {
    let started = Instant::now();
    loop {
        assert!(started.elapsed() < DEADLINE, "no assignment came");
        let none = &mut |record: crate::Record<'_>| panic!("{record:?} before an assignment");
        match log.poll(WAIT, 100, none).await.unwrap() {
            Some(Notice::Assigned(partitions)) => return partitions,
            Some(Notice::Revoked) => log.unassign().await.unwrap(),
            Some(Notice::OffsetLost | Notice::TopicsChanged) | None => {}
        }
    }
}

/// An offset that the broker does not have is told, never jumped over.
#[tokio::test]
async fn kafka_does_not_skip_to_another_offset() {
    let Some(brokers) = kafka() else { return };
    let topic = topic(&brokers).await;
    let mut log = open(&brokers, &topic, Assignment::All);
    assigned(&mut log).await;
    let partition = TopicPartition::new(topic.as_str(), 0);
    let next_offset = RECORDS + 1000;
    log.assign(&[Position {
        partition,
        next_offset,
    }])
    .await
    .unwrap();
    let started = Instant::now();
    let none = &mut |record: crate::Record<'_>| panic!("{record:?} in place of another");
    while log.poll(WAIT, 100, none).await.unwrap() != Some(Notice::OffsetLost) {
        assert!(started.elapsed() < DEADLINE, "nobody said that it is lost");
    }
}
