//! How many rows a relay publishes, and how many records the encoder makes, per CPU-second.
//!
//! ```sh
//! tests/stack/parts.py run kafka postgres -- cargo run --release -p change-events --example relay_speed
//! ```
//!
//! An outbox of a million flights (`ROWS` for another number) is written with SQL, then relayed to
//! the brokers at `LAKEHEAD_TEST_KAFKA`: from SQLite, and from Postgres if `LAKEHEAD_TEST_POSTGRES`
//! says where it is; without watermarks and with them. From Postgres also with begin and end of its
//! transactions, of ten rows each. CPU time is this process's, user and system, all threads: reading,
//! encoding and librdkafka's sending, without the database server and the brokers.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use change_events::{
    Entity, EventEncoder, KafkaBroker, KafkaSettings, OutboxRow, OutboxStore, PostgresOutbox,
    Relay, RelayLimits, SqliteOutbox,
};
use schemas::{Contract, Envelope, RegistryError, SchemaId, SchemaRegistry, TableName};
use sqlx::{AssertSqlSafe, Connection};
use tokio_util::sync::CancellationToken;

type Anyway<T> = Result<T, Box<dyn Error>>;

/// The shipped binary's.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const CONTRACT: &str = r#"{"type":"record","name":"Flight","lakehead.key":["carrier","flight","day"],"fields":[
    {"name":"day","type":"int"},{"name":"carrier","type":"string"},{"name":"flight","type":"int"},
    {"name":"tailnum","type":["null","string"],"default":null},{"name":"origin","type":"string"},
    {"name":"dest","type":"string"},{"name":"distance","type":"int"},
    {"name":"dep_delay","type":["null","double"],"default":null},
    {"name":"time_hour","type":{"type":"long","logicalType":"timestamp-micros"}},
    {"name":"status","type":{"type":"enum","name":"Status","symbols":["scheduled","departed","arrived"]}}]}"#;

/// The row of flight `i`, as SQL text; `||` joins texts in both databases.
const AFTER: &str = r#"'{"day":' || (i % 365) || ',"carrier":"UA","flight":' || i
    || ',"tailnum":"N14228","origin":"EWR","dest":"IAH","distance":1400,"dep_delay":2.5,"time_hour":1357034400000000,"status":"departed"}'"#;
const KEY: &str = r#"'{"carrier":"UA","flight":' || i || ',"day":' || (i % 365) || '}'"#;

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

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Anyway<()> {
    let rows: i64 = std::env::var("ROWS").map_or(Ok(1_000_000), |rows| rows.parse())?;
    encode()?;
    let Ok(brokers) = std::env::var("LAKEHEAD_TEST_KAFKA") else {
        return say("LAKEHEAD_TEST_KAFKA is not set: the relay is not measured");
    };
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("flights.db");
    SqliteOutbox::create(&path, "flights").await?;
    let mut connection = sqlx::SqliteConnection::connect(&path.display().to_string()).await?;
    let insert = format!(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows}) \
         INSERT INTO outbox (event_id, entity, op, event_time_us, key, before, after) \
         SELECT lower(hex(randomblob(16))), 'flights.flight', 'u', 1357034400000000 + i, {KEY}, {AFTER}, {AFTER} FROM n"
    );
    sqlx::query(AssertSqlSafe(insert))
        .execute(&mut connection)
        .await?;
    for told in [Told::Nothing, Told::Watermarks] {
        sqlx::query("UPDATE outbox_relay SET confirmed = 0, released = 0")
            .execute(&mut connection)
            .await?;
        let store = Box::new(SqliteOutbox::open(&path).await?);
        relay("SQLite", told, store, rows, &brokers).await?;
    }
    let Ok(server) = std::env::var("LAKEHEAD_TEST_POSTGRES") else {
        return say("LAKEHEAD_TEST_POSTGRES is not set: Postgres is not measured");
    };
    PostgresOutbox::create(&server, "flights").await?;
    let mut connection = sqlx::PgConnection::connect(&server).await?;
    let insert = format!(
        "DO $$ BEGIN FOR n IN 1..{rows} BY 10 LOOP \
         INSERT INTO lakehead.outbox (aggregatetype, aggregateid, type, event_time_us, before, payload) \
         SELECT 'flights.flight', {KEY}, 'u', 1357034400000000 + i, ({AFTER})::json, ({AFTER})::json \
         FROM generate_series(n, n + 9) AS i; COMMIT; END LOOP; END $$"
    );
    sqlx::raw_sql("SET synchronous_commit = off")
        .execute(&mut connection)
        .await?;
    sqlx::raw_sql(AssertSqlSafe(insert))
        .execute(&mut connection)
        .await?;
    for told in [Told::Nothing, Told::Watermarks, Told::Transactions] {
        sqlx::query("UPDATE lakehead.outbox_relay SET confirmed = 0, released = 0")
            .execute(&mut connection)
            .await?;
        let store = Box::new(PostgresOutbox::open(&server).await?);
        relay("Postgres", told, store, rows, &brokers).await?;
    }
    Ok(())
}

