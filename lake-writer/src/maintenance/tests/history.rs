//! Generated histories: changes, evolution, compaction, new generations, and maintainers that compact
//! too, run two at once and are killed.
//!
//! `SIMULATION_SEEDS` runs more seeds, `SIMULATION_SEED` one.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use super::changes::{Placed, read, read_at};
use super::*;
use schemas::Shape;

const SEEDS: u64 = 24;
const STEPS: usize = 40;

/// A lake, its writer and two maintainers.
struct World {
    rng: StdRng,
    stand: Stand,
    changes: Changes,
    maintainers: [Maintainer; 2],
    /// Whether changes pass their retention.
    retires: bool,
    /// Next offset and generation of each partition.
    partitions: Vec<(i64, i32)>,
    /// The fold after each flush.
    folds: Vec<Vec<Placed>>,
    /// Changes that passed their retention.
    retired: Vec<(i32, i32, i64)>,
    /// What a reader saw, by version.
    pinned: BTreeMap<u64, Vec<Placed>>,
    trail: Vec<String>,
}

impl World {
    async fn new(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let stand = Stand::new();
        let changes = Changes::create(&stand.lake, Shape::Upsert).await;
        let buckets = [ByteSize::kib(1), ByteSize::kib(4), ByteSize::mib(1)];
        let memory = [ByteSize::kib(16), ByteSize::kib(64), ByteSize::mib(64)];
        let maintainer = |rng: &mut StdRng| {
            let bucket = buckets[rng.random_range(0..3)];
            stand.housekeeper(bucket, memory[rng.random_range(0..3)])
        };
        Self {
            maintainers: [maintainer(&mut rng), maintainer(&mut rng)],
            partitions: vec![(0, 0); rng.random_range(1..4)],
            retires: rng.random_bool(0.3),
            folds: vec![Vec::new()],
            retired: Vec::new(),
            pinned: BTreeMap::new(),
            trail: Vec::new(),
            rng,
            stand,
            changes,
        }
    }

    async fn step(&mut self) {
        match self.rng.random_range(0..100) {
            0..3 if self.retires => self.retire().await,
            0..45 => self.append(&[]).await,
            45..65 => self.refresh().await,
            65..73 => self.refresh_twice().await,
            73..83 => self.refresh_killed().await,
            83..86 => self.evolve().await,
            86..89 => {
                self.told("compact");
                self.changes.compact().await;
            }
            89..91 => {
                self.before_forgetting().await;
                self.told("clean log");
                self.changes.clean_log().await;
            }
            91..92 => {
                self.before_forgetting().await;
                self.told("vacuum");
                self.changes.vacuum().await;
            }
            92..95 => self.repartition().await,
            95..97 => self.replace_topic().await,
            97..98 => self.zombie().await,
            _ => self.rebuild().await,
        }
    }

    fn told(&mut self, what: impl Into<String>) {
        self.trail.push(what.into());
    }

    /// The partition that a key's changes are in, while there are so many.
    fn partition_of(&self, id: i64, region: &str) -> usize {
        (id as usize * 7 + region.len()) % self.partitions.len()
    }

    fn change(&mut self, op: &'static str, id: i64, region: &str) -> Change {
        let partition = self.partition_of(id, region);
        let (offset, generation) = &mut self.partitions[partition];
        let change = Change {
            partition: i32::try_from(partition).unwrap(),
            generation: *generation,
            offset: *offset,
            op,
            id,
            region: region.to_owned(),
            n: self
                .rng
                .random_bool(0.9)
                .then(|| self.rng.random_range(-9..9)),
            note: (self.changes.stage >= Stage::Noted).then(|| format!("note {offset}")),
            day: self.rng.random_range(19_000..19_003),
            time_us: None,
        };
        // Transactions' markers take offsets, too.
        *offset += self.rng.random_range(1..3);
        change
    }

