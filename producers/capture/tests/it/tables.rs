//! Tables that are renamed, made again, or left out for a while.

use crate::road::Road;

const TABLES: &str = "
    CREATE TABLE seat (id int PRIMARY KEY, holder text); ALTER TABLE seat REPLICA IDENTITY FULL;
    INSERT INTO seat VALUES (1, 'a'), (2, 'b');
    CREATE TABLE gate (id int PRIMARY KEY)";

async fn refused(road: &Road, parts: &[&str]) {
    let error = road.refused().await.to_string();
    for part in parts {
        assert!(error.contains(part), "{part}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_is_renamed_is_captured_on() {
    let Some(mut road) = Road::new(TABLES, &["public.seat"]).await else {
        return;
    };
    let running = road.start().await;
    running
        .wait("it streams", |progress| progress.is_streaming())
        .await;
    road.owner
        .run(
            "INSERT INTO seat VALUES (3, 'c'); ALTER TABLE seat RENAME TO place;
              INSERT INTO place VALUES (4, 'd')",
        )
        .await;
    running.wait_confirmed(road.owner.wal_end().await).await;
    running.stop().await;
    assert_eq!(road.view("seat").await.rows().len(), 4);
    refused(&road, &["public.seat", "no such table"]).await;
    road.settings.tables[0].name = "place".to_owned();
    road.owner.run("DELETE FROM place WHERE id = 1").await;
    road.capture_all().await;
    let view = road.view("seat").await;
    assert_eq!(view.rows().len(), 3);
    assert_eq!(view.landed().len(), 5, "nothing was copied again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_is_made_again_is_refused_and_one_that_comes_back_is_copied_anew() {
    let Some(mut road) = Road::new(TABLES, &["public.seat", "public.gate"]).await else {
        return;
    };
    road.capture_all().await;
    road.owner
        .run(
            "DROP TABLE seat; CREATE TABLE seat (id int PRIMARY KEY, holder text);
              ALTER TABLE seat REPLICA IDENTITY FULL; INSERT INTO seat VALUES (1, 'new'), (5, 'e')",
        )
        .await;
    // The publication has lost it with the old table.
    refused(&road, &["public.seat was captured", "no longer in it"]).await;
    let publication = &road.settings.publication;
    road.owner
        .run(&format!("ALTER PUBLICATION {publication} ADD TABLE seat"))
        .await;
    refused(&road, &["public.seat", "dropped and made again"]).await;

    // What the message says: left out once, it is copied anew.
    let seat = road.settings.tables.remove(0);
    road.capture_all().await;
    road.owner
        .run("UPDATE seat SET holder = 'f' WHERE id = 5")
        .await;
    road.settings.tables.insert(0, seat);
    road.capture_all().await;
    road.owner.run("INSERT INTO seat VALUES (6, 'g')").await;
    road.capture_all().await;
    let rows = road.view("seat").await.rows();
    let holders: Vec<_> = rows.values().map(|row| row["holder"].as_str()).collect();
    // Row 2 was deleted while nobody looked: it stays, as the page says.
    assert_eq!(holders, [Some("new"), Some("b"), Some("f"), Some("g")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_is_made_again_while_it_is_captured_stops_by_name() {
    let Some(road) = Road::new(TABLES, &["public.seat"]).await else {
        return;
    };
    let publication = &road.settings.publication;
    road.owner
        .run(&format!("CREATE PUBLICATION {publication} FOR ALL TABLES"))
        .await;
    let running = road.start().await;
    running
        .wait("it streams", |progress| progress.is_streaming())
        .await;
    road.owner
        .run(
            "DROP TABLE seat; CREATE TABLE seat (id int PRIMARY KEY, holder text);
              ALTER TABLE seat REPLICA IDENTITY FULL; INSERT INTO seat VALUES (7, 'h')",
        )
        .await;
    let error = running.task.await.unwrap().unwrap_err().to_string();
    assert!(error.contains("dropped and made again"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_that_was_not_logged_stops_by_name() {
    let sql = "CREATE TABLE seat (id int PRIMARY KEY, holder text, changed int);
        ALTER TABLE seat ALTER holder SET STORAGE EXTERNAL; ALTER TABLE seat REPLICA IDENTITY FULL;
        INSERT INTO seat VALUES (1, repeat('x', 100000), 0)";
    let Some(road) = Road::new(sql, &["public.seat"]).await else {
        return;
    };
    road.capture_all().await;
    // While nobody looks: the log lacks the value, and the catalog says that it has it.
    road.owner
        .run(
            "ALTER TABLE seat REPLICA IDENTITY DEFAULT; UPDATE seat SET changed = 1;
              ALTER TABLE seat REPLICA IDENTITY FULL",
        )
        .await;
    let parts = ["public.seat", "\"holder\"", "id = 1", "did not log it"];
    refused(&road, &parts).await;
    let landed = road.view("seat").await.landed();
    assert_eq!(landed.len(), 1, "nothing was made up");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_published_is_not_read_again_although_the_slot_was_not_told() {
    let Some(road) = Road::new(
        "CREATE TABLE seat (id int PRIMARY KEY, holder text, changed int);
         ALTER TABLE seat REPLICA IDENTITY FULL",
        &["public.seat"],
    )
    .await
    else {
        return;
    };
    road.capture_all().await;
    // A saved position is ahead of the slot's when the process dies in between.
    road.owner.run("INSERT INTO seat VALUES (1, 'a', 0)").await;
    let progress = road.capture_all().await;
    let saved = std::fs::read_to_string(road.state_directory().join("capture.json")).unwrap();
    road.owner.run("INSERT INTO seat VALUES (2, 'b', 0)").await;
    let end = road.owner.wal_end().await;
    let saved = saved.replace(&progress.confirmed().to_string(), &end.to_string());
    std::fs::write(road.state_directory().join("capture.json"), saved).unwrap();
    road.owner.run("INSERT INTO seat VALUES (3, 'c', 0)").await;
    road.capture_all().await;
    // Row 2 counts as published: the position says so.
    assert_eq!(road.view("seat").await.rows().len(), 2);
}
