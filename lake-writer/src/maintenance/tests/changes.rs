//! A table of changes as the writer makes them, and what its current state is.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray, new_null_array,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int32Type, Int64Type, Schema, SchemaRef};
use columnar::{ChangeSchema, adapt};
use futures::TryStreamExt;
use lake_store::LakeStore;
use object_store::ObjectStoreExt;
use object_store::path::Path;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use rand::SeedableRng;
use rand::rngs::StdRng;
use schemas::{Contract, Shape, TableName};

use super::{some_changes, table};
use crate::Entropy;
use crate::action::{self, Add, Metadata, Remove};
use crate::clock::{Clock, SystemClock};
use crate::commit::{Draft, Refusal, Rework, commit};
use crate::data_file::DataFileWriter;
use crate::delta_log::{DeltaLog, TableState, write_checkpoint};
use crate::layout::{self, EVENT_DATE};

/// One change event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) partition: i32,
    pub(super) generation: i32,
    pub(super) offset: i64,
    pub(super) op: &'static str,
    pub(super) id: i64,
    pub(super) region: String,
    pub(super) n: Option<i64>,
    pub(super) note: Option<String>,
    pub(super) day: i32,
    /// Its owner's time; the beginning of the day if there is none.
    pub(super) time_us: Option<i64>,
}

impl Change {
    /// The same, committed by its owner at this time.
    pub(super) fn at(self, time_us: i64) -> Self {
        Self {
            day: i32::try_from(time_us.div_euclid(86_400_000_000)).unwrap(),
            time_us: Some(time_us),
            ..self
        }
    }

    fn time_us(&self) -> i64 {
        self.time_us.unwrap_or(i64::from(self.day) * 86_400_000_000)
    }
}

/// How far the contract has evolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    Plain,
    Noted,
    Widened,
}

impl Stage {
    pub(super) fn schema(self) -> Arc<ChangeSchema> {
        let n = if self == Self::Widened {
            "double"
        } else {
            "long"
        };
        let note = match self {
            Self::Plain => "",
            _ => r#",{"name":"note","type":["null","string"]}"#,
        };
        let contract = format!(
            r#"{{"type":"record","name":"R","lakehead.key":["id","region"],"fields":[
            {{"name":"id","type":"long"}},{{"name":"n","type":["null","{n}"]}},
            {{"name":"region","type":"string"}}{note}]}}"#
        );
        let contract: Contract = contract.parse().unwrap();
        ChangeSchema::new(&contract)
    }
}

/// The table of changes, and the one process that writes to it.
pub(super) struct Changes {
    lake: LakeStore,
    table: TableName,
    log: DeltaLog,
    state: TableState,
    clock: Arc<dyn Clock>,
    pub(super) stage: Stage,
    /// All changes that were ever appended.
    pub(super) all: Vec<Change>,
}

/// A row of the current state, by what the owner would know it.
pub(super) type Row = (i64, String, Option<i64>, Option<String>);

/// A row with the change that it is.
pub(super) type Placed = (Row, (i32, i32, i64));

impl Changes {
    pub(super) async fn create(lake: &LakeStore, shape: Shape) -> Self {
        Self::create_of(lake, table(), shape).await
    }

    /// The table of changes of an entity.
    pub(super) async fn create_of(lake: &LakeStore, table: TableName, shape: Shape) -> Self {
        let log = DeltaLog::new(lake.table_store(&table.changes_path()));
        let schema = Stage::Plain.schema();
        let metadata = layout::changes_metadata(&schema, shape, uuid::Uuid::new_v4(), 0).unwrap();
        log.put(0, action::creation(metadata, 0).unwrap()).await;
        Self {
            lake: lake.clone(),
            table,
            state: log.load().await.unwrap().unwrap(),
            log,
            clock: Arc::new(SystemClock),
            stage: Stage::Plain,
            all: Vec::new(),
        }
    }

    /// The same, whose writer goes by this clock.
    pub(super) fn by(self, clock: Arc<dyn Clock>) -> Self {
        Self { clock, ..self }
    }

    pub(super) fn version(&self) -> u64 {
        self.state.version
    }

    /// One flush: a file for each event date, and the progress of the partitions.
    pub(super) async fn append(&mut self, changes: Vec<Change>) {
        self.flush(changes, &[]).await;
    }

    /// So many random changes, from this offset on.
    pub(super) async fn append_some(&mut self, seed: u64, from: i64, count: i64) {
        let some = some_changes(&mut StdRng::seed_from_u64(seed), from, count);
        self.append(some).await;
    }

