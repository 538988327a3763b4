//! Seeded simulation: two writers, a cluster that moves partitions at will and now and then does not
//! know its own topic or offsets, a store that lies or takes its time, and compactions, vacuums
//! and refreshes of the current table beside them that die at any moment.
//!
//! Everything runs on one thread with paused time, so a seed gives the same run again. What the log
//! holds, less what its sources repeated, must be in the lake exactly once. (The lake is read with
//! the writer's own replay of the Delta log here; the end-to-end tests' oracle shares no code.) `SIMULATION_SEEDS` runs more seeds, `SIMULATION_SEED` one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lake_store::LakeStore;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use schemas::{Contract, KeyFormat, Shape};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::clock::Clock;
use crate::fault_store::{Fault, FaultStore};
use crate::route::{Route, Routes};
use crate::settings::{Format, WriterSettings};
use crate::{Entropy, LakeWriter, Parts, Until, WriterError, WriterProgress};

mod cluster;
mod deletion;
mod housekeeper;
mod oracle;

use cluster::{Cluster, Member};
use housekeeper::{Done, Housekeeper};

const PARTITIONS: i32 = 3;
const STEPS: usize = 60;
const SEEDS: u64 = 40;
const CONTRACT: &str = r#"{"type":"record","name":"R","lakehead.key":["id"],
    "fields":[{"name":"id","type":"long"},{"name":"n","type":["null","long"]}]}"#;

#[derive(Debug)]
struct SimulatedClock(tokio::time::Instant);

impl Clock for SimulatedClock {
    fn now_us(&self) -> i64 {
        1_357_000_000_000_000 + i64::try_from(self.0.elapsed().as_micros()).unwrap()
    }
}

/// One run of the world.
struct World {
    rng: StdRng,
    seed: u64,
    lake: LakeStore,
    cluster: Arc<Mutex<Cluster>>,
    /// How likely a put fails, in percent; shared with the store.
    trouble: Arc<Mutex<(StdRng, u32)>>,
    clock: Arc<dyn Clock>,
    writers: Vec<Writer>,
    housekeeper: Housekeeper,
    started: u64,
}

struct Writer {
    member: usize,
    stop: watch::Sender<bool>,
    task: JoinHandle<Result<(), WriterError>>,
}

impl World {
    fn new(seed: u64) -> Self {
        let trouble = Arc::new(Mutex::new((StdRng::seed_from_u64(seed ^ 0xfa17), 25)));
        let dice = Arc::clone(&trouble);
        let decide = move |_: &object_store::path::Path| {
            let (rng, percent) = &mut *dice.lock().unwrap();
            if rng.random_range(0..100) >= *percent {
                return Fault::None;
            }
            let faults = [
                Fault::FailBefore,
                Fault::OkThenError,
                Fault::OkThenExists,
                Fault::ExistsFalsely,
                Fault::LandsLate,
                Fault::Slow,
            ];
            faults[rng.random_range(0..faults.len())]
        };
        let lake = LakeStore::open("memory:///", &[], true).unwrap();
        let lake = lake.map_store(|store| Arc::new(FaultStore::new(store, decide)));
        let clock = SimulatedClock(tokio::time::Instant::now());
        Self {
            rng: StdRng::seed_from_u64(seed),
            seed,
            housekeeper: Housekeeper::new(lake.clone(), clock.0, seed),
            lake,
            cluster: Arc::new(Mutex::new(Cluster::new(PARTITIONS))),
            trouble,
            clock: Arc::new(clock),
            writers: Vec::new(),
            started: 0,
        }
    }

    fn start(&mut self, until: Until) -> Writer {
        self.started += 1;
        let member = self.cluster.lock().unwrap().join();
        let log = Member::new(Arc::clone(&self.cluster), member, self.seed + self.started);
        let settings = WriterSettings {
            flush_age_max: Duration::from_millis(self.rng.random_range(20..400)),
            flush_rows_max: self.rng.random_range(1..60),
            record_bytes_max: bytesize::ByteSize::b(cluster::RECORD_BYTES_MAX as u64),
            // The Delta kernel's threads would not keep to the simulated time.
            checkpoint_interval: u64::MAX,
            ..WriterSettings::default()
        };
        let contract: Contract = CONTRACT.parse().unwrap();
        let route = Route {
            format: Format::Json,
            key_format: KeyFormat::Json,
            shape: Shape::Upsert,
            contract: Some(contract),
            ..Route::new(cluster::TOPIC, "sim.row".parse().unwrap())
        };
        let parts = Parts {
            lake: self.lake.clone(),
            registry: None,
            clock: Arc::clone(&self.clock),
            entropy: Arc::new(Entropy::seeded(self.seed ^ (self.started << 32))),
            runtime: Handle::current(),
            progress: Arc::new(WriterProgress::default()),
        };
        let routes = Routes::of(vec![route]).unwrap();
        let mut writer = LakeWriter::new(log, settings, routes, until, parts);
        let (stop, stopping) = watch::channel(false);
        Writer {
            member,
            stop,
            task: tokio::spawn(async move { writer.run(stopping).await }),
        }
    }

