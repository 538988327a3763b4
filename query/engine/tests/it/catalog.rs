//! What is found in a lake, and when.

use std::fs;

use deltalake::DeltaTable;
use deltalake::checkpoints::create_checkpoint;
use query_engine::{QueryError, statements};

use crate::lake::{Change, Lake, batch, row, usual_properties};

async fn small() -> Lake {
    let lake = Lake::new();
    lake.create("crew", "pilot").await;
    lake.append(&[
        Change::new("c", 0, row("NCE", 1, Some("Ada"))),
        Change::new("c", 1, row("NCE", 2, Some("Bob"))),
        Change::new("d", 2, row("NCE", 2, Some("Bob"))),
    ])
    .await;
    lake
}

#[tokio::test]
async fn tables_are_found_without_being_declared() {
    let lake = small().await;
    lake.create("crew", "roster").await;
    lake.create("flights", "flight").await;
    let shown = lake.table("SHOW TABLES").await;
    let names = [
        "pilot",
        "pilot_changes",
        "roster",
        "roster_changes",
        "flight",
        "flight_changes",
    ];
    for name in names {
        assert!(shown.contains(&format!("| {name} ")), "{shown}");
    }
    assert!(
        !shown.contains("information_schema") && !shown.contains("dead_letters"),
        "{shown}"
    );
    let schemata = lake
        .table("SELECT schema_name FROM information_schema.schemata")
        .await;
    assert!(
        schemata.contains("crew") && schemata.contains("system"),
        "{schemata}"
    );
}

#[tokio::test]
async fn tables_describe_themselves() {
    let lake = small().await;
    let current = lake.table("DESCRIBE crew.pilot").await;
    assert!(
        current.contains("base") && current.contains("photo"),
        "{current}"
    );
    assert!(
        !current.contains("_op") && !current.contains("_event_date"),
        "{current}"
    );
    let changes = lake.table("SHOW COLUMNS FROM crew.pilot_changes").await;
    assert!(
        changes.contains("_op") && changes.contains("_event_date"),
        "{changes}"
    );
    let columns = "SELECT count(*) FROM information_schema.columns WHERE table_name = 'pilot'";
    assert_eq!(lake.number(columns).await, 8);
    assert!(
        lake.table("EXPLAIN SELECT * FROM crew.pilot")
            .await
            .contains("max(")
    );
}

/// As far as the lake's columns go, with a comparison that leaves the column as it is.
#[tokio::test]
async fn times_of_any_year_can_be_asked_for() {
    let lake = small().await;
    let since = |literal: &str| {
        format!("SELECT count(*) FROM crew.pilot_changes WHERE _event_time > {literal}")
    };
    for (literal, rows) in [
        ("TIMESTAMP '1600-01-01'", 3),
        ("TIMESTAMP '9999-12-31 23:59:59.999999'", 0),
        ("TIMESTAMP WITH TIME ZONE '1600-01-01 00:00:00+02:00'", 3),
        ("CAST('9999-12-31' AS TIMESTAMP)", 0),
        ("TIMESTAMP '1600-01-01' + INTERVAL '1 day'", 3),
    ] {
        assert_eq!(lake.number(&since(literal)).await, rows, "{literal}");
    }
    let plan = lake
        .table(&format!("EXPLAIN {}", since("TIMESTAMP '1600-01-01'")))
        .await;
    assert!(!plan.contains("CAST("), "{plan}");
}

#[tokio::test]
async fn the_next_statement_sees_a_new_commit() {
    let lake = small().await;
    let [counted] = statements("SELECT count(*) FROM crew.pilot_changes")
        .unwrap()
        .try_into()
        .unwrap();
    let before = lake.engine.run(&counted).await.unwrap();
    lake.append(&[Change::new("c", 3, row("NCE", 3, None))])
        .await;
    let after = lake.engine.run(&counted).await.unwrap();
    let count = |batches: Vec<arrow::array::RecordBatch>| format!("{:?}", batches[0].column(0));
    assert!(count(before.collect().await.unwrap()).contains("\n  3,"));
    assert!(count(after.collect().await.unwrap()).contains("\n  4,"));
}

