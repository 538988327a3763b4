//! The current state: chosen histories.

use crate::lake::{Change, Lake, Row, row, usual_properties};

async fn pilots(commits: &[&[Change]]) -> Lake {
    let lake = Lake::new();
    lake.create("crew", "pilot").await;
    for commit in commits {
        lake.append(commit).await;
    }
    lake
}

#[tokio::test]
async fn the_latest_change_of_each_key_counts_and_deletes_are_gone() {
    let full = Row {
        hours: Some(1.5),
        active: Some(true),
        hired: Some(15_706),
        seen: Some(1),
        photo: Some(vec![1, 2]),
        ..row("NCE", 4, Some("Dee"))
    };
    let lake = pilots(&[
        &[
            Change::new("r", 0, row("NCE", 1, Some("Ada"))),
            Change::new("c", 1, row("NCE", 2, Some("Bob"))),
            Change::new("c", 2, row("NCE", 3, Some("Cy"))),
            Change::new("c", 3, full),
        ],
        &[
            Change::new("u", 4, row("NCE", 1, None)),
            Change::new("d", 5, row("NCE", 2, Some("Bob"))),
            Change::new("d", 6, row("NCE", 3, Some("Cy"))),
        ],
        &[Change::new("c", 7, row("NCE", 3, Some("Cy again")))],
    ])
    .await;
    let sql = "SELECT number, name, hours, active, hired, photo FROM crew.pilot ORDER BY number";
    let expected = "\
+--------+----------+-------+--------+------------+-------+
| number | name     | hours | active | hired      | photo |
+--------+----------+-------+--------+------------+-------+
| 1      |          |       |        |            |       |
| 3      | Cy again |       |        |            |       |
| 4      | Dee      | 1.5   | true   | 2013-01-01 | 0102  |
+--------+----------+-------+--------+------------+-------+";
    assert_eq!(lake.table(sql).await, expected);
    assert_eq!(lake.number("SELECT count(*) FROM crew.pilot").await, 3);
    assert_eq!(
        lake.number("SELECT count(*) FROM crew.pilot_changes").await,
        8
    );
}

#[tokio::test]
async fn log_order_counts_not_the_order_of_files_or_clocks() {
    let mut early = Change::new("u", 10, row("NCE", 1, Some("new")));
    early.time_us -= 1_000_000;
    let lake = pilots(&[&[early], &[Change::new("c", 2, row("NCE", 1, Some("old")))]]).await;
    assert!(
        lake.table("SELECT name FROM crew.pilot")
            .await
            .contains("new")
    );
}

#[tokio::test]
async fn a_filter_on_another_column_brings_no_older_row_back() {
    let lake = pilots(&[
        &[Change::new(
            "c",
            0,
            Row {
                active: Some(true),
                ..row("NCE", 1, Some("Ada"))
            },
        )],
        &[Change::new(
            "u",
            1,
            Row {
                active: Some(false),
                ..row("NCE", 1, Some("Bea"))
            },
        )],
        &[
            Change::new("c", 2, row("NCE", 2, Some("Cy"))),
            Change::new("d", 3, row("NCE", 2, Some("Cy"))),
        ],
    ])
    .await;
    for filter in [
        "name = 'Ada'",
        "active",
        "name = 'Cy'",
        "name LIKE 'A%' AND number = 1",
    ] {
        let sql = format!("SELECT count(*) FROM crew.pilot WHERE {filter}");
        assert_eq!(lake.number(&sql).await, 0, "{filter}");
    }
    let sql = "SELECT count(*) FROM crew.pilot WHERE number = 1 AND NOT active";
    assert_eq!(lake.number(sql).await, 1);
}

#[tokio::test]
async fn a_filter_on_the_key_reaches_the_scan() {
    let lake = pilots(&[&[Change::new("c", 0, row("NCE", 1, Some("Ada")))]]).await;
    let plan = lake
        .table("EXPLAIN SELECT name FROM crew.pilot WHERE number = 1 AND name = 'Ada'")
        .await;
    let (_, physical) = plan.split_once("physical_plan").unwrap();
    let scans: Vec<&str> = physical
        .lines()
        .filter(|line| line.contains("predicate="))
        .collect();
    assert_eq!(scans.len(), 2, "{plan}");
    assert!(scans.iter().all(|scan| scan.contains("number@")), "{plan}");
    // The name narrows the changes that are looked at, never those that decide which is latest.
    assert_eq!(
        scans.iter().filter(|scan| scan.contains("name@")).count(),
        1,
        "{plan}"
    );
    let (before_scan, _) = physical.split_once("DataSourceExec").unwrap();
    assert!(before_scan.contains("HashJoinExec"), "{plan}");
}

#[tokio::test]
async fn the_hash_table_holds_keys_and_not_changes() {
    let lake = pilots(&[&[Change::new("c", 0, row("NCE", 1, Some("Ada")))]]).await;
    let plan = lake.table("EXPLAIN SELECT * FROM crew.pilot").await;
    let (_, build_side) = plan.split_once("HashJoinExec").unwrap();
    let (build_side, _) = build_side.split_once("DataSourceExec").unwrap();
    assert!(build_side.contains("AggregateExec"), "{plan}");
}

#[tokio::test]
async fn rows_without_a_key_are_all_there() {
    let lake = Lake::new();
    for (entity, key, shape) in [
        ("fact", "[]", "append"),
        ("event", r#"["number"]"#, "append"),
        ("note", "[]", "upsert"),
    ] {
        let mut properties = usual_properties();
        properties[1].1 = key;
        properties[2].1 = shape;
        lake.create_with("crew", entity, &properties).await;
        let twice = [0, 1].map(|offset| Change::new("c", offset, row("NCE", 1, Some("Ada"))));
        lake.append_to(
            &format!("crew/{entity}/changes"),
            crate::lake::batch(&twice),
        )
        .await;
        assert_eq!(
            lake.number(&format!("SELECT count(*) FROM crew.{entity}"))
                .await,
            2
        );
        assert_eq!(
            lake.ask(&format!("SELECT * FROM crew.{entity}"))
                .await
                .unwrap()
                .num_columns(),
            8
        );
    }
}

#[tokio::test]
async fn current_states_and_logs_are_joined_and_grouped() {
    let lake = pilots(&[
        &[
            Change::new("c", 0, row("NCE", 1, Some("Ada"))),
            Change::new("c", 1, row("LYS", 1, None)),
        ],
        &[Change::new("u", 2, row("NCE", 1, Some("Ada L.")))],
    ])
    .await;
    let sql = "WITH counted AS (
            SELECT base, number, count(*) AS changes FROM crew.pilot_changes GROUP BY base, number
        )
        SELECT p.base, p.name, c.changes, (SELECT max(_offset) FROM crew.pilot_changes) AS last
        FROM crew.pilot p JOIN counted c USING (base, number) ORDER BY p.base";
    let table = lake.table(sql).await;
    assert!(
        table.contains("| LYS  |        | 1       | 2    |"),
        "{table}"
    );
    assert!(
        table.contains("| NCE  | Ada L. | 2       | 2    |"),
        "{table}"
    );
}

#[tokio::test]
async fn an_empty_table_has_an_empty_state() {
    let lake = pilots(&[]).await;
    assert_eq!(lake.number("SELECT count(*) FROM crew.pilot").await, 0);
    assert_eq!(
        lake.ask("SELECT * FROM crew.pilot_changes")
            .await
            .unwrap()
            .num_rows(),
        0
    );
}
