//! When watermarks say that a period is complete.

use columnar::{ChangeBuffer, ChangeDecoder, ChangeSchema, RecordMeta};
use object_store::ObjectStoreExt;
use schemas::{Counted, PartitionEnd, Shape, TopicPartition, Watermark};

use super::periods::{Office, row, us};
use super::*;
use crate::action;
use crate::app_id::AppIds;
use crate::clock::Clock;
use crate::commit::{Draft, commit};
use crate::data_file;
use crate::delta_log::DeltaLog;
use crate::layout;

const END: &str = "2026-06-30T22:00:00Z";

/// An entity's watermarks in the lake, as the writer lands them.
struct Marks {
    log: DeltaLog,
    schema: Arc<ChangeSchema>,
    offset: i64,
}

impl Marks {
    async fn create(lake: &LakeStore) -> Self {
        let schema = ChangeSchema::new(&Watermark::contract().unwrap());
        let log = DeltaLog::new(lake.table_store("_system/watermarks"));
        let id = uuid::Uuid::new_v4();
        let metadata = layout::changes_metadata(&schema, Shape::Append, id, 0).unwrap();
        log.put(0, action::creation(metadata, 0).unwrap()).await;
        Self {
            log,
            schema,
            offset: 0,
        }
    }

    /// All that a source committed up to a time is below this offset of partition 0.
    async fn tell(&mut self, source: &str, time: &str, end: i64) {
        let counted = Counted::default();
        let mark = Watermark {
            entity: table(),
            source: source.to_owned(),
            complete_through_us: us(time),
            through: 1,
            ends: [(0, end), (1, 0)]
                .map(|(partition, offset)| PartitionEnd {
                    topic: "t".to_owned(),
                    partition,
                    offset,
                })
                .into(),
            canonical_version: 1,
            total: counted,
            interval: counted,
        };
        let place = TopicPartition::new("lakehead.watermarks", 0);
        let mut rows = ChangeBuffer::new(Arc::clone(&self.schema), place.clone());
        let meta = RecordMeta {
            offset: self.offset,
            record_time_us: us(time),
            ingest_time_us: us(time),
            ..RecordMeta::default()
        };
        let mut decoder = ChangeDecoder::json(Shape::Append, &self.schema);
        let json = mark.to_json();
        decoder
            .decode(&meta, Some(json.as_bytes()), None, &mut rows)
            .unwrap();
        let day = i32::try_from(us(time) / 86_400_000_000).unwrap();
        let batch = rows.finish(0).unwrap();
        let file = data_file::encode(uuid::Uuid::new_v4(), Some(day), &[batch]).unwrap();
        let file = file.upload(self.log.store(), SystemClock.now_us()).await;
        self.offset += 1;
        let mut state = self.log.load().await.unwrap().unwrap();
        let (ids, of) = (AppIds::new("p"), format!("{source}/watermarks/{TABLE}"));
        let draft = Draft {
            layout: state.metadata.clone(),
            steps: Vec::new(),
            further: vec![
                (ids.progress(&place), self.offset),
                (ids.sequence(&place, &of), us(time)),
            ],
            files: vec![file.unwrap()],
            rework: None,
        };
        let entropy = Entropy::from_os();
        commit(&self.log, &mut state, &draft, &SystemClock, &entropy)
            .await
            .unwrap();
    }
}

