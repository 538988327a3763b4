//! What is refused, by name and with the statement that mends it.

use std::time::{Duration, Instant};

use capture::OnTruncate;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions};
use rdkafka::client::DefaultClientContext;

use crate::road::{PATIENCE, Road};

const TABLE: &str =
    "CREATE TABLE seat (id int PRIMARY KEY, holder text); ALTER TABLE seat REPLICA IDENTITY FULL";

async fn assert_refused(road: &Road, parts: &[&str]) {
    let error = road.refused().await.to_string();
    for part in parts {
        assert!(error.contains(part), "{part}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_logs_too_little_is_refused() {
    for (sql, part) in [
        (
            "CREATE TABLE seat (id int PRIMARY KEY, holder text)",
            "\"holder\"",
        ),
        (
            "CREATE TABLE seat (id int PRIMARY KEY); ALTER TABLE seat REPLICA IDENTITY NOTHING",
            "NOTHING",
        ),
        (
            "CREATE TABLE seat (id int); ALTER TABLE seat REPLICA IDENTITY FULL",
            "primary key",
        ),
        ("CREATE VIEW seat AS SELECT 1 AS id", "not a table"),
        (
            "CREATE UNLOGGED TABLE seat (id int PRIMARY KEY)",
            "unlogged",
        ),
        (
            "CREATE TABLE seat (id int PRIMARY KEY) PARTITION BY RANGE (id)",
            "partitions",
        ),
        (
            "CREATE TABLE seat (id int PRIMARY KEY, \"a b\" int)",
            "\"a b\"",
        ),
        ("CREATE TABLE other (id int)", "no such table"),
    ] {
        let Some(road) = Road::new(sql, &["public.seat"]).await else {
            return;
        };
        assert_refused(&road, &["public.seat", part]).await;
    }
    let sql = "CREATE TABLE seat (id int PRIMARY KEY, other int NOT NULL UNIQUE)";
    let Some(mut road) = Road::new(sql, &["public.seat"]).await else {
        return;
    };
    road.settings.tables[0].key = vec!["other".to_owned()];
    assert_refused(
        &road,
        &["public.seat", "\"other\"", "REPLICA IDENTITY FULL;"],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publication_that_leaves_something_out_is_refused() {
    let Some(road) = Road::new(TABLE, &["public.seat"]).await else {
        return;
    };
    let name = &road.settings.publication;
    road.owner
        .run(&format!(
            "CREATE PUBLICATION {name} FOR TABLE seat WITH (publish = 'insert')"
        ))
        .await;
    assert_refused(&road, &[name, "operations", "SET (publish"]).await;
    let has_filters = "SELECT current_setting('server_version_num')::int >= 150000";
    if road.owner.text(has_filters).await != "t" {
        return;
    }
    road.owner
        .run(&format!(
            "DROP PUBLICATION {name}; CREATE PUBLICATION {name} FOR TABLE seat WHERE (id > 5)"
        ))
        .await;
    assert_refused(&road, &[name, "some rows of public.seat"]).await;
    road.owner
        .run(&format!(
            "DROP PUBLICATION {name}; CREATE PUBLICATION {name} FOR TABLE seat (id)"
        ))
        .await;
    assert_refused(&road, &[name, "some columns of public.seat"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_truncated_table_stops_the_capture_unless_it_is_accepted() {
    let Some(mut road) = Road::new(TABLE, &["public.seat"]).await else {
        return;
    };
    road.capture_all().await;
    road.owner
        .run("INSERT INTO seat VALUES (1, 'a'); TRUNCATE seat; INSERT INTO seat VALUES (2, 'b')")
        .await;
    assert_refused(&road, &["public.seat", "truncated at LSN", "on_truncate"]).await;
    // Everything before it is published.
    assert_eq!(road.view("seat").await.rows().len(), 1);
    road.settings.on_truncate = OnTruncate::Ignore;
    road.capture_all().await;
    assert_eq!(road.view("seat").await.rows().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_that_lost_something_is_refused() {
    let Some(mut road) = Road::new(TABLE, &["public.seat"]).await else {
        return;
    };
    road.settings.slot_unbounded = false;
    assert_refused(&road, &["max_slot_wal_keep_size", "slot_unbounded"]).await;
    road.settings.slot_unbounded = true;
    road.capture_all().await;
    let slot = road.settings.slot.clone();

    // Moved by somebody.
    road.owner.run("INSERT INTO seat VALUES (1, 'a')").await;
    road.with_slot("SELECT pg_replication_slot_advance($slot, pg_current_wal_lsn())")
        .await;
    assert_refused(
        &road,
        &[&slot, "moved or made again", "pg_drop_replication_slot"],
    )
    .await;

    // Gone.
    road.with_slot("SELECT pg_drop_replication_slot($slot)")
        .await;
    assert_refused(&road, &[&slot, "it is gone", "capture"]).await;

    // Made again by hand.
    road.with_slot("SELECT pg_create_logical_replication_slot($slot, 'pgoutput')")
        .await;
    assert_refused(&road, &[&slot, "moved or made again"]).await;

    // There, but unknown.
    std::fs::remove_dir_all(road.state_directory()).unwrap();
    assert_refused(&road, &[&slot, "knows nothing of it"]).await;
    road.with_slot("SELECT pg_drop_replication_slot($slot)")
        .await;
    road.with_slot("SELECT pg_create_logical_replication_slot($slot, 'test_decoding')")
        .await;
    assert_refused(&road, &[&slot, "test_decoding"]).await;
    road.with_slot("SELECT pg_drop_replication_slot($slot)")
        .await;

    // From the beginning again, as the message says: every row lands a second time, as what it is now.
    road.capture_all().await;
    assert_eq!(road.view("seat").await.rows().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_database_under_the_same_directory_is_refused() {
    let Some(mut road) = Road::new(TABLE, &["public.seat"]).await else {
        return;
    };
    road.capture_all().await;
    // The database of another test, with the same table: its slot, too, is unknown here.
    let Some(other) = Road::new(TABLE, &["public.seat"]).await else {
        return;
    };
    road.settings.server = other.owner.server();
    assert_refused(
        &road,
        &["is not the database that was captured", "directory"],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_whose_rows_a_policy_hides_is_refused() {
    let Some(mut road) = Road::new(TABLE, &["public.seat"]).await else {
        return;
    };
    let (role, publication) = (&road.service, &road.settings.publication);
    road.owner
        .run(&format!(
            "INSERT INTO seat VALUES (1, 'Ann'); ALTER TABLE seat ENABLE ROW LEVEL SECURITY; \
             CREATE PUBLICATION {publication} FOR TABLE seat; \
             CREATE ROLE {role} LOGIN REPLICATION PASSWORD 'secret'; GRANT SELECT ON seat TO {role}"
        ))
        .await;
    let (_, place) = road.owner.url.rsplit_once('@').unwrap();
    road.settings.server = format!("postgres://{role}:secret@{place}").parse().unwrap();
    assert_refused(&road, &["row-level security", "seat"]).await;
}

/// librdkafka sends to added partitions as soon as it knows them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_that_are_added_while_the_capture_runs_end_it_by_name() {
    let Some(road) = Road::new(TABLE, &["public.seat"]).await else {
        return;
    };
    let running = road.start().await;
    road.owner
        .run("INSERT INTO seat SELECT n, '' FROM generate_series(1, 50) n")
        .await;
    running.wait_confirmed(road.owner.wal_end().await).await;
    let topic = format!("{}.seat", road.service);
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", &road.brokers)
        .create()
        .unwrap();
    let more = NewPartitions::new(&topic, 7);
    let added = admin.create_partitions([&more], &AdminOptions::new()).await;
    added.unwrap()[0].as_ref().unwrap();
    let deadline = Instant::now() + PATIENCE;
    while !running.task.is_finished() {
        assert!(Instant::now() < deadline, "it runs on");
        road.owner
            .run("UPDATE seat SET holder = holder || 'x'")
            .await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let error = running.task.await.unwrap().unwrap_err().to_string();
    assert!(
        error.contains(&format!("{topic:?} had 3 partitions")),
        "{error}"
    );
    // So it stays.
    assert_refused(&road, &[&topic, "had 3 partitions and now 7 are known"]).await;
}
