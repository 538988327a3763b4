use change_events::OutboxRow;

use super::*;
use crate::Period;

/// Changes that the test steps through one by one.
const STEPS: u64 = 400;

async fn outbox(inventory: &FlightInventory) -> Vec<OutboxRow> {
    let mut connection = inventory.connect().await.unwrap();
    let mut rows = Outbox::after(&mut connection, 0, 1_000_000).await.unwrap();
    // Ids are made anew in each run of the service.
    rows.iter_mut().for_each(|row| row.event_id.clear());
    rows
}

async fn table(inventory: &FlightInventory) -> Vec<String> {
    let mut connection = inventory.connect().await.unwrap();
    sqlx::query_scalar(
        "SELECT json_array(year, month, day, dep_time, sched_dep_time, dep_delay, arr_time, \
         sched_arr_time, arr_delay, carrier, flight, tailnum, origin, dest, air_time, distance, \
         hour, minute, time_hour, status) FROM flight ORDER BY 1",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap()
}

/// The table as the events tell it.
fn folded(rows: &[OutboxRow]) -> Vec<String> {
    let mut state = std::collections::BTreeMap::new();
    for row in rows {
        assert_eq!(
            state.get(&row.key),
            row.before.as_ref(),
            "row {}",
            row.sequence
        );
        state.insert(row.key.clone(), row.after.clone().unwrap());
    }
    let mut rows: Vec<String> = state
        .values()
        .map(|row| {
            let row: serde_json::Value = serde_json::from_str(row).unwrap();
            let columns = crate::data_set::header().unwrap();
            let values: Vec<String> = columns
                .iter()
                .chain(["status"])
                .map(|name| row[name].to_string())
                .collect();
            format!("[{}]", values.join(","))
        })
        .collect();
    rows.sort();
    rows
}

#[tokio::test]
async fn a_replay_that_is_opened_again_at_every_position_goes_on_exactly() {
    let timetable = Timetable::load(Period::January).unwrap();
    let (stepped_dir, straight_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for position in 0..STEPS {
        let inventory = FlightInventory::open(stepped_dir.path(), Period::January)
            .await
            .unwrap();
        let mut replay = Replay::new(&inventory, &timetable).await.unwrap();
        assert_eq!(replay.position().await.unwrap(), position);
        replay.apply(position).await.unwrap();
    }
    let stepped = FlightInventory::open(stepped_dir.path(), Period::January)
        .await
        .unwrap();
    let straight = FlightInventory::open(straight_dir.path(), Period::January)
        .await
        .unwrap();
    assert_ne!(stepped.source(), straight.source());
    let mut replay = Replay::new(&straight, &timetable).await.unwrap();
    for position in 0..STEPS {
        replay.apply(position).await.unwrap();
    }
    let rows = outbox(&straight).await;
    assert_eq!(rows.len() as u64, STEPS);
    assert_eq!(outbox(&stepped).await, rows);
    assert_eq!(table(&stepped).await, table(&straight).await);
    assert_eq!(table(&straight).await, folded(&rows));
    assert_eq!(
        straight.outbox_end().await.unwrap(),
        i64::try_from(STEPS).unwrap()
    );
}

#[tokio::test]
async fn a_change_is_applied_once_or_not_at_all() {
    let timetable = Timetable::load(Period::January).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let inventory = FlightInventory::open(dir.path(), Period::January)
        .await
        .unwrap();
    let mut first = Replay::new(&inventory, &timetable).await.unwrap();
    first.apply(0).await.unwrap();
    // A second process that started at the same position.
    let mut second = Replay::new(&inventory, &timetable).await.unwrap();
    let error = second.apply(0).await.unwrap_err();
    assert!(matches!(
        error,
        InventoryError::OutOfStep { .. } | InventoryError::Database { .. }
    ));
    drop(second);
    assert_eq!(first.position().await.unwrap(), 1);
    assert_eq!(outbox(&inventory).await.len(), 1);
    first.apply(1).await.unwrap();
}

#[tokio::test]
async fn another_periods_database_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    FlightInventory::open(dir.path(), Period::January)
        .await
        .unwrap();
    let error = FlightInventory::open(dir.path(), Period::Year)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("January 2013"), "{error}");
}
