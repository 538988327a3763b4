use std::ops::Range;

use arrow::array::{ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray};
use uuid::Uuid;

use super::*;
use crate::action::{self, Action, Txn};
use crate::dead_letter::{DeadLetter, Reason, batch as letters_batch};
use crate::delta_log::Put;
use crate::record_log::Record;
use crate::{data_file, layout};

const TOPIC: &str = "shop.purchase";

fn table() -> TableName {
    TOPIC.parse().unwrap()
}

fn lake() -> LakeStore {
    LakeStore::open("memory:///", &[], true).unwrap()
}

fn rows(partition: i32, generation: i32, offsets: Range<i64>) -> RecordBatch {
    let offsets: Vec<i64> = offsets.collect();
    let count = offsets.len();
    let columns: [(&str, ArrayRef); 4] = [
        ("_topic", Arc::new(StringArray::from(vec![TOPIC; count]))),
        (
            "_partition",
            Arc::new(Int32Array::from(vec![partition; count])),
        ),
        (
            "_generation",
            Arc::new(Int32Array::from(vec![generation; count])),
        ),
        ("_offset", Arc::new(Int64Array::from(offsets))),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

/// Commits batches, a file each, and progress; answers the files.
async fn commit(
    lake: &LakeStore,
    path: &str,
    batches: &[RecordBatch],
    txns: &[(&str, i64)],
) -> Vec<Add> {
    let log = DeltaLog::new(lake.table_store(path));
    let state = log.load().await.unwrap();
    let mut actions: Vec<Action> = Vec::new();
    if state.is_none() {
        let metadata =
            layout::system_metadata(&batches[0].schema(), Uuid::from_u128(1), 0).unwrap();
        actions.extend([action::Protocol::PLAIN.into(), metadata.into()]);
    }
    let mut files = Vec::new();
    for batch in batches {
        let file = data_file::encode(Uuid::new_v4(), None, std::slice::from_ref(batch)).unwrap();
        files.push(file.upload(log.store(), 0).await.unwrap());
    }
    actions.extend(files.iter().cloned().map(Action::from));
    actions.extend(txns.iter().map(|(app_id, version)| {
        Action::from(Txn {
            app_id: (*app_id).to_owned(),
            version: *version,
            last_updated: None,
        })
    }));
    let entry = action::encode(&actions).unwrap().into();
    let version = state.map_or(0, |state| state.version + 1);
    assert!(matches!(log.put(version, entry).await, Put::Done));
    files
}

async fn changes(lake: &LakeStore, batches: &[RecordBatch], txns: &[(&str, i64)]) -> Vec<Add> {
    commit(lake, &table().changes_path(), batches, txns).await
}

async fn audited(lake: &LakeStore) -> TableAudit {
    audit(lake, &table()).await.unwrap().unwrap()
}

fn letter(offset: i64) -> DeadLetter {
    let record = Record {
        topic: TOPIC,
        partition: 0,
        offset,
        timestamp_ms: 0,
        key: None,
        value: None,
        headers: None,
    };
    DeadLetter::of(&record, None, Reason::new("invalid", "x"), 5)
}

async fn bury(lake: &LakeStore, offsets: &[i64]) {
    let letters: Vec<DeadLetter> = offsets.iter().map(|offset| letter(*offset)).collect();
    let batch = letters_batch(&TopicPartition::new(TOPIC, 0), &table(), &letters).unwrap();
    commit(lake, DEAD_LETTERS_PATH, &[batch], &[]).await;
}

#[tokio::test]
async fn a_table_that_is_as_it_must_be_is_accounted_for() {
    let lake = lake();
    assert!(audit(&lake, &table()).await.unwrap().is_none());
    let batches = [rows(0, 0, 0..100), rows(1, 0, 7..9)];
    changes(
        &lake,
        &batches,
        &[("p/shop.purchase/0", 100), ("p/shop.purchase/1", 12)],
    )
    .await;
    bury(&lake, &[100, 101]).await;
    changes(
        &lake,
        &[rows(0, 0, 102..70_000)],
        &[("p/shop.purchase/0", 70_000)],
    )
    .await;
    let found = audited(&lake).await;
    assert_eq!(found.findings, []);
    assert_eq!((found.version, found.files, found.rows), (1, 3, 70_000));
    let partitions: Vec<_> = found
        .partitions
        .iter()
        .map(|one| {
            (
                one.partition.partition,
                one.rows,
                one.dead_letters,
                one.without_row,
            )
        })
        .collect();
    assert_eq!(partitions, [(0, 69_998, 2, 0), (1, 2, 0, 3)]);
}

#[tokio::test]
async fn an_offset_that_came_twice_is_named() {
    let lake = lake();
    let batches = [rows(0, 0, 0..10), rows(0, 0, 8..12), rows(0, 1, 0..5)];
    let txns = [
        ("p/shop.purchase/0", 12),
        ("p/shop.purchase/0/generation", 0),
    ];
    changes(&lake, &batches, &txns).await;
    let found = audited(&lake).await;
    let [
        Finding::Doubled {
            first: 8,
            offsets: 2,
            generation: 0,
            ..
        },
    ] = &found.findings[..]
    else {
        panic!("{:?}", found.findings);
    };
    let told = found.findings[0].to_string();
    assert!(
        told.contains("I2: shop.purchase/0: offset 8 and 1 more of "),
        "{told}"
    );
}

#[tokio::test]
async fn a_row_that_is_a_dead_letter_too_is_named() {
    let lake = lake();
    changes(&lake, &[rows(0, 0, 0..10)], &[("p/shop.purchase/0", 10)]).await;
    bury(&lake, &[3, 12]).await;
    let partition = TopicPartition::new(TOPIC, 0);
    let both = Finding::RowAndLetter {
        partition,
        offset: 3,
    };
    assert_eq!(audited(&lake).await.findings, [both]);
}

#[tokio::test]
async fn rows_without_their_progress_are_named() {
    let lake = lake();
    changes(
        &lake,
        &[rows(0, 0, 0..10), rows(1, 0, 0..1)],
        &[("p/shop.purchase/0", 9)],
    )
    .await;
    let partition = |number| TopicPartition::new(TOPIC, number);
    assert_eq!(
        audited(&lake).await.findings,
        [
            Finding::NoProgress {
                partition: partition(1)
            },
            Finding::BeyondProgress {
                partition: partition(0),
                next_offset: 9,
                last: 9
            },
        ]
    );
}

#[tokio::test]
async fn a_file_that_is_gone_short_or_broken_is_named() {
    let lake = lake();
    let batches = [rows(0, 0, 0..10), rows(0, 0, 10..20), rows(0, 0, 20..30)];
    let files = changes(&lake, &batches, &[("p/shop.purchase/0", 30)]).await;
    let store = lake.table_store(&table().changes_path());
    let path = |add: &Add| Path::from(add.path.as_str());
    store.delete(&path(&files[0])).await.unwrap();
    store.put(&path(&files[1]), "PAR1".into()).await.unwrap();
    let broken = vec![b'x'; usize::try_from(files[2].size).unwrap()];
    store.put(&path(&files[2]), broken.into()).await.unwrap();
    let found = audited(&lake).await.findings;
    let missing = Finding::FileMissing {
        file: files[0].path.clone(),
    };
    let short = Finding::FileSize {
        file: files[1].path.clone(),
        expected: files[1].size,
        found: 4,
    };
    assert_eq!(found.len(), 3);
    assert!(
        found.contains(&missing) && found.contains(&short),
        "{found:?}"
    );
    let is_broken = |finding: &&Finding| matches!(finding, Finding::FileUnreadable { file, .. } if *file == files[2].path);
    assert_eq!(found.iter().filter(is_broken).count(), 1);
    assert!(found.iter().all(|finding| finding.invariant() == "I10"));
}
