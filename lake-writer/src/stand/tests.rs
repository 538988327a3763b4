//! What is found missing, and that accepting it leaves one row and moves the table, also in two goes.

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use lake_store::{DEAD_LETTERS_PATH, GAPS_PATH, gaps_schema};
use object_store::ObjectStoreExt;
use object_store::path::Path;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::*;
use crate::action::{self, Action, Txn};
use crate::clock::SystemClock;
use crate::layout;

mod kills;

const TABLE: &str = "shop.purchase";
const TOPIC: &str = "purchases";

/// A record's mark: a second and a size.
fn mark(second: i64) -> i64 {
    (second * 1000) << 20 | 50
}

fn partition(next_offset: i64, mark: Option<i64>, kept: (i64, i64)) -> PartitionStand {
    PartitionStand {
        partition: 0,
        next_offset: Some(next_offset),
        kept: Some(kept),
        mark,
        ..PartitionStand::default()
    }
}

fn stand(partitions: Vec<PartitionStand>) -> Stand {
    Stand {
        feed: Feed {
            topic: TOPIC.into(),
            table: TABLE.parse().unwrap(),
            shape: Shape::Upsert,
            start: Start::Earliest,
        },
        version: Some(1),
        committed_at_ms: None,
        partitions_before: None,
        cluster_before: None,
        cluster_now: None,
        partitions_now: Some(i32::try_from(partitions.len()).unwrap()),
        partitions,
        kafka_error: None,
        topic_forbidden: false,
        txns: HashMap::new(),
        starts: HashMap::new(),
    }
}

fn found(
    partition: PartitionStand,
    restart: Option<Restart>,
) -> Option<(GapReason, i64, Option<i64>)> {
    let gaps = stand(vec![partition]).gaps(restart);
    gaps.first().map(|gap| (gap.reason, gap.from, gap.to))
}

#[test]
fn each_gap_is_told_by_what_is_there() {
    use GapReason::{OffsetsRegressed, Retention, TopicReplaced};
    // Nothing is missing: in the middle, at the end, and where the table never was.
    let same = |now| PartitionStand {
        mark_now: Some(now),
        ..partition(10, Some(mark(5)), (0, 20))
    };
    assert_eq!(found(same(mark(5)), None), None);
    assert_eq!(found(partition(20, None, (0, 20)), None), None);
    let unseen = PartitionStand {
        next_offset: None,
        ..partition(0, None, (7, 20))
    };
    assert_eq!(found(unseen, None), None);
    // Retention passed; the records are counted.
    let passed = partition(10, Some(mark(5)), (15, 20));
    assert_eq!(found(passed.clone(), None), Some((Retention, 10, Some(15))));
    assert_eq!(stand(vec![passed]).gaps(None)[0].records(), Some(5));
    // Another record at the last copied one's place.
    let replaced = Some((TopicReplaced, 10, Some(0)));
    assert_eq!(found(same(mark(6)), None), replaced);
    assert_eq!(
        found(same(mark(6)), Some(Restart::End)),
        replaced,
        "what is shown is not for people to say"
    );
    // It ends before, and all that is there is newer than what was copied; or there is nothing.
    let newer = PartitionStand {
        first_mark: Some(mark(6)),
        ..partition(10, Some(mark(5)), (0, 4))
    };
    assert_eq!(found(newer, None), replaced);
    assert_eq!(found(partition(10, None, (0, 0)), None), replaced);
    // It ends before, and begins with what may have been copied: that is for people to say.
    let regressed = PartitionStand {
        first_mark: Some(mark(4)),
        ..partition(10, Some(mark(5)), (0, 4))
    };
    assert_eq!(
        found(regressed.clone(), None),
        Some((OffsetsRegressed, 10, None))
    );
    let end = found(regressed.clone(), Some(Restart::End));
    assert_eq!(end, Some((OffsetsRegressed, 10, Some(4))));
    assert_eq!(found(regressed, Some(Restart::Start)), replaced);
}

#[test]
fn partitions_that_come_and_go_are_gaps_but_of_facts() {
    let gone = PartitionStand {
        partition: 1,
        kept: None,
        ..partition(10, None, (0, 0))
    };
    let mut table = stand(vec![partition(5, None, (0, 5)), gone]);
    table.partitions_now = Some(1);
    table.partitions_before = Some(2);
    let reasons: Vec<_> = table.gaps(None).iter().map(|gap| gap.reason).collect();
    assert_eq!(
        reasons,
        [GapReason::PartitionGone, GapReason::PartitionsChanged]
    );
    table.feed.shape = Shape::Append;
    assert_eq!(table.gaps(None).len(), 1);
    table.partitions_now = Some(0);
    assert!(
        table.gaps(None).is_empty(),
        "a topic that is not there has no gap"
    );
}

