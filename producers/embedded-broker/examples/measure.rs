//! Measures an embedded broker in a fresh directory: acknowledgement latency one record at a time,
//! produce and consume rates, and the time of a restart.
//!
//! `cargo run --release -p embedded-broker --example measure [FLUSH_INTERVAL_MS] [RECORDS]`

use std::error::Error;
use std::time::{Duration, Instant};

use embedded_broker::{EmbeddedBroker, Settings};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, FutureProducer, FutureRecord, Producer as _};
use rdkafka::{Offset, TopicPartitionList};

const PATIENCE: Duration = Duration::from_secs(60);
const PARTITIONS: i32 = 8;
const VALUE_BYTES: usize = 300;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let interval: u64 = arguments.next().unwrap_or("2".to_owned()).parse()?;
    let records: u64 = arguments.next().unwrap_or("300000".to_owned()).parse()?;
    let place = tempfile::tempdir()?;
    let interval = Duration::from_millis(interval);
    let settings = Settings::new(place.path()).flush_interval(interval);
    let broker = EmbeddedBroker::start(settings.clone()).await?;
    let servers = broker.bootstrap_servers().to_owned();
    for topic in ["one", "many"] {
        create_topic(&servers, topic).await?;
    }
    eprintln!("flush interval {interval:?}");
    one_at_a_time(&servers).await?;
    produce(&servers, records)?;
    consume(&servers, records)?;
    broker.stop().await?;
    let started = Instant::now();
    let broker = EmbeddedBroker::start(settings).await?;
    eprintln!("restart {:?}", started.elapsed());
    consume(&servers, records)?;
    broker.stop().await?;
    Ok(())
}

fn config(servers: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", servers);
    config
}

async fn create_topic(servers: &str, name: &str) -> Result<()> {
    let admin: AdminClient<DefaultClientContext> = config(servers).create()?;
    let topic = NewTopic::new(name, PARTITIONS, TopicReplication::Fixed(1));
    admin.create_topics([&topic], &AdminOptions::new()).await?;
    Ok(())
}

async fn one_at_a_time(servers: &str) -> Result<()> {
    let producer: FutureProducer = config(servers)
        .set("enable.idempotence", "true")
        .set("linger.ms", "0")
        .create()?;
    let mut latencies = Vec::new();
    // The first one waits for librdkafka to get its producer id; it is not counted.
    for _ in 0..301 {
        let started = Instant::now();
        let record = FutureRecord::<[u8], [u8]>::to("one").payload(&[7; VALUE_BYTES]);
        let sent = producer.send(record, PATIENCE).await;
        sent.map_err(|(error, _)| error)?;
        latencies.push(started.elapsed());
    }
    latencies.remove(0);
    latencies.sort_unstable();
    let (half, most, all) = (latencies[150], latencies[285], latencies[299]);
    eprintln!("acknowledged, one at a time: median {half:?}, 95 % {most:?}, worst {all:?}");
    Ok(())
}

fn produce(servers: &str, records: u64) -> Result<()> {
    let producer: BaseProducer = config(servers)
        .set("enable.idempotence", "true")
        .set("compression.type", "lz4")
        .set("linger.ms", "5")
        .create()?;
    let started = Instant::now();
    let mut value = [b'x'; VALUE_BYTES];
    for number in 0..records {
        let text = number.to_string();
        value[..text.len()].copy_from_slice(text.as_bytes());
        let mut record = BaseRecord::to("many").key(&text).payload(&value[..]);
        while let Err((error, back)) = producer.send(record) {
            if error != KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull) {
                return Err(error.into());
            }
            record = back;
            producer.poll(Duration::from_millis(1));
        }
        if number % 1000 == 0 {
            producer.poll(Duration::ZERO);
        }
    }
    producer.flush(PATIENCE)?;
    rate("produced", records, started);
    Ok(())
}

fn consume(servers: &str, records: u64) -> Result<()> {
    let consumer: BaseConsumer = config(servers).set("group.id", "measure").create()?;
    let mut assignment = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        assignment.add_partition_offset("many", partition, Offset::Beginning)?;
    }
    consumer.assign(&assignment)?;
    let started = Instant::now();
    for _ in 0..records {
        consumer.poll(PATIENCE).ok_or("no record came")??;
    }
    rate("consumed", records, started);
    Ok(())
}

fn rate(what: &str, records: u64, started: Instant) {
    let seconds = started.elapsed().as_secs_f64();
    eprintln!(
        "{what} {records} records in {seconds:.2} s: {:.0}/s",
        records as f64 / seconds
    );
}
