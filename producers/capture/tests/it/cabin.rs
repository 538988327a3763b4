//! A service with an outbox of its own database, and the relays that publish it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use capture::{Lsn, OutboxProgress, OutboxReading, ReadOutbox, ReplicatedOutbox};
use change_events::{
    Entity, KafkaBroker, KafkaSettings, LakeProgress, Outbox, Relay, RelayError, RelayLimits,
    RelayProgress,
};
use registry_server::{RegistryServer, Settings};
use schemas::{HttpRegistry, SchemaRegistry};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_postgres::Client;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::owner::Owner;
use crate::road::PATIENCE;
use crate::view::{Event, View};

const CONTRACT: &str = r#"{"type":"record","name":"Seat","lakehead.key":["id"],"fields":[
    {"name":"id","type":"int"},{"name":"holder","type":["null","string"],"default":null}]}"#;

/// Everything that one test owns.
pub(crate) struct Cabin {
    pub(crate) owner: Owner,
    brokers: String,
    pub(crate) topic: String,
    pub(crate) limits: RelayLimits,
    pub(crate) way: ReadOutbox,
    pub(crate) lake: Option<Arc<dyn LakeProgress>>,
    registry: RegistryServer,
    _directory: TempDir,
}

impl Cabin {
    /// Nothing if a part is missing.
    pub(crate) async fn new() -> Option<Self> {
        Self::of(Owner::create().await?).await
    }

    /// The same for an owner that is there.
    pub(crate) async fn of(mut owner: Owner) -> Option<Self> {
        let Ok(brokers) = std::env::var("LAKEHEAD_TEST_KAFKA") else {
            assert!(
                std::env::var("CI").as_deref() != Ok("true"),
                "LAKEHEAD_TEST_KAFKA is not set"
            );
            eprintln!("SKIPPED: LAKEHEAD_TEST_KAFKA is not set");
            return None;
        };
        Outbox::create(&mut owner.client, "cabin").await.unwrap();
        let directory = tempfile::tempdir().unwrap();
        let registry = RegistryServer::start(Settings::new(directory.path().join("registry")))
            .await
            .unwrap();
        Some(Self {
            owner,
            brokers,
            topic: format!("seat-{}", Uuid::new_v4()),
            limits: RelayLimits::default(),
            way: ReadOutbox::Replication,
            lake: None,
            registry,
            _directory: directory,
        })
    }

    fn registry(&self) -> Arc<dyn SchemaRegistry> {
        Arc::new(HttpRegistry::new(self.registry.url()).unwrap())
    }

    pub(crate) async fn store(&self) -> ReplicatedOutbox {
        let reading = OutboxReading {
            way: self.way,
            slot: None,
            slot_unbounded: true,
        };
        ReplicatedOutbox::open(&self.owner.url, reading)
            .await
            .unwrap()
    }

    pub(crate) async fn start(&self) -> Relaying {
        let store = self.store().await;
        let log = store.progress();
        let broker = KafkaSettings {
            partitions: 3,
            ..KafkaSettings::new(&self.brokers)
        };
        let broker = Arc::new(KafkaBroker::new(broker));
        let entity = Entity {
            topic: self.topic.clone(),
            ..Entity::new("cabin.seat".parse().unwrap(), CONTRACT.parse().unwrap())
        };
        let relay = Relay::open(Box::new(store), vec![entity], broker, self.registry()).await;
        let mut relay = relay.unwrap().with_limits(self.limits.clone());
        if let Some(lake) = &self.lake {
            relay = relay.with_lake(Arc::clone(lake));
        }
        let cancel = CancellationToken::new();
        Relaying {
            progress: relay.progress(),
            log,
            task: tokio::spawn(relay.run(cancel.clone())),
            cancel,
        }
    }

    /// Relays by replication until everything that is committed now is acknowledged, then stops.
    pub(crate) async fn relay_all(&self) {
        let running = self.start().await;
        running.wait_for_log(&self.end().await).await;
        running.stop().await;
    }

    pub(crate) async fn end(&self) -> (i64, Lsn) {
        self.store().await.end().await.unwrap()
    }

    pub(crate) async fn emit(&self, seat: u32, holder: &str) {
        emit(&self.owner.client, seat, holder).await;
    }

    /// Many seats at once, in one transaction; each with so many bytes.
    pub(crate) async fn emit_many(&self, rows: u32, bytes: u32) {
        let sql = format!(
            "SELECT count(lakehead.emit('cabin.seat', 'c', key => json_build_object('id', n), \
             after => json_build_object('id', n, 'holder', repeat('x', {bytes})))) FROM generate_series(1, {rows}) n"
        );
        self.owner.run(&sql).await;
    }

    pub(crate) async fn number(&self, sql: &str) -> i64 {
        self.owner.text(sql).await.parse().unwrap()
    }

    pub(crate) async fn log(&self, column: &str) -> String {
        let sql = format!("SELECT {column} FROM lakehead.outbox_log");
        self.owner.text(&sql).await
    }

    pub(crate) async fn events(&self) -> Vec<Event> {
        View::read(&self.brokers, &self.topic, &*self.registry())
            .await
            .events
    }

    /// What the lake keeps of the topic: per source and partition what is above the last sequence.
    pub(crate) async fn landed(&self) -> Vec<Event> {
        let mut last: HashMap<(String, i32), i64> = HashMap::new();
        let mut landed = Vec::new();
        for event in self.events().await {
            let place = (event.headers["ce_source"].clone(), event.partition);
            let known = last.entry(place).or_default();
            if event.sequence.major > *known {
                *known = event.sequence.major;
                landed.push(event);
            }
        }
        landed
    }

