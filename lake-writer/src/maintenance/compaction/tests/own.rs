//! The lake's own tables, as their writers make them.

use arrow::array::RecordBatch;
use arrow::compute::{concat_batches, sort_to_indices, take_record_batch};
use columnar::adapt;
use lake_store::{DEAD_LETTERS_PATH, dead_letters_schema, gaps_schema};
use schemas::{SchemaId, TopicPartition};

use super::*;
use crate::app_id::AppIds;
use crate::commit::Step;
use crate::dead_letter::{self, DeadLetter, Reason};
use crate::dead_letters_log::{Ahead, DeadLettersLog};
use crate::delta_log::TableState;
use crate::maintenance::fixture::MovedClock;
use crate::maintenance::housekeeping::{Housekept, own};
use crate::maintenance::{MaintenanceSettings, Means};
use crate::offset_ranges::OffsetRanges;
use crate::record_log::Record;
use crate::{action, data_file};

const TOPIC: &str = "shop.stock";

/// The dead letters of a lake, with a model of them.
struct Letters {
    lake: LakeStore,
    clock: Arc<MovedClock>,
    entropy: Arc<Entropy>,
    log: DeadLettersLog,
    /// All that were committed, one by one.
    written: Vec<RecordBatch>,
}

impl Letters {
    fn new() -> Self {
        let (lake, clock) = (Fixture::in_memory(), MovedClock::new());
        let entropy = Arc::new(Entropy::seeded(1));
        let told = Arc::clone(&clock) as Arc<dyn Clock>;
        Self {
            log: DeadLettersLog::new(&lake, told, Arc::clone(&entropy)),
            lake,
            clock,
            entropy,
            written: Vec::new(),
        }
    }

    /// Commits letters of two partitions as a table's writer does, each in a flush of its own.
    async fn bury(&mut self, count: usize) {
        for _ in 0..count {
            self.clock.advance(Duration::from_secs(2));
            let now_us = self.clock.now_us();
            let number = i64::try_from(self.written.len()).unwrap();
            let place = TopicPartition::new(TOPIC, i32::try_from(number % 2).unwrap());
            let offset = number / 2;
            let letters = [letter(&place, offset, now_us)];
            let batch = dead_letter::batch(&place, &TOPIC.parse().unwrap(), &letters).unwrap();
            self.written.push(batch.clone());
            let file = data_file::encode(self.entropy.uuid(), None, &[batch]).unwrap();
            let add = file.upload(self.log.log().store(), now_us).await.unwrap();
            let step = Step {
                app_id: AppIds::new("lakehead").dead_letters(&place),
                from: (offset > 0).then_some(offset),
                to: offset + 1,
            };
            let landed = self.log.commit(vec![step], vec![add]).await;
            landed.unwrap().unwrap();
        }
    }

    fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.clock) as Arc<dyn Clock>
    }

    fn compaction(&self) -> Compaction {
        let columns = dead_letters_schema();
        let (clock, entropy) = (self.clock(), Arc::clone(&self.entropy));
        let table = (DEAD_LETTERS_PATH, &columns);
        Compaction::of_own(&self.lake, table, Fixture::eager(), clock, entropy)
    }

    /// A compaction that has made its plan.
    async fn planned(&self) -> Meanwhile {
        let compaction = self.compaction();
        let inventory = self.log.log().inventory().await.unwrap().unwrap();
        let columns = compaction.kind.columns(&inventory.state.metadata);
        let now_ms = self.clock.now_us() / 1000;
        let files = inventory.files.into_values();
        Meanwhile {
            columns: columns.unwrap(),
            groups: plan::groups(files, &compaction.settings, now_ms).into(),
            base: Base::new(inventory.state),
            compaction,
        }
    }

    /// The turns of the lake's own tables, in which everything small is compacted; what was done.
    async fn round(&self) -> Vec<Housekept> {
        let settings = MaintenanceSettings {
            compaction: Fixture::eager(),
            ..MaintenanceSettings::default()
        };
        let means = Means {
            lake: self.lake.clone(),
            clock: self.clock(),
            entropy: Arc::clone(&self.entropy),
            settings: Arc::new(settings),
            room: Arc::default(),
        };
        let (mut done, mut failed) = (Vec::new(), Vec::new());
        for mut one in own() {
            done.extend(one.round(&means, &mut failed).await);
        }
        assert!(failed.is_empty(), "{failed:?}");
        done
    }

    async fn state(&self) -> TableState {
        self.log.log().load().await.unwrap().unwrap()
    }

    async fn files(&self) -> Vec<Add> {
        self.log.log().files(|_| true).await.unwrap()
    }

    /// All rows that are in the table, file by file as they came.
    async fn rows(&self) -> RecordBatch {
        let (mut files, columns) = (self.files().await, dead_letters_schema());
        files.sort_by_key(|file| file.modification_time);
        let mut rows = Vec::new();
        for file in files {
            for batch in read(self.log.log(), &file.path).await {
                rows.push(adapt(&batch, &columns).unwrap());
            }
        }
        concat_batches(&columns, &rows).unwrap()
    }

    /// All rows that must be there, as they came.
    fn expected(&self) -> RecordBatch {
        concat_batches(&dead_letters_schema(), &self.written).unwrap()
    }
}

