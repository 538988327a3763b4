//! A table of changes for tests, with a model of what is in it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Float64Type, Int32Type, Int64Type};
use columnar::{ChangeBuffer, ChangeDecoder, ChangeSchema, RecordMeta, adapt};
use lake_store::LakeStore;
use object_store::ObjectStoreExt;
use object_store::path::Path;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use schemas::{Contract, Shape, TableName, TopicPartition};

use super::compaction::columns;
use super::{
    Compaction, CompactionSettings, LogCleanup, LogCleanupSettings, Retention, Vacuum,
    VacuumSettings,
};
use crate::action::{self, Add, Remove};
use crate::app_id::AppIds;
use crate::clock::{Clock, SystemClock};
use crate::commit::{Draft, Refusal, Rework, Step, commit};
use crate::data_file::{self, DataFileWriter};
use crate::delta_log::{DeltaLog, Inventory, TableState};
use crate::entropy::Entropy;
use crate::layout;

mod aging_store;
mod hanging_store;

pub(super) use aging_store::Ages;
use hanging_store::HangingStore;
pub(super) use hanging_store::Requests;

pub(super) const TOPIC: &str = "s.e";
pub(super) const PATH: &str = "s/e/changes";

/// 2013-01-01, in days since 1970-01-01.
pub(super) const DAY: i32 = 15_706;

const CONTRACT: &str = r#"{"type":"record","name":"R","lakehead.key":["id"],"fields":[
    {"name":"id","type":"long"},{"name":"n","type":["null","long"]}]}"#;

/// `n` is a double, and there is a text more.
pub(super) const WIDER_CONTRACT: &str = r#"{"type":"record","name":"R","lakehead.key":["id"],
    "fields":[{"name":"id","type":"long"},{"name":"n","type":["null","double"]},
    {"name":"text","type":["null","string"],"default":null}]}"#;

/// A text more.
pub(super) const LONGER_CONTRACT: &str = r#"{"type":"record","name":"R","lakehead.key":["id"],
    "fields":[{"name":"id","type":"long"},{"name":"n","type":["null","long"]},
    {"name":"text","type":["null","string"],"default":null}]}"#;

/// The machine's time when it was made, and what was added to it.
#[derive(Debug)]
pub(super) struct MovedClock(AtomicI64);

impl MovedClock {
    pub(super) fn new() -> Arc<Self> {
        Self::at(chrono::Utc::now().timestamp_micros())
    }

    /// The time that somebody chose, and what was added to it.
    pub(super) fn at(time_us: i64) -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(time_us)))
    }

    pub(super) fn advance(&self, by: Duration) {
        let by = i64::try_from(by.as_micros()).unwrap();
        self.0.fetch_add(by, Ordering::SeqCst);
    }

    pub(super) fn set_back(&self, by: Duration) {
        let by = i64::try_from(by.as_micros()).unwrap();
        self.0.fetch_sub(by, Ordering::SeqCst);
    }
}

impl Clock for MovedClock {
    fn now_us(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }
}

pub(super) fn days(days: u64) -> Duration {
    Duration::from_secs(days * 24 * 3600)
}

/// A row by its place: everything else of it, as text.
pub(super) type Rows = BTreeMap<(i32, i64), String>;

pub(super) struct Fixture {
    pub(super) lake: LakeStore,
    pub(super) name: TableName,
    pub(super) log: DeltaLog,
    pub(super) state: TableState,
    pub(super) clock: Arc<MovedClock>,
    pub(super) entropy: Arc<Entropy>,
    schema: Arc<ChangeSchema>,
    next_offsets: [i64; 3],
    /// What is in the table.
    pub(super) rows: Rows,
}

impl Fixture {
    pub(super) fn in_memory() -> LakeStore {
        LakeStore::open("memory:///", &[], true).unwrap()
    }

    /// An empty table.
    pub(super) async fn new(lake: LakeStore, seed: u64) -> Self {
        let contract: Contract = CONTRACT.parse().unwrap();
        let schema = ChangeSchema::new(&contract);
        let (clock, entropy) = (MovedClock::new(), Arc::new(Entropy::seeded(seed)));
        let log = DeltaLog::new(lake.table_store(PATH));
        let metadata =
            layout::changes_metadata(&schema, Shape::Append, entropy.uuid(), clock.now_us());
        let entry = action::creation(metadata.unwrap(), clock.now_us()).unwrap();
        log.put(0, entry).await;
        Self {
            state: log.load().await.unwrap().unwrap(),
            name: "s.e".parse().unwrap(),
            lake,
            log,
            clock,
            entropy,
            schema,
            next_offsets: [0; 3],
            rows: Rows::new(),
        }
    }

