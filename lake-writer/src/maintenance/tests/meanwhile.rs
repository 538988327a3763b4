//! Another process that is first, at whatever moment of a round.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use schemas::Shape;

use super::changes::{Placed, read, read_at};
use super::periods::{Office, maintainer, us};
use super::*;
use crate::delta_log::DeltaLog;
use crate::maintenance::fixture::stored_in;

/// More than a round takes.
const POLLS_MAX: usize = 400;

/// The rows of a period's newest revision.
async fn newest_of(office: &Office, period: &str) -> Option<Vec<Placed>> {
    let mut newest = None;
    for revision in 1..5 {
        let path = table().period_path(period, revision);
        if office.stand.lake.has_log(&path).await.unwrap() {
            newest = Some(read_at(&office.stand.lake, &path, None).await);
        }
    }
    newest
}

/// Goes so far with a round, then does something else to its end, then goes on. Also whether the round
/// had ended before.
async fn interrupted<T>(
    round: impl Future<Output = T>,
    polls: usize,
    meanwhile: impl Future<Output = ()>,
) -> (T, bool) {
    let (mut round, mut left) = (pin!(round), polls);
    let early = poll_fn(|context| match round.as_mut().poll(context) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending if left == 0 => Poll::Ready(None),
        Poll::Pending => {
            left -= 1;
            Poll::Pending
        }
    });
    match early.await {
        Some(done) => (done, true),
        None => {
            meanwhile.await;
            (round.await, false)
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_that_is_overtaken_says_so_and_nothing_else() {
    for polls in 0..POLLS_MAX {
        let stand = Stand::new();
        let mut changes = Changes::create(&stand.lake, Shape::Upsert).await;
        changes.append_some(1, 0, 20).await;
        let plain = || stand.maintainer(ByteSize::kib(1), ByteSize::mib(16));
        let (mut one, mut other) = (plain(), plain());
        refresh(&mut one).await;
        changes.append_some(2, 20, 20).await;
        let meanwhile = Box::pin(async {
            changes.append_some(3, 40, 20).await;
            refresh(&mut other).await;
        });
        let (round, is_over) = interrupted(Box::pin(one.round(&[])), polls, meanwhile).await;
        assert!(round.failed.is_empty(), "after {polls}: {:?}", round.failed);
        assert_eq!(garbage(&stand.lake).await, no_files(), "after {polls}");
        refresh(&mut one).await;
        assert_eq!(
            read(&stand.lake, None).await,
            changes.fold(),
            "after {polls}"
        );
        if is_over {
            assert!(polls > 10, "{polls}");
            return;
        }
    }
    panic!("a round takes more than {POLLS_MAX} polls");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retention_finds_nothing_wrong_with_changes_and_a_refresh_that_come_meanwhile() {
    for polls in 0..POLLS_MAX {
        let mut office = Office::new("2100-01-01T00:00:00Z", &[]).await;
        office.changes.append_some(1, 0, 20).await;
        refresh(&mut office.maintainer).await;
        let clock = Arc::clone(&office.clock) as _;
        let entropy = Arc::new(Entropy::from_os());
        let retention = Retention::new(&office.stand.lake, &table(), 1, clock, entropy);
        let (changes, maintainer) = (&mut office.changes, &mut office.maintainer);
        let meanwhile = Box::pin(async {
            changes.append_some(2, 20, 20).await;
            refresh(maintainer).await;
        });
        let (report, is_over) = interrupted(Box::pin(retention.run()), polls, meanwhile).await;
        let report = report.unwrap_or_else(|error| panic!("after {polls}: {error}"));
        if is_over {
            // How often it waits is up to the threads that read: seldom where they are quick.
            assert!(polls > 2 && !report.dates.is_empty(), "{polls}: {report:?}");
            return;
        }
        refresh(&mut office.maintainer).await;
        assert_eq!(
            read(&office.stand.lake, None).await,
            office.changes.fold(),
            "after {polls}"
        );
    }
    panic!("a retention takes more than {POLLS_MAX} polls");
}

/// It takes longer than the time between two refreshes of a busy table.
#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_that_is_overtaken_goes_on_from_what_it_has_written() {
    for polls in 0..POLLS_MAX {
        let stand = Stand::new();
        let mut changes = Changes::create(&stand.lake, Shape::Upsert).await;
        changes.append_some(1, 0, 20).await;
        let plain = || stand.maintainer(ByteSize::kib(1), ByteSize::mib(16));
        let (mut one, mut other) = (plain(), plain());
        refresh(&mut one).await;
        changes.append_some(2, 20, 20).await;
        let meanwhile = Box::pin(async {
            changes.append_some(3, 40, 20).await;
            refresh(&mut other).await;
        });
        let name = table();
        let rebuild = Box::pin(one.rebuild(&name));
        let (rebuilt, is_over) = interrupted(rebuild, polls, meanwhile).await;
        assert!(rebuilt.is_ok_and(|done| done.from_all), "after {polls}");
        assert_eq!(
            read(&stand.lake, None).await,
            changes.fold(),
            "after {polls}"
        );
        assert_eq!(garbage(&stand.lake).await, no_files(), "after {polls}");
        if is_over {
            assert!(polls > 10, "{polls}");
            return;
        }
    }
    panic!("a rebuild takes more than {POLLS_MAX} polls");
}

/// Data files of the current table that no version of it ever had.
async fn garbage(lake: &LakeStore) -> Vec<String> {
    let log = DeltaLog::new(lake.table_store(&table().current_path()));
    let known = log.inventory().await.unwrap().unwrap();
    let left = log.left().await;
    let stored = stored_in(&log).await.into_iter();
    stored
        .filter(|path| !known.files.contains_key(path) && !left.contains(path))
        .collect()
}

fn no_files() -> Vec<String> {
    Vec::new()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_revision_has_every_change_that_came_late_meanwhile() {
    let (june, until) = ("2026-06", us("2026-06-30T22:00:00Z"));
    for polls in 0..POLLS_MAX {
        let months = [PeriodLength::Month];
        let mut office = Office::new("2026-07-01T12:00:00Z", &months).await;
        office.change(1, "c", 1, "2026-06-10T12:00:00Z").await;
        let mut slow = maintainer(&office.stand, &office.clock, &months);
        let meanwhile = Box::pin(async {
            office.change(2, "c", 2, "2026-06-11T12:00:00Z").await;
            office.round().await;
        });
        let (round, is_over) = interrupted(Box::pin(slow.round(&[])), polls, meanwhile).await;
        assert!(round.failed.is_empty(), "after {polls}: {:?}", round.failed);
        // A round more of each, in whatever order, and there is nothing left to be done.
        for maintainer in [&mut slow, &mut office.maintainer] {
            let round = maintainer.round(&[]).await;
            assert!(round.failed.is_empty(), "after {polls}: {:?}", round.failed);
        }
        let newest = newest_of(&office, june).await;
        let expected = office.changes.fold_until(until);
        assert_eq!(newest, Some(expected), "after {polls}");
        if is_over {
            assert!(polls > 10, "{polls}");
            return;
        }
    }
    panic!("a round takes more than {POLLS_MAX} polls");
}

/// The other one is killed when it has made the snapshot and not registered it.
#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_of_later_changes_is_not_followed_by_one_of_earlier_changes() {
    let (june, until) = ("2026-06", us("2026-06-30T22:00:00Z"));
    for polls in 0..POLLS_MAX {
        let months = [PeriodLength::Month];
        let mut office = Office::new("2026-07-01T12:00:00Z", &months).await;
        office.change(1, "c", 1, "2026-06-10T12:00:00Z").await;
        let mut slow = maintainer(&office.stand, &office.clock, &months);
        let path = table().period_path(june, 1);
        let entry = office.stand.lake.table_url(&path).to_file_path().unwrap();
        let entry = entry.join("_delta_log/00000000000000000000.json");
        let meanwhile = Box::pin(async {
            office.change(2, "c", 2, "2026-06-11T12:00:00Z").await;
            let mut round = pin!(office.maintainer.round(&[]));
            poll_fn(|context| match round.as_mut().poll(context) {
                Poll::Pending if !entry.exists() => Poll::Pending,
                _ => Poll::Ready(()),
            })
            .await;
        });
        let (round, is_over) = interrupted(Box::pin(slow.round(&[])), polls, meanwhile).await;
        assert!(round.failed.is_empty(), "after {polls}: {:?}", round.failed);
        if is_over {
            assert!(polls > 10, "{polls}");
            return;
        }
        office.round().await;
        assert_eq!(
            newest_of(&office, june).await,
            Some(office.changes.fold_until(until)),
            "after {polls}"
        );
        let third = table().period_path(june, 3);
        let is_there = office.stand.lake.has_log(&third).await.unwrap();
        assert!(
            !is_there,
            "after {polls}: one of earlier changes in between"
        );
    }
    panic!("a round takes more than {POLLS_MAX} polls");
}