    /// Inserts, updates, deletes and re-inserts; some keys become others.
    async fn append(&mut self, generations: &[(i32, i32)]) {
        let mut changes = Vec::new();
        for _ in 0..self.rng.random_range(1..40) {
            let (id, region) = (
                self.rng.random_range(0..25),
                ["north", "süd"][self.rng.random_range(0..2)],
            );
            match self.rng.random_range(0..10) {
                0..3 => changes.push(self.change("d", id, region)),
                3 => {
                    changes.push(self.change("d", id, region));
                    changes.push(self.change("c", id + 1, region));
                }
                _ => changes.push(self.change("u", id, region)),
            }
        }
        self.told(format!("append {}", changes.len()));
        self.flush(changes, generations).await;
    }

    async fn flush(&mut self, changes: Vec<Change>, generations: &[(i32, i32)]) {
        self.changes.flush(changes, generations).await;
        self.folds.push(self.changes.fold());
    }

    async fn refresh(&mut self) {
        let which = self.rng.random_range(0..2);
        self.told(format!("refresh {which}"));
        refresh(&mut self.maintainers[which]).await;
        self.agrees().await;
    }

    /// Of two at once each lands or finds that the other one has.
    async fn refresh_twice(&mut self) {
        self.told("refresh twice");
        let [a, b] = &mut self.maintainers;
        let (a, b) = tokio::join!(a.round(&[]), b.round(&[]));
        assert!(a.failed.is_empty() && b.failed.is_empty(), "{a:?} {b:?}");
        refresh(&mut self.maintainers[0]).await;
        self.agrees().await;
    }

    /// One that is killed, at whatever it waits for, leaves what was there, or all of it.
    async fn refresh_killed(&mut self) {
        let (which, polls) = (self.rng.random_range(0..2), self.rng.random_range(1..60));
        self.told(format!("refresh {which} killed after {polls}"));
        {
            let mut round = pin!(self.maintainers[which].round(&[]));
            let mut left = polls;
            poll_fn(|context| {
                left -= 1;
                match round.as_mut().poll(context) {
                    Poll::Pending if left > 0 => Poll::Pending,
                    _ => Poll::Ready(()),
                }
            })
            .await;
        }
        if self.rng.random() {
            // It is started again and knows nothing.
            let memory = ByteSize::kib(64);
            self.maintainers[which] = self.stand.housekeeper(ByteSize::kib(2), memory);
        }
        if self
            .stand
            .lake
            .has_log(&table().current_path())
            .await
            .unwrap()
        {
            let found = read(&self.stand.lake, None).await;
            assert!(
                self.folds.contains(&found),
                "half a refresh: {:?}",
                self.trail
            );
        }
    }

    async fn evolve(&mut self) {
        let next = match self.changes.stage {
            Stage::Plain => Stage::Noted,
            Stage::Noted | Stage::Widened => Stage::Widened,
        };
        if next != self.changes.stage {
            self.told(format!("evolve to {next:?}"));
            self.changes.grow(next).await;
        }
    }

    /// Other partitions: keys move, and all begin the same generation.
    async fn repartition(&mut self) {
        let generation = self
            .partitions
            .iter()
            .map(|(_, generation)| generation + 1)
            .max()
            .unwrap();
        let count = self.rng.random_range(1..5).max(self.partitions.len());
        self.told(format!("{count} partitions"));
        self.partitions.resize(count, (0, 0));
        self.partitions
            .iter_mut()
            .for_each(|(_, of)| *of = generation);
        self.raise().await;
    }

    /// The topic is made again, and some of its partitions are noticed.
    async fn replace_topic(&mut self) {
        let which = self.rng.random_range(0..self.partitions.len());
        self.told(format!("topic replaced, partition {which}"));
        let (offset, generation) = &mut self.partitions[which];
        (*offset, *generation) = (0, *generation + 1);
        self.raise().await;
    }

    async fn raise(&mut self) {
        let numbered = (0..).zip(&self.partitions);
        let generations: Vec<(i32, i32)> =
            numbered.map(|(number, (_, of))| (number, *of)).collect();
        self.append(&generations).await;
    }

