//! Publications that leave something out for a while, under a capture that runs or between two.

use std::time::{Duration, Instant};

use capture::CapturedTable;

use crate::road::{PATIENCE, Road, Running};
use crate::watermarks::marks;

const TABLES: &str = "
    CREATE TABLE seat (id int PRIMARY KEY, holder text); ALTER TABLE seat REPLICA IDENTITY FULL;
    INSERT INTO seat VALUES (1, 'a'), (2, 'b');
    CREATE TABLE gate (id int PRIMARY KEY)";

/// What is done to a publication, in transactions of their own, and a part of the error.
type Case = (&'static [&'static str], &'static str);

const TAKEN_OUT: Case = (
    &[
        "ALTER PUBLICATION $ DROP TABLE seat",
        "INSERT INTO seat VALUES (3, 'c')",
        "ALTER PUBLICATION $ ADD TABLE seat",
    ],
    "public.seat was captured and ",
);

const CASES: [Case; 4] = [
    TAKEN_OUT,
    (
        &[
            "ALTER PUBLICATION $ SET (publish = 'insert')",
            "UPDATE seat SET holder = 'c' WHERE id = 1",
            "ALTER PUBLICATION $ SET (publish = 'insert, update, delete, truncate')",
        ],
        "the publication was altered since",
    ),
    (
        &["ALTER PUBLICATION $ SET (publish_via_partition_root = true)"],
        "the publication was altered since",
    ),
    (
        &[
            "DROP TABLE seat; CREATE TABLE seat (id int PRIMARY KEY, holder text);
             ALTER TABLE seat REPLICA IDENTITY FULL",
            "INSERT INTO seat VALUES (7, 'h')",
        ],
        "dropped and made again",
    ),
];

impl Road {
    /// Runs each of the statements, `$` in them being the publication.
    async fn publishing(&self, statements: &[&str]) {
        for sql in statements {
            let sql = sql.replace('$', &self.settings.publication);
            self.owner.run(&sql).await;
        }
    }

    async fn streaming(&self) -> Running {
        let running = self.start().await;
        running
            .wait("it streams", |progress| progress.is_streaming())
            .await;
        running
    }

    async fn clock(&self) -> i64 {
        let clock = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint";
        self.owner.text(clock).await.parse().unwrap()
    }

    /// The latest time of which a watermark says that everything is there.
    async fn complete_through(&self) -> i64 {
        let marks = marks(self).await;
        let times = marks.values().flatten();
        let times = times.map(|mark| mark.complete_through_us);
        times.max().unwrap_or_default()
    }
}