    /// A flush that also raises generations, as accepting a gap does.
    pub(super) async fn flush(&mut self, changes: Vec<Change>, generations: &[(i32, i32)]) {
        let mut by_day: BTreeMap<i32, Vec<Change>> = BTreeMap::new();
        let mut further: BTreeMap<String, i64> = BTreeMap::new();
        for (partition, generation) in generations {
            further.insert(
                format!("p/t/{partition}/generation"),
                i64::from(*generation),
            );
        }
        for change in &changes {
            by_day.entry(change.day).or_default().push(change.clone());
            further.insert(format!("p/t/{}", change.partition), change.offset + 1);
        }
        let mut files = Vec::new();
        for (day, changes) in by_day {
            files.push(self.file(day, &[rows(&changes, &self.columns())]).await);
        }
        self.all.extend(changes);
        let further = further.into_iter().collect();
        self.commit(files, further, None).await.unwrap();
    }

    /// A new contract; where a column widens, all files are written anew.
    pub(super) async fn grow(&mut self, stage: Stage) {
        self.stage = stage;
        let schema = stage.schema();
        loop {
            self.catch_up().await;
            let metadata = layout::grown(&self.state.metadata, &schema, Shape::Upsert).unwrap();
            let (removed, files) = match stage {
                Stage::Widened => self.rewritten(false).await,
                _ => (Vec::new(), Vec::new()),
            };
            if self
                .rework("CHANGE COLUMNS", metadata, removed, files)
                .await
            {
                return;
            }
        }
    }

    /// All files of a date become one.
    pub(super) async fn compact(&mut self) {
        loop {
            self.catch_up().await;
            let metadata = self.state.metadata.clone();
            let (removed, files) = self.rewritten(true).await;
            if self.rework("OPTIMIZE", metadata, removed, files).await {
                return;
            }
        }
    }

    /// Whether it is the version after the one that was known.
    async fn rework(
        &mut self,
        operation: &'static str,
        metadata: Metadata,
        removed: Vec<Remove>,
        files: Vec<Add>,
    ) -> bool {
        let rework = Rework {
            operation,
            metadata,
            removed,
            after: Some(self.state.version),
        };
        match self.commit(files, Vec::new(), Some(rework)).await {
            Ok(_) => true,
            Err(Refusal::Overtaken) => false,
            Err(refusal) => panic!("{refusal:?}"),
        }
    }

    /// The newest version, whoever made it.
    async fn catch_up(&mut self) {
        self.log.refresh(&mut self.state).await.unwrap();
        self.log.catch_up(&mut self.state, |_, _| ()).await.unwrap();
    }

    /// Changes of the days before this one pass their retention.
    pub(super) async fn retire(&mut self, day: &str) {
        let date = |file: &Add| file.partition_values[EVENT_DATE].clone().unwrap();
        let property = lake_store::CHANGES_SINCE_PROPERTY;
        let now_ms = self.clock.now_us() / 1000;
        loop {
            self.catch_up().await;
            let files = self.files().await.into_iter();
            let removed = files.filter(|file| date(file).as_str() < day);
            let removed = removed.map(|file| Remove::of(file, now_ms, true)).collect();
            let mut metadata = self.state.metadata.clone();
            let properties = &mut metadata.configuration;
            properties.insert(property.to_owned(), day.to_owned());
            if self.rework("DELETE", metadata, removed, Vec::new()).await {
                return;
            }
        }
    }

    /// The table is what it was at a version, as if from a backup; it had so many changes then.
    pub(super) async fn put_back(&mut self, version: u64, changes: usize) {
        self.catch_up().await;
        for version in version + 1..=self.state.version {
            let entry = Path::from(format!("_delta_log/{version:020}.json"));
            self.log.store().delete(&entry).await.unwrap();
        }
        self.state = self.log.load().await.unwrap().unwrap();
        assert_eq!(self.state.version, version);
        self.all.truncate(changes);
    }

    /// What came before the newest version is told by a checkpoint only.
    pub(super) async fn clean_log(&mut self) {
        self.catch_up().await;
        let path = self.table.changes_path();
        write_checkpoint(&self.lake, &path, self.state.version)
            .await
            .unwrap();
        for version in 0..self.state.version {
            let entry = Path::from(format!("_delta_log/{version:020}.json"));
            self.log.store().delete(&entry).await.ok();
        }
    }

    /// Files that left the table are deleted.
    pub(super) async fn vacuum(&mut self) {
        for path in self.log.left().await {
            let path = Path::from(path);
            self.log.store().delete(&path).await.ok();
        }
    }

