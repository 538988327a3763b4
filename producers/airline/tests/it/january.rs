//! January 2013, whole.

use std::time::Instant;

use airline::{FlightInventory, Period, ReplayProgress};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, SqliteConnection};
use tokio_util::sync::CancellationToken;

async fn number(connection: &mut SqliteConnection, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(connection).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn january_is_replayed_with_an_interruption() {
    let dir = tempfile::tempdir().unwrap();
    let inventory = FlightInventory::open(dir.path(), Period::January)
        .await
        .unwrap();
    let progress = ReplayProgress::default();
    let cancel = CancellationToken::new();
    let started = Instant::now();
    let interrupted = async {
        while progress.written() < 1_000 {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        cancel.cancel();
    };
    let (finished, ()) = tokio::join!(inventory.replay(&progress, &cancel), interrupted);
    assert!(!finished.unwrap());
    assert!((1_000..80_406).contains(&progress.written()));

    let inventory = FlightInventory::open(dir.path(), Period::January)
        .await
        .unwrap();
    assert!(
        inventory
            .replay(&progress, &CancellationToken::new())
            .await
            .unwrap()
    );
    let rate = 80_406.0 / started.elapsed().as_secs_f64();
    eprintln!("{rate:.0} changes/s, one transaction each");
    assert_eq!((progress.written(), progress.total()), (80_406, 80_406));
    assert_eq!(inventory.outbox_end().await.unwrap(), 80_406);

    let mut connection = SqliteConnectOptions::new()
        .filename(inventory.database())
        .connect()
        .await
        .unwrap();
    for (sql, expected) in [
        ("SELECT count(*) FROM flight", 27_004),
        (
            "SELECT count(*) FROM flight WHERE status = 'cancelled'",
            521,
        ),
        (
            "SELECT count(*) FROM flight WHERE status = 'arrived'",
            26_398,
        ),
        ("SELECT count(*) FROM flight WHERE status = 'departed'", 85),
        ("SELECT count(*) FROM outbox", 80_406),
        ("SELECT count(DISTINCT event_id) FROM outbox", 80_406),
        ("SELECT count(*) FROM outbox WHERE op = 'c'", 27_004),
        (
            "SELECT sum(event_time_us / 1000000) FROM outbox",
            109_217_995_485_540,
        ),
    ] {
        assert_eq!(number(&mut connection, sql).await, expected, "{sql}");
    }
}
