//! Generated histories: changes, evolution, compaction, new generations, days that go by and periods
//! that end with them; readers that stay with their version; maintainers that make snapshots, compact
//! and vacuum too, run two at once and beside the writer, and are killed. In some of them changes pass
//! their retention, in some the maintainers clean logs up.
//!
//! `SIMULATION_SEEDS` runs more seeds, `SIMULATION_SEED` one.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use chrono::NaiveDate;

use super::changes::{Placed, read, read_at};
use super::periods::us;
use super::*;
use crate::clock::Clock;
use crate::delta_log::{DeltaLog, write_checkpoint};
use crate::layout::EVENT_DATE;
use crate::maintenance::fixture::{Ages, MovedClock, days, stored_in};
use schemas::Shape;

mod closings;
mod readers;

use closings::{Closing, TIME_ZONE};
use readers::Readers;

const SEEDS: u64 = 24;
const STEPS: usize = 40;

/// When a history begins. It is yet to come: whoever writes a checkpoint forgets by the machine's time
/// which files left a table.
const BEGIN: &str = "2050-03-27T06:00:00Z";

/// A history does not go on after this, where no more ends of periods are known.
const END: &str = "2050-06-20T00:00:00Z";

/// Clocks move on by as much.
const HALF_DAY: Duration = Duration::from_secs(12 * 3600);

const HOUR_US: i64 = 3_600_000_000;

/// How long logs are kept where they are cleaned up: a day longer than what readers are kept files for.
const LOGS_KEPT: Duration = Duration::from_secs(8 * 24 * 3600);

/// How long versions are kept for readers: a vacuum's default.
fn kept_us() -> i64 {
    i64::try_from(VacuumSettings::default().retention.as_micros()).unwrap()
}

/// A lake, and what whoever takes care of it goes by.
struct Care {
    stand: Stand,
    clock: Arc<MovedClock>,
    entropy: Arc<Entropy>,
    /// For how many days changes are kept, if not for ever. Snapshots of periods are computed from all
    /// changes, so there are none then.
    retention_days: Option<u32>,
    /// Whether every round cleans logs up, behind checkpoints that the writer makes. If not, nothing but
    /// the newest version stays of the changes now and then.
    cleans_logs: bool,
    /// For how long no change of before a period's end is to have come.
    quiet_age: Duration,
}

impl Care {
    /// Buckets of so many bytes, and so much memory to fold in.
    fn maintainer(&self, bucket: ByteSize, memory: ByteSize) -> Maintainer {
        let mut settings = MaintenanceSettings {
            bucket_bytes: bucket,
            memory_bytes_max: memory,
            time_zone: TIME_ZONE.to_owned(),
            late_changes_quiet_age: self.quiet_age,
            ..eager()
        };
        settings.log.enabled = self.cleans_logs;
        settings.log.retention = LOGS_KEPT;
        match self.retention_days {
            Some(days) => settings.retention_days = [(table(), days)].into(),
            None => settings.periods = vec![PeriodLength::Month, PeriodLength::Quarter],
        }
        let (clock, entropy) = self.parts();
        Maintainer::new(self.stand.lake.clone(), clock, entropy, settings)
    }

    fn vacuum(&self, path: &str) -> Vacuum {
        let (clock, entropy) = self.parts();
        Vacuum::new(
            &self.stand.lake,
            path,
            VacuumSettings::default(),
            clock,
            entropy,
        )
    }

    /// The clean-up of a table's log, which leaves what readers are kept files for.
    fn log_cleanup(&self, path: &str) -> LogCleanup {
        let (clock, entropy) = self.parts();
        let settings = LogCleanupSettings {
            retention: LOGS_KEPT,
            ..LogCleanupSettings::default()
        };
        LogCleanup::new(&self.stand.lake, path, settings, clock, entropy)
    }

    fn retention(&self, days: u32) -> Retention {
        let (clock, entropy) = self.parts();
        Retention::new(&self.stand.lake, &table(), days, clock, entropy)
    }

    /// The oldest day whose changes stay, in days since 1970-01-01; `None`: they are kept for ever.
    fn oldest_kept(&self) -> Option<i64> {
        let days = self.retention_days?;
        let today = self.clock.now_us().div_euclid(24 * HOUR_US);
        Some(today - i64::from(days))
    }