    /// How many data files the newest version has.
    pub(super) async fn file_count(&self) -> usize {
        let found = self.log.inventory().await.unwrap().unwrap();
        found.files.len()
    }

    /// A property of the newest version.
    pub(super) async fn property(&mut self, name: &str) -> Option<String> {
        self.catch_up().await;
        self.state.metadata.configuration.get(name).cloned()
    }

    /// Which changes there are, in the order of their places.
    pub(super) fn places(&self) -> Vec<(i32, i32, i64)> {
        let place = |change: &Change| (change.partition, change.generation, change.offset);
        let mut places: Vec<_> = self.all.iter().map(place).collect();
        places.sort_unstable();
        places
    }

    /// Folded key by key: the latest change by generation and offset counts.
    pub(super) fn fold(&self) -> Vec<Placed> {
        let mut latest: BTreeMap<(i64, &str), &Change> = BTreeMap::new();
        for change in &self.all {
            let known = latest.entry((change.id, &change.region)).or_insert(change);
            let order = |change: &Change| (change.generation, change.offset);
            if order(change) > order(known) {
                *known = change;
            }
        }
        let live = latest.into_values().filter(|change| change.op != "d");
        live.map(placed).collect()
    }

    /// Folded key by key: changes count until the first one at or after this moment.
    pub(super) fn fold_until(&self, until_us: i64) -> Vec<Placed> {
        let mut histories: BTreeMap<(i64, &str), Vec<&Change>> = BTreeMap::new();
        for change in &self.all {
            let key = (change.id, change.region.as_str());
            histories.entry(key).or_default().push(change);
        }
        let mut rows = Vec::new();
        for mut history in histories.into_values() {
            history.sort_by_key(|change| (change.generation, change.offset));
            let before = history
                .iter()
                .take_while(|change| change.time_us() < until_us);
            let last = before.last().filter(|change| change.op != "d");
            rows.extend(last.map(|change| placed(change)));
        }
        rows
    }

    async fn files(&self) -> Vec<Add> {
        self.log
            .files_at(self.state.version)
            .await
            .unwrap()
            .unwrap()
    }

    async fn rewritten(&self, together: bool) -> (Vec<Remove>, Vec<Add>) {
        let mut parts: Vec<(i32, Vec<RecordBatch>)> = Vec::new();
        let (mut removed, now_ms) = (Vec::new(), self.clock.now_us() / 1000);
        for file in self.files().await {
            let path = Path::from(file.path.as_str());
            let bytes = self
                .log
                .store()
                .get(&path)
                .await
                .unwrap()
                .bytes()
                .await
                .unwrap();
            let reader = ParquetRecordBatchReaderBuilder::try_new(bytes)
                .unwrap()
                .build()
                .unwrap();
            let batches = reader.map(|batch| adapt(&batch.unwrap(), &self.columns()).unwrap());
            let day = file.partition_values[EVENT_DATE].clone().unwrap();
            let day: chrono::NaiveDate = day.parse().unwrap();
            let day = (day - chrono::NaiveDate::default()).num_days() as i32;
            match parts.iter_mut().find(|(of, _)| together && *of == day) {
                Some((_, part)) => part.extend(batches),
                None => parts.push((day, batches.collect())),
            }
            removed.push(Remove::of(file, now_ms, false));
        }
        let mut added = Vec::new();
        for (day, batches) in parts {
            let add = self.file(day, &batches).await;
            added.push(Add {
                data_change: false,
                ..add
            });
        }
        (removed, added)
    }

    fn columns(&self) -> SchemaRef {
        let schema = self.stage.schema().table_schema();
        let columns = schema
            .fields()
            .iter()
            .filter(|field| field.name() != EVENT_DATE);
        Arc::new(Schema::new(columns.cloned().collect::<Vec<_>>()))
    }

    async fn file(&self, day: i32, batches: &[RecordBatch]) -> Add {
        let name = uuid::Uuid::new_v4();
        let mut writer = DataFileWriter::new(name, Some(day), batches[0].schema()).unwrap();
        for batch in batches {
            writer.write(batch).unwrap();
        }
        let file = writer.finish().unwrap();
        file.upload(self.log.store(), self.clock.now_us())
            .await
            .unwrap()
    }

    async fn commit(
        &mut self,
        files: Vec<Add>,
        further: Vec<(String, i64)>,
        rework: Option<Rework>,
    ) -> Result<u64, Refusal> {
        let draft = Draft {
            layout: self.state.metadata.clone(),
            steps: Vec::new(),
            further,
            files,
            rework,
        };
        commit(
            &self.log,
            &mut self.state,
            &draft,
            self.clock.as_ref(),
            &Entropy::from_os(),
        )
        .await
    }
}