#[tokio::test]
async fn one_statement_reads_one_version_of_a_table() {
    let lake = small().await;
    let engine = lake.engine.clone();
    let sql = "SELECT (SELECT count(*) FROM crew.pilot_changes)
        - (SELECT count(*) FROM crew.pilot) AS gone FROM (VALUES (1)) AS one";
    // Every commit adds one row and one change: the difference is the same in every version.
    let asking = async {
        for _ in 0..20 {
            let batches = engine.ask(sql).await.unwrap().collect().await.unwrap();
            assert!(
                format!("{:?}", batches[0].column(0)).contains("\n  2,"),
                "{batches:?}"
            );
        }
    };
    let writing = async {
        for number in 10..30 {
            lake.append(&[Change::new("c", number, row("NCE", number, None))])
                .await;
        }
    };
    tokio::join!(asking, writing);
}

#[tokio::test]
async fn folders_that_are_no_tables_break_nothing() {
    let lake = small().await;
    let root = lake.directory.path();
    fs::create_dir_all(root.join("crew/being_made/changes/_delta_log")).unwrap();
    fs::write(
        root.join("crew/being_made/changes/_delta_log/_staged.tmp"),
        "{",
    )
    .unwrap();
    fs::create_dir_all(root.join("crew/torn/changes/_delta_log")).unwrap();
    fs::write(
        root.join("crew/torn/changes/_delta_log/00000000000000000000.json"),
        "{nonsense",
    )
    .unwrap();
    fs::create_dir_all(root.join("Not A Service/x/changes/_delta_log")).unwrap();
    fs::write(root.join("notes.txt"), "hello").unwrap();

    assert_eq!(lake.number("SELECT count(*) FROM crew.pilot").await, 1);
    assert!(lake.table("SHOW TABLES").await.contains("pilot_changes"));
    let columns = "SELECT count(DISTINCT table_name) FROM information_schema.columns
        WHERE table_schema = 'crew'";
    assert_eq!(lake.number(columns).await, 2);
    let tables = lake
        .table("SELECT entity, version, changes, error FROM system.tables")
        .await;
    assert!(
        tables.contains("| pilot") && tables.contains("it has no commit yet"),
        "{tables}"
    );
    assert!(
        lake.error("SELECT * FROM crew.torn")
            .await
            .contains("crew/torn/changes")
    );
    assert!(
        lake.error("SELECT * FROM crew.being_made")
            .await
            .contains("no table crew.being_made")
    );
}

#[tokio::test]
async fn a_log_that_was_checkpointed_and_cleaned_up_reads_the_same() {
    let lake = small().await;
    lake.append(&[Change::new("u", 3, row("NCE", 1, Some("Ada L.")))])
        .await;
    let mut table = DeltaTable::new(lake.engine.lake().table_log("crew/pilot/changes"));
    table.load().await.unwrap();
    create_checkpoint(&table, None).await.unwrap();
    let log = lake.directory.path().join("crew/pilot/changes/_delta_log");
    for version in 0..2 {
        fs::remove_file(log.join(format!("{version:020}.json"))).unwrap();
    }
    assert!(
        lake.table("SELECT name FROM crew.pilot")
            .await
            .contains("Ada L.")
    );
    fs::remove_file(log.join("_last_checkpoint")).unwrap();
    lake.append(&[Change::new("c", 4, row("NCE", 4, None))])
        .await;
    assert_eq!(lake.number("SELECT count(*) FROM crew.pilot").await, 2);
    assert_eq!(
        lake.number("SELECT count(*) FROM crew.pilot_changes").await,
        5
    );
}