    fn parts(&self) -> (Arc<dyn Clock>, Arc<Entropy>) {
        let clock = Arc::clone(&self.clock) as Arc<dyn Clock>;
        (clock, Arc::clone(&self.entropy))
    }
}

/// A lake, its writer and two maintainers.
struct World {
    rng: StdRng,
    care: Care,
    ages: Arc<Ages>,
    changes: Changes,
    maintainers: [Maintainer; 2],
    /// Next offset and generation of each partition.
    partitions: Vec<(i64, i32)>,
    /// The fold after each flush.
    folds: Vec<Vec<Placed>>,
    closings: Vec<Closing>,
    /// When the last flush was.
    flushed_us: i64,
    /// Changes that were seen to have left.
    retired: BTreeSet<(i32, i32, i64)>,
    /// Log entries that rounds deleted.
    cleaned: u64,
    readers: Readers,
    trail: Vec<String>,
}

/// What came of histories.
#[derive(Debug, Default)]
struct Done {
    /// Files that were deleted while somebody read.
    deleted: u64,
    /// Readers that got their rows after that.
    outlived: usize,
    /// Revisions of period snapshots.
    revisions: usize,
    /// Changes that passed their retention.
    retired: usize,
    /// Log entries that rounds deleted.
    cleaned: u64,
}

/// Goes so far with something that it is asked so many times, and drops it; what came of it if it had
/// ended before.
async fn killed<T>(polls: usize, work: impl Future<Output = T>) -> Option<T> {
    let (mut work, mut left) = (pin!(work), polls);
    let end = poll_fn(|context| match work.as_mut().poll(context) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending if left > 1 => {
            left -= 1;
            Poll::Pending
        }
        Poll::Pending => Poll::Ready(None),
    });
    end.await
}

impl World {
    async fn new(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let (mut stand, clock) = (Stand::new(), MovedClock::at(us(BEGIN)));
        let ages = Ages::by(Arc::clone(&clock) as Arc<dyn Clock>);
        stand.lake = stand.lake.map_store(|store| ages.told_by(store));
        let care = Care {
            stand,
            clock,
            entropy: Arc::new(Entropy::seeded(seed)),
            retention_days: rng.random_bool(0.3).then(|| rng.random_range(1..4)),
            cleans_logs: rng.random(),
            quiet_age: [Duration::ZERO, HALF_DAY / 2][rng.random_range(0..2)],
        };
        let changes = Changes::create(&care.stand.lake, Shape::Upsert).await;
        let buckets = [ByteSize::kib(1), ByteSize::kib(4), ByteSize::mib(1)];
        let memory = [ByteSize::kib(16), ByteSize::kib(64), ByteSize::mib(64)];
        let maintainer = |rng: &mut StdRng| {
            let bucket = buckets[rng.random_range(0..3)];
            care.maintainer(bucket, memory[rng.random_range(0..3)])
        };
        Self {
            maintainers: [maintainer(&mut rng), maintainer(&mut rng)],
            partitions: vec![(0, 0); rng.random_range(1..4)],
            folds: vec![Vec::new()],
            closings: match care.retention_days {
                Some(_) => Vec::new(),
                None => Closing::all(),
            },
            changes: changes.by(care.parts().0),
            flushed_us: i64::MIN,
            retired: BTreeSet::new(),
            cleaned: 0,
            readers: Readers::default(),
            trail: Vec::new(),
            rng,
            ages,
            care,
        }
    }

    /// Periods are kept from the first look on.
    async fn begin(&mut self) {
        if self.care.retention_days.is_none() {
            self.refresh().await;
        }
    }