    /// The table that is there; nothing is known of its rows.
    pub(super) async fn open(lake: LakeStore) -> Self {
        let log = DeltaLog::new(lake.table_store(PATH));
        let state = log.load().await.unwrap().unwrap();
        let (contract, _) = layout::contract_of_table(&state.metadata).unwrap();
        Self {
            state,
            name: "s.e".parse().unwrap(),
            lake,
            log,
            clock: MovedClock::new(),
            entropy: Arc::new(Entropy::from_os()),
            schema: ChangeSchema::new(&contract),
            next_offsets: [0; 3],
            rows: Rows::new(),
        }
    }

    pub(super) fn app_id(partition: i32) -> String {
        AppIds::new("p").progress(&TopicPartition::new(TOPIC, partition))
    }

    /// Rows of a partition's next offsets, with this event date.
    fn batch(&mut self, partition: i32, count: usize, day: i32) -> RecordBatch {
        let mut decoder = ChangeDecoder::json(Shape::Append, &self.schema);
        let place = TopicPartition::new(TOPIC, partition);
        let mut buffer = ChangeBuffer::new(Arc::clone(&self.schema), place);
        let next = &mut self.next_offsets[usize::try_from(partition).unwrap()];
        for _ in 0..count {
            let offset = *next;
            *next += 1;
            let time = i64::from(day) * 86_400_000_000 + offset;
            let event_id = format!("e{partition}-{offset}");
            let meta = RecordMeta {
                offset,
                record_time_us: time,
                ingest_time_us: time,
                event_id: Some(&event_id),
                ..RecordMeta::default()
            };
            let (id, n) = (offset % 7, offset * 3);
            let text = match self.schema.contract().fields().len() {
                3 => format!(",\"text\":\"t{offset}\""),
                _ => String::new(),
            };
            let value = format!("{{\"id\":{id},\"n\":{n}{text}}}");
            decoder
                .decode(&meta, Some(value.as_bytes()), None, &mut buffer)
                .unwrap();
        }
        buffer.finish(0).unwrap()
    }

    /// Appends rows of several partitions, one file, one commit.
    pub(super) async fn append(&mut self, parts: &[(i32, usize)], day: i32) -> u64 {
        let batches: Vec<RecordBatch> = parts
            .iter()
            .map(|(partition, count)| self.batch(*partition, *count, day))
            .collect();
        let file = data_file::encode(self.entropy.uuid(), Some(day), &batches).unwrap();
        let file = loop {
            let upload = file.upload(self.log.store(), self.clock.now_us()).await;
            if let Ok(add) = upload {
                break add;
            }
        };
        for batch in &batches {
            self.rows.extend(rows_of(batch));
        }
        let steps = parts.iter().map(|(partition, _)| {
            let app_id = Self::app_id(*partition);
            Step {
                from: self.state.txns.get(&app_id).copied(),
                to: self.next_offsets[usize::try_from(*partition).unwrap()],
                app_id,
            }
        });
        let draft = Draft {
            layout: self.state.metadata.clone(),
            steps: steps.collect(),
            further: Vec::new(),
            files: vec![file],
            rework: None,
        };
        self.commit(&draft).await.unwrap()
    }

    pub(super) async fn commit(&mut self, draft: &Draft) -> Result<u64, Refusal> {
        let (clock, entropy) = (Arc::clone(&self.clock), Arc::clone(&self.entropy));
        commit(&self.log, &mut self.state, draft, clock.as_ref(), &entropy).await
    }

    /// Rows are of this contract from now on.
    pub(super) fn use_contract(&mut self, contract: &Contract) {
        self.schema = ChangeSchema::new(contract);
    }

