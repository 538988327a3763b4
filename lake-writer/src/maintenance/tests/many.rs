//! A lake of several tables: what one of them takes is not for the others to wait for.

use std::sync::atomic::{AtomicUsize, Ordering};

use schemas::Shape;
use tokio::time::Instant;

use super::*;
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
