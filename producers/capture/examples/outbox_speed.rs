//! An outbox in Postgres, polled and read by replication: rows per CPU-second, and how long a row
//! takes to its consumer.
//!
//! ```sh
//! tests/stack/parts.py run kafka postgres -- cargo run --release -p capture --example outbox_speed
//! ```
//!
//! First `ROWS` flights (200,000) that are there already are relayed: CPU time is this process's, user
//! and system, without the database server and the brokers. Then `RATE` rows a second (1,000) are
//! written for `SECONDS` (10), each in a transaction of its own: from the moment that the service wrote
//! the row, just before it commits, to the moment that a consumer has the record.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use capture::{Lsn, OutboxProgress, OutboxReading, ReadOutbox, ReplicatedOutbox};
use change_events::{Entity, KafkaBroker, KafkaSettings, Outbox, Relay};
use chrono::DateTime;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Headers;
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};
use schemas::{Contract, RegistryError, SchemaId, SchemaRegistry};
use tokio::task::JoinHandle;
use tokio_postgres::{Client, NoTls};
use tokio_util::sync::CancellationToken;

type Anyway<T> = Result<T, Box<dyn Error>>;

/// The shipped binary's.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const PARTITIONS: i32 = 8;

const CONTRACT: &str = r#"{"type":"record","name":"Flight","lakehead.key":["carrier","flight","day"],"fields":[
    {"name":"day","type":"int"},{"name":"carrier","type":"string"},{"name":"flight","type":"int"},
    {"name":"tailnum","type":["null","string"],"default":null},{"name":"origin","type":"string"},
    {"name":"dest","type":"string"},{"name":"distance","type":"int"},
    {"name":"dep_delay","type":["null","double"],"default":null},
    {"name":"time_hour","type":{"type":"long","logicalType":"timestamp-micros"}}]}"#;

const EMIT: &str = r#"INSERT INTO lakehead.outbox (aggregatetype, aggregateid, type, payload)
    SELECT 'flights.flight', '{"carrier":"UA","flight":' || i || ',"day":' || (i % 365) || '}', 'c',
        ('{"day":' || (i % 365) || ',"carrier":"UA","flight":' || i || ',"tailnum":"N14228","origin":"EWR",
        "dest":"IAH","distance":1400,"dep_delay":2.5,"time_hour":1357034400000000}')::json"#;

/// Gives every schema an id.
#[derive(Debug)]
struct AnyRegistry;

#[async_trait]
impl SchemaRegistry for AnyRegistry {
    async fn schema_by_id(&self, id: SchemaId) -> Result<String, RegistryError> {
        Err(RegistryError::Unavailable {
            url: "memory".into(),
            why: format!("nobody asks for {}", id.0),
        })
    }

    async fn register(&self, subject: &str, _schema: &str) -> Result<SchemaId, RegistryError> {
        Ok(SchemaId(if subject.ends_with("-key") { 1 } else { 2 }))
    }
}

/// An outbox of a database of its own.
struct Cabin {
    name: &'static str,
    way: ReadOutbox,
    url: String,
    brokers: String,
    topic: String,
    client: Client,
}

struct Running {
    log: Arc<OutboxProgress>,
    published: Arc<change_events::RelayProgress>,
    cancel: CancellationToken,
    task: JoinHandle<Result<(), change_events::RelayError>>,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Anyway<()> {
    let number =
        |name: &str, default: u64| std::env::var(name).map_or(Ok(default), |number| number.parse());
    let (rows, rate, seconds) = (
        number("ROWS", 200_000)?,
        number("RATE", 1_000)?,
        number("SECONDS", 10)?,
    );
    for (name, way) in [
        ("polling", ReadOutbox::Polling),
        ("replication", ReadOutbox::Replication),
    ] {
        let cabin = Cabin::create(name, way).await?;
        cabin.throughput(rows).await?;
        cabin.latency(rate, seconds).await?;
        let drop =
            "SELECT pg_drop_replication_slot(slot) FROM lakehead.outbox_log WHERE slot IS NOT NULL";
        tokio::time::sleep(Duration::from_secs(1)).await;
        cabin.client.batch_execute(drop).await?;
    }
    Ok(())
}

impl Cabin {
    async fn create(name: &'static str, way: ReadOutbox) -> Anyway<Self> {
        let server = std::env::var("LAKEHEAD_TEST_POSTGRES")?;
        let brokers = std::env::var("LAKEHEAD_TEST_KAFKA")?;
        let database = format!("speed_{}", uuid::Uuid::new_v4().simple());
        let admin = connect(&server).await?;
        admin
            .batch_execute(&format!("CREATE DATABASE {database}"))
            .await?;
        let (base, _) = server.rsplit_once('/').ok_or("no database")?;
        let url = format!("{base}/{database}");
        let mut client = connect(&url).await?;
        Outbox::create(&mut client, "flights").await?;
        let cabin = Self {
            name,
            way,
            url,
            brokers,
            topic: database,
            client,
        };
        let running = cabin.start().await?;
        running.wait_ready().await;
        running.stop().await?;
        Ok(cabin)
    }