/// A letter with nulls in its columns here and there.
fn letter(place: &TopicPartition, offset: i64, now_us: i64) -> DeadLetter {
    let key = offset.to_be_bytes();
    let record = Record {
        topic: &place.topic,
        partition: place.partition,
        offset,
        timestamp_ms: offset,
        key: (offset % 3 > 0).then_some(&key[..]),
        value: (offset % 5 > 0).then_some(&b"\xff{"[..]),
        headers: None,
    };
    let schema_id = (offset % 2 > 0).then_some(SchemaId(7));
    let reason = Reason::new("invalid", format!("offset {offset} is no record"));
    DeadLetter::of(&record, schema_id, reason, now_us)
}

/// Rows in the order in which they were taken in: each has a time of its own.
fn by_time(rows: &RecordBatch) -> RecordBatch {
    let times = rows.column_by_name("_ingest_time").unwrap();
    let order = sort_to_indices(times, None, None).unwrap();
    take_record_batch(rows, &order).unwrap()
}

#[tokio::test]
async fn five_hundred_files_of_dead_letters_become_one_and_their_writer_goes_on() {
    let mut letters = Letters::new();
    letters.bury(500).await;
    assert_eq!(letters.files().await.len(), 500);
    let before = letters.state().await;
    let done = letters.round().await;
    let [done] = &done[..] else {
        panic!("{done:?}");
    };
    let compacted = &done.compaction;
    assert_eq!(done.path, DEAD_LETTERS_PATH);
    assert_eq!((compacted.files_removed, compacted.files_added), (500, 1));
    assert_eq!((compacted.commits, compacted.rows), (1, 500));
    assert_eq!(letters.rows().await, letters.expected(), "in their order");
    let after = letters.state().await;
    assert_eq!(after.version, before.version + 1);
    for (app_id, version) in &before.txns {
        assert_eq!(after.txns.get(app_id), Some(version), "{app_id}");
    }
    let again = letters.round().await;
    assert!(again.is_empty(), "nothing is left to be done: {again:?}");
    // The writer knows the version before, and lands after it.
    letters.bury(10).await;
    assert_eq!(letters.state().await.version, after.version + 10);
    assert_eq!(letters.files().await.len(), 11);
    assert_eq!(letters.rows().await, letters.expected());
    // Whoever starts again finds what was buried, by the statistics of the large file, too.
    let ahead = |partition, first| Ahead {
        partition: TopicPartition::new(TOPIC, partition),
        first,
        since_us: i64::MIN,
    };
    let asked = [ahead(0, 100), ahead(1, 253), ahead(2, 0)];
    let found = letters.log.find(&asked).await.unwrap();
    let [mut first, mut second] = [OffsetRanges::default(), OffsetRanges::default()];
    first.insert(100..255);
    second.insert(253..255);
    assert_eq!(found, [first, second, OffsetRanges::default()]);
}

#[tokio::test]
async fn no_reader_takes_compacted_letters_for_new_ones_and_their_statistics_stay() {
    let mut letters = Letters::new();
    letters.bury(30).await;
    letters.compaction().run().await.unwrap();
    let version = letters.state().await.version;
    let actions = letters.log.log().entry(version).await.unwrap().unwrap();
    let mut removed = actions.iter().filter_map(|action| action.remove.as_ref());
    assert!(removed.all(|file| !file.data_change));
    let added: Vec<&Add> = actions.iter().filter_map(|a| a.add.as_ref()).collect();
    assert!(added.len() == 1 && !added[0].data_change, "{added:?}");
    let stats: serde_json::Value =
        serde_json::from_str(added[0].stats.as_deref().unwrap()).unwrap();
    assert_eq!(stats["numRecords"], 30);
    for (column, least, most) in [("_offset", 0, 14), ("_partition", 0, 1)] {
        assert_eq!(stats["minValues"][column], least, "{column}");
        assert_eq!(stats["maxValues"][column], most, "{column}");
    }
    assert_eq!(stats["minValues"]["_topic"], TOPIC);
    // Offsets 0, 5 and 10 of each partition.
    assert_eq!(stats["nullCount"]["value"], 6);
}

#[tokio::test]
async fn letters_that_come_meanwhile_stay_and_of_two_compactions_one_yields() {
    let mut letters = Letters::new();
    letters.bury(20).await;
    let (mut one, mut other) = (letters.planned().await, letters.planned().await);
    letters.bury(3).await;
    assert_eq!(one.step().await, Some(true));
    letters.bury(2).await;
    assert_eq!(other.step().await, Some(false));
    assert_eq!(letters.files().await.len(), 6);
    assert_eq!(by_time(&letters.rows().await), letters.expected());
}

#[tokio::test]
async fn a_table_with_other_columns_is_refused_by_name() {
    let letters = Letters::new();
    let other = layout::system_metadata(&gaps_schema(), letters.entropy.uuid(), 0).unwrap();
    let entry = action::creation(other, 0).unwrap();
    letters.log.log().put(0, entry).await;
    let error = letters.compaction().run().await.unwrap_err().to_string();
    assert!(
        error.contains(DEAD_LETTERS_PATH) && error.contains("its columns are not those"),
        "{error}"
    );
    assert_eq!(letters.state().await.version, 0);
}