#[test]
fn of_another_cluster_only_a_mirror_is_gone_on_with() {
    let copied = |number, mark_now| PartitionStand {
        partition: number,
        mark_now,
        ..partition(10, Some(mark(5)), (2, 20))
    };
    // The very record, another one, and none at that offset.
    let marks = [Some(mark(5)), Some(mark(6)), None];
    let partitions = (0..).zip(marks).map(|(number, now)| copied(number, now));
    let mut table = stand(partitions.collect());
    table.partitions_before = Some(3);
    (table.cluster_before, table.cluster_now) = (Some(1), Some(1));
    assert_eq!(table.gaps(None).len(), 1, "the second partition's");
    table.cluster_now = None;
    assert_eq!(table.gaps(None).len(), 1, "it is not told");
    table.cluster_now = Some(2);
    let gaps = table.gaps(Some(Restart::End));
    let found: Vec<_> = gaps
        .iter()
        .map(|gap| (gap.partition, gap.from, gap.to, gap.reason))
        .collect();
    assert_eq!(
        found,
        [
            (Some(1), 10, Some(2), GapReason::TopicReplaced),
            (Some(2), 10, Some(2), GapReason::TopicReplaced),
            (None, 3, Some(3), GapReason::ClusterChanged),
        ]
    );
}

#[tokio::test]
async fn an_accepted_cluster_is_the_tables_from_then_on() {
    let observer = lake(&[
        (progress(0), 10),
        (format!("p/{TOPIC}/partitions"), 1),
        (format!("p/{TOPIC}/cluster"), 1),
    ])
    .await;
    let mut before = looked(&observer, &[(0, 4)]).await;
    before.cluster_now = Some(2);
    let gaps = before.gaps(None);
    assert_eq!(gaps.len(), 2);
    // Of one partition only: the cluster is not accepted.
    observer.accept(&before, &gaps[..1], false).await.unwrap();
    let mut half = looked(&observer, &[(0, 4)]).await;
    half.cluster_now = Some(2);
    assert!(half.is_elsewhere());
    let rest = half.gaps(None);
    assert_eq!(rest.len(), 1, "{rest:?}");
    observer.accept(&half, &rest, false).await.unwrap();
    let mut after = looked(&observer, &[(0, 4)]).await;
    after.cluster_now = Some(2);
    assert!(!after.is_elsewhere() && after.gaps(None).is_empty());
    assert_eq!(after.partitions[0].next_offset, Some(0));
    let reasons: Vec<String> = rows(&observer).await.into_iter().map(|row| row.2).collect();
    assert_eq!(reasons, ["topic_replaced", "cluster_changed"]);
}

#[test]
fn lag_is_the_sum_of_the_partitions_and_its_age_that_of_the_last_copied() {
    let table = stand(vec![
        partition(5, Some(mark(100)), (0, 9)),
        PartitionStand {
            partition: 1,
            ..partition(7, Some(mark(10)), (0, 7))
        },
    ]);
    assert_eq!(table.lag_records(), Some(4));
    // The second partition is older and has no lag.
    assert_eq!(table.lag_ms(130_000), Some(30_000));
    let unseen = |start| {
        let mut table = stand(Vec::new());
        table.feed.start = start;
        table.add(AppIds::new("p"), 0);
        table.partitions[0].kept = Some((5, 9));
        table.lag_records()
    };
    assert_eq!(unseen(Start::Earliest), Some(4));
    assert_eq!(unseen(Start::Latest), None, "the end was not chosen yet");
}

/// A lake with a table that stands at these progresses, and an observer that is never answered.
async fn lake(txns: &[(String, i64)]) -> Observer {
    lake_with("shop/purchase/changes", txns).await
}

async fn lake_with(path: &str, txns: &[(String, i64)]) -> Observer {
    let lake = LakeStore::open("memory:///", &[], true).unwrap();
    let observer = Observer::new(
        lake,
        "p",
        &KafkaSettings::default(),
        Arc::new(SystemClock),
        Arc::new(Entropy::seeded(1)),
    )
    .unwrap();
    put(&observer, path, txns).await;
    observer
}

async fn put(observer: &Observer, path: &str, txns: &[(String, i64)]) {
    let metadata = layout::system_metadata(&gaps_schema(), uuid::Uuid::nil(), 0).unwrap();
    let log = observer.log(path);
    log.put(0, action::creation(metadata, 1000).unwrap()).await;
    let txns = txns.iter().map(|(app_id, version)| {
        let app_id = app_id.clone();
        Action::from(Txn {
            app_id,
            version: *version,
            last_updated: None,
        })
    });
    let entry = action::encode(&txns.collect::<Vec<_>>()).unwrap();
    log.put(1, entry.into()).await;
}

