//! Tables whose writers make no checkpoints: a round does, and their logs can be cleaned up.

use lake_store::STARTS_PATH;
use schemas::TopicPartition;

use super::housekeeping::Later;
use super::*;
use crate::delta_log::DeltaLog;
use crate::starts::{Begun, Starts};

/// Writes down that the copies of these partitions begin at their own number, each in a commit.
async fn begin(starts: &mut Starts, partitions: std::ops::Range<i32>) {
    for partition in partitions {
        let begun = Begun {
            table: table(),
            partition: TopicPartition::new("t", partition),
            first_offset: partition.into(),
        };
        starts.keep(&[begun]).await.unwrap();
    }
}

/// One round this many days from now, of which nothing fails; how many log entries it deleted.
async fn entries_deleted(stand: &Stand, days: i64) -> u64 {
    let (clock, entropy) = (Arc::new(Later(days)), Arc::new(Entropy::from_os()));
    let mut maintainer = Maintainer::new(stand.lake.clone(), clock, entropy, eager());
    let round = maintainer.round(&[]).await;
    assert!(round.failed.is_empty(), "{:?}", round.failed);
    let cleaned = round.housekept.iter().map(|done| &done.log_cleanup);
    cleaned.map(|cleaned| cleaned.entries).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn starts_get_a_checkpoint_and_stay_known() {
    let stand = Stand::new();
    let log = DeltaLog::new(stand.lake.table_store(STARTS_PATH));
    let checkpoint = async || log.hint().await.unwrap().map(|(version, _)| version);
    let opened = || {
        let (clock, entropy) = (Arc::new(SystemClock), Arc::new(Entropy::from_os()));
        Starts::new(&stand.lake, "p", clock, entropy)
    };
    let mut starts = opened();
    begin(&mut starts, 0..99).await;
    assert_eq!(entries_deleted(&stand, 0).await, 0);
    assert_eq!(checkpoint().await, None, "one is not due yet");
    begin(&mut starts, 99..105).await;
    assert_eq!(entries_deleted(&stand, 0).await, 0);
    assert_eq!(checkpoint().await, Some(105));
    begin(&mut starts, 105..107).await;
    assert_eq!(entries_deleted(&stand, 31).await, 105);
    assert_eq!(checkpoint().await, Some(105), "another is not due");
    // By one that comes anew, and by one that was there before.
    begin(&mut starts, 107..108).await;
    let mut anew = opened();
    anew.refresh().await.unwrap();
    for starts in [&starts, &anew] {
        let found = (0..109).map(|number| starts.of(&TopicPartition::new("t", number)));
        let expected = (0..109_i64).map(|number| (number < 108).then_some(number));
        assert!(found.eq(expected));
    }
}