/// It is some minutes after the end of June in Stockholm; the delay is an hour, and a watermark is
/// waited for a day.
async fn office() -> (Office, Marks) {
    let mut office = Office::new("2026-06-30T22:05:00Z", &[PeriodLength::Month]).await;
    office.change(1, "c", 1, "2026-06-10T12:00:00Z").await;
    let marks = Marks::create(&office.stand.lake).await;
    (office, marks)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_period_is_made_as_soon_as_the_changes_have_passed_its_watermark() {
    let (mut office, mut marks) = office().await;
    marks.tell("/a", "2026-06-30T21:59:00Z", 1).await;
    assert_eq!(office.round().await, [""; 0], "it is not complete");
    marks.tell("/a", END, 2).await;
    assert_eq!(office.round().await, [""; 0], "a change is on its way");
    // The writer is always a little behind, as watermarks go on.
    marks.tell("/a", "2026-06-30T22:01:00Z", 7).await;
    office.change(2, "c", 2, "2026-06-30T21:59:59Z").await;
    assert_eq!(office.round().await, ["2026-06 r1"]);
    assert_eq!(office.rows("2026-06", 1).await, [row(1, 1), row(2, 2)]);
    // The delay does not count where there are watermarks.
    office.set("2026-07-31T23:30:00Z");
    marks.tell("/a", "2026-07-31T21:59:00Z", 7).await;
    assert_eq!(office.round().await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_source_is_waited_for_but_not_for_ever() {
    let (mut office, mut marks) = office().await;
    marks.tell("/gone", "2026-06-28T12:00:00Z", 1).await;
    marks.tell("/slow", "2026-06-30T12:00:00Z", 1).await;
    marks.tell("/a", "2026-06-30T22:03:00Z", 1).await;
    office.set("2026-07-01T21:59:00Z");
    assert_eq!(office.round().await, [""; 0], "for a day");
    office.set("2026-07-01T22:00:00Z");
    assert_eq!(office.round().await, ["2026-06 r1"]);
    // By the end of July there is one source left.
    office.set("2026-07-31T22:01:00Z");
    assert_eq!(office.round().await, [""; 0]);
    marks.tell("/a", "2026-07-31T22:00:00Z", 1).await;
    assert_eq!(office.round().await, ["2026-07 r1"]);
    // Then none: the delay counts again.
    office.set("2026-08-31T22:59:00Z");
    assert_eq!(office.round().await, [""; 0]);
    office.set("2026-08-31T23:00:00Z");
    assert_eq!(office.round().await, ["2026-08 r1"]);
}

/// The owner of an outbox that is read by replication from some day on, or from another slot, is the same.
#[tokio::test(flavor = "multi_thread")]
async fn an_outbox_that_was_handed_over_is_waited_for_by_its_newest_source() {
    let (mut office, mut marks) = office().await;
    marks.tell("/a/7f", "2026-06-30T12:00:00Z", 1).await;
    marks.tell("/a/7f/log1", "2026-06-30T21:59:00Z", 1).await;
    assert_eq!(office.round().await, [""; 0], "it is not complete");
    marks.tell("/a/7f/log2", END, 2).await;
    assert_eq!(office.round().await, [""; 0], "a change is on its way");
    office.change(2, "c", 2, "2026-06-30T21:59:59Z").await;
    assert_eq!(office.round().await, ["2026-06 r1"]);
    // It may be polled again.
    office.set("2026-07-31T22:01:00Z");
    marks.tell("/a/7f", "2026-07-31T22:00:00Z", 2).await;
    assert_eq!(office.round().await, ["2026-07 r1"]);
}

/// All is there that its owner had committed, whatever comes now. What comes late is waited with.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_watermark_says_to_be_complete_waits_for_no_late_changes() {
    let months = [PeriodLength::Month];
    let mut office = Office::patient("2026-06-30T22:05:00Z", &months, 10).await;
    office.change(1, "c", 1, "2026-06-10T12:00:00Z").await;
    let mut marks = Marks::create(&office.stand.lake).await;
    marks.tell("/a", END, 1).await;
    assert_eq!(office.round().await, ["2026-06 r1"]);
    office.change(2, "c", 2, "2026-06-11T12:00:00Z").await;
    assert_eq!(office.round().await, [""; 0]);
    office.pass(10);
    assert_eq!(office.round().await, ["2026-06 r2"]);
}

/// Late changes of other periods do not wait for them, and the period does so for a day at most.
#[tokio::test(flavor = "multi_thread")]
async fn watermarks_that_cannot_be_read_are_awaited() {
    let (mut office, mut marks) = office().await;
    marks.tell("/a", END, 1).await;
    assert_eq!(office.round().await, ["2026-06 r1"]);
    let entry = crate::delta_log::entry_path(1);
    marks
        .log
        .store()
        .put(&entry, "not json".into())
        .await
        .unwrap();
    office.maintainer =
        super::periods::maintainer(&office.stand, &office.clock, &[PeriodLength::Month]);
    office.set("2026-08-01T12:00:00Z");
    office.change(2, "c", 2, "2026-06-11T12:00:00Z").await;
    assert_eq!(office.round().await, ["2026-06 r2"]);
    office.set("2026-08-01T22:00:00Z");
    assert_eq!(office.round().await, ["2026-07 r1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_was_made_again_has_other_ends() {
    let (mut office, mut marks) = office().await;
    marks.tell("/a", END, 900).await;
    assert_eq!(office.round().await, [""; 0]);
    marks.tell("/a", "2026-06-30T22:03:00Z", 1).await;
    assert_eq!(office.round().await, ["2026-06 r1"]);
}

/// They come every few seconds, in files as small as those of changes.
#[tokio::test(flavor = "multi_thread")]
async fn their_files_are_compacted_too() {
    let (mut office, mut marks) = office().await;
    for second in 10..20 {
        marks
            .tell("/a", &format!("2026-06-30T22:03:{second}Z"), 1)
            .await;
    }
    office.maintainer = office.stand.maintained(eager());
    assert_eq!(office.round().await, [""; 0]);
    let files = marks.log.files(|_| true).await.unwrap();
    assert_eq!(files.len(), 1);
    office.maintainer =
        super::periods::maintainer(&office.stand, &office.clock, &[PeriodLength::Month]);
    assert_eq!(office.round().await, ["2026-06 r1"]);
}
