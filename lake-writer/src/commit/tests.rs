//! The ambiguous cases: whatever a put answers, the rows are in the table exactly once.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use object_store::ObjectStore;
use object_store::memory::InMemory;
use tokio::time::Instant;

use super::*;
use crate::action::{FileFormat, Protocol};
use crate::fault_store::{Fault, FaultStore};

#[derive(Debug)]
struct Noon;

impl Clock for Noon {
    fn now_us(&self) -> i64 {
        43_200_000_000
    }
}

fn metadata(schema: &str) -> Metadata {
    Metadata {
        id: "id".to_owned(),
        format: FileFormat::default(),
        schema_string: schema.to_owned(),
        partition_columns: Vec::new(),
        configuration: Default::default(),
        created_time: None,
    }
}

fn draft(from: Option<i64>, to: i64) -> Draft {
    Draft {
        layout: metadata("one"),
        steps: vec![Step {
            app_id: "p/t/0".to_owned(),
            from,
            to,
        }],
        further: vec![("p/t/0/sequence/s".to_owned(), to)],
        files: Vec::new(),
        rework: None,
    }
}

/// A table, its log behind a store that meets the next puts with these faults, and its state.
async fn table(faults: &[Fault]) -> (DeltaLog, DeltaLog, TableState) {
    let inner: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let plain = DeltaLog::new(Arc::clone(&inner));
    let entry = action::encode(&[Protocol::PLAIN.into(), metadata("one").into()]).unwrap();
    assert!(matches!(plain.put(0, entry.into()).await, Put::Done));
    let waiting = Mutex::new(VecDeque::from(faults.to_vec()));
    let faulty = FaultStore::new(inner, move |_| {
        waiting.lock().unwrap().pop_front().unwrap_or(Fault::None)
    });
    let state = plain.load().await.unwrap().unwrap();
    (DeltaLog::new(Arc::new(faulty)), plain, state)
}

/// How many entries of the log move the partition, and where it stands.
async fn landed(plain: &DeltaLog) -> (usize, Option<i64>) {
    let state = plain.load().await.unwrap().unwrap();
    let mut entries = 0;
    for version in 1..=state.version {
        let actions = plain.entry(version).await.unwrap().unwrap();
        entries += usize::from(actions.iter().any(|action| action.txn.is_some()));
    }
    (entries, state.txns.get("p/t/0").copied())
}

