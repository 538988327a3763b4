//! A SIGKILL loses nothing that was acknowledged, and reorders nothing.
//!
//! The broker runs in a child process: this same test program, started again.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "clippy allows them in test functions, not in what these call"
)]

use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use embedded_broker::{EmbeddedBroker, Settings};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::Message as _;
use rdkafka::producer::{
    BaseRecord, DeliveryResult, Producer as _, ProducerContext, ThreadedProducer,
};
use rdkafka::{ClientContext, Offset, TopicPartitionList};

const DIRECTORY: &str = "EMBEDDED_BROKER_TEST_DIRECTORY";
const PORT: &str = "EMBEDDED_BROKER_TEST_PORT";
const READY: &str = "ready ";
const TOPIC: &str = "flights.flight";
const PARTITIONS: i32 = 4;
/// Ends what would hang, and nothing else.
const PATIENCE: Duration = Duration::from_secs(120);
const KILLS: u32 = 6;
/// Records acknowledged before each kill.
const ACKNOWLEDGED_MIN: usize = 50;

/// Not a test of its own: what the child process runs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child() {
    let Ok(directory) = std::env::var(DIRECTORY) else {
        return;
    };
    let port = std::env::var(PORT).unwrap().parse().unwrap();
    let broker = EmbeddedBroker::start(Settings::new(directory).port(port))
        .await
        .unwrap();
    println!(
        "\n{READY}{} {}",
        broker.bootstrap_servers(),
        broker.cluster_id()
    );
    std::future::pending::<()>().await;
}

/// A broker in a process of its own, killed when dropped.
struct Broker {
    process: Child,
    servers: String,
    cluster_id: String,
    start: Duration,
}

impl Broker {
    /// The first start in a directory.
    fn create(directory: &Path) -> Self {
        Self::listen(directory, free_port())
    }

    /// A later start, on the port of the first.
    fn start(directory: &Path) -> Self {
        Self::listen(directory, 0)
    }

    fn listen(directory: &Path, port: u16) -> Self {
        let started = Instant::now();
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["child", "--exact", "--nocapture"])
            .env(DIRECTORY, directory)
            .env(PORT, port.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        let ready = output
            .lines()
            .map_while(Result::ok)
            .find_map(|line| line.strip_prefix(READY).map(str::to_owned))
            .expect("the child did not become ready");
        let (servers, cluster_id) = ready.split_once(' ').unwrap();
        Self {
            process,
            servers: servers.to_owned(),
            cluster_id: cluster_id.to_owned(),
            start: started.elapsed(),
        }
    }
}