    async fn step(&mut self) {
        match self.rng.random_range(0..100) {
            0..6 if self.care.retention_days.is_some() => self.retire().await,
            0..36 => self.append(&[]).await,
            36..52 => self.refresh().await,
            52..58 => self.refresh_twice().await,
            58..67 => self.refresh_killed().await,
            67..72 => self.all_at_once().await,
            72..81 => {
                let half_days: u32 = self.rng.random_range(1..15);
                self.time_goes_by(HALF_DAY * half_days).await;
            }
            81..85 => self.vacuum().await,
            85..87 => self.read_changes().await,
            87..90 => self.evolve().await,
            90..92 => {
                self.told("compact");
                self.changes.compact().await;
            }
            92..94 => self.clean_logs().await,
            94..96 => self.repartition().await,
            96..97 => self.replace_topic().await,
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

    /// For how many days some changes of a flush were held up: mostly for none.
    fn late_days(&mut self) -> i64 {
        match self.rng.random_range(0..5) {
            0 => [3, 12, 40, 100][self.rng.random_range(0..4)],
            _ => 0,
        }
    }

    /// When an owner committed a change: today, yesterday, or so many days ago. So a key's changes are
    /// of one event date and of another, and not always of a later one.
    fn moment(&mut self, late_days: i64) -> i64 {
        let days_ago = [0, 1, late_days][self.rng.random_range(0..3)];
        let hours: i64 = self.rng.random_range(0..12);
        self.care.clock.now_us() - (days_ago * 24 + hours) * HOUR_US
    }

    fn change(&mut self, op: &'static str, id: i64, region: &str, late_days: i64) -> Change {
        let partition = self.partition_of(id, region);
        let time_us = self.moment(late_days);
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
            ..Change::default()
        };
        // Transactions' markers take offsets, too.
        *offset += self.rng.random_range(1..3);
        change.at(time_us)
    }

    /// Inserts, updates, deletes and re-inserts; some keys become others.
    fn some_changes(&mut self) -> Vec<Change> {
        let (mut changes, late_days) = (Vec::new(), self.late_days());
        for _ in 0..self.rng.random_range(1..40) {
            let (id, region) = (
                self.rng.random_range(0..25),
                ["north", "süd"][self.rng.random_range(0..2)],
            );
            match self.rng.random_range(0..10) {
                0..3 => changes.push(self.change("d", id, region, late_days)),
                3 => {
                    changes.push(self.change("d", id, region, late_days));
                    changes.push(self.change("c", id + 1, region, late_days));
                }
                _ => changes.push(self.change("u", id, region, late_days)),
            }
        }
        changes
    }

    async fn append(&mut self, generations: &[(i32, i32)]) {
        let changes = self.some_changes();
        self.told(format!("append {}", changes.len()));
        self.flush(changes, generations).await;
    }

    async fn flush(&mut self, changes: Vec<Change>, generations: &[(i32, i32)]) {
        self.changes.flush(changes, generations).await;
        self.flushed();
    }

    /// What is right from now on.
    fn flushed(&mut self) {
        self.folds.push(self.changes.fold());
        self.flushed_us = self.care.clock.now_us();
        for closing in &mut self.closings {
            closing.flushed(&self.changes);
        }
    }

    async fn refresh(&mut self) {
        let which = self.rng.random_range(0..2);
        self.told(format!("refresh {which}"));
        self.round(which).await;
    }

    /// A round that nobody comes in between of.
    async fn round(&mut self, which: usize) {
        let round = self.maintainers[which].round(&[]).await;
        assert!(round.overtaken.is_empty(), "{round:?}: {:?}", self.trail);
        self.ended(&round);
        self.agrees().await;
        self.has_retired().await;
        self.look().await;
        let now_us = self.care.clock.now_us();
        let quiet_us = i64::try_from(self.care.quiet_age.as_micros()).unwrap();
        if now_us.saturating_sub(self.flushed_us) < quiet_us {
            return;
        }
        for closing in &self.closings {
            closing.agrees(now_us);
        }
    }

    /// A round that came to its end.
    fn ended(&mut self, round: &Round) {
        assert!(
            round.failed.is_empty(),
            "{:?}: {:?}",
            round.failed,
            self.trail
        );
        for kept in &round.housekept {
            self.readers.lose(&kept.path, kept.vacuum.files);
            self.cleaned += kept.log_cleanup.entries;
        }
    }

    /// Whatever revisions of snapshots there are, each is whole.
    async fn look(&mut self) {
        for closing in &mut self.closings {
            closing.look(&self.care.stand.lake).await;
        }
    }

    /// Of two at once each lands or finds that the other one has.
    async fn refresh_twice(&mut self) {
        self.told("refresh twice");
        let [a, b] = &mut self.maintainers;
        let (a, b) = tokio::join!(Box::pin(a.round(&[])), Box::pin(b.round(&[])));
        self.ended(&a);
        self.ended(&b);
        self.round(0).await;
    }

    /// One that is killed, at whatever it waits for, leaves what was there, or all of it.
    async fn refresh_killed(&mut self) {
        let which = self.rng.random_range(0..2);
        // In the refresh, or anywhere.
        let most = [60, 400][self.rng.random_range(0..2)];
        let polls = self.rng.random_range(1..most);
        self.told(format!("refresh {which} killed after {polls}"));
        let round = killed(polls, Box::pin(self.maintainers[which].round(&[]))).await;
        self.ages.settled().await;
        if let Some(round) = round {
            self.ended(&round);
        }
        if self.rng.random() {
            // It is started again and knows nothing.
            self.maintainers[which] = self.care.maintainer(ByteSize::kib(2), ByteSize::kib(64));
        }
        self.is_whole().await;
    }

    /// There is no half of a refresh, nor of a snapshot.
    async fn is_whole(&mut self) {
        let lake = &self.care.stand.lake;
        if lake.has_log(&table().current_path()).await.unwrap() {
            let found = read(lake, None).await;
            assert!(
                self.folds.contains(&found),
                "half a refresh: {:?}",
                self.trail
            );
        }
        self.look().await;
    }

    /// The writer goes on beside a maintainer and a vacuum, which are killed or not.
    async fn all_at_once(&mut self) {
        self.before_forgetting().await;
        let (changes, path) = (self.some_changes(), table().current_path());
        let polls = [(); 2].map(|()| self.rng.random_range(1..400));
        self.told(format!(
            "append {}, a round and a vacuum killed after {polls:?}",
            changes.len()
        ));
        let vacuum = self.care.vacuum(&path);
        let [maintainer, _] = &mut self.maintainers;
        let ((), round, swept) = tokio::join!(
            Box::pin(self.changes.flush(changes, &[])),
            killed(polls[0], Box::pin(maintainer.round(&[]))),
            killed(polls[1], Box::pin(vacuum.run())),
        );
        self.flushed();
        self.ages.settled().await;
        if let Some(round) = round {
            self.ended(&round);
        }
        if let Some(swept) = swept {
            self.readers.lose(&path, swept.unwrap().files);
        }
        self.is_whole().await;
        self.refresh().await;
    }

    /// Nothing happens. Who reads a version that is not kept for so long comes to an end before.
    async fn time_goes_by(&mut self, by: Duration) {
        self.before_forgetting().await;
        let now_us = self.care.clock.now_us() + i64::try_from(by.as_micros()).unwrap();
        if now_us > us(END) {
            return;
        }
        if self.care.cleans_logs && self.rng.random() {
            self.checkpoint().await;
        }
        self.told(format!("{} hours go by", by.as_secs() / 3600));
        self.readers_end(|_, until_us| until_us < now_us).await;
        self.care.clock.advance(by);
    }

    /// What is not needed any more is deleted, or some of it, whether the current table has taken in
    /// all changes or not.
    async fn vacuum(&mut self) {
        self.before_forgetting().await;
        if self.rng.random() {
            // Whoever read what left the tables until now has ended.
            self.time_goes_by(HALF_DAY * 15).await;
        }
        for path in [table().changes_path(), table().current_path()] {
            let polls = self.rng.random_range(1..300);
            self.told(format!("vacuum {path}, killed after {polls}"));
            let vacuum = self.care.vacuum(&path);
            if let Some(swept) = killed(polls, Box::pin(vacuum.run())).await {
                self.readers.lose(&path, swept.unwrap().files);
            }
        }
    }

    /// Of the changes nothing stays but the newest version; of the current table what readers are kept
    /// files for. Where rounds clean logs up, there is only a checkpoint more: a log whose entries end
    /// between two checkpoints is damaged to them.
    async fn clean_logs(&mut self) {
        self.before_forgetting().await;
        if self.care.cleans_logs {
            return self.checkpoint().await;
        }
        self.told("clean logs");
        let changes = table().changes_path();
        self.readers_end(|path, _| path == changes).await;
        self.changes.clean_log().await;
        let cleanup = self.care.log_cleanup(&table().current_path());
        cleanup.run().await.unwrap();
    }

    /// The writer makes a checkpoint of the newest version, unless there is one.
    async fn checkpoint(&mut self) {
        let (lake, path) = (self.care.stand.lake.clone(), table().changes_path());
        let log = DeltaLog::new(lake.table_store(&path));
        let newest = log.load().await.unwrap().unwrap().version;
        let last = log.hint().await.unwrap();
        if last.is_none_or(|(version, _)| version < newest) {
            self.told("checkpoint");
            write_checkpoint(&lake, &path, newest).await.unwrap();
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
        if self.partitions[number].1 == 0 {
            return;
        }
        if self.care.retention_days.is_some() {
            // Where changes have passed their retention, that rows come late is told by the entries since
            // the current table was refreshed: the log must have them all.
            self.append(&[]).await;
            self.refresh().await;
        }
        let (offset, generation) = self.partitions[number];
        self.told("zombie");
        let late_days = self.late_days();
        let mut changes = some_changes(&mut self.rng, 1_000_000, 6);
        changes.retain(|change| self.partition_of(change.id, &change.region) == number);
        let known = self.changes.all.len();
        for (at, change) in (0..).zip(&mut changes) {
            change.partition = i32::try_from(number).unwrap();
            // Its place is its own: no other change of this generation has it.
            change.generation = generation - 1;
            change.offset += i64::try_from(known).unwrap() * 10 + at;
            *change = change.clone().at(self.moment(late_days));
        }
        self.flush(changes, &[]).await;
        let end = Change {
            offset,
            generation,
            partition: i32::try_from(number).unwrap(),
            op: "u",
            region: "north".to_owned(),
            ..Change::default()
        };
        self.partitions[number].0 += 1;
        // The owner of the partition goes on where it stands.
        let moved = Change {
            id: self.id_of(number),
            ..end
        };
        let time_us = self.moment(0);
        self.flush(vec![moved.at(time_us)], &[]).await;
    }

    /// A key of this partition.
    fn id_of(&self, partition: usize) -> i64 {
        (0..100)
            .find(|id| self.partition_of(*id, "north") == partition)
            .unwrap()
    }

    /// Days go by, and more changes come or not. Event dates pass their retention as far as the current
    /// table has their rows; whoever lets them go may be killed.
    async fn retire(&mut self) {
        let Some(days) = self.care.retention_days else {
            return;
        };
        // There is a current table then.
        self.refresh().await;
        let half_days: u32 = self.rng.random_range(0..8);
        self.time_goes_by(HALF_DAY * half_days).await;
        if self.rng.random() {
            self.append(&[]).await;
        }
        let polls = self.rng.random_range(1..200);
        self.told(format!("retire, killed after {polls}"));
        let retention = self.care.retention(days);
        if let Some(report) = killed(polls, Box::pin(retention.run())).await {
            report.unwrap();
        }
        self.ages.settled().await;
        self.is_whole().await;
        self.read_changes().await;
    }

    /// After a round that nothing came in between of: all dates have left that have passed their
    /// retention. Where offsets have begun anew none leaves.
    async fn has_retired(&self) {
        let mut partitions = self.partitions.iter();
        let have_begun_anew = partitions.any(|(_, generation)| *generation > 0);
        let Some(oldest) = self.care.oldest_kept().filter(|_| !have_begun_anew) else {
            return;
        };
        let log = DeltaLog::new(self.care.stand.lake.table_store(&table().changes_path()));
        for file in log.files(|_| true).await.unwrap() {
            let date = file.partition_values[EVENT_DATE].clone().unwrap();
            let date: NaiveDate = date.parse().unwrap();
            let day = (date - NaiveDate::default()).num_days();
            assert!(day >= oldest, "{date} is there: {:?}", self.trail);
        }
    }

    /// Notes which changes are not among these places. Whether they may have left is told by their day.
    fn note_retired(&mut self, places: &[(i32, i32, i64)]) {
        let Some(oldest) = self.care.oldest_kept() else {
            return;
        };
        for change in &self.changes.all {
            let place = (change.partition, change.generation, change.offset);
            if i64::from(change.day) < oldest && places.binary_search(&place).is_err() {
                self.retired.insert(place);
            }
        }
    }

    /// A change that comes late is known by its file, for as long as the log and the store know that.
    /// Where changes pass their retention, a table is refreshed more often than these forget.
    async fn before_forgetting(&mut self) {
        if self.care.retention_days.is_some() {
            self.refresh().await;
        }
    }

    async fn rebuild(&mut self) {
        self.told("rebuild");
        self.maintainers[0].rebuild(&table()).await.unwrap();
        self.agrees().await;
    }

    /// What delta-rs reads is what the fold says; a reader keeps it in mind.
    async fn agrees(&mut self) {
        let found = read(&self.care.stand.lake, None).await;
        assert_eq!(found, self.changes.fold(), "{:?}", self.trail);
        self.goes_on_reading(&table().current_path(), found).await;
    }

    /// All changes are there that have not passed their retention, each once, and what has left stays
    /// away; a reader keeps them in mind.
    async fn read_changes(&mut self) {
        let path = table().changes_path();
        let found = read_at(&self.care.stand.lake, &path, None).await;
        let mut places: Vec<_> = found.iter().map(|(_, place)| *place).collect();
        places.sort_unstable();
        self.note_retired(&places);
        let mut expected = self.changes.places();
        expected.retain(|place| !self.retired.contains(place));
        assert_eq!(places, expected, "{:?}", self.trail);
        self.goes_on_reading(&path, found).await;
    }

    /// Somebody reads the newest version of a table, which has these rows, for as long as it is kept.
    async fn goes_on_reading(&mut self, path: &str, rows: Vec<Placed>) {
        let log = DeltaLog::new(self.care.stand.lake.table_store(path));
        let version = log.load().await.unwrap().unwrap().version;
        let until_us = self.care.clock.now_us() + kept_us();
        self.readers.begin(path, version, rows, until_us);
    }

    /// Readers come to their end whose table and time say so, and get what they began with.
    async fn readers_end(&mut self, ends: impl Fn(&str, i64) -> bool) {
        let changed = self.readers.end(&self.care.stand.lake, ends).await;
        assert!(changed.is_empty(), "{changed:?} changed: {:?}", self.trail);
    }

    async fn end(mut self) -> Done {
        self.time_goes_by(HALF_DAY).await;
        self.refresh().await;
        self.read_changes().await;
        self.periods_are_refused().await;
        self.readers_end(|_, _| true).await;
        let paths = [table().changes_path(), table().current_path()];
        let mut done = Done {
            deleted: paths.iter().map(|path| self.readers.deleted(path)).sum(),
            outlived: self.readers.outlived,
            revisions: 0,
            retired: self.retired.len(),
            cleaned: self.cleaned,
        };
        for closing in &self.closings {
            done.revisions += closing.stay(&self.care.stand.lake).await;
        }
        self.care.clock.advance(days(8));
        for path in paths {
            self.only_the_newest_is_left(&path).await;
        }
        done
    }

    /// Once changes have passed their retention, what is computed from all of them cannot be.
    async fn periods_are_refused(&mut self) {
        let property = lake_store::CHANGES_SINCE_PROPERTY;
        let Some(since) = self.changes.property(property).await else {
            assert!(self.retired.is_empty(), "nobody is told: {:?}", self.trail);
            return;
        };
        let period = "2050-02".parse().unwrap();
        let refused = self.maintainers[0].rebuild_period(&table(), period).await;
        let error = refused.unwrap_err().to_string();
        let told = format!("changes before {since} have passed their retention");
        assert!(error.contains(&told), "{error}");
    }

    /// After all that was kept for readers: files have been deleted, and none too few.
    async fn only_the_newest_is_left(&mut self, path: &str) {
        let swept = self.care.vacuum(path).run().await.unwrap();
        self.readers.lose(path, swept.files);
        let log = DeltaLog::new(self.care.stand.lake.table_store(path));
        let newest = log.inventory().await.unwrap().unwrap().files;
        let newest: Vec<String> = newest.into_keys().collect();
        assert_eq!(stored_in(&log).await, newest, "{path}: {:?}", self.trail);
        let deleted = self.readers.deleted(path);
        assert!(deleted > 0, "nothing of {path}: {:?}", self.trail);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn derived_tables_are_folds_of_their_changes_and_stay_for_their_readers() {
    let number = |name: &str| {
        std::env::var(name)
            .ok()
            .and_then(|text| text.parse::<u64>().ok())
    };
    let seeds = match number("SIMULATION_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SIMULATION_SEEDS").unwrap_or(SEEDS),
    };
    let (mut all, are_few) = (Done::default(), seeds.end - seeds.start < SEEDS);
    for seed in seeds {
        println!("seed {seed}");
        let mut world = World::new(seed).await;
        world.begin().await;
        for _ in 0..STEPS {
            world.step().await;
        }
        let done = world.end().await;
        all.deleted += done.deleted;
        all.outlived += done.outlived;
        all.revisions += done.revisions;
        all.retired += done.retired;
        all.cleaned += done.cleaned;
    }
    println!("{all:?}");
    let readers = all.deleted > 0 && all.outlived > 0;
    let kept = all.revisions > 0 && all.retired > 0 && all.cleaned > 0;
    assert!(are_few || (readers && kept), "{all:?}");
}
