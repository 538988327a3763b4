//! Tables that grow, and how little memory that takes.

use schemas::Shape;

use super::changes::read;
use super::refresh::{ROOMY, begun};
use super::*;
use crate::maintenance::fixture::{Fixture, Requests};

/// Changes that each make a key.
fn creations(ids: std::ops::Range<i64>) -> Vec<Change> {
    let change = |id: i64| Change {
        offset: id,
        id,
        op: "c",
        n: Some(id * 7919 % 10_007),
        region: format!("region {}", id * 31 % 1009),
        day: 19_000,
        ..Change::default()
    };
    ids.map(change).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_outgrows_its_buckets_gets_more() {
    let stand = Stand::new();
    let mut changes = Changes::create(&stand.lake, Shape::Upsert).await;
    changes.append(creations(0..20_000)).await;
    let mut roomy = stand.maintainer(ByteSize::mib(8), ROOMY);
    assert_eq!(refresh(&mut roomy).await.unwrap().buckets, 1);
    changes.append_some(5, 20_000, 3).await;
    let mut narrow = stand.maintainer(ByteSize::kib(8), ROOMY);
    let done = refresh(&mut narrow).await.unwrap();
    assert!(done.buckets >= 8 && !done.from_all, "{done:?}");
    assert_eq!(done.changes, 3, "the rest is not read again");
    assert_eq!(done.buckets_written, done.buckets as usize);
    assert_eq!(read(&stand.lake, None).await, changes.fold());
    changes.append_some(6, 20_003, 1).await;
    let next = refresh(&mut narrow).await.unwrap();
    assert_eq!((next.buckets, next.buckets_written), (done.buckets, 1));
    assert_eq!(read(&stand.lake, None).await, changes.fold());
}

#[tokio::test(flavor = "multi_thread")]
async fn little_memory_takes_more_passes_and_gives_the_same() {
    let stand = Stand::new();
    let (changes, _) = begun(&stand).await;
    let whole = read(&stand.lake, None).await;
    let mut poor = stand.maintainer(ByteSize::b(500), ByteSize::kib(16));
    let done = poor.rebuild(&table()).await.unwrap();
    assert!(
        done.from_all && done.rows_written == whole.len(),
        "{done:?}"
    );
    assert_eq!(read(&stand.lake, None).await, whole);
    assert_eq!(whole, changes.fold());
}

/// A table of one bucket gets a hundred times its keys in one refresh, in memory for a small part of
/// them.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_one_bucket_gets_as_many_as_memory_asks_for() {
    let stand = Stand::new();
    let mut changes = Changes::create(&stand.lake, Shape::Upsert).await;
    changes.append(creations(0..200)).await;
    let mut poor = stand.maintainer(ByteSize::mib(64), ByteSize::kib(256));
    assert_eq!(refresh(&mut poor).await.unwrap().buckets, 1);
    for part in 0..4 {
        let first = 200 + part * 5_000;
        changes.append(creations(first..first + 5_000)).await;
    }
    let done = refresh(&mut poor).await.unwrap();
    assert!(!done.from_all && done.changes == 20_000, "{done:?}");
    // 20,000 rows of some 150 bytes each, a quarter of a mebibyte at a time.
    assert!((16..=128).contains(&done.buckets), "{done:?}");
    assert_eq!(done.rows_written, 20_200);
    assert_eq!(read(&stand.lake, None).await, changes.fold());
    // Those that it has are enough from now on.
    changes.append_some(5, 20_200, 3).await;
    let next = refresh(&mut poor).await.unwrap();
    assert!(
        next.buckets == done.buckets && next.buckets_written <= 3,
        "{next:?}"
    );
    assert_eq!(read(&stand.lake, None).await, changes.fold());
}

/// The first keys are small, those of a later slice are not: what was reckoned does not do.
#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_does_not_fit_has_the_table_begin_again_with_more() {
    let stand = Stand::new();
    let mut changes = Changes::create(&stand.lake, Shape::Upsert).await;
    changes.grow(Stage::Noted).await;
    let hash = |change: &Change| {
        let ids: arrow::array::ArrayRef = Arc::new(arrow::array::Int64Array::from(vec![change.id]));
        let region = vec![change.region.as_str()];
        let regions: arrow::array::ArrayRef = Arc::new(arrow::array::StringArray::from(region));
        lake_store::key_hashes(&[ids, regions]).unwrap()[0]
    };
    let mut some = creations(0..2_000);
    for change in &mut some {
        // Only one bucket of eight is heavy, and it is not in the slice that comes first.
        let is_heavy = lake_store::bucket_of(hash(change), 8) == 7;
        change.note = is_heavy.then(|| format!("{:0>4000}", change.id * 7919));
    }
    changes.append(some).await;
    let mut poor = stand.maintainer(ByteSize::mib(64), ByteSize::kib(192));
    let done = refresh(&mut poor).await.unwrap();
    assert!(done.buckets >= 16, "{done:?}");
    assert_eq!(done.rows_written, 2_000);
    assert_eq!(read(&stand.lake, None).await, changes.fold());
    // What was begun in vain is not left behind.
    let store = stand.lake.table_store(&table().current_path());
    use futures::TryStreamExt;
    let stored: Vec<_> = store.list(None).try_collect().await.unwrap();
    let stored = stored.iter().map(|object| object.location.to_string());
    let files = stored.filter(|path| path.ends_with(".parquet")).count();
    let log = crate::delta_log::DeltaLog::new(store);
    let state = log.load().await.unwrap().unwrap();
    assert_eq!(
        files,
        log.files_at(state.version).await.unwrap().unwrap().len()
    );
}

/// A table that is far behind has no list of what is new while it waits for its turn. It has that turn
/// once.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_far_behind_is_listed_in_its_turn() {
    let lake = LakeStore::open("memory:///", &[], true).unwrap();
    let entity: TableName = "s.e".parse().unwrap();
    let mut changes = Changes::create_of(&lake, entity.clone(), Shape::Upsert).await;
    changes.append_some(1, 0, 20).await;
    let mut maintainer = maintained(&lake, derived_only());
    refresh(&mut maintainer).await.unwrap();
    for _ in 0..=1_000 {
        changes.append(Vec::new()).await;
    }
    // Enough to find the newest version, and not enough to list what is new, too.
    let requests = Requests::new(1_600);
    let means = Means {
        lake: Fixture::open(lake.clone()).await.hanging(&requests),
        clock: Arc::new(SystemClock),
        entropy: Arc::new(Entropy::from_os()),
        settings: Arc::new(derived_only()),
        room: Arc::default(),
    };
    let turn = means.room.to_fold().await;
    let mut current = Current::new(entity, means.clone());
    tokio::select! {
        () = requests.hung() => panic!("it is listed beside others"),
        done = Box::pin(current.refresh(Mode::Refresh)) => panic!("{done:?}"),
        () = tokio::time::sleep(Duration::from_secs(2)) => {}
    }
    drop(turn);
    assert_eq!(refresh(&mut maintainer).await, None);
    changes.append_some(2, 20, 1).await;
    let done = refresh(&mut maintainer).await.unwrap();
    assert_eq!((done.changes, done.from_all), (1, false));
}