/// A port that the system gives to no client: one that tries to reconnect may be given the very
/// port that it tries.
fn free_port() -> u16 {
    static TRIED: AtomicU16 = AtomicU16::new(0);
    let first = 20_000 + (std::process::id() % 10_000) as u16;
    loop {
        let port = first + TRIED.fetch_add(1, Ordering::Relaxed);
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // SIGKILL.
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// Collects acknowledgements: partition, offset, number.
#[derive(Clone, Default)]
struct Acknowledged(Arc<Mutex<Vec<(i32, i64, u64)>>>);

impl ClientContext for Acknowledged {}

impl ProducerContext for Acknowledged {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Ok(message) = result {
            let number = number(message.payload());
            let mut all = self.0.lock().unwrap();
            all.push((message.partition(), message.offset(), number));
        }
    }
}

fn number(payload: Option<&[u8]>) -> u64 {
    std::str::from_utf8(payload.unwrap())
        .unwrap()
        .parse()
        .unwrap()
}

fn config(servers: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", servers)
        .set("log_level", "2");
    config
}

async fn create_topic(servers: &str) {
    let admin: AdminClient<DefaultClientContext> = config(servers).create().unwrap();
    let new = NewTopic::new(TOPIC, PARTITIONS, TopicReplication::Fixed(1));
    let created = admin.create_topics([&new], &AdminOptions::new()).await;
    created.unwrap()[0].as_ref().unwrap();
}

/// Everything in the topic, by partition, in the order received.
fn read(servers: &str) -> Vec<Vec<u64>> {
    let consumer: BaseConsumer = config(servers)
        .set("group.id", "reader")
        .set("enable.auto.commit", "false")
        .create()
        .unwrap();
    let mut assignment = TopicPartitionList::new();
    let mut left = 0;
    for partition in 0..PARTITIONS {
        let (start, end) = consumer
            .fetch_watermarks(TOPIC, partition, PATIENCE)
            .unwrap();
        assert_eq!(start, 0);
        left += end;
        assignment
            .add_partition_offset(TOPIC, partition, Offset::Beginning)
            .unwrap();
    }
    consumer.assign(&assignment).unwrap();
    let mut partitions = vec![Vec::new(); PARTITIONS as usize];
    for _ in 0..left {
        let message = consumer.poll(PATIENCE).unwrap().unwrap();
        let partition = &mut partitions[message.partition() as usize];
        assert_eq!(message.offset(), partition.len() as i64);
        partition.push(number(message.payload()));
    }
    partitions
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_records_survive_a_kill_in_order() {
    let place = tempfile::tempdir().unwrap();
    let mut broker = Broker::create(place.path());
    create_topic(&broker.servers).await;
    let acknowledged = Acknowledged::default();
    let mut next = 0;
    for kill in 0..KILLS {
        let producer: ThreadedProducer<Acknowledged> = config(&broker.servers)
            .set("enable.idempotence", "true")
            .set("linger.ms", "1")
            .create_with_context(acknowledged.clone())
            .unwrap();
        let before = acknowledged.0.lock().unwrap().len();
        // Killed at another moment each time, with records under way.
        let begun = Instant::now();
        let kill_at = begun + Duration::from_millis(150 + 130 * u64::from(kill));
        let is_enough = || acknowledged.0.lock().unwrap().len() >= before + ACKNOWLEDGED_MIN;
        while Instant::now() < kill_at || !is_enough() {
            assert!(begun.elapsed() < PATIENCE, "records are not acknowledged");
            let (key, value) = ((next % 31).to_string(), next.to_string());
            let record = BaseRecord::to(TOPIC).key(&key).payload(&value);
            match producer.send(record) {
                Ok(()) => next += 1,
                Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
            }
        }
        let (servers, cluster_id) = (broker.servers.clone(), broker.cluster_id.clone());
        drop(broker);
        producer.purge(rdkafka::producer::PurgeConfig::default().queue().inflight());
        drop(producer);
        broker = Broker::start(place.path());
        eprintln!("restarted in {:?} after {next} records", broker.start);
        assert_eq!(broker.servers, servers, "the address changed");
        assert_eq!(broker.cluster_id, cluster_id);
    }
    let stored = read(&broker.servers);
    let acknowledged = acknowledged.0.lock().unwrap();
    for (partition, offset, number) in acknowledged.iter() {
        let found = stored[*partition as usize].get(*offset as usize);
        assert_eq!(found, Some(number), "{partition}/{offset}");
    }
    for numbers in &stored {
        assert!(numbers.is_sorted_by(|one, two| one < two));
    }
}

/// The same producer before and after: librdkafka sends again what was under way, and the broker
/// knows it by its sequence numbers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_producer_that_outlives_the_broker_neither_loses_nor_doubles() {
    let place = tempfile::tempdir().unwrap();
    let mut broker = Broker::create(place.path());
    create_topic(&broker.servers).await;
    let acknowledged = Acknowledged::default();
    let producer: ThreadedProducer<Acknowledged> = config(&broker.servers)
        .set("enable.idempotence", "true")
        .set("linger.ms", "1")
        .set("reconnect.backoff.max.ms", "200")
        .create_with_context(acknowledged.clone())
        .unwrap();
    let mut next = 0;
    for _ in 0..KILLS {
        let deadline = Instant::now() + Duration::from_millis(300);
        while Instant::now() < deadline {
            let (key, value) = ((next % 31).to_string(), next.to_string());
            let record = BaseRecord::to(TOPIC).key(&key).payload(&value);
            match producer.send(record) {
                Ok(()) => next += 1,
                Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
            }
        }
        drop(broker);
        broker = Broker::start(place.path());
    }
    producer.flush(PATIENCE).unwrap();
    let mut stored: Vec<_> = read(&broker.servers).concat();
    stored.sort_unstable();
    assert_eq!(stored, (0..next).collect::<Vec<_>>());
    assert_eq!(acknowledged.0.lock().unwrap().len() as u64, next);
}
