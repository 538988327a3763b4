//! Tables that change while they are captured.

use crate::road::Road;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_changes_has_a_schema_of_every_time() {
    let sql = "CREATE TABLE seat (id int PRIMARY KEY, holder text, gone int);
        ALTER TABLE seat REPLICA IDENTITY FULL; INSERT INTO seat VALUES (1, 'a', 1)";
    let Some(road) = Road::new(sql, &["public.seat"]).await else {
        return;
    };
    road.capture_all().await;
    // Everything at once, so that what is read is older than the catalog.
    road.owner
        .run(
            "INSERT INTO seat VALUES (2, 'b', 2);
             ALTER TABLE seat ADD COLUMN row_number int; INSERT INTO seat VALUES (3, 'c', 3, 3);
             ALTER TABLE seat DROP COLUMN gone; INSERT INTO seat VALUES (4, 'd', 4);
             ALTER TABLE seat ALTER row_number TYPE bigint; INSERT INTO seat VALUES (5, 'e', 5000000000);
             ALTER TABLE seat RENAME holder TO guest; UPDATE seat SET guest = 'f' WHERE id = 5",
        )
        .await;
    road.capture_all().await;
    let mut events = road.view("seat").await.landed();
    events.sort_by_key(|event| event.sequence);
    let after: Vec<String> = events
        .iter()
        .map(|event| event.value["after"].to_string())
        .collect();
    assert_eq!(
        after,
        [
            r#"{"gone":1,"holder":"a","id":1}"#,
            r#"{"gone":2,"holder":"b","id":2}"#,
            r#"{"gone":3,"holder":"c","id":3,"row_number":3}"#,
            r#"{"holder":"d","id":4,"row_number":4}"#,
            r#"{"holder":"e","id":5,"row_number":5000000000}"#,
            r#"{"guest":"f","id":5,"row_number":5000000000}"#,
        ]
    );
    assert_eq!(events[0].schema, events[1].schema);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_readers_cannot_follow_stops_by_name() {
    let sql = "CREATE TABLE seat (id int PRIMARY KEY, size bigint); ALTER TABLE seat REPLICA IDENTITY FULL";
    let Some(road) = Road::new(sql, &["public.seat"]).await else {
        return;
    };
    road.capture_all().await;
    road.owner
        .run("ALTER TABLE seat ALTER size TYPE boolean USING size > 0; INSERT INTO seat VALUES (1, true)")
        .await;
    let error = road.refused().await.to_string();
    let topic = format!("{}.seat", road.service);
    assert!(error.contains(&topic) && error.contains("size"), "{error}");
}