    /// Everything that is in the outbox is in the lake, once, and each seat's changes in their order.
    pub(crate) async fn assert_whole(&self) -> Vec<Event> {
        let rows = self
            .owner
            .client
            .query(
                "SELECT id::text, aggregateid, sequence FROM lakehead.outbox ORDER BY sequence",
                &[],
            )
            .await
            .unwrap();
        let mut expected: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for row in &rows {
            let key: String = row.get(1);
            let id = key.replace(' ', "");
            expected.entry(id).or_default().push(row.get(0));
        }
        let landed = self.landed().await;
        let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut ids = BTreeSet::new();
        for event in &landed {
            let id = event.headers["ce_id"].clone();
            assert!(ids.insert(id.clone()), "twice in the lake: {event:?}");
            found.entry(event.key.to_string()).or_default().push(id);
        }
        assert_eq!(ids.len(), rows.len(), "some are lost, or never were");
        assert_eq!(found, expected);
        landed
    }

    /// Nobody reads the slot; Postgres misses who did a moment later.
    pub(crate) async fn wait_idle_slot(&self) {
        let slot = self.log("slot").await;
        let question = format!(
            "SELECT count(*) FROM pg_replication_slots WHERE slot_name = '{slot}' AND active"
        );
        let deadline = Instant::now() + PATIENCE;
        while self.number(&question).await > 0 {
            assert!(Instant::now() < deadline, "the slot is still read");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Drops the slot, so that the server has room for others.
    pub(crate) async fn close(self) {
        self.wait_idle_slot().await;
        self.owner
            .run(
                "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots \
                 WHERE database = current_database() AND NOT active",
            )
            .await;
    }
}

/// Writes an event, in a transaction of its own if none is open.
pub(crate) async fn emit(client: &Client, seat: u32, holder: &str) {
    let sql = format!(
        "SELECT lakehead.emit('cabin.seat', 'c', key => '{{\"id\": {seat}}}', \
         after => '{{\"id\": {seat}, \"holder\": {holder}}}')"
    );
    client.batch_execute(&sql).await.unwrap();
}

/// A relay that runs.
pub(crate) struct Relaying {
    pub(crate) progress: Arc<RelayProgress>,
    pub(crate) log: Arc<OutboxProgress>,
    pub(crate) task: JoinHandle<Result<(), RelayError>>,
    cancel: CancellationToken,
}

impl Relaying {
    pub(crate) async fn wait(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds(self) {
            assert!(!self.task.is_finished(), "the relay ended before {what}");
            assert!(
                Instant::now() < deadline,
                "not in time: {what}; {:?} {:?}",
                self.progress,
                self.log
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// It reads by replication, and everything before an end is acknowledged.
    pub(crate) async fn wait_for_log(&self, end: &(i64, Lsn)) {
        let what = format!("{} is confirmed", end.1);
        self.wait(&what, |relay| relay.log.confirmed() >= end.1)
            .await;
    }

    /// It polls, and everything up to a sequence is acknowledged.
    pub(crate) async fn wait_polled(&self, end: &(i64, Lsn)) {
        let what = format!("{} is polled", end.0);
        self.wait(&what, |relay| {
            relay.log.is_polled() && relay.progress.confirmed() >= end.0
        })
        .await;
    }

    /// Stops it as a signal does.
    pub(crate) async fn stop(self) {
        self.cancel.cancel();
        self.task.await.unwrap().unwrap();
    }

    /// Ends it in the middle of what it does.
    pub(crate) async fn kill(self) {
        self.task.abort();
        self.task.await.ok();
    }

    /// The error that it ends with.
    pub(crate) async fn refused(self) -> String {
        let ended = tokio::time::timeout(PATIENCE, self.task).await;
        ended.expect("it runs on").unwrap().unwrap_err().to_string()
    }
}

/// Transactions that write at once: quick ones, slow ones, some that are rolled back. A seat is
/// changed by one at a time. They are paced, so that a relay of few rows at once keeps up with them.
pub(crate) struct Writers {
    done: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Writers {
    pub(crate) async fn start(cabin: &Cabin) -> Self {
        let done = Arc::new(AtomicBool::new(false));
        let mut tasks = Vec::new();
        for writer in 0..4_u32 {
            let (client, done) = (cabin.owner.connect().await, Arc::clone(&done));
            tasks.push(tokio::spawn(async move {
                let mut turn = 0_u32;
                while !done.load(Ordering::Acquire) {
                    write(&client, writer, turn).await;
                    turn += 1;
                }
            }));
        }
        Self { done, tasks }
    }

    pub(crate) async fn stop(self) {
        self.done.store(true, Ordering::Release);
        for task in self.tasks {
            task.await.unwrap();
        }
    }
}

async fn write(client: &Client, writer: u32, turn: u32) {
    client.batch_execute("BEGIN").await.unwrap();
    for event in 0..=(turn % 3) {
        // In one order, so that nobody waits in a circle.
        let seat = (turn + writer) % 10 * 3 + event;
        let lock = format!("SELECT pg_advisory_xact_lock({seat})");
        client.batch_execute(&lock).await.unwrap();
        emit(client, seat, &format!("\"{writer}/{turn}\"")).await;
        if turn % 7 == writer {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    tokio::time::sleep(Duration::from_millis(10)).await;
    let end = if turn % 5 == 4 { "ROLLBACK" } else { "COMMIT" };
    client.batch_execute(end).await.unwrap();
}