async fn ends_with(running: Running, part: &str) {
    let ended = tokio::time::timeout(PATIENCE, running.task).await;
    let error = ended.expect("it runs on").unwrap().unwrap_err().to_string();
    assert!(error.contains(part), "{part}: {error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_watermark_passes_what_a_publication_left_out() {
    for (statements, part) in CASES {
        let Some(mut road) = Road::new(TABLES, &["public.seat", "public.gate"]).await else {
            return;
        };
        road.settings.watermark_interval = Some(Duration::from_millis(50));
        // What is before the watermark finds it, not what looks now and then.
        road.settings.limits.watch_interval = Duration::from_secs(3600);
        let running = road.streaming().await;
        let deadline = Instant::now() + PATIENCE;
        while road.complete_through().await == 0 {
            assert!(Instant::now() < deadline && !running.task.is_finished());
        }
        // Up to the first of them all was told.
        road.publishing(&statements[..1]).await;
        let altered = road.clock().await;
        road.publishing(&statements[1..]).await;
        ends_with(running, part).await;
        let complete_through = road.complete_through().await;
        assert!(complete_through < altered, "{statements:?}");
        // A start later it is not forgotten.
        let error = road.refused().await.to_string();
        assert!(
            error.contains(&road.settings.publication) || error.contains(part),
            "{error}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publication_that_left_something_out_stops_a_capture_without_watermarks() {
    let Some(mut road) = Road::new(TABLES, &["public.seat", "public.gate"]).await else {
        return;
    };
    let running = road.streaming().await;
    let (statements, part) = TAKEN_OUT;
    road.publishing(statements).await;
    ends_with(running, part).await;

    // What the message says: left out once, it is copied anew. The other one goes on.
    let seat = road.settings.tables.remove(0);
    road.streaming().await.stop().await;
    road.settings.tables.insert(0, seat);
    road.streaming().await.stop().await;
    assert_eq!(road.view("seat").await.rows().len(), 3);

    // Nobody looks while it happens.
    road.publishing(&[
        "ALTER PUBLICATION $ DROP TABLE seat",
        "INSERT INTO seat VALUES (4, 'd')",
        "ALTER PUBLICATION $ ADD TABLE seat",
    ])
    .await;
    let error = road.refused().await.to_string();
    for part in [
        part,
        "taken out of it and put back",
        &road.settings.publication,
    ] {
        assert!(error.contains(part), "{part}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_becomes_of_other_tables_of_a_publication_stops_nothing() {
    let Some(road) = Road::new(TABLES, &["public.seat"]).await else {
        return;
    };
    let running = road.streaming().await;
    road.publishing(&[
        "ALTER PUBLICATION $ ADD TABLE gate",
        "ALTER PUBLICATION $ DROP TABLE gate",
    ])
    .await;
    let has_schemas = "SELECT to_regclass('pg_publication_namespace') IS NOT NULL";
    if road.owner.text(has_schemas).await == "t" {
        // Published twice for a while: one of the ways stayed.
        road.publishing(&[
            "ALTER PUBLICATION $ ADD TABLES IN SCHEMA public",
            "INSERT INTO seat VALUES (5, 'e')",
            "ALTER PUBLICATION $ DROP TABLES IN SCHEMA public",
        ])
        .await;
    }
    road.publishing(&[
        "INSERT INTO seat VALUES (3, 'c')",
        "DROP TABLE gate",
        "ALTER TABLE seat RENAME TO place",
        "INSERT INTO place VALUES (4, 'd')",
    ])
    .await;
    running.wait_confirmed(road.owner.wal_end().await).await;
    running.stop().await;
    let expected: usize = road
        .owner
        .text("SELECT count(*) FROM place")
        .await
        .parse()
        .unwrap();
    assert_eq!(road.view("seat").await.rows().len(), expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_are_captured_as_what_they_are_and_as_long_as_they_are_published() {
    let sql = "CREATE TABLE hall (id int PRIMARY KEY, holder text) PARTITION BY RANGE (id);
        CREATE TABLE seat PARTITION OF hall FOR VALUES FROM (0) TO (100);
        ALTER TABLE seat REPLICA IDENTITY FULL; INSERT INTO hall VALUES (1, 'a')";
    let Some(mut road) = Road::new(sql, &[]).await else {
        return;
    };
    let entity = format!("{}.seat", road.service).parse().unwrap();
    let table = CapturedTable::new("public", "seat", entity);
    road.settings.tables.push(table);
    road.publishing(&[
        "CREATE PUBLICATION $ FOR TABLE hall WITH (publish_via_partition_root = true)",
    ])
    .await;
    let error = road.refused().await.to_string();
    for part in [
        "SET (publish_via_partition_root = false)",
        &road.settings.publication,
    ] {
        assert!(error.contains(part), "{part}: {error}");
    }
    road.publishing(&["ALTER PUBLICATION $ SET (publish_via_partition_root = false)"])
        .await;
    let running = road.streaming().await;
    road.publishing(&["INSERT INTO hall VALUES (2, 'b')"]).await;
    running.wait_confirmed(road.owner.wal_end().await).await;
    assert_eq!(road.view("seat").await.rows().len(), 2);
    // Its root is published, and for a while it has none.
    road.publishing(&[
        "ALTER TABLE hall DETACH PARTITION seat",
        "INSERT INTO seat VALUES (3, 'c')",
        "ALTER TABLE hall ATTACH PARTITION seat FOR VALUES FROM (0) TO (100)",
    ])
    .await;
    ends_with(running, "public.seat was captured and ").await;
}