#[tokio::test(start_paused = true)]
async fn every_ambiguous_answer_ends_in_one_commit() {
    use Fault::{ExistsFalsely, FailBefore, LandsLate, OkThenError, OkThenExists};
    let cases: [&[Fault]; 9] = [
        &[],
        &[FailBefore],
        &[OkThenError],
        &[OkThenExists],
        &[ExistsFalsely],
        &[LandsLate],
        &[FailBefore, OkThenError],
        &[LandsLate, LandsLate, ExistsFalsely],
        &[ExistsFalsely, FailBefore, OkThenExists],
    ];
    for faults in cases {
        let (log, plain, mut state) = table(faults).await;
        let version = commit(
            &log,
            &mut state,
            &draft(None, 10),
            &Noon,
            &Entropy::from_os(),
        )
        .await
        .unwrap();
        // What is still on its way must not land a second time.
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(landed(&plain).await, (1, Some(10)), "{faults:?}");
        assert_eq!((version, state.version), (1, 1), "{faults:?}");
        assert_eq!(state.txns["p/t/0/sequence/s"], 10);
        let next = draft(Some(10), 20);
        commit(&log, &mut state, &next, &Noon, &Entropy::from_os())
            .await
            .unwrap();
        assert_eq!(landed(&plain).await, (2, Some(20)), "{faults:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn of_two_writers_with_the_same_start_one_is_fenced() {
    for faults in [
        &[][..],
        &[Fault::OkThenError],
        &[Fault::LandsLate],
        &[Fault::ExistsFalsely],
    ] {
        let (log, plain, mut state) = table(faults).await;
        let mut stale = state.clone();
        let fast = commit(
            &plain,
            &mut state,
            &draft(None, 10),
            &Noon,
            &Entropy::from_os(),
        )
        .await;
        let slow = commit(
            &log,
            &mut stale,
            &draft(None, 12),
            &Noon,
            &Entropy::from_os(),
        )
        .await;
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(fast, Ok(1));
        assert_eq!(
            slow,
            Err(Refusal::Fenced(vec!["p/t/0".to_owned()])),
            "{faults:?}"
        );
        assert_eq!(landed(&plain).await, (1, Some(10)), "{faults:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn another_partition_s_commit_is_no_obstacle() {
    let (log, plain, mut state) = table(&[]).await;
    let mut other = state.clone();
    let mut elsewhere = draft(None, 3);
    elsewhere.steps[0].app_id = "p/t/1".to_owned();
    commit(&plain, &mut other, &elsewhere, &Noon, &Entropy::from_os())
        .await
        .unwrap();
    assert_eq!(
        commit(
            &log,
            &mut state,
            &draft(None, 10),
            &Noon,
            &Entropy::from_os()
        )
        .await,
        Ok(2)
    );
    assert_eq!(state.txns["p/t/1"], 3);
}

#[tokio::test(start_paused = true)]
async fn files_of_another_layout_are_refused() {
    let (log, plain, mut state) = table(&[]).await;
    let mut change = action::encode(&[metadata("two").into()]).unwrap();
    change.push(b'\n');
    assert!(matches!(plain.put(1, change.into()).await, Put::Done));
    let refused = commit(
        &log,
        &mut state,
        &draft(None, 10),
        &Noon,
        &Entropy::from_os(),
    )
    .await;
    assert_eq!(refused, Err(Refusal::LayoutChanged));
    assert_eq!(landed(&plain).await, (0, None));
}

#[tokio::test(start_paused = true)]
async fn a_gap_or_a_step_back_is_fenced_too() {
    let (log, _, mut state) = table(&[]).await;
    commit(
        &log,
        &mut state,
        &draft(None, 10),
        &Noon,
        &Entropy::from_os(),
    )
    .await
    .unwrap();
    for from in [None, Some(9), Some(11)] {
        let refused = commit(
            &log,
            &mut state,
            &draft(from, 20),
            &Noon,
            &Entropy::from_os(),
        )
        .await;
        assert!(matches!(refused, Err(Refusal::Fenced(_))), "{from:?}");
    }
}

#[tokio::test]
async fn a_removal_of_long_ago_is_planned_anew() {
    for (age_hours, lands) in [(5, true), (7, false)] {
        let (log, _, mut state) = table(&[]).await;
        let removed = Remove {
            path: "old.parquet".to_owned(),
            deletion_timestamp: Some((12 - age_hours) * 3_600_000),
            data_change: false,
            extended_file_metadata: true,
            partition_values: Default::default(),
            size: Some(1),
        };
        let rework = Rework {
            operation: "DELETE",
            metadata: metadata("one"),
            removed: vec![removed],
            after: Some(0),
        };
        let draft = Draft {
            rework: Some(rework),
            ..draft(None, 7)
        };
        let landed = commit(&log, &mut state, &draft, &Noon, &Entropy::seeded(1)).await;
        match lands {
            true => assert_eq!(landed, Ok(1)),
            false => assert_eq!(landed, Err(Refusal::Overtaken)),
        }
    }
}

/// A store that refuses every put, while another process that may put goes on: its versions are no
/// answer to ours.
#[tokio::test(start_paused = true)]
async fn the_care_of_a_table_gives_a_store_up_that_refuses() {
    let (log, plain, mut state) = table(&[Fault::FailBefore; 1000]).await;
    let mut others = state.clone();
    let goes_on = async {
        for to in 1.. {
            let mut draft = draft((to > 1).then_some(to - 1), to);
            draft.steps[0].app_id = "p/t/1".to_owned();
            draft.further.clear();
            commit(&plain, &mut others, &draft, &Noon, &Entropy::from_os())
                .await
                .unwrap();
            tokio::time::sleep(Duration::from_secs(10)).await;
        }
    };
    let (begun, entropy, draft) = (Instant::now(), Entropy::from_os(), draft(None, 10));
    let refused = tokio::select! {
        refused = commit_soon(&log, &mut state, &draft, &Noon, &entropy) => refused,
        () = goes_on => unreachable!(),
    };
    let why = "injected fault";
    assert!(
        matches!(&refused, Err(Refusal::NoAnswer(words)) if words.contains(why)),
        "{refused:?}"
    );
    assert!(
        begun.elapsed() < 2 * limit::CARE_MAX,
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(landed(&plain).await.1, None);
    // The writer, who has nothing else to do, waits on.
    let waits = commit(&log, &mut state, &draft, &Noon, &entropy);
    let waited = tokio::time::timeout(10 * limit::CARE_MAX, waits).await;
    assert!(waited.is_err(), "{waited:?}");
}

/// What landed and was not answered is found before the store is given up.
#[tokio::test(start_paused = true)]
async fn a_short_trouble_is_waited_out_by_the_care_too() {
    let faults = [[Fault::FailBefore; 8].as_slice(), &[Fault::OkThenError]].concat();
    let (log, plain, mut state) = table(&faults).await;
    let draft = draft(None, 10);
    let landed_at = commit_soon(&log, &mut state, &draft, &Noon, &Entropy::from_os()).await;
    assert_eq!((landed_at, landed(&plain).await), (Ok(1), (1, Some(10))));
}
