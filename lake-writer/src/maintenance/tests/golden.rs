//! A lake of every format that this program ever wrote, as files in the repository: what its writer and
//! its maintainer made of a few records. Those of today read it, leave it as it is, and go on with it.
//!
//! `tests/golden/README.md` says when another one is to be made, and how.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use arrow::array::{ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use async_trait::async_trait;
use futures::TryStreamExt;
use lake_store::{DEAD_LETTERS_PATH, FORMAT_PROPERTY, FORMAT_VERSION, PERIODS_PATH, STARTS_PATH};
use object_store::memory::InMemory;
use object_store::{ObjectStore, ObjectStoreExt};
use schemas::{
    Counted, KeyFormat, PartitionEnd, Shape, TopicPartition, WATERMARKS_TOPIC, Watermark, header,
};
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::changes::{Placed, read, read_at, scanned};
use super::periods::us;
use super::*;
use crate::maintenance::fixture::{MovedClock, set_properties};
use crate::{
    Format, Headers, LakeWriter, Notice, Parts, Position, Record, RecordLog, Route, Routes, Start,
    UnknownFields, Until, WriterError, WriterProgress, WriterSettings,
};

/// Formats of which there is a lake. One that this program refuses leaves for a test of that.
const FORMATS: [&str; 1] = ["1"];

/// When the last round was over of those that made the lakes.
const MADE: &str = "2024-02-01T00:40:00Z";

/// The partitions of each topic.
const TOPICS: [(&str, i32); 2] = [(TABLE, 2), (WATERMARKS_TOPIC, 1)];

/// Who published the changes.
const SOURCE: &str = "/shop/1";

/// What no version of this program can read.
const POISON: &str = r#"{"op":"u","after":[]}"#;

