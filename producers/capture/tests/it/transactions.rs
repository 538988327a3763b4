//! What is told of transactions.

use serde_json::{Value, json};

use crate::road::Road;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_is_told_with_how_much_it_changed_where() {
    let sql = "CREATE TABLE seat (id int PRIMARY KEY, holder text); ALTER TABLE seat REPLICA IDENTITY FULL;
        CREATE TABLE gate (id int PRIMARY KEY); ALTER TABLE gate REPLICA IDENTITY FULL;
        CREATE TABLE unwatched (id int)";
    let Some(road) = Road::new(sql, &["public.seat", "public.gate"]).await else {
        return;
    };
    let running = road.start().await;
    running
        .wait("it streams", |progress| progress.is_streaming())
        .await;
    road.owner
        .run(
            "BEGIN; INSERT INTO seat VALUES (1, 'a'), (2, 'b'); INSERT INTO gate VALUES (1);
             UPDATE seat SET id = 3 WHERE id = 2; COMMIT;
             INSERT INTO unwatched VALUES (1);
             DELETE FROM gate",
        )
        .await;
    running.wait_confirmed(road.owner.wal_end().await).await;
    running.stop().await;

    let mut told = road.view("transaction").await.landed();
    told.sort_by_key(|event| event.sequence);
    let shape: Vec<(&Value, &Value, &Value)> = told
        .iter()
        .map(|event| {
            (
                &event.value["status"],
                &event.value["event_count"],
                &event.value["data_collections"],
            )
        })
        .collect();
    let count = |table: &str, events: i64| json!({"data_collection": table, "event_count": events});
    assert_eq!(
        shape,
        [
            (&json!("BEGIN"), &Value::Null, &Value::Null),
            (
                &json!("END"),
                &json!(5),
                &json!([count("public.gate", 1), count("public.seat", 4)])
            ),
            (&json!("BEGIN"), &Value::Null, &Value::Null),
            (&json!("END"), &json!(1), &json!([count("public.gate", 1)])),
        ]
    );
    let first = &told[0].value["id"];
    assert!(
        told.iter()
            .all(|event| event.key["id"] == event.value["id"])
    );
    let mut events = road.view("seat").await.landed();
    events.extend(road.view("gate").await.landed());
    events.sort_by_key(|event| event.sequence);
    let block = |event: &crate::view::Event| {
        let block = &event.value["transaction"];
        (
            block["id"] == *first,
            block["total_order"].as_i64(),
            block["data_collection_order"].as_i64(),
        )
    };
    let blocks: Vec<_> = events.iter().map(block).collect();
    assert_eq!(
        blocks,
        [
            (true, Some(1), Some(1)),
            (true, Some(2), Some(2)),
            (true, Some(3), Some(1)),
            (true, Some(4), Some(3)),
            (true, Some(5), Some(4)),
            (false, Some(1), Some(1)),
        ]
    );
}
