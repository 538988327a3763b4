//! Accepting is killed before each of its writes in turn; run again, it ends as if it never was.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::fault_store::{Fault, FaultStore};

/// The observer's store, of which `left` more writes succeed and then none.
fn dying(observer: &Observer, left: usize) -> Observer {
    let left = AtomicUsize::new(left);
    let lives = move |_: &Path| {
        let more = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
            left.checked_sub(1)
        });
        more.map_or(Fault::FailBefore, |_| Fault::None)
    };
    let lake = observer.lake.clone();
    let lake = lake.map_store(|inner| Arc::new(FaultStore::new(inner, lives)));
    Observer::new(
        lake,
        &observer.pipeline,
        &KafkaSettings::default(),
        Arc::new(SystemClock),
        Arc::new(Entropy::seeded(2)),
    )
    .unwrap()
}

/// Accepts everything that is missing where Kafka keeps nothing: the topic was made again.
async fn accept(observer: &Observer) -> Result<Option<u64>, StandError> {
    let stand = looked(observer, &[(0, 0), (0, 0)]).await;
    let gaps = observer.with_recorded(&stand, stand.gaps(None)).await?;
    observer.accept(&stand, &gaps, false).await
}

#[tokio::test(start_paused = true)]
async fn accepting_is_killed_before_each_write() {
    let replaced = |from| (Some(from), Some(0), "topic_replaced".to_owned());
    let letters = format!("p/dead_letters/{TOPIC}/0");
    let mut writes = 0;
    loop {
        let observer = lake(&[(progress(0), 10), (progress(1), 7)]).await;
        put(&observer, DEAD_LETTERS_PATH, &[(letters.clone(), 9)]).await;
        let killed = accept(&dying(&observer, writes)).await;
        let whole = killed.is_ok();
        if !whole {
            accept(&observer).await.unwrap();
        }
        let after = looked(&observer, &[(0, 0), (0, 0)]).await;
        let offsets: Vec<_> = after.partitions.iter().map(|at| at.next_offset).collect();
        assert_eq!(offsets, [Some(0), Some(0)], "killed before write {writes}");
        let left = observer.with_recorded(&after, after.gaps(None)).await;
        assert_eq!(left.unwrap(), [], "killed before write {writes}");
        let rows = rows(&observer).await;
        assert_eq!(
            rows,
            [replaced(10), replaced(7)],
            "killed before write {writes}"
        );
        let state = observer
            .log(DEAD_LETTERS_PATH)
            .load()
            .await
            .unwrap()
            .unwrap();
        assert_eq!(state.txns.get(&letters), Some(&0));
        if whole {
            break;
        }
        writes += 1;
    }
    // The table of gaps, its file, its commit, the dead letters', the table's.
    assert_eq!(writes, 5);
}