    /// Gives the table another contract as the writer does: all files are written anew in a version
    /// that follows the one they were listed at.
    pub(super) async fn grow(&mut self, contract: &str) {
        let contract: Contract = contract.parse().unwrap();
        self.schema = ChangeSchema::new(&contract);
        loop {
            let found = self.log.inventory().await.unwrap().unwrap();
            self.state = found.state.clone();
            let layout = self.state.metadata.clone();
            let metadata = layout::grown(&layout, &self.schema, Shape::Append).unwrap();
            let columns = columns(&metadata).unwrap();
            let (mut removed, mut files) = (Vec::new(), Vec::new());
            for file in found.files.into_values() {
                let values = file.partition_values.clone();
                let name = self.entropy.uuid();
                let mut writer =
                    DataFileWriter::in_partition(name, values.clone(), Arc::clone(&columns))
                        .unwrap();
                for batch in read(&self.log, &file.path).await {
                    writer.write(&adapt(&batch, &columns).unwrap()).unwrap();
                }
                let fresh = writer.finish().unwrap();
                let fresh = fresh.upload(self.log.store(), self.clock.now_us());
                let mut fresh = fresh.await.unwrap();
                fresh.data_change = false;
                files.push(fresh);
                removed.push(Remove {
                    path: file.path,
                    deletion_timestamp: Some(self.clock.now_us() / 1000),
                    partition_values: values,
                    ..Remove::default()
                });
            }
            let rework = Rework {
                operation: "CHANGE COLUMNS",
                metadata,
                removed,
                after: Some(self.state.version),
            };
            let draft = Draft {
                layout,
                steps: Vec::new(),
                further: Vec::new(),
                files,
                rework: Some(rework),
            };
            match self.commit(&draft).await {
                Ok(_) => return,
                Err(Refusal::Overtaken) => {}
                Err(refusal) => panic!("{refusal:?}"),
            }
        }
    }

    /// Settings under which everything small is compacted at once.
    pub(super) fn eager() -> CompactionSettings {
        CompactionSettings {
            files_min: 2,
            quiet_age: Duration::ZERO,
            hot_files_max: 2,
            ..CompactionSettings::default()
        }
    }

    pub(super) fn compaction(&self, lake: &LakeStore) -> Compaction {
        let (clock, entropy) = (self.clock(), Arc::clone(&self.entropy));
        Compaction::new(lake, &self.name, Self::eager(), clock, entropy)
    }

    pub(super) fn vacuum(&self, lake: &LakeStore, settings: VacuumSettings) -> Vacuum {
        let (clock, entropy) = (self.clock(), Arc::clone(&self.entropy));
        Vacuum::new(lake, PATH, settings, clock, entropy)
    }

    pub(super) fn log_cleanup(&self, lake: &LakeStore, kept: Duration) -> LogCleanup {
        let (clock, entropy) = (self.clock(), Arc::clone(&self.entropy));
        let settings = LogCleanupSettings {
            retention: kept,
            ..LogCleanupSettings::default()
        };
        LogCleanup::new(lake, PATH, settings, clock, entropy)
    }

    pub(super) fn retention(&self, lake: &LakeStore, days: u32) -> Retention {
        let (clock, entropy) = (self.clock(), Arc::clone(&self.entropy));
        Retention::new(lake, &self.name, days, clock, entropy)
    }

    /// The same lake, which answers so many requests and none after them.
    pub(super) fn hanging(&self, requests: &Arc<Requests>) -> LakeStore {
        let lake = self.lake.clone();
        lake.map_store(|store| Arc::new(HangingStore::new(store, requests)))
    }

    /// The same lake, in which everybody gives way to everybody at each request.
    pub(super) fn courteous(&self) -> LakeStore {
        self.hanging(&Requests::new(usize::MAX))
    }

    fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.clock) as Arc<dyn Clock>
    }

    /// All rows of the newest version. Panics if one is there twice.
    pub(super) async fn read_rows(&self) -> Rows {
        let found = self.log.inventory().await.unwrap().unwrap();
        rows_in(&self.log, &found).await
    }

    /// All rows of a version, read from the log's begin.
    pub(super) async fn read_rows_at(&self, version: u64) -> Rows {
        let found = self.log.inventory_from(None, version).await;
        let found = found.unwrap().unwrap();
        assert_eq!(found.state.version, version);
        rows_in(&self.log, &found).await
    }

    pub(super) async fn files(&self) -> Vec<Add> {
        self.log.files(|_| true).await.unwrap()
    }

    /// The paths of all data files in the store.
    pub(super) async fn stored(&self) -> Vec<String> {
        stored_in(&self.log).await
    }
}

