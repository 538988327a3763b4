//! A lake of several tables: what one of them takes is not for the others to wait for.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures::TryStreamExt;
use object_store::throttle::{ThrottleConfig, ThrottledStore};
use object_store::{ObjectStore, ObjectStoreExt};
use schemas::Shape;
use tokio::time::{Instant, sleep};

use super::housekeeping::Later;
use super::*;
use crate::clock::Clock;
use crate::delta_log::{DeltaLog, write_checkpoint};
use crate::fault_store::{Fault, FaultStore};

fn named(name: &str) -> TableName {
    name.parse().unwrap()
}

/// A lake in memory, in which these entities have changes.
async fn lake_of(names: &[&str]) -> LakeStore {
    let lake = LakeStore::open("memory:///", &[], true).unwrap();
    for name in names {
        let mut changes = Changes::create_of(&lake, named(name), Shape::Upsert).await;
        changes.append_some(1, 0, 20).await;
    }
    lake
}

#[tokio::test(start_paused = true)]
async fn a_table_whose_log_refuses_entries_costs_no_other_one() {
    let lake = lake_of(&["shop.order", "shop.stock"]).await;
    let tries = Arc::new(AtomicUsize::new(0));
    let tried = Arc::clone(&tries);
    let refusing = lake.clone().map_store(|store| {
        let decide = move |path: &object_store::path::Path| {
            let path = path.as_ref();
            let is_refused = path.contains("shop/order/current/_delta_log/");
            match is_refused && !path.ends_with("/00000000000000000000.json") {
                true => {
                    tried.fetch_add(1, Ordering::SeqCst);
                    Fault::FailBefore
                }
                false => Fault::None,
            }
        };
        Arc::new(FaultStore::new(store, decide))
    });
    let mut maintainer = maintained(&refusing, derived_only());
    let begun = Instant::now();
    let round = maintainer.round(&[]).await;
    assert!(
        begun.elapsed() < Duration::from_secs(120),
        "{:?}",
        begun.elapsed()
    );
    assert!(
        tries.load(Ordering::SeqCst) > 3,
        "short troubles are waited out"
    );
    let refreshed: Vec<_> = round.refreshed.iter().map(|done| &done.table).collect();
    assert_eq!(refreshed, [&named("shop.stock")], "{round:?}");
    let [error @ MaintenanceError::Store { .. }] = &round.failed[..] else {
        panic!("{round:?}");
    };
    let error = error.to_string();
    assert!(
        error.contains("shop/order/current") && error.contains("injected"),
        "{error}"
    );
    // When the store does as asked again, so does the next round.
    let done = maintained(&lake, derived_only()).round(&[]).await;
    assert_eq!(
        (done.refreshed.len(), done.failed.len()),
        (1, 0),
        "{done:?}"
    );
}

/// A table with 400 versions and a checkpoint, in so many places of a lake in memory. It is made on disk,
/// as the Delta kernel makes checkpoints there.
fn busy_lake(tables: usize) -> LakeStore {
    let (stand, lake) = (
        Stand::new(),
        LakeStore::open("memory:///", &[], true).unwrap(),
    );
    let runtime = tokio::runtime::Builder::new_multi_thread().build().unwrap();
    runtime.block_on(async {
        let mut changes = Changes::create(&stand.lake, Shape::Upsert).await;
        changes.append_some(1, 0, 20).await;
        while changes.version() < 400 {
            changes.flush(Vec::new(), &[(0, 0)]).await;
        }
        let path = table().changes_path();
        let from = stand.lake.table_store(&path);
        write_checkpoint(&stand.lake, &path, 400).await.unwrap();
        let objects: Vec<_> = from.list(None).try_collect().await.unwrap();
        for object in objects {
            let bytes = from.get(&object.location).await.unwrap();
            let bytes = bytes.bytes().await.unwrap();
            for number in 0..tables {
                let to = lake.table_store(&busy(number).changes_path());
                to.put(&object.location, bytes.clone().into())
                    .await
                    .unwrap();
            }
        }
    });
    lake
}

fn busy(number: usize) -> TableName {
    named(&format!("shop.busy_{number:02}"))
}

