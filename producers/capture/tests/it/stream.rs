//! Changes of several tables, end to end.

use serde_json::json;

use crate::road::Road;

const TABLES: &str = "
    CREATE TABLE seat (id int PRIMARY KEY, holder text);
    ALTER TABLE seat REPLICA IDENTITY FULL;
    CREATE TABLE gate (name char(3), hall int, open boolean, PRIMARY KEY (hall, name));
    ALTER TABLE gate REPLICA IDENTITY FULL;
    CREATE TABLE counter (id bigint PRIMARY KEY, value int);
    CREATE TABLE unwatched (id int PRIMARY KEY)";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_are_events_in_the_order_of_commits() {
    let Some(road) = Road::new(TABLES, &["public.seat", "public.gate", "public.counter"]).await
    else {
        return;
    };
    let running = road.start().await;
    running
        .wait("it streams", |progress| progress.is_streaming())
        .await;
    road.owner
        .run(
            "BEGIN; INSERT INTO seat VALUES (1, 'Ann'), (2, NULL); INSERT INTO unwatched VALUES (1);
             UPDATE seat SET holder = 'Bob' WHERE id = 1; COMMIT;
             BEGIN; INSERT INTO seat VALUES (9, 'never'); ROLLBACK;
             DELETE FROM seat WHERE id = 2;
             INSERT INTO gate VALUES ('A1', 2, true); UPDATE gate SET hall = 3;
             INSERT INTO counter VALUES (5, 1); UPDATE counter SET value = 2; UPDATE counter SET id = 6;
             DELETE FROM counter",
        )
        .await;
    running.wait_confirmed(road.owner.wal_end().await).await;
    running.stop().await;

    let seats = road.view("seat").await;
    let mut landed = seats.landed();
    landed.sort_by_key(|event| event.sequence);
    let told: Vec<_> = landed
        .iter()
        .map(|event| {
            (
                event.op(),
                event.value["before"].clone(),
                event.value["after"].clone(),
            )
        })
        .collect();
    let seat = |id: i32, holder: Option<&str>| json!({"id": id, "holder": holder});
    let null = serde_json::Value::Null;
    assert_eq!(
        told,
        [
            ("c", null.clone(), seat(1, Some("Ann"))),
            ("c", null.clone(), seat(2, None)),
            ("u", seat(1, Some("Ann")), seat(1, Some("Bob"))),
            ("d", seat(2, None), null.clone()),
        ]
    );
    assert!(
        landed
            .iter()
            .all(|event| event.key["id"] == event.value["after"]["id"]
                || event.key["id"] == event.value["before"]["id"])
    );

    // A changed key is a delete and a create; the blanks of a char(n) are part of its value.
    let gates = road.view("gate").await;
    let mut landed = gates.landed();
    landed.sort_by_key(|event| event.sequence);
    let told: Vec<_> = landed
        .iter()
        .map(|event| (event.op(), event.key.clone()))
        .collect();
    let gate = |hall: i32| json!({"hall": hall, "name": "A1 "});
    assert_eq!(told, [("c", gate(2)), ("d", gate(2)), ("c", gate(3))]);

    // With its key alone in the log, the row before is not known.
    let counters = road.view("counter").await;
    let mut landed = counters.landed();
    landed.sort_by_key(|event| event.sequence);
    let told: Vec<_> = landed
        .iter()
        .map(|event| {
            (
                event.op(),
                event.value["before"].clone(),
                event.value["after"].clone(),
            )
        })
        .collect();
    let counter = |id: i64, value: Option<i32>| json!({"id": id, "value": value});
    assert_eq!(
        told,
        [
            ("c", null.clone(), counter(5, Some(1))),
            ("u", null.clone(), counter(5, Some(2))),
            ("d", counter(5, None), null.clone()),
            ("c", null.clone(), counter(6, Some(2))),
            ("d", counter(6, None), null),
        ]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_says_where_it_comes_from() {
    let Some(road) = Road::new(TABLES, &["public.seat"]).await else {
        return;
    };
    let running = road.start().await;
    running
        .wait("it streams", |progress| progress.is_streaming())
        .await;
    let before = road.owner.wal_end().await;
    road.owner.run("INSERT INTO seat VALUES (1, 'Ann')").await;
    let xid: i64 = road
        .owner
        .text("SELECT xmin FROM seat")
        .await
        .parse()
        .unwrap();
    let commit_us: f64 = road
        .owner
        .text("SELECT extract(epoch FROM clock_timestamp()) * 1000000")
        .await
        .parse()
        .unwrap();
    let after = road.owner.wal_end().await;
    running.wait_confirmed(after).await;
    running.stop().await;
    let view = road.view("seat").await;
    let [event] = &view.events[..] else {
        panic!("{:?}", view.events);
    };
    let source = &event.value["source"];
    assert_eq!(source["connector"], "postgresql");
    assert_eq!(source["name"], road.service.as_str());
    assert_eq!(
        (&source["schema"], &source["table"]),
        (&json!("public"), &json!("seat"))
    );
    assert_eq!(
        (&source["snapshot"], &source["txId"]),
        (&json!("false"), &json!(xid))
    );
    let lsn = source["lsn"].as_u64().unwrap();
    assert!(before.0 <= lsn && lsn < after.0);
    let ts_us = source["ts_us"].as_i64().unwrap();
    assert!(
        (ts_us as f64 - commit_us).abs() < 60e6,
        "{ts_us}, {commit_us}"
    );
    assert_eq!(source["ts_ms"], ts_us.div_euclid(1000));
    // The sequence is the commit's, behind the change's own place.
    assert!(u64::try_from(event.sequence.major).unwrap() > lsn);
    assert_eq!(event.sequence.minor, Some(1));
    let system = road
        .owner
        .text("SELECT system_identifier FROM pg_control_system()")
        .await;
    assert!(
        event.headers["ce_source"].contains(&system),
        "{:?}",
        event.headers
    );
    assert_eq!(
        event.headers["ce_type"],
        format!("{}.seat.change", road.service)
    );
    assert!(event.headers["ce_time"].starts_with("20"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_large_and_unchanged_is_never_null() {
    let sql = "CREATE TABLE page (id int PRIMARY KEY, title text, body text);
        ALTER TABLE page ALTER body SET STORAGE EXTERNAL;
        ALTER TABLE page REPLICA IDENTITY FULL";
    let Some(road) = Road::new(sql, &["public.page"]).await else {
        return;
    };
    let running = road.start().await;
    running
        .wait("it streams", |progress| progress.is_streaming())
        .await;
    road.owner
        .run(
            "INSERT INTO page VALUES (1, 'a', repeat('x', 100000)); UPDATE page SET title = 'b';
             UPDATE page SET id = 2; DELETE FROM page",
        )
        .await;
    running.wait_confirmed(road.owner.wal_end().await).await;
    running.stop().await;
    let view = road.view("page").await;
    assert_eq!(view.events.len(), 5);
    for event in &view.events {
        for image in ["before", "after"] {
            if !event.value[image].is_null() {
                assert_eq!(
                    event.value[image]["body"].as_str().map(str::len),
                    Some(100_000),
                    "{}",
                    event.op()
                );
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_whose_tables_rest_moves_with_the_log() {
    let Some(road) = Road::new(TABLES, &["public.seat"]).await else {
        return;
    };
    let running = road.start().await;
    running
        .wait("it streams", |progress| progress.is_streaming())
        .await;
    for _ in 0..5 {
        road.owner
            .run("INSERT INTO unwatched SELECT count(*) + 1 FROM unwatched")
            .await;
        let end = road.owner.wal_end().await;
        running.wait_confirmed(end).await;
    }
    // Postgres knows, not only we do.
    let end = road.owner.wal_end().await;
    let slot = &road.settings.slot;
    let question = format!(
        "SELECT confirmed_flush_lsn >= '{end}' FROM pg_replication_slots WHERE slot_name = '{slot}'"
    );
    let deadline = std::time::Instant::now() + crate::road::PATIENCE;
    while road.owner.text(&question).await != "t" {
        assert!(
            std::time::Instant::now() < deadline,
            "the slot stands still"
        );
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    running
        .wait("the slot is looked at", |progress| {
            progress.retained_bytes() > 0
        })
        .await;
    running.stop().await;
}