#[tokio::test]
async fn a_table_of_another_format_is_refused_by_name() {
    let lake = small().await;
    let mut properties = usual_properties();
    properties[0].1 = "2";
    lake.create_with("crew", "future", &properties).await;
    lake.create_with("crew", "foreign", &[]).await;
    properties[0].1 = "1";
    properties[1].1 = r#"["nowhere"]"#;
    lake.create_with("crew", "keyless", &properties).await;

    let error = lake.error("SELECT * FROM crew.future").await;
    assert!(
        error.contains("crew/future/changes") && error.contains("lakehead.format"),
        "{error}"
    );
    assert!(error.contains("\"2\""), "{error}");
    assert!(
        lake.error("SELECT * FROM crew.foreign_changes")
            .await
            .contains("lakehead.format")
    );
    assert!(
        lake.error("SELECT * FROM crew.keyless")
            .await
            .contains("\"nowhere\"")
    );
    assert_eq!(
        lake.number("SELECT count(*) FROM system.tables WHERE error IS NOT NULL")
            .await,
        3
    );
    assert_eq!(lake.number("SELECT count(*) FROM crew.pilot").await, 1);
}

/// Rows whose changes are gone would be missing without a word.
#[tokio::test]
async fn the_current_state_is_refused_where_changes_have_passed_their_retention() {
    let lake = small().await;
    let since = ("lakehead.changes_since", "2026-01-01");
    let properties: Vec<_> = usual_properties().into_iter().chain([since]).collect();
    lake.create_with("crew", "old", &properties).await;
    let error = lake.error("SELECT * FROM crew.old").await;
    assert!(
        error.contains("2026-01-01") && error.contains("crew/old/current"),
        "{error}"
    );
    assert_eq!(
        lake.number("SELECT count(*) FROM crew.old_changes").await,
        0
    );
}

#[tokio::test]
async fn a_missing_table_is_named_with_what_was_perhaps_meant() {
    let lake = small().await;
    let error = lake.ask("SELECT *\nFROM crew.pilt").await.unwrap_err();
    assert!(
        matches!(&error, QueryError::UnknownTable { .. }),
        "{error:?}"
    );
    assert!(
        error.to_string().contains("did you mean crew.pilot"),
        "{error}"
    );
    assert_eq!(error.position().map(|position| position.line), Some(2));
    assert!(
        lake.error("SELECT * FROM pilot")
            .await
            .contains("crew.pilot")
    );
    assert!(
        lake.error("SELECT * FROM nothing.like_it")
            .await
            .contains("SHOW TABLES")
    );
    let error = lake
        .ask("SELECT base,\n  nme FROM crew.pilot")
        .await
        .unwrap_err();
    assert!(error.to_string().contains("name"), "{error}");
    assert_eq!(
        error
            .position()
            .map(|position| (position.line, position.column)),
        Some((2, 3))
    );
}

#[tokio::test]
async fn system_tables_are_there_in_an_empty_lake() {
    let lake = Lake::new();
    assert_eq!(lake.number("SELECT count(*) FROM system.tables").await, 0);
    let sql = "SELECT error_code, value, headers FROM system.dead_letters WHERE _offset > 3";
    assert_eq!(lake.ask(sql).await.unwrap().num_rows(), 0);
    assert!(
        lake.error("SELECT * FROM system.table")
            .await
            .contains("system.tables")
    );
}

#[tokio::test]
async fn system_tables_tell_what_is_there() {
    let lake = small().await;
    lake.append(&[Change::new("c", 3, row("NCE", 3, None))])
        .await;
    let sql = "SELECT service, entity, version, files, changes, key, shape FROM system.tables";
    let table = lake.table(sql).await;
    let row: Vec<&str> = table
        .lines()
        .nth(3)
        .unwrap()
        .split('|')
        .map(str::trim)
        .collect();
    assert_eq!(
        row[1..8],
        ["crew", "pilot", "2", "2", "4", "base, number", "debezium"]
    );
}

#[tokio::test]
async fn dead_letters_are_read_where_they_are() {
    let lake = small().await;
    lake.create_with("_system", "dead", &[]).await;
    let root = lake.directory.path().join("_system");
    fs::rename(root.join("dead/changes"), root.join("dead_letters")).unwrap();
    lake.append_to(
        "_system/dead_letters",
        batch(&[Change::new("c", 0, row("", 0, None))]),
    )
    .await;
    assert_eq!(
        lake.number("SELECT count(*) FROM system.dead_letters")
            .await,
        1
    );
}