/// A month on, 400 entries of each of 50 tables are to be deleted, one after the other, by a store that
/// takes its time. Rows are fresh as promised all the same, and the logs are cleaned up.
#[test]
fn no_table_waits_for_what_is_deleted_of_another() {
    const TABLES: usize = 50;
    let lake = busy_lake(TABLES);
    let wait = Duration::from_millis(20);
    let far = ThrottleConfig {
        wait_get_per_call: wait,
        wait_put_per_call: wait,
        wait_delete_per_call: wait,
        wait_list_per_call: wait,
        wait_list_with_delimiter_per_call: wait,
        ..ThrottleConfig::default()
    };
    let far_lake = lake.clone();
    let far_lake = far_lake.map_store(|store| Arc::new(ThrottledStore::new(store, far)));
    let mut settings = MaintenanceSettings::default();
    settings.compaction.enabled = false;
    let within = 2 * settings.interval;
    let (clock, entropy) = (Arc::new(Later(40)), Arc::new(Entropy::seeded(1)));
    let mut maintainer = Maintainer::new(far_lake, clock, entropy, settings);
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let (_stop, following) = tokio::sync::watch::channel(false);
        let run = maintainer.run(&[], following);
        assert!(tokio::time::timeout(within, run).await.is_err());
        for number in 0..TABLES {
            let table = busy(number);
            let current = DeltaLog::new(lake.table_store(&table.current_path()));
            let state = current.load().await.unwrap();
            assert_eq!(state.map(|state| state.version), Some(1), "{table}");
            let changes = DeltaLog::new(lake.table_store(&table.changes_path()));
            assert_eq!(changes.entry(399).await.unwrap(), None, "{table}");
            assert!(changes.entry(400).await.unwrap().is_some(), "{table}");
        }
    });
}

/// The version of an entity's current table.
async fn current_version(lake: &LakeStore, table: &TableName) -> Option<u64> {
    let log = DeltaLog::new(lake.table_store(&table.current_path()));
    let state = log.load().await.unwrap();
    state.map(|state| state.version)
}

/// A snapshot whose entry takes the store seven seconds keeps no current table from being refreshed: not
/// that of its own entity, nor that of another one.
#[tokio::test(start_paused = true)]
async fn no_refresh_waits_for_a_period_snapshot() {
    let lake = LakeStore::open("memory:///", &[], true).unwrap();
    let names = ["shop.order", "shop.stock"].map(named);
    let mut all = Vec::new();
    for name in &names {
        let mut changes = Changes::create_of(&lake, name.clone(), Shape::Upsert).await;
        changes.append_some(1, 0, 20).await;
        all.push(changes);
    }
    // No change has come for long.
    let clock = Arc::new(Later(400));
    let month = Period::over_at(PeriodLength::Month, clock.now_us(), chrono_tz::UTC);
    let month = month.unwrap().to_string();
    let snapshots = names.each_ref().map(|name| name.period_path(&month, 1));
    let log = format!("{}/_delta_log/", snapshots[0]);
    let slow = lake.clone().map_store(|store| {
        let decide = move |path: &object_store::path::Path| match path.as_ref().contains(&log) {
            true => Fault::Slow,
            false => Fault::None,
        };
        Arc::new(FaultStore::new(store, decide))
    });
    let settings = MaintenanceSettings {
        interval: Duration::from_secs(1),
        periods: vec![PeriodLength::Month],
        period_delay: Duration::ZERO,
        ..derived_only()
    };
    let entropy = Arc::new(Entropy::seeded(1));
    let mut maintainer = Maintainer::new(slow, clock, entropy, settings);
    let looks = async {
        sleep(Duration::from_millis(500)).await;
        for (version, from) in [(2, 20), (3, 40)] {
            for changes in &mut all {
                changes.append_some(version, from, 20).await;
            }
            sleep(Duration::from_secs(2)).await;
            for name in &names {
                let found = current_version(&lake, name).await;
                assert_eq!(found, Some(version), "{name}");
            }
        }
        let is_made = async |number: usize| lake.has_log(&snapshots[number]).await.unwrap();
        assert!(!is_made(0).await && is_made(1).await);
        sleep(Duration::from_secs(10)).await;
        assert!(is_made(0).await);
    };
    let (_stop, following) = tokio::sync::watch::channel(false);
    tokio::select! {
        () = maintainer.run(&[], following) => panic!("nobody stopped it"),
        () = looks => {}
    }
}