    async fn start(&self) -> Anyway<Running> {
        let reading = OutboxReading {
            way: self.way,
            slot: None,
            slot_unbounded: true,
        };
        let store = ReplicatedOutbox::open(&self.url, reading).await?;
        let log = store.progress();
        let contract: Contract = CONTRACT.parse()?;
        let entity = Entity {
            topic: self.topic.clone(),
            ..Entity::new("flights.flight".parse()?, contract)
        };
        let settings = KafkaSettings {
            partitions: PARTITIONS,
            ..KafkaSettings::new(&self.brokers)
        };
        let broker = Arc::new(KafkaBroker::new(settings));
        let relay = Relay::open(Box::new(store), vec![entity], broker, Arc::new(AnyRegistry));
        let relay = relay.await?;
        let cancel = CancellationToken::new();
        Ok(Running {
            log,
            published: relay.progress(),
            task: tokio::spawn(relay.run(cancel.clone())),
            cancel,
        })
    }

    async fn throughput(&self, rows: u64) -> Anyway<()> {
        self.client
            .batch_execute(&format!("{EMIT} FROM generate_series(1, {rows}) i"))
            .await?;
        let (started, cpu) = (Instant::now(), cpu_seconds()?);
        let running = self.start().await?;
        running.wait_published(rows).await;
        let (wall, cpu) = (started.elapsed().as_secs_f64(), cpu_seconds()? - cpu);
        running.stop().await?;
        let rows = rows as f64;
        say(&format!(
            "{}: {:.0} rows per CPU-second, {:.0} per second",
            self.name,
            rows / cpu,
            rows / wall
        ))
    }

    async fn latency(&self, rate: u64, seconds: u64) -> Anyway<()> {
        let running = self.start().await?;
        running.wait_ready().await;
        let rows = rate * seconds;
        let (brokers, topic) = (self.brokers.clone(), self.topic.clone());
        let consumer = consumer(&brokers, &topic)?;
        let consumed = tokio::task::spawn_blocking(move || consume(&consumer, rows as usize));
        let mut writers = Vec::new();
        // Each waits for its own commits, so several share the rate.
        for writer in 0..4 {
            let client = connect(&self.url).await?;
            writers.push(tokio::spawn(write(client, writer, rows / 4, rate / 4)));
        }
        for writer in writers {
            writer.await??;
        }
        let mut latencies = consumed
            .await?
            .map_err(|why| -> Box<dyn Error> { why.into() })?;
        running.stop().await?;
        latencies.sort_unstable();
        let at = |share: f64| {
            let index = (latencies.len() as f64 * share) as usize;
            let found = latencies.get(index.min(latencies.len().saturating_sub(1)));
            found.copied().unwrap_or_default() as f64 / 1_000.0
        };
        say(&format!(
            "{}: {rate} rows a second, each after {:.1} ms (p50), {:.1} ms (p99), {:.1} ms (most)",
            self.name,
            at(0.5),
            at(0.99),
            at(1.0)
        ))
    }
}

impl Running {
    /// The rows come the way they are to come.
    async fn wait_ready(&self) {
        while !self.log.is_polled() && self.log.confirmed() == Lsn::default()
            || self.task.is_finished()
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // A hand-over begins with polling.
        tokio::time::sleep(Duration::from_secs(2)).await;
    }

    async fn wait_published(&self, rows: u64) {
        while self.published.published() < rows && !self.task.is_finished() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn stop(self) -> Anyway<()> {
        self.cancel.cancel();
        Ok(self.task.await??)
    }
}

async fn write(
    client: Client,
    writer: u64,
    rows: u64,
    rate: u64,
) -> Result<(), tokio_postgres::Error> {
    let emit = client
        .prepare(&format!("{EMIT} FROM (SELECT $1::bigint AS i) AS one"))
        .await?;
    let mut tick = tokio::time::interval(Duration::from_secs_f64(1.0 / rate as f64));
    for row in 0..rows {
        tick.tick().await;
        let flight = (1_000_000_000 + writer * rows + row) as i64;
        client.execute(&emit, &[&flight]).await?;
    }
    Ok(())
}

fn consumer(brokers: &str, topic: &str) -> Anyway<BaseConsumer> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", topic)
        .set("fetch.wait.max.ms", "10")
        .create()?;
    let mut assignment = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        let timeout = Duration::from_secs(30);
        let (_, end) = consumer.fetch_watermarks(topic, partition, timeout)?;
        assignment.add_partition_offset(topic, partition, Offset::Offset(end))?;
    }
    consumer.assign(&assignment)?;
    Ok(consumer)
}

/// The microseconds that each record took.
fn consume(consumer: &BaseConsumer, rows: usize) -> Result<Vec<i64>, String> {
    let mut latencies = Vec::with_capacity(rows);
    let deadline = Instant::now() + Duration::from_secs(300);
    while latencies.len() < rows && Instant::now() < deadline {
        let Some(message) = consumer.poll(Duration::from_millis(100)) else {
            continue;
        };
        let message = message.map_err(|error| error.to_string())?;
        let headers = message.headers().ok_or("no headers")?;
        let mut headers = headers.iter();
        let time = headers.find(|header| header.key == "ce_time");
        let time = time.and_then(|header| std::str::from_utf8(header.value?).ok());
        let time = DateTime::parse_from_rfc3339(time.ok_or("no time")?);
        let time = time.map_err(|error| error.to_string())?.timestamp_micros();
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        latencies.push(now.as_micros() as i64 - time);
    }
    Ok(latencies)
}

async fn connect(url: &str) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// User and system time of all threads so far, from Linux's `/proc`.
fn cpu_seconds() -> Anyway<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks = after_name.split_whitespace().skip(11).take(2);
    let ticks: f64 = ticks.map(|ticks| ticks.parse::<f64>().unwrap_or(0.0)).sum();
    Ok(ticks / 100.0)
}

fn say(line: &str) -> Anyway<()> {
    use std::io::Write;
    Ok(writeln!(std::io::stdout(), "{line}")?)
}