/// What the relay says beside the events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Nothing,
    Watermarks,
    Transactions,
}

async fn relay(
    name: &str,
    told: Told,
    mut store: Box<dyn OutboxStore>,
    rows: i64,
    brokers: &str,
) -> Anyway<()> {
    let from = store.position().await?.confirmed;
    let contract: Contract = CONTRACT.parse()?;
    let entity = Entity {
        topic: format!("relay-speed-{}", uuid::Uuid::new_v4()),
        ..Entity::new("flights.flight".parse()?, contract)
    };
    let broker = Arc::new(KafkaBroker::new(KafkaSettings::new(brokers)));
    let relay = Relay::open(store, vec![entity], broker, Arc::new(AnyRegistry)).await?;
    let relay = match told {
        Told::Nothing => relay,
        Told::Transactions => relay.with_transactions("flights"),
        Told::Watermarks => relay.with_limits(RelayLimits {
            watermark_interval: Some(Duration::from_secs(1)),
            ..RelayLimits::default()
        }),
    };
    let progress = relay.progress();
    let cancel = CancellationToken::new();
    let (started, cpu) = (Instant::now(), cpu_seconds()?);
    let running = tokio::spawn(relay.run(cancel.clone()));
    while progress.confirmed() < from + rows && !running.is_finished() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (wall, cpu) = (started.elapsed().as_secs_f64(), cpu_seconds()? - cpu);
    cancel.cancel();
    running.await??;
    let rows = rows as f64;
    say(&format!(
        "relay from {name}, told {told:?}: {:.0} rows per CPU-second, {:.0} per second",
        rows / cpu,
        rows / wall
    ))
}

fn encode() -> Anyway<()> {
    let table: TableName = "flights.flight".parse()?;
    let contract: Contract = CONTRACT.parse()?;
    let envelope = Envelope::of(&table, &contract);
    let (key, value) = (SchemaId(1), SchemaId(2));
    let mut encoder = EventEncoder::new(&table, "t", "/flights/x", &envelope, key, value)?;
    let after = r#"{"day":1,"carrier":"UA","flight":1545,"tailnum":"N14228","origin":"EWR","dest":"IAH","distance":1400,"dep_delay":2.5,"time_hour":1357034400000000,"status":"departed"}"#;
    for (name, before) in [
        ("after", None),
        ("before and after", Some(after.to_owned())),
    ] {
        let row = OutboxRow {
            sequence: 1,
            place: 1,
            event_id: "a8ed6f2d-5e4c-4f3c-9f4e-3c0c4d1f0001".into(),
            entity: "flights.flight".into(),
            op: "u".into(),
            event_time_us: 1_357_034_400_000_000,
            key: r#"{"carrier":"UA","flight":1545,"day":1}"#.into(),
            before,
            after: Some(after.into()),
            event_type: None,
            transaction: None,
        };
        let (records, started) = (1_000_000, cpu_seconds()?);
        let mut bytes = 0;
        for _ in 0..records {
            bytes += encoder.encode(&row, 1_357_034_400_000)?.value.len();
        }
        let rate = f64::from(records) / (cpu_seconds()? - started);
        say(&format!(
            "encoder: {rate:.0} records per CPU-second with {name} ({} bytes each)",
            bytes / 1_000_000
        ))?;
    }
    Ok(())
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
