//! One log for all tables of a process, beside the logs of other processes.

use std::time::Duration;

use futures::future::join_all;
use futures::{StreamExt, TryStreamExt};
use object_store::throttle::{ThrottleConfig, ThrottledStore};
use object_store::{ObjectStore, ObjectStoreExt};
use schemas::TopicPartition;
use tokio::time::{Instant, timeout};

use super::*;
use crate::clock::SystemClock;
use crate::data_file;
use crate::dead_letter::{self, DeadLetter, Reason};
use crate::record_log::Record;

fn lake() -> LakeStore {
    LakeStore::open("memory:///", &[], true).unwrap()
}

fn log_in(lake: &LakeStore, seed: u64) -> DeadLettersLog {
    DeadLettersLog::new(lake, Arc::new(SystemClock), Arc::new(Entropy::seeded(seed)))
}

fn step(app_id: &str, from: Option<i64>, to: i64) -> Step {
    Step {
        app_id: app_id.to_owned(),
        from,
        to,
    }
}

async fn txn(log: &DeadLettersLog, app_id: &str) -> Option<i64> {
    let found = log.txns([app_id.to_owned()].into_iter()).await.unwrap();
    found.get(app_id).copied()
}

/// A file of these letters, taken in at a time.
async fn put(log: &DeadLettersLog, letters: &[(&str, i32, &[i64])], ingest_time_us: i64) -> String {
    let batches = letters.iter().map(|(topic, partition, offsets)| {
        let letter = |offset: &i64| {
            let record = Record {
                topic,
                partition: *partition,
                offset: *offset,
                timestamp_ms: 5,
                key: None,
                value: Some(b"\xff"),
                headers: None,
            };
            DeadLetter::of(&record, None, Reason::new("invalid", "no"), ingest_time_us)
        };
        let letters: Vec<DeadLetter> = offsets.iter().map(letter).collect();
        let place = TopicPartition::new(*topic, *partition);
        dead_letter::batch(&place, &"a.b".parse().unwrap(), &letters).unwrap()
    });
    let batches: Vec<_> = batches.collect();
    let file = data_file::encode(log.entropy.uuid(), None, &batches).unwrap();
    let add = file
        .upload(log.log().store(), log.clock.now_us())
        .await
        .unwrap();
    let path = add.path.clone();
    log.commit(Vec::new(), vec![add]).await.unwrap().unwrap();
    path
}

fn ahead(topic: &str, partition: i32, first: i64, since_us: i64) -> Ahead {
    Ahead {
        partition: TopicPartition::new(topic, partition),
        first,
        since_us,
    }
}

fn ranges(runs: &[(i64, i64)]) -> OffsetRanges {
    let mut ranges = OffsetRanges::default();
    runs.iter()
        .for_each(|(start, end)| ranges.insert(*start..*end));
    ranges
}

#[tokio::test]
async fn what_other_processes_commit_is_seen_and_fences() {
    let lake = lake();
    let (ours, theirs) = (log_in(&lake, 1), log_in(&lake, 2));
    assert_eq!(txn(&ours, "p").await, None);
    let first = ours.commit(vec![step("p", None, 5)], Vec::new()).await;
    assert_eq!(first.unwrap(), Ok(1));
    assert_eq!(txn(&theirs, "p").await, Some(5));
    let second = theirs.commit(vec![step("p", Some(5), 9)], Vec::new()).await;
    assert_eq!(second.unwrap(), Ok(2));
    let late = ours.commit(vec![step("p", Some(5), 7)], Vec::new()).await;
    assert_eq!(late.unwrap(), Err(Refusal::Fenced(vec!["p".to_owned()])));
    assert_eq!(txn(&ours, "p").await, Some(9));
}

#[tokio::test]
async fn a_table_that_was_moved_away_begins_anew() {
    let lake = lake();
    let log = log_in(&lake, 1);
    log.commit(vec![step("p", None, 5)], Vec::new())
        .await
        .unwrap()
        .unwrap();
    let store = log.log().store();
    let objects = store.list(None).map_ok(|object| object.location);
    store
        .delete_stream(objects.boxed())
        .try_collect::<Vec<_>>()
        .await
        .unwrap();
    assert_eq!(txn(&log, "p").await, None);
    let again = log.commit(vec![step("p", None, 2)], Vec::new()).await;
    assert_eq!(again.unwrap(), Ok(1));
}

#[tokio::test(start_paused = true)]
async fn tables_that_ask_at_once_are_answered_by_two_looks() {
    let lake = lake();
    log_in(&lake, 1)
        .commit(vec![step("p", None, 5)], Vec::new())
        .await
        .unwrap()
        .unwrap();
    let slow = ThrottleConfig {
        wait_get_per_call: Duration::from_millis(100),
        wait_list_per_call: Duration::from_millis(100),
        ..ThrottleConfig::default()
    };
    let slow = lake.map_store(|store| Arc::new(ThrottledStore::new(store, slow)));
    let log = log_in(&slow, 2);
    let began = Instant::now();
    let answers = join_all((0..100).map(|_| txn(&log, "p"))).await;
    assert!(answers.iter().all(|answer| *answer == Some(5)));
    assert!(
        began.elapsed() < Duration::from_secs(2),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn letters_are_found_as_runs_and_files_that_cannot_hold_them_are_not_read() {
    let lake = lake();
    let log = log_in(&lake, 1);
    put(&log, &[("t", 0, &[3, 4, 5, 9]), ("t", 1, &[5, 6])], 100).await;
    put(&log, &[("t", 0, &[10, 11])], 100).await;
    // Of a topic of this name that is gone.
    put(&log, &[("t", 0, &[20])], 50).await;
    // The statistics say of each of these that it holds nothing that is asked for.
    for others in [("s", 0, [30]), ("t", 2, [30]), ("t", 0, [2])] {
        let (topic, partition, offsets) = others;
        let path = put(&log, &[(topic, partition, &offsets)], 100).await;
        log.log()
            .store()
            .delete(&path.as_str().into())
            .await
            .unwrap();
    }
    let asked = [
        ahead("t", 0, 4, 60),
        ahead("t", 1, 0, i64::MIN),
        ahead("u", 0, 0, 0),
    ];
    let found = timeout(Duration::from_secs(60), log.find(&asked)).await;
    assert_eq!(
        found.unwrap().unwrap(),
        [ranges(&[(4, 6), (9, 12)]), ranges(&[(5, 7)]), ranges(&[])]
    );
}