fn placed(change: &Change) -> Placed {
    let Change { id, n, .. } = *change;
    let row = (id, change.region.clone(), n, change.note.clone());
    (row, (change.partition, change.generation, change.offset))
}

fn rows(changes: &[Change], columns: &SchemaRef) -> RecordBatch {
    let texts = |text: fn(&Change) -> Option<String>| -> ArrayRef {
        Arc::new(changes.iter().map(text).collect::<StringArray>())
    };
    let ints = |int: fn(&Change) -> i32| -> ArrayRef {
        Arc::new(
            changes
                .iter()
                .map(|change| Some(int(change)))
                .collect::<Int32Array>(),
        )
    };
    let longs = |long: fn(&Change) -> Option<i64>| -> ArrayRef {
        Arc::new(changes.iter().map(long).collect::<Int64Array>())
    };
    let times = changes.iter().map(|change| Some(change.time_us()));
    let times = times
        .collect::<TimestampMicrosecondArray>()
        .with_timezone("UTC");
    let time: ArrayRef = Arc::new(times);
    let column = |name: &str, data_type: &DataType| match name {
        "_op" => texts(|change| Some(change.op.to_owned())),
        "_event_id" => texts(|change| Some(format!("{}-{}", change.generation, change.offset))),
        "_topic" => texts(|_| Some("t".to_owned())),
        "_event_time" | "_ingest_time" => Arc::clone(&time),
        "_partition" => ints(|change| change.partition),
        "_generation" => ints(|change| change.generation),
        "_offset" => longs(|change| Some(change.offset)),
        "id" => longs(|change| Some(change.id)),
        "region" => texts(|change| Some(change.region.clone())),
        "n" => cast(&longs(|change| change.n), data_type).unwrap(),
        "note" => texts(|change| change.note.clone()),
        _ => new_null_array(data_type, changes.len()),
    };
    let arrays = columns.fields().iter();
    let arrays = arrays
        .map(|field| column(field.name(), field.data_type()))
        .collect();
    RecordBatch::try_new(Arc::clone(columns), arrays).unwrap()
}

/// The current table as delta-rs reads it, newest version or the one given.
pub(super) async fn read(lake: &LakeStore, version: Option<u64>) -> Vec<Placed> {
    read_at(lake, &table().current_path(), version).await
}

/// The derived table at a path as delta-rs reads it.
pub(super) async fn read_at(lake: &LakeStore, path: &str, version: Option<u64>) -> Vec<Placed> {
    let mut found: Vec<Placed> = Vec::new();
    for batch in scanned(lake, path, version).await {
        let column = |name: &str, data_type: &DataType| {
            let column = batch.column_by_name(name)?;
            Some(cast(column, data_type).unwrap())
        };
        let longs = |name: &str| column(name, &DataType::Int64).unwrap();
        let ints = |name: &str| column(name, &DataType::Int32).unwrap();
        let (id, offset) = (longs("id"), longs("_offset"));
        let (partition, generation) = (ints("_partition"), ints("_generation"));
        let region = column("region", &DataType::Utf8).unwrap();
        let note = column("note", &DataType::Utf8);
        let n = column("n", &DataType::Float64).unwrap();
        let n: &Float64Array = n.as_primitive::<Float64Type>();
        for row in 0..batch.num_rows() {
            let note = note.as_ref().filter(|note| note.is_valid(row));
            let row_of = (
                id.as_primitive::<Int64Type>().value(row),
                region.as_string::<i32>().value(row).to_owned(),
                n.is_valid(row).then(|| n.value(row) as i64),
                note.map(|note| note.as_string::<i32>().value(row).to_owned()),
            );
            let place = (
                partition.as_primitive::<Int32Type>().value(row),
                generation.as_primitive::<Int32Type>().value(row),
                offset.as_primitive::<Int64Type>().value(row),
            );
            found.push((row_of, place));
        }
    }
    found.sort();
    found
}

pub(super) async fn scanned(
    lake: &LakeStore,
    path: &str,
    version: Option<u64>,
) -> Vec<RecordBatch> {
    let mut delta = deltalake::DeltaTable::new(lake.table_log(path));
    match version {
        Some(version) => delta.load_version(version).await.unwrap(),
        None => delta.load().await.unwrap(),
    }
    let (_, rows) = delta.scan_table().await.unwrap();
    rows.try_collect().await.unwrap()
}
