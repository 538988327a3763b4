//! Memory: what does not fit is spilled, or fails by name, and nothing dies.

use query_engine::EngineSettings;

use crate::lake::{Change, Lake, row};

const KEYS: i64 = 60_000;

async fn lake(memory_bytes_max: usize) -> Lake {
    let settings = EngineSettings::with_memory(memory_bytes_max);
    let lake = Lake::with_settings(&settings);
    lake.create("crew", "pilot").await;
    let changes: Vec<Change> = (0..KEYS)
        .map(|number| {
            Change::new(
                "c",
                number,
                row("NCE", number, Some("a name of some length")),
            )
        })
        .collect();
    lake.append(&changes).await;
    lake
}

#[tokio::test(flavor = "multi_thread")]
async fn sorting_more_than_fits_spills() {
    let lake = Lake::with_settings(&EngineSettings::with_memory(24 << 20));
    let sql = "SELECT max(n) FROM (
            SELECT row_number() OVER (ORDER BY value % 1000, value) AS n
            FROM generate_series(1, 3000000)
        )";
    assert_eq!(lake.number(sql).await, 3_000_000);
    let ran = lake.table(&format!("EXPLAIN ANALYZE {sql}")).await;
    let spilled = ran
        .split("spill_count=")
        .skip(1)
        .any(|count| !count.starts_with('0'));
    assert!(spilled, "{ran}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_spilled_fails_by_name_and_the_next_statement_works() {
    let lake = lake(1 << 20).await;
    let error = lake
        .error("SELECT array_agg(name ORDER BY number) FROM crew.pilot_changes")
        .await;
    assert!(error.starts_with("out of memory"), "{error}");
    assert_eq!(
        lake.number("SELECT count(*) FROM crew.pilot_changes").await,
        KEYS
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_current_state_of_more_keys_than_fit_is_still_computed() {
    let lake = lake(12 << 20).await;
    assert!(
        lake.table("EXPLAIN SELECT * FROM crew.pilot")
            .await
            .contains("SortMergeJoin")
    );
    assert_eq!(lake.number("SELECT count(*) FROM crew.pilot").await, KEYS);
    assert_eq!(
        lake.number("SELECT count(*) FROM crew.pilot WHERE name IS NOT NULL")
            .await,
        KEYS
    );
}