/// What is in a lake besides what is derived, by the table's path, the columns that are told of it and its
/// rows.
const TOLD: [(&str, &[&str], &[&str]); 5] = [
    (
        "shop/stock/changes",
        &["_partition", "_offset", "_op", "id", "region"],
        &[
            "0 0 c 2 north",
            "0 1 c 4 north",
            "0 2 u 2 north",
            "0 3 d 4 north",
            "0 4 u 2 north",
            "0 5 c 6 north",
            "1 0 c 1 north",
            "1 1 c 3 süd",
            "1 3 d 1 north",
            "1 4 c 1 north",
            "1 5 u 3 süd",
        ],
    ),
    (
        DEAD_LETTERS_PATH,
        &[
            "_topic",
            "_partition",
            "_offset",
            "error_code",
            "table",
            "value",
        ],
        &[r#"shop.stock 1 2 type_mismatch shop.stock {"op":"u","after":[]}"#],
    ),
    (
        STARTS_PATH,
        &["table", "topic", "partition", "first_offset"],
        &[
            "lakehead.watermarks lakehead.watermarks 0 0",
            "shop.stock shop.stock 0 0",
            "shop.stock shop.stock 1 0",
        ],
    ),
    (
        "_system/watermarks",
        &["entity", "source", "complete_through"],
        &[
            "shop.stock /shop/1 2024-01-31T09:00:00Z",
            "shop.stock /shop/1 2024-02-01T00:00:00Z",
        ],
    ),
    (
        PERIODS_PATH,
        &[
            "table",
            "period",
            "revision",
            "until",
            "time_zone",
            "path",
            "rows",
        ],
        &[
            "shop.stock 2024-01 1 2024-02-01T00:00:00Z UTC shop/stock/periods/2024-01/r1 3",
            "shop.stock 2024-01 2 2024-02-01T00:00:00Z UTC shop/stock/periods/2024-01/r2 4",
        ],
    ),
];

/// A row, and the partition and offset of the change that it is.
fn row(
    id: i64,
    region: &str,
    n: i64,
    note: Option<&str>,
    (partition, offset): (i32, i64),
) -> Placed {
    let row = (id, region.to_owned(), Some(n), note.map(str::to_owned));
    (row, (partition, 0, offset))
}

/// The current table.
fn current() -> Vec<Placed> {
    vec![
        row(1, "north", 11, Some("again"), (1, 4)),
        row(2, "north", 21, Some("february"), (0, 4)),
        row(3, "süd", 33, Some("süd"), (1, 5)),
        row(6, "north", 6, None, (0, 5)),
    ]
}

/// The snapshot of January, by its revision. A change came late for the first one.
fn january(revision: i64) -> Vec<Placed> {
    let mut rows = vec![
        row(1, "north", 11, Some("again"), (1, 4)),
        row(2, "north", 20, None, (0, 2)),
        row(3, "süd", 33, Some("süd"), (1, 5)),
    ];
    if revision > 1 {
        rows.push(row(6, "north", 6, None, (0, 5)));
    }
    rows
}

/// A record as its producer sent it.
#[derive(Clone, Debug)]
struct Sent {
    place: TopicPartition,
    time_us: i64,
    key: String,
    value: String,
    source: String,
    /// `None`: as its offset tells.
    sequence: Option<i64>,
}

/// Records, when the writer copied them and by which contract, and when the maintainer had its round.
struct Part {
    contract: Stage,
    sent: Vec<Sent>,
    copied_at: &'static str,
    cared_at: &'static str,
}

/// What became of the lakes, part by part. Today's writer goes on behind these records, and compares the
/// last ones: they stay as they are.
fn parts() -> [Part; 4] {
    let (one, two, three) = ((1, "north"), (2, "north"), (3, "süd"));
    let (four, six) = ((4, "north"), (6, "north"));
    [
        Part {
            contract: Stage::Plain,
            sent: vec![
                change(1, "2024-01-29T10:00:00Z", "c", one, r#","n":1"#),
                change(0, "2024-01-29T10:00:00Z", "c", two, r#","n":2"#),
                change(1, "2024-01-29T10:01:00Z", "c", three, r#","n":3"#),
                change(0, "2024-01-29T10:02:00Z", "c", four, r#","n":null"#),
                Sent {
                    value: POISON.to_owned(),
                    ..change(1, "2024-01-29T10:03:00Z", "u", three, "")
                },
                change(0, "2024-01-30T09:00:00Z", "u", two, r#","n":20"#),
                change(1, "2024-01-30T09:01:00Z", "d", one, r#","n":1"#),
            ],
            copied_at: "2024-01-30T12:00:00Z",
            cared_at: "2024-01-30T12:01:00Z",
        },
        Part {
            contract: Stage::Noted,
            sent: vec![
                change(
                    1,
                    "2024-01-31T08:00:00Z",
                    "c",
                    one,
                    r#","n":11,"note":"again""#,
                ),
                change(0, "2024-01-31T08:01:00Z", "d", four, r#","n":null"#),
                change(
                    1,
                    "2024-01-31T08:02:00Z",
                    "u",
                    three,
                    r#","n":33,"note":"süd""#,
                ),
                watermark("2024-01-31T09:00:05Z", "2024-01-31T09:00:00Z"),
            ],
            copied_at: "2024-01-31T12:00:00Z",
            cared_at: "2024-01-31T12:01:00Z",
        },
        Part {
            contract: Stage::Noted,
            sent: vec![
                change(
                    0,
                    "2024-02-01T00:05:00Z",
                    "u",
                    two,
                    r#","n":21,"note":"february""#,
                ),
                watermark("2024-02-01T00:06:00Z", "2024-02-01T00:00:00Z"),
            ],
            copied_at: "2024-02-01T00:10:00Z",
            cared_at: "2024-02-01T00:11:00Z",
        },
        // It comes late, whatever the watermark said.
        Part {
            contract: Stage::Noted,
            sent: vec![change(0, "2024-01-31T23:00:00Z", "c", six, r#","n":6"#)],
            copied_at: "2024-02-01T00:20:00Z",
            cared_at: MADE,
        },
    ]
}

/// All records of which the lakes were made.
fn all_sent() -> Vec<Sent> {
    let parts = parts().into_iter();
    parts.flat_map(|part| part.sent).collect()
}

/// A change in Debezium's envelope: the row as it was before a delete, or is from then on. `rest`: what it
/// has besides its key.
fn change(partition: i32, time: &str, op: &str, (id, region): (i64, &str), rest: &str) -> Sent {
    let row = format!(r#"{{"id":{id},"region":"{region}"{rest}}}"#);
    let (before, after) = match op {
        "d" => (row.as_str(), "null"),
        _ => ("null", row.as_str()),
    };
    Sent {
        place: TopicPartition::new(TABLE, partition),
        time_us: us(time),
        key: format!(r#"{{"id":{id},"region":"{region}"}}"#),
        value: format!(r#"{{"op":"{op}","before":{before},"after":{after}}}"#),
        source: SOURCE.to_owned(),
        sequence: None,
    }
}

/// All that was committed up to a time is in the first four records of partition 0 and the first six of
/// partition 1.
fn watermark(time: &str, complete_through: &str) -> Sent {
    let ends = [(0, 4), (1, 6)].map(|(partition, offset)| PartitionEnd {
        topic: TABLE.to_owned(),
        partition,
        offset,
    });
    let complete_through_us = us(complete_through);
    let mark = Watermark {
        entity: table(),
        source: SOURCE.to_owned(),
        complete_through_us,
        through: 6,
        ends: ends.into(),
        canonical_version: 1,
        total: Counted::default(),
        interval: Counted::default(),
    };
    Sent {
        place: TopicPartition::new(WATERMARKS_TOPIC, 0),
        time_us: us(time),
        key: mark.key(),
        value: mark.to_json(),
        source: format!("{SOURCE}/watermarks/{TABLE}"),
        sequence: Some(complete_through_us),
    }
}

/// Kafka with these records, all of which are for one process.
struct Kafka {
    sent: Vec<Sent>,
    /// The next offset of each partition that is read, and whether it is paused.
    positions: BTreeMap<TopicPartition, (i64, bool)>,
    is_assigned: bool,
}

/// The records of a partition.
fn of<'a>(sent: &'a [Sent], place: &TopicPartition) -> Vec<&'a Sent> {
    sent.iter().filter(|sent| sent.place == *place).collect()
}

impl Kafka {
    fn new(sent: &[Sent]) -> Self {
        Self {
            sent: sent.to_vec(),
            positions: BTreeMap::new(),
            is_assigned: false,
        }
    }

    fn set_paused(&mut self, partitions: &[TopicPartition], to: bool) {
        for place in partitions {
            if let Some((_, is_paused)) = self.positions.get_mut(place) {
                *is_paused = to;
            }
        }
    }
}

#[async_trait]
impl RecordLog for Kafka {
    async fn poll(
        &mut self,
        _: Duration,
        _: usize,
        each: &mut (dyn for<'r> FnMut(Record<'r>) -> ControlFlow<()> + Send),
    ) -> Result<Option<Notice>, WriterError> {
        if !std::mem::replace(&mut self.is_assigned, true) {
            let mut all = Vec::new();
            for (topic, count) in TOPICS {
                all.extend((0..count).map(|number| TopicPartition::new(topic, number)));
            }
            return Ok(Some(Notice::Assigned(all)));
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
        for (place, (next, is_paused)) in &mut self.positions {
            let from = usize::try_from(*next).unwrap();
            for sent in of(&self.sent, place).into_iter().skip(from) {
                if *is_paused {
                    break;
                }
                let headers = sent.headers(*next);
                let flow = each(Record {
                    topic: &place.topic,
                    partition: place.partition,
                    offset: *next,
                    timestamp_ms: sent.time_us / 1000,
                    key: Some(sent.key.as_bytes()),
                    value: Some(sent.value.as_bytes()),
                    headers: Some(&headers),
                });
                *next += 1;
                if flow.is_break() {
                    return Ok(None);
                }
            }
        }
        Ok(None)
    }

    async fn assign(&mut self, positions: &[Position]) -> Result<(), WriterError> {
        let read =
            |position: &Position| (position.partition.clone(), (position.next_offset, false));
        self.positions = positions.iter().map(read).collect();
        Ok(())
    }

    async fn unassign(&mut self) -> Result<(), WriterError> {
        self.positions.clear();
        Ok(())
    }

    async fn seek(
        &mut self,
        partition: &TopicPartition,
        next_offset: i64,
    ) -> Result<(), WriterError> {
        if let Some((next, _)) = self.positions.get_mut(partition) {
            *next = next_offset;
        }
        Ok(())
    }

    fn pause(&mut self, partitions: &[TopicPartition]) -> Result<(), WriterError> {
        self.set_paused(partitions, true);
        Ok(())
    }

    fn resume(&mut self, partitions: &[TopicPartition]) -> Result<(), WriterError> {
        self.set_paused(partitions, false);
        Ok(())
    }

    async fn offsets_kept(
        &mut self,
        partitions: &[TopicPartition],
    ) -> Result<Vec<Result<(i64, i64), WriterError>>, WriterError> {
        let kept = partitions.iter().map(|place| {
            let count = of(&self.sent, place).len();
            Ok((0, i64::try_from(count).unwrap()))
        });
        Ok(kept.collect())
    }

    async fn topics(&mut self) -> Result<Vec<String>, WriterError> {
        Ok(TOPICS.map(|(topic, _)| topic.to_owned()).into())
    }

    fn read_topics(&mut self, _: Vec<String>) -> Result<(), WriterError> {
        Ok(())
    }

    async fn start_offset(&mut self, _: &TopicPartition, _: Start) -> Result<i64, WriterError> {
        Ok(0)
    }

    fn passed(&self, _: &TopicPartition) -> Option<i64> {
        None
    }

    async fn partition_count(&mut self, topic: &str) -> Result<i32, WriterError> {
        let found = TOPICS.into_iter().find(|(name, _)| *name == topic);
        Ok(found.map_or(0, |(_, count)| count))
    }

    async fn cluster_id(&mut self) -> Result<Option<String>, WriterError> {
        Ok(Some("golden".to_owned()))
    }

    fn report_progress(&mut self, _: &[(TopicPartition, i64)]) {}
}

impl Sent {
    fn headers(&self, offset: i64) -> Pairs {
        let sequence = self.sequence.unwrap_or(offset + 1);
        let id = format!("{}/{}/{sequence}", self.source, self.place.partition);
        Pairs([
            (header::EVENT_ID, id),
            (header::SOURCE, self.source.clone()),
            (header::SEQUENCE, sequence.to_string()),
        ])
    }
}

struct Pairs([(&'static str, String); 3]);

impl Headers for Pairs {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn get(&self, index: usize) -> Option<(&str, Option<&[u8]>)> {
        let (name, value) = self.0.get(index)?;
        Some((*name, Some(value.as_bytes())))
    }
}

/// The files of a lake, by their place in it.
type Files = BTreeMap<String, Vec<u8>>;

/// Where the lake of a format is kept.
fn folder(format: &str) -> PathBuf {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    golden.join(format!("lake-{format}"))
}

/// All files below a folder.
fn files_in(folder: &Path) -> Files {
    let (mut found, mut folders) = (Files::new(), vec![folder.to_owned()]);
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let place = path.strip_prefix(folder).unwrap();
            let place = place.to_str().unwrap().to_owned();
            found.insert(place, std::fs::read(&path).unwrap());
        }
    }
    found
}

fn write_into(folder: &Path, files: &Files) {
    for (place, bytes) in files {
        let path = folder.join(place);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
}

/// A lake, and whose names its writer and maintainers give to what they make.
struct Golden {
    lake: LakeStore,
    entropy: Arc<Entropy>,
}

/// A lake of these files in a directory that goes with it.
struct Copied {
    golden: Golden,
    directory: tempfile::TempDir,
}

impl Copied {
    fn of(files: &Files) -> Self {
        let directory = tempfile::tempdir().unwrap();
        write_into(directory.path(), files);
        let lake = LakeStore::open(directory.path().to_str().unwrap(), &[], false).unwrap();
        let entropy = Arc::new(Entropy::from_os());
        Self {
            golden: Golden { lake, entropy },
            directory,
        }
    }

    /// The lake of a format.
    fn format(format: &str) -> Self {
        Self::of(&files_in(&folder(format)))
    }

    fn files(&self) -> Files {
        files_in(self.directory.path())
    }
}

impl Golden {
    /// All care as by default, and snapshots of months.
    fn maintainer(&self, now: &str) -> Maintainer {
        let settings = MaintenanceSettings {
            periods: vec![PeriodLength::Month],
            bucket_bytes: ByteSize::kib(2),
            ..MaintenanceSettings::default()
        };
        let (clock, entropy) = (MovedClock::at(us(now)), Arc::clone(&self.entropy));
        Maintainer::new(self.lake.clone(), clock, entropy, settings)
    }

    /// A round of a process that knows nothing yet.
    async fn round(&self, now: &str) -> Round {
        let round = self.maintainer(now).round(&[]).await;
        let is_done = round.failed.is_empty() && round.overtaken.is_empty();
        assert!(is_done, "{round:?}");
        round
    }

    /// What fails of one.
    async fn failures(&self, now: &str) -> Vec<String> {
        let round = self.maintainer(now).round(&[]).await;
        round.failed.iter().map(ToString::to_string).collect()
    }

    /// The writer copies what is new of all that was sent, and ends.
    async fn copy(&self, sent: &[Sent], contract: Stage, now: &str) -> Result<(), WriterError> {
        let stock = Route {
            format: Format::Json,
            key_format: KeyFormat::Json,
            contract: Some(contract.schema().contract().clone()),
            ..Route::new(TABLE, table())
        };
        let watermarks = Route {
            format: Format::Json,
            key_format: KeyFormat::Json,
            shape: Shape::Append,
            contract: Some(Watermark::contract().unwrap()),
            unknown_fields: UnknownFields::Ignore,
            ..Route::new(WATERMARKS_TOPIC, TableName::watermarks())
        };
        let parts = Parts {
            lake: self.lake.clone(),
            registry: None,
            clock: MovedClock::at(us(now)),
            entropy: Arc::clone(&self.entropy),
            runtime: Handle::current(),
            progress: Arc::new(WriterProgress::default()),
        };
        let routes = Routes::of(vec![stock, watermarks]).unwrap();
        let (kafka, settings) = (Kafka::new(sent), WriterSettings::default());
        let mut writer = LakeWriter::new(kafka, settings, routes, Until::CaughtUp, parts);
        // Nobody stops it.
        let (_stop, stopping) = watch::channel(false);
        Box::pin(writer.run(stopping)).await
    }

    /// Another version of this program, or somebody, sets a table's format.
    async fn set_format(&self, path: &str, format: &str) {
        set_properties(&self.lake, path, &[(FORMAT_PROPERTY, format)]).await;
    }

    /// A snapshot of January as delta-rs reads it.
    async fn january(&self, revision: i64) -> Vec<Placed> {
        let path = table().period_path("2024-01", revision);
        read_at(&self.lake, &path, None).await
    }

    /// All tables have the rows that they were made with.
    async fn is_as_it_was_made(&self) {
        assert_eq!(read(&self.lake, None).await, current());
        for revision in 1..=2 {
            let found = self.january(revision).await;
            assert_eq!(found, january(revision), "r{revision}");
        }
        for (path, columns, rows) in TOLD {
            assert_eq!(texts(&self.lake, path, columns).await, rows, "{path}");
        }
    }
}

/// These columns of a table's rows as texts, as delta-rs reads them, in order.
async fn texts(lake: &LakeStore, path: &str, columns: &[&str]) -> Vec<String> {
    let mut rows = Vec::new();
    for batch in scanned(lake, path, None).await {
        let text = |name: &&str| -> ArrayRef {
            let column = batch.column_by_name(name).unwrap();
            cast(column, &DataType::Utf8).unwrap()
        };
        let texts: Vec<ArrayRef> = columns.iter().map(text).collect();
        for row in 0..batch.num_rows() {
            let values = texts.iter().map(|text| text.as_string::<i32>().value(row));
            rows.push(values.collect::<Vec<_>>().join(" "));
        }
    }
    rows.sort();
    rows
}

/// The snapshots that a round made.
fn snapshots(round: &Round) -> Vec<String> {
    let made = round.snapshots.iter();
    made.map(|made| format!("{} r{}", made.period, made.revision))
        .collect()
}

/// A lake as this program makes it, in memory. Each round is another process's, which notes all that it has
/// seen.
async fn made() -> Files {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let lake = LakeStore::open("memory:///", &[], true).unwrap();
    let golden = Golden {
        lake: lake.map_store(|_| Arc::clone(&store)),
        entropy: Arc::new(Entropy::seeded(1)),
    };
    let (mut sent, mut made) = (Vec::new(), Vec::new());
    for part in parts() {
        sent.extend(part.sent);
        let copied = golden.copy(&sent, part.contract, part.copied_at).await;
        copied.unwrap();
        let round = golden.round(part.cared_at).await;
        assert_eq!(round.refreshed.len(), 1, "{round:?}");
        made.extend(snapshots(&round));
    }
    assert_eq!(made, ["2024-01 r1", "2024-01 r2"]);
    let mut files = Files::new();
    let objects: Vec<_> = store.list(None).try_collect().await.unwrap();
    for object in objects {
        let bytes = store.get(&object.location).await.unwrap();
        let bytes = bytes.bytes().await.unwrap();
        files.insert(object.location.to_string(), bytes.to_vec());
    }
    files
}

/// Makes the lake of the format that this program writes. Once for each format, by hand: see
/// `tests/golden/README.md`.
#[tokio::test(start_paused = true)]
#[ignore = "writes into the repository, once for each format"]
async fn golden_lake() {
    let folder = folder(FORMAT_VERSION);
    assert!(!folder.exists(), "{} is there already", folder.display());
    write_into(&folder, &made().await);
}

#[test]
fn there_is_one_of_the_format_that_is_written() {
    let newest = FORMATS.last().copied();
    assert_eq!(newest, Some(FORMAT_VERSION), "see tests/golden/README.md");
}

/// What makes them is right before it is needed.
#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_made_today_is_as_they_are() {
    let copied = Copied::of(&made().await);
    copied.golden.is_as_it_was_made().await;
}

#[tokio::test(start_paused = true)]
async fn one_is_made_the_same_each_time() {
    let (one, other) = (made().await, made().await);
    let names = |files: &Files| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&one), names(&other));
    let odd = one.iter().find(|(place, bytes)| other[*place] != **bytes);
    assert_eq!(odd.map(|(place, _)| place), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn they_are_read() {
    for format in FORMATS {
        let copied = Copied::format(format);
        copied.golden.is_as_it_was_made().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nothing_is_new_nothing_changes() {
    for format in FORMATS {
        let copied = Copied::format(format);
        let before = copied.files();
        copied
            .golden
            .copy(&all_sent(), Stage::Noted, MADE)
            .await
            .unwrap();
        let round = copied.golden.round(MADE).await;
        assert!(
            round.refreshed.is_empty() && round.snapshots.is_empty() && round.housekept.is_empty(),
            "{round:?}"
        );
        assert!(copied.files() == before, "{format}");
    }
}

/// By what is new, not by all changes.
#[tokio::test(flavor = "multi_thread")]
async fn todays_writer_and_maintainer_go_on_with_them() {
    for format in FORMATS {
        let copied = Copied::format(format);
        let golden = &copied.golden;
        let mut sent = all_sent();
        let three = r#","n":34,"note":null"#;
        sent.extend([
            change(1, "2024-02-01T00:55:00Z", "u", (3, "süd"), three),
            // Late for January.
            change(0, "2024-01-31T22:00:00Z", "c", (8, "north"), r#","n":8"#),
        ]);
        let copying = golden.copy(&sent, Stage::Noted, "2024-02-01T01:00:00Z");
        copying.await.unwrap();
        let round = golden.round("2024-02-01T01:30:00Z").await;
        let [done] = &round.refreshed[..] else {
            panic!("{round:?}");
        };
        assert_eq!((done.changes, done.from_all), (2, false));
        assert_eq!(snapshots(&round), ["2024-01 r3"]);
        let mut rows = current();
        rows[2] = row(3, "süd", 34, None, (1, 6));
        rows.push(row(8, "north", 8, None, (0, 6)));
        assert_eq!(read(&golden.lake, None).await, rows);
        let mut rows = january(2);
        rows.push(row(8, "north", 8, None, (0, 6)));
        assert_eq!(golden.january(3).await, rows);
        for revision in 1..=2 {
            assert_eq!(golden.january(revision).await, january(revision));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rebuilt_by_todays_maintainer_they_are_the_same() {
    for format in FORMATS {
        let copied = Copied::format(format);
        let mut maintainer = copied.golden.maintainer(MADE);
        let rebuilt = maintainer.rebuild(&table()).await.unwrap();
        assert!(rebuilt.from_all, "{rebuilt:?}");
        let month = "2024-01".parse().unwrap();
        let rebuilt = maintainer.rebuild_period(&table(), month).await;
        assert!(rebuilt.unwrap().is_empty(), "another January");
        copied.golden.is_as_it_was_made().await;
    }
}

/// Neither the writer nor the maintainer goes on, and nothing is written.
#[tokio::test(flavor = "multi_thread")]
async fn changes_of_another_format_are_refused_by_name() {
    for format in ["0", "2"] {
        let copied = Copied::format(FORMAT_VERSION);
        let golden = &copied.golden;
        golden.set_format(&table().changes_path(), format).await;
        let before = copied.files();
        let named = format!("its format is {format}, this program writes {FORMAT_VERSION}");
        let failures = golden.failures(MADE).await;
        assert!(failures[0].contains("shop/stock/changes"), "{failures:?}");
        let are_all = failures.iter().all(|failure| failure.contains(&named));
        assert!(are_all, "{failures:?}");
        let rebuilt = golden.maintainer(MADE).rebuild(&table()).await;
        let stopped = golden.copy(&all_sent(), Stage::Noted, MADE).await;
        for error in [
            rebuilt.unwrap_err().to_string(),
            stopped.unwrap_err().to_string(),
        ] {
            assert!(error.contains(&named), "{error}");
        }
        assert!(copied.files() == before, "{format}");
    }
}

/// A rebuild makes one of an earlier format anew, and none of a later one.
#[tokio::test(flavor = "multi_thread")]
async fn a_current_table_of_another_format_is_refused_by_name() {
    for (format, is_earlier) in [("0", true), ("2", false)] {
        let copied = Copied::format(FORMAT_VERSION);
        let golden = &copied.golden;
        golden.set_format(&table().current_path(), format).await;
        let before = copied.files();
        let named = format!("its format is {format}, this program writes {FORMAT_VERSION}");
        let refused =
            |error: &String| error.contains("shop/stock/current") && error.contains(&named);
        let failures = golden.failures(MADE).await;
        let are_all = !failures.is_empty() && failures.iter().all(refused);
        assert!(are_all, "{failures:?}");
        assert!(copied.files() == before, "{format}");
        let rebuilt = golden.maintainer(MADE).rebuild(&table()).await;
        if is_earlier {
            assert!(rebuilt.unwrap().from_all);
            golden.round(MADE).await;
            golden.is_as_it_was_made().await;
            continue;
        }
        let error = rebuilt.unwrap_err().to_string();
        assert!(refused(&error), "{error}");
        assert!(copied.files() == before, "{format}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_snapshots_of_another_format_is_refused_by_name() {
    for format in ["0", "2"] {
        let copied = Copied::format(FORMAT_VERSION);
        let golden = &copied.golden;
        golden.set_format(PERIODS_PATH, format).await;
        let before = copied.files();
        let named = format!("its format is {format}, this program writes {FORMAT_VERSION}");
        let failures = golden.failures(MADE).await;
        let refused = |error: &String| error.contains(PERIODS_PATH) && error.contains(&named);
        let are_all = !failures.is_empty() && failures.iter().all(refused);
        assert!(are_all, "{failures:?}");
        assert!(copied.files() == before, "{format}");
    }
}
