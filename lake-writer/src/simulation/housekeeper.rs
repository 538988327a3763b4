//! Who compacts, vacuums and refreshes the current table while the writers write, and dies now and
//! then.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use lake_store::LakeStore;
use object_store::throttle::{ThrottleConfig, ThrottledStore};
use rand::Rng;
use rand::rngs::StdRng;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::SimulatedClock;
use crate::clock::Clock;
use crate::maintenance::{
    Compaction, CompactionSettings, Current, MaintenanceSettings, Means, Mode, Vacuum,
    VacuumSettings,
};
use crate::{Entropy, MaintenanceError};

const TABLE: &str = "sim.row";
const PATH: &str = "sim/row/changes";
const CURRENT_PATH: &str = "sim/row/current";

/// Longer than files are kept that left the table: to a vacuum they all did so long ago. Nobody
/// reads older versions here.
const LATER: Duration = Duration::from_secs(8 * 24 * 3600);

/// The simulated time, a week on.
#[derive(Debug)]
struct LaterClock(SimulatedClock);

impl Clock for LaterClock {
    fn now_us(&self) -> i64 {
        self.0.now_us() + i64::try_from(LATER.as_micros()).unwrap()
    }
}

/// Ended by itself, by an error of the store, or by us.
type Task = JoinHandle<Result<(), MaintenanceError>>;

pub(super) struct Housekeeper {
    lake: LakeStore,
    begun: Instant,
    entropy: Arc<Entropy>,
    tasks: Vec<Task>,
    done: Arc<Done>,
}

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Done {
    pub(super) commits: AtomicUsize,
    pub(super) yields: AtomicUsize,
    pub(super) vacuumed: AtomicUsize,
    pub(super) refreshes: AtomicUsize,
}

impl Done {
    pub(super) fn add(&self, other: &Self) {
        let add = |to: &AtomicUsize, from: &AtomicUsize| {
            to.fetch_add(from.load(Ordering::Relaxed), Ordering::Relaxed)
        };
        add(&self.commits, &other.commits);
        add(&self.yields, &other.yields);
        add(&self.vacuumed, &other.vacuumed);
        add(&self.refreshes, &other.refreshes);
    }
}

impl Housekeeper {
    pub(super) fn new(lake: LakeStore, begun: Instant, seed: u64) -> Self {
        // Requests take their time, so that others come in between.
        let slow = ThrottleConfig {
            wait_get_per_call: Duration::from_millis(7),
            wait_put_per_call: Duration::from_millis(15),
            wait_delete_per_call: Duration::from_millis(11),
            wait_list_per_call: Duration::from_millis(13),
            ..ThrottleConfig::default()
        };
        let lake = lake.map_store(|store| Arc::new(ThrottledStore::new(store, slow)));
        Self {
            lake,
            begun,
            entropy: Arc::new(Entropy::seeded(seed ^ 0x40_5e)),
            tasks: Vec::new(),
            done: Arc::default(),
        }
    }

    /// Begins something, perhaps beside another that does the same, or dies.
    pub(super) fn act(&mut self, rng: &mut StdRng) {
        match rng.random_range(0..6) {
            0 => self.die(),
            1 => self.tasks.push(tokio::spawn(self.vacuum())),
            2 | 3 => self.tasks.push(tokio::spawn(self.compaction())),
            _ => self.tasks.push(tokio::spawn(self.refresh())),
        }
    }

    pub(super) fn die(&mut self) {
        for task in self.tasks.drain(..) {
            task.abort();
        }
    }

    /// Compacts, vacuums and refreshes what is left, in peace; what came of it all.
    pub(super) async fn end(&mut self) -> Arc<Done> {
        self.compaction().await.unwrap();
        self.refresh().await.unwrap();
        self.vacuum().await.unwrap();
        Arc::clone(&self.done)
    }

    fn compaction(&self) -> impl Future<Output = Result<(), MaintenanceError>> + Send + use<> {
        let settings = CompactionSettings {
            files_min: 2,
            quiet_age: Duration::ZERO,
            hot_files_max: 2,
            ..CompactionSettings::default()
        };
        let (table, clock) = (TABLE.parse().unwrap(), SimulatedClock(self.begun));
        let (entropy, done) = (Arc::clone(&self.entropy), Arc::clone(&self.done));
        let compaction = Compaction::new(&self.lake, &table, settings, Arc::new(clock), entropy);
        async move {
            let report = compaction.run().await?;
            done.commits.fetch_add(report.commits, Ordering::Relaxed);
            let yields = usize::from(report.yielded.is_some());
            done.yields.fetch_add(yields, Ordering::Relaxed);
            Ok(())
        }
    }

    fn vacuum(&self) -> impl Future<Output = Result<(), MaintenanceError>> + Send + use<> {
        let clock = LaterClock(SimulatedClock(self.begun));
        let (entropy, done) = (Arc::clone(&self.entropy), Arc::clone(&self.done));
        let (settings, clock) = (VacuumSettings::default(), Arc::new(clock) as Arc<dyn Clock>);
        let vacuums = [PATH, CURRENT_PATH].map(|path| {
            let (clock, entropy) = (Arc::clone(&clock), Arc::clone(&entropy));
            Vacuum::new(&self.lake, path, settings.clone(), clock, entropy)
        });
        async move {
            for vacuum in vacuums {
                let report = vacuum.run().await?;
                let files = usize::try_from(report.files).unwrap();
                done.vacuumed.fetch_add(files, Ordering::Relaxed);
            }
            Ok(())
        }
    }

    /// There are too few of them in a run for a checkpoint, whose threads would not keep to the
    /// simulated time.
    fn refresh(&self) -> impl Future<Output = Result<(), MaintenanceError>> + Send + use<> {
        let means = Means {
            lake: self.lake.clone(),
            clock: Arc::new(SimulatedClock(self.begun)),
            entropy: Arc::clone(&self.entropy),
            settings: Arc::new(MaintenanceSettings {
                bucket_bytes: bytesize::ByteSize::b(600),
                ..MaintenanceSettings::default()
            }),
            room: Arc::default(),
        };
        let mut current = Current::new(TABLE.parse().unwrap(), means);
        let done = Arc::clone(&self.done);
        async move {
            let refreshed = current.refresh(Mode::Refresh).await?;
            let refreshes = usize::from(refreshed.is_some());
            done.refreshes.fetch_add(refreshes, Ordering::Relaxed);
            Ok(())
        }
    }
}