    /// A writer that was held up since before the generation was raised lands what it had read.
    async fn zombie(&mut self) {
        let number = self.rng.random_range(0..self.partitions.len());
        let (offset, generation) = self.partitions[number];
        if generation == 0 {
            return;
        }
        self.told("zombie");
        let mut changes = some_changes(&mut self.rng, 1_000_000, 6);
        changes.retain(|change| self.partition_of(change.id, &change.region) == number);
        let known = self.changes.all.len();
        for (at, change) in (0..).zip(&mut changes) {
            change.partition = i32::try_from(number).unwrap();
            // Its place is its own: no other change of this generation has it.
            change.generation = generation - 1;
            change.offset += i64::try_from(known).unwrap() * 10 + at;
        }
        self.flush(changes, &[]).await;
        let end = Change {
            offset,
            generation,
            partition: i32::try_from(number).unwrap(),
            op: "u",
            region: "north".to_owned(),
            day: 19_000,
            ..Change::default()
        };
        self.partitions[number].0 += 1;
        // The owner of the partition goes on where it stands.
        let moved = Change {
            id: self.id_of(number),
            ..end
        };
        self.flush(vec![moved], &[]).await;
    }

    /// A key of this partition.
    fn id_of(&self, partition: usize) -> i64 {
        (0..100)
            .find(|id| self.partition_of(*id, "north") == partition)
            .unwrap()
    }

    /// Changes of the first days pass their retention, as long as no offsets have begun anew.
    async fn retire(&mut self) {
        if self
            .partitions
            .iter()
            .any(|(_, generation)| *generation > 0)
        {
            return;
        }
        self.refresh().await;
        self.told("retire");
        let day = ["2022-01-09", "2022-01-10"][self.rng.random_range(0..2)];
        let last = 19_000 + if day.ends_with("09") { 0 } else { 1 };
        let old = self.changes.all.iter().filter(|change| change.day <= last);
        self.retired = old
            .map(|change| (change.partition, change.generation, change.offset))
            .chain(std::mem::take(&mut self.retired))
            .collect();
        self.changes.retire(day).await;
    }

    /// A change that comes late is known by its file, for as long as the log and the store know that.
    /// Where changes have passed their retention, a table is refreshed more often than these forget.
    async fn before_forgetting(&mut self) {
        if !self.retired.is_empty() {
            self.refresh().await;
        }
    }

    async fn rebuild(&mut self) {
        self.told("rebuild");
        // A commit of one that was killed may come in between.
        self.maintainers[0].rebuild(&table()).await.unwrap();
        self.agrees().await;
    }

    /// What delta-rs reads is what the fold says; a reader keeps it in mind.
    async fn agrees(&mut self) {
        let log =
            crate::delta_log::DeltaLog::new(self.stand.lake.table_store(&table().current_path()));
        let found = read(&self.stand.lake, None).await;
        assert_eq!(found, self.changes.fold(), "{:?}", self.trail);
        let version = log.load().await.unwrap().unwrap().version;
        self.pinned.insert(version, found);
    }

    async fn end(mut self) {
        self.refresh().await;
        let changes = read_at(&self.stand.lake, &table().changes_path(), None).await;
        let mut places: Vec<_> = changes.into_iter().map(|(_, place)| place).collect();
        places.sort_unstable();
        let mut expected = self.changes.places();
        expected.retain(|place| !self.retired.contains(place));
        assert_eq!(places, expected, "{:?}", self.trail);
        for (version, seen) in &self.pinned {
            let found = read(&self.stand.lake, Some(*version)).await;
            assert_eq!(&found, seen, "version {version} changed: {:?}", self.trail);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_current_table_is_the_fold_of_its_changes() {
    let number = |name: &str| {
        std::env::var(name)
            .ok()
            .and_then(|text| text.parse::<u64>().ok())
    };
    let seeds = match number("SIMULATION_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SIMULATION_SEEDS").unwrap_or(SEEDS),
    };
    for seed in seeds {
        println!("seed {seed}");
        let mut world = World::new(seed).await;
        for _ in 0..STEPS {
            world.step().await;
        }
        world.end().await;
    }
}