async fn looked(observer: &Observer, kept: &[(i64, i64)]) -> Stand {
    let feed = stand(Vec::new()).feed;
    let mut stand = observer.look_in_lake(&feed).await.unwrap();
    stand.partitions_now = Some(i32::try_from(kept.len()).unwrap());
    for (partition, kept) in stand.partitions.iter_mut().zip(kept) {
        partition.kept = Some(*kept);
    }
    stand
}

/// Offsets and reasons of all rows of the table of gaps.
async fn rows(observer: &Observer) -> Vec<(Option<i64>, Option<i64>, String)> {
    let log = observer.log(GAPS_PATH);
    let mut rows = Vec::new();
    for file in log.files(|_| true).await.unwrap() {
        let bytes = log.store().get(&Path::from(file.path)).await.unwrap();
        let bytes = bytes.bytes().await.unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap();
        for batch in reader.build().unwrap() {
            let batch = batch.unwrap();
            let number = |name: &str| {
                let column = batch.column_by_name(name).unwrap();
                column
                    .as_primitive::<Int64Type>()
                    .iter()
                    .collect::<Vec<_>>()
            };
            let reasons = batch.column_by_name("reason").unwrap().as_string::<i32>();
            let offsets = number("from_offset").into_iter().zip(number("to_offset"));
            let row = offsets.zip(reasons.iter());
            rows.extend(row.map(|((from, to), why)| (from, to, why.unwrap().to_owned())));
        }
    }
    rows
}

fn progress(partition: i32) -> String {
    format!("p/{TOPIC}/{partition}")
}

#[tokio::test]
async fn a_gap_is_recorded_once_though_its_recorder_is_killed() {
    let observer = lake(&[
        (progress(0), 10),
        (format!("p/{TOPIC}/0/last_mark"), mark(5)),
        (progress(1), 3),
        (format!("p/{TOPIC}/partitions"), 2),
    ])
    .await;
    let before = looked(&observer, &[(15, 20), (0, 3)]).await;
    assert_eq!(before.partitions.len(), 2);
    let gaps = observer.with_recorded(&before, before.gaps(None)).await;
    let gaps = gaps.unwrap();
    assert_eq!(gaps.len(), 1);
    // Killed right after the row: the first half of accepting.
    let mut ledger = ledger::Ledger::load(&observer.lake, observer.ids())
        .await
        .unwrap();
    let means: (&dyn Clock, &Entropy) = (&SystemClock, &observer.entropy);
    ledger.append(&before, &gaps, means).await.unwrap();
    // Meanwhile Kafka has dropped some more, which is another gap.
    let again = looked(&observer, &[(18, 20), (0, 3)]).await;
    let gaps = observer
        .with_recorded(&again, again.gaps(None))
        .await
        .unwrap();
    assert_eq!((gaps.len(), gaps[0].from, gaps[0].to), (1, 10, Some(15)));
    observer.accept(&again, &gaps, false).await.unwrap();
    let passed = looked(&observer, &[(18, 20), (0, 3)]).await;
    assert_eq!(passed.partitions[0].next_offset, Some(15));
    assert_eq!(passed.partitions[0].mark, None, "its mark is forgotten");
    let gaps = observer
        .with_recorded(&passed, passed.gaps(None))
        .await
        .unwrap();
    observer.accept(&passed, &gaps, false).await.unwrap();
    let done = looked(&observer, &[(18, 20), (0, 3)]).await;
    assert_eq!(done.partitions[0].next_offset, Some(18));
    let left = observer
        .with_recorded(&done, done.gaps(None))
        .await
        .unwrap();
    assert_eq!(left, []);
    let why = || "retention".to_owned();
    assert_eq!(
        rows(&observer).await,
        [(Some(10), Some(15), why()), (Some(15), Some(18), why())]
    );
}

#[tokio::test]
async fn a_table_that_is_not_made_yet_will_begin_behind_a_gap() {
    let observer = lake_with(STARTS_PATH, &[(progress(0), 10)]).await;
    let stand = looked(&observer, &[(15, 20)]).await;
    assert_eq!((stand.version, stand.lag_records()), (None, Some(10)));
    let gaps = observer.with_recorded(&stand, stand.gaps(None)).await;
    let version = observer.accept(&stand, &gaps.unwrap(), false).await;
    assert_eq!(version.unwrap(), None);
    let after = looked(&observer, &[(15, 20)]).await;
    assert_eq!(after.partitions[0].next_offset, Some(15));
    let left = observer.with_recorded(&after, after.gaps(None)).await;
    assert_eq!(left.unwrap(), []);
    let retention = (Some(10), Some(15), "retention".to_owned());
    assert_eq!(rows(&observer).await, [retention]);
}