/// The paths of all data files in a table's folder, whatever refers to them.
pub(super) async fn stored_in(log: &DeltaLog) -> Vec<String> {
    use futures::TryStreamExt;
    let objects: Vec<_> = log.store().list(None).try_collect().await.unwrap();
    let paths = objects
        .into_iter()
        .map(|object| object.location.to_string());
    let mut paths: Vec<String> = paths.filter(|path| path.ends_with(".parquet")).collect();
    paths.retain(|path| !path.starts_with("_delta_log"));
    paths.sort();
    paths
}

async fn rows_in(log: &DeltaLog, version: &Inventory) -> Rows {
    let mut rows = Rows::new();
    for path in version.files.keys() {
        for batch in read(log, path).await {
            for (place, row) in rows_of(&batch) {
                let before = rows.insert(place, row);
                assert!(before.is_none(), "{place:?} is there twice");
            }
        }
    }
    rows
}

pub(super) async fn read(log: &DeltaLog, path: &str) -> Vec<RecordBatch> {
    let bytes = log.store().get(&Path::from(path)).await.unwrap();
    let bytes = bytes.bytes().await.unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap();
    reader.build().unwrap().map(Result::unwrap).collect()
}

/// Places, and all that matters of the rows.
fn rows_of(batch: &RecordBatch) -> Vec<((i32, i64), String)> {
    let batch = &plain(batch);
    let column = |name: &str| batch.column_by_name(name).unwrap();
    let partitions = column("_partition").as_primitive::<Int32Type>();
    let offsets = column("_offset").as_primitive::<Int64Type>();
    let ids = column("id").as_primitive::<Int64Type>();
    let numbers = arrow::compute::cast(column("n"), &arrow::datatypes::DataType::Float64);
    let numbers = numbers.unwrap();
    let numbers = numbers.as_primitive::<Float64Type>();
    let (events, topics) = (column("_event_id"), column("_topic"));
    let (events, topics) = (events.as_string::<i32>(), topics.as_string::<i32>());
    let texts = batch.column_by_name("text");
    let row = |row: usize| {
        let text = texts.map(|texts| texts.as_string::<i32>());
        let text = text.filter(|texts| texts.is_valid(row));
        let text = text.map_or("-", |texts| texts.value(row));
        let (id, n) = (ids.value(row), numbers.value(row));
        let (event, topic) = (events.value(row), topics.value(row));
        (
            (partitions.value(row), offsets.value(row)),
            format!("{topic} {event} {id} {n} {text}"),
        )
    };
    (0..batch.num_rows()).map(row).collect()
}

/// The batch without dictionaries.
fn plain(batch: &RecordBatch) -> RecordBatch {
    let fields = batch.schema();
    let columns = fields.fields().iter().zip(batch.columns());
    let columns = columns.map(|(field, column)| {
        let column = match column.data_type() {
            arrow::datatypes::DataType::Dictionary(_, values) => {
                arrow::compute::cast(column, values).unwrap()
            }
            _ => Arc::clone(column),
        };
        (field.name().clone(), column)
    });
    RecordBatch::try_from_iter(columns).unwrap()
}

/// Sets properties of the table at this path, as another program or another version of this one might.
pub(crate) async fn set_properties(lake: &LakeStore, path: &str, properties: &[(&str, &str)]) {
    let log = DeltaLog::new(lake.table_store(path));
    let mut state = log.load().await.unwrap().unwrap();
    let layout = state.metadata.clone();
    let mut metadata = layout.clone();
    for (name, value) in properties {
        let configuration = &mut metadata.configuration;
        configuration.insert((*name).to_owned(), (*value).to_owned());
    }
    let rework = Rework {
        operation: "SET TBLPROPERTIES",
        metadata,
        removed: Vec::new(),
        after: None,
    };
    let draft = Draft {
        layout,
        steps: Vec::new(),
        further: Vec::new(),
        files: Vec::new(),
        rework: Some(rework),
    };
    let entropy = Entropy::from_os();
    let done = commit(&log, &mut state, &draft, &SystemClock, &entropy);
    done.await.unwrap();
}