    /// One thing happens to the world.
    async fn step(&mut self) {
        match self.rng.random_range(0..12) {
            10..12 => self.housekeeper.act(&mut self.rng),
            0..4 => {
                let count = self.rng.random_range(1..80);
                self.cluster.lock().unwrap().produce(&mut self.rng, count);
            }
            4..6 => {
                let members: Vec<usize> = self.writers.iter().map(|writer| writer.member).collect();
                self.cluster
                    .lock()
                    .unwrap()
                    .rebalance(&mut self.rng, &members);
            }
            6 if self.writers.len() == 2 => {
                // A crash of the reader. Its tables' writers go on as zombies until their queue
                // is empty, which is the harder case.
                let index = self.rng.random_range(0..2);
                let writer = self.writers.swap_remove(index);
                writer.task.abort();
                self.cluster.lock().unwrap().leave(writer.member);
            }
            7 if !self.writers.is_empty() => {
                let writer = self.writers.swap_remove(0);
                writer.stop.send_replace(true);
                // Stopped just when its table was.
                match writer.task.await.unwrap() {
                    Ok(()) | Err(WriterError::TablesStopped(_) | WriterError::StopTimeout(_)) => {}
                    Err(error) => panic!("seed {}: {error}", self.seed),
                }
                self.cluster.lock().unwrap().leave(writer.member);
            }
            _ => {}
        }
        while self.writers.len() < 2 {
            let writer = self.start(Until::Stopped);
            self.writers.push(writer);
            let members: Vec<usize> = self.writers.iter().map(|writer| writer.member).collect();
            self.cluster
                .lock()
                .unwrap()
                .rebalance(&mut self.rng, &members);
        }
        // Now and then long enough for stopped tables to be tried again.
        let most = if self.rng.random_range(0..12) == 0 {
            9_000
        } else {
            300
        };
        tokio::time::sleep(Duration::from_millis(self.rng.random_range(0..most))).await;
    }

    /// Lives to the end; what landed, every object of the lake with its size, and what became of
    /// the housekeeping.
    async fn live(mut self) -> (Landed, Vec<(String, u64)>, Arc<Done>) {
        for _ in 0..STEPS {
            self.step().await;
        }
        for writer in std::mem::take(&mut self.writers) {
            writer.task.abort();
            self.cluster.lock().unwrap().leave(writer.member);
        }
        self.housekeeper.die();
        // The faults heal; whatever is still on its way lands or is lost; then one writer ends it.
        self.trouble.lock().unwrap().1 = 0;
        self.cluster.lock().unwrap().calm_down();
        tokio::time::sleep(Duration::from_secs(60)).await;
        let last = self.start(Until::CaughtUp);
        self.cluster
            .lock()
            .unwrap()
            .rebalance(&mut self.rng, &[last.member]);
        let ended = tokio::time::timeout(Duration::from_secs(600), last.task).await;
        ended
            .expect("the last writer does not come to an end")
            .unwrap()
            .unwrap();
        let kept = self.housekeeper.end().await;
        let landed = oracle::landed(&self.lake).await;
        let expected = self.cluster.lock().unwrap().expected();
        oracle::compare(self.seed, &expected, &landed);
        let current = oracle::current(&self.lake).await;
        assert_eq!(current, oracle::fold(&landed), "seed {}", self.seed);
        (landed, oracle::objects(&self.lake).await, kept)
    }
}

type Landed = BTreeMap<(i32, i64), oracle::Landed>;

fn run(seed: u64) -> (Landed, Vec<(String, u64)>, Arc<Done>) {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async { World::new(seed).live().await })
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn every_record_lands_exactly_once_whatever_happens() {
    if let Some(seed) = variable("SIMULATION_SEED") {
        run(seed);
        return;
    }
    let seeds = variable("SIMULATION_SEEDS").unwrap_or(SEEDS);
    let (mut rows, kept) = (0, Done::default());
    for seed in 0..seeds {
        let (landed, _, done) = run(seed);
        rows += landed.len();
        kept.add(&done);
    }
    println!("{seeds} seeds, {rows} records landed exactly once, {kept:?}");
    assert!(rows > 0);
    let counts = [kept.commits, kept.yields, kept.vacuumed, kept.refreshes];
    let all = counts.into_iter().all(|count| count.into_inner() > 0);
    assert!(all || seeds < SEEDS, "nobody kept house");
}

#[test]
fn a_seed_gives_the_same_run_again() {
    // Names of files and commits are drawn as the run goes, so any other order of events shows.
    let (_, objects, _) = run(7);
    assert!(objects.len() > 50, "{objects:?}");
    assert_eq!(objects, run(7).1);
    assert_ne!(objects, run(8).1);
}