#[tokio::test]
async fn two_who_accept_a_gap_leave_one_row() {
    let observer = lake(&[(progress(0), 10)]).await;
    let stand = looked(&observer, &[(15, 20)]).await;
    let gaps = stand.gaps(None);
    observer.accept(&stand, &gaps, false).await.unwrap();
    let second = observer.accept(&stand, &gaps, false).await;
    assert!(second.is_err(), "{second:?}");
    let after = looked(&observer, &[(15, 20)]).await;
    assert_eq!(after.partitions[0].next_offset, Some(15));
    let left = observer.with_recorded(&after, after.gaps(None)).await;
    assert_eq!(left.unwrap(), []);
    assert_eq!(rows(&observer).await.len(), 1);
}

#[tokio::test]
async fn a_topic_made_again_is_read_from_its_start_and_its_dead_letters_are_its_own() {
    let sequence = format!("p/{TOPIC}/0/sequence//source");
    let observer = lake(&[
        (progress(0), 10),
        (sequence.clone(), 77),
        (format!("p/{TOPIC}/partitions"), 2),
    ])
    .await;
    let letters = format!("p/dead_letters/{TOPIC}/0");
    put(&observer, DEAD_LETTERS_PATH, &[(letters.clone(), 9)]).await;
    let stand = looked(&observer, &[(0, 0)]).await;
    let gaps = stand.gaps(None);
    assert_eq!(gaps.len(), 2, "the topic and its partition count: {gaps:?}");
    observer.accept(&stand, &gaps, false).await.unwrap();
    let after = looked(&observer, &[(0, 0)]).await;
    assert_eq!(after.partitions[0].next_offset, Some(0));
    assert_eq!(
        (after.partitions_before, after.gaps(None)),
        (Some(1), vec![])
    );
    assert_eq!(
        after.txn(&sequence),
        Some(77),
        "what was published before stays known"
    );
    let state = observer
        .log(DEAD_LETTERS_PATH)
        .load()
        .await
        .unwrap()
        .unwrap();
    assert_eq!(state.txns.get(&letters), Some(&0));
    let since = state.txns.get(&format!("{letters}/since"));
    assert!(since.is_some_and(|since| *since > 0));
    let topic = (None, None, "partitions_changed".to_owned());
    let replaced = (Some(10), Some(0), "topic_replaced".to_owned());
    assert_eq!(rows(&observer).await, [replaced, topic]);
}

/// The generation that later rows of the first partitions get, of a table that has two.
async fn generations(known: &[(String, i64)], kept: &[(i64, i64)]) -> Vec<Option<i64>> {
    let begun = [(progress(0), 10), (progress(1), 4)];
    let count = (format!("p/{TOPIC}/partitions"), 2);
    let txns: Vec<_> = begun.iter().chain([&count]).chain(known).cloned().collect();
    let observer = lake(&txns).await;
    let mut stand = looked(&observer, kept).await;
    stand.partitions_now = Some(i32::try_from(kept.len()).unwrap());
    let gaps = stand.gaps(None);
    observer.accept(&stand, &gaps, false).await.unwrap();
    let after = looked(&observer, kept).await;
    let generation = |number| after.txn(&format!("p/{TOPIC}/{number}/generation"));
    (0..4).map(generation).collect()
}

#[tokio::test]
async fn rows_after_offsets_began_anew_are_of_the_next_generation() {
    // Retention leads forward: offsets keep their order.
    assert_eq!(generations(&[], &[(15, 20), (0, 4)]).await, [None; 4]);
    // One partition begins anew, then the other one.
    let first = generations(&[], &[(0, 0), (0, 4)]).await;
    assert_eq!(first, [Some(1), None, None, None]);
    let known = [(format!("p/{TOPIC}/0/generation"), 1)];
    let second = generations(&known, &[(0, 10), (0, 0)]).await;
    assert_eq!(second, [Some(1), Some(1), None, None]);
    // Keys may have moved to any partition, so all begin the same one.
    let wider = generations(&known, &[(0, 10), (0, 4), (0, 3), (0, 0)]).await;
    assert_eq!(wider, [Some(2); 4]);
}

#[tokio::test]
async fn sequences_are_forgotten_when_asked_to() {
    let sequence = format!("p/{TOPIC}/0/sequence//source");
    let observer = lake(&[(progress(0), 10), (sequence.clone(), 77)]).await;
    let stand = looked(&observer, &[(0, 0)]).await;
    observer
        .accept(&stand, &stand.gaps(None), true)
        .await
        .unwrap();
    let after = looked(&observer, &[(0, 0)]).await;
    assert_eq!(after.txn(&sequence), Some(-1));
}
