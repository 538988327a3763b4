//! What each type of Postgres comes out as: the same from the first copy and from the stream, and what
//! Postgres itself says it is.

use serde_json::{Value, json};

use crate::owner::Owner;
use crate::road::Road;

const SQL: &str = r#"
    CREATE TYPE colour AS ENUM ('red', 'bright blue');
    CREATE DOMAIN price AS numeric(8, 2) CHECK (VALUE >= 0);
    CREATE DOMAIN prices AS price[];
    CREATE TYPE pair AS (a int, b text);
"#;

/// Type, a literal, and how it comes out.
fn samples() -> Vec<(&'static str, &'static str, Value)> {
    let digits =
        "123456789012345678901234567890.12345678901234567890123456789012345678901234567890";
    vec![
        ("boolean", "'t'", json!(true)),
        ("smallint", "-32768", json!(-32768)),
        ("int", "2147483647", json!(2_147_483_647)),
        ("bigint", "-9223372036854775808", json!(i64::MIN)),
        ("real", "'1.1'", json!(f64::from(1.1_f32))),
        ("double precision", "'0.1'", json!(0.1)),
        ("double precision", "'NaN'", json!("NaN")),
        ("double precision", "'-Infinity'", json!("-inf")),
        ("numeric(10, 2)", "-12345678.90", json!("-1234567890")),
        (
            "numeric(38, 0)",
            "99999999999999999999999999999999999999",
            json!("9".repeat(38)),
        ),
        ("numeric(5, 5)", "0.00001", json!("1")),
        ("numeric", digits, json!(digits)),
        ("numeric", "1.500", json!("1.500")),
        ("numeric", "'NaN'", json!("NaN")),
        (
            "numeric(40, 2)",
            "12345678901234567890123456789012345678.90",
            json!("12345678901234567890123456789012345678.90"),
        ),
        ("numeric(3, -2)", "12345", json!("12300")),
        (
            "text",
            "E'tab\\there, \"quoted\", ünïcödé 🛫'",
            json!("tab\there, \"quoted\", ünïcödé 🛫"),
        ),
        ("text", "''", json!("")),
        ("varchar(5)", "'abc'", json!("abc")),
        ("char(5)", "'abc'", json!("abc  ")),
        ("name", "'a'", json!("a")),
        ("\"char\"", "'x'", json!("x")),
        ("bytea", "'\\x00ff'", json!("00ff")),
        ("date", "'2013-01-01'", json!(15_706)),
        ("date", "'0044-03-15 BC'", json!(-735_160)),
        ("time", "'23:59:59.999999'", json!(86_399_999_999_i64)),
        ("time(0)", "'24:00:00'", json!(86_400_000_000_i64)),
        ("timetz", "'01:02:03.5-08'", json!("01:02:03.5-08:00")),
        (
            "timestamp",
            "'2013-01-01 05:02:03.000004'",
            json!(1_357_016_523_000_004_i64),
        ),
        ("timestamp(3)", "'1969-12-31 23:59:59.999'", json!(-1000)),
        (
            "timestamptz",
            "'2013-01-01 00:02:03.000004-05'",
            json!("2013-01-01T05:02:03.000004Z"),
        ),
        (
            "timestamptz",
            "'2013-01-01 12:00:00+00'",
            json!("2013-01-01T12:00:00Z"),
        ),
        (
            "interval",
            "'1 year 2 mons -3 days 04:05:06.7'",
            json!("P1Y2M-3DT4H5M6.7S"),
        ),
        (
            "uuid",
            "'0FDB4A7A-1d2e-4b8c-9c3f-5a6b7c8d9e0f'",
            json!("0fdb4a7a-1d2e-4b8c-9c3f-5a6b7c8d9e0f"),
        ),
        (
            "json",
            r#"'{"a":  1, "a": 1.0}'"#,
            json!(r#"{"a":  1, "a": 1.0}"#),
        ),
        (
            "jsonb",
            r#"'{"b": 1e2, "a": [null]}'"#,
            json!(r#"{"a": [null], "b": 100}"#),
        ),
        ("xml", "'<a/>'", json!("<a/>")),
        ("colour", "'bright blue'", json!("bright blue")),
        ("price", "12.5", json!("1250")),
        ("prices", "'{1.5,NULL}'", json!(["150", null])),
        ("int[]", "'{1,NULL,-3}'", json!([1, null, -3])),
        ("int[]", "'{}'", json!([])),
        (
            "text[]",
            r#"'{"a,b",NULL,"NULL","q\"\\"}'"#,
            json!(["a,b", null, "NULL", "q\"\\"]),
        ),
        (
            "timestamptz[]",
            "'{2013-01-01 00:00:00+00}'",
            json!(["2013-01-01T00:00:00Z"]),
        ),
        (
            "colour[]",
            "'{red,bright blue}'",
            json!(["red", "bright blue"]),
        ),
        (
            "uuid[]",
            "'{0fdb4a7a-1d2e-4b8c-9c3f-5a6b7c8d9e0f}'",
            json!(["0fdb4a7a-1d2e-4b8c-9c3f-5a6b7c8d9e0f"]),
        ),
        ("bytea[]", r#"'{"\\x01ff"}'"#, json!(["01ff"])),
        ("int4range", "'[1,5)'", json!("[1,5)")),
        ("numrange", "'(1.50,)'", json!("(1.50,)")),
        (
            "tstzrange",
            "'[2013-01-01 00:00:00+00,2013-01-02 00:00:00+00)'",
            json!("[\"2013-01-01 00:00:00+00\",\"2013-01-02 00:00:00+00\")"),
        ),
        ("int4range", "'empty'", json!("empty")),
        ("int4multirange", "'{[1,3),[5,7)}'", json!("{[1,3),[5,7)}")),
        ("pair", "ROW(1, 'x y')", json!("(1,\"x y\")")),
        (
            "pair[]",
            "ARRAY[ROW(1, 'x y')::pair]",
            json!(["(1,\"x y\")"]),
        ),
        ("box[]", "'{(1,1),(0,0)}'", json!("{(1,1),(0,0)}")),
        ("int2vector", "'1 2'", json!("1 2")),
        ("inet", "'10.0.0.1/8'", json!("10.0.0.1/8")),
        ("macaddr", "'08:00:2b:01:02:03'", json!("08:00:2b:01:02:03")),
        ("point", "'(1.5,2)'", json!("(1.5,2)")),
        ("bit(3)", "B'101'", json!("101")),
        ("varbit", "B'1'", json!("1")),
        ("money", "'1234.5'", json!("$1,234.50")),
        ("tsvector", "'a fat cat'", json!("'a' 'cat' 'fat'")),
        ("oid", "4294967295", json!(4_294_967_295_u64)),
        ("pg_lsn", "'16/B374D848'", json!("16/B374D848")),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_type_is_exact_when_copied_and_when_streamed() {
    let Some(owner) = Owner::create().await else {
        return;
    };
    let mut samples = samples();
    let is_recent = "SELECT current_setting('server_version_num')::int >= 150000";
    if owner.text(is_recent).await != "t" {
        samples.retain(|(name, ..)| *name != "numeric(3, -2)");
    }
    let columns: Vec<String> = samples
        .iter()
        .enumerate()
        .map(|(index, (name, ..))| format!("c{index} {name}"))
        .collect();
    let values: Vec<&str> = samples.iter().map(|(_, literal, _)| *literal).collect();
    let (columns, values) = (columns.join(", "), values.join(", "));
    let sql = format!(
        "{SQL} CREATE TABLE sample (id int PRIMARY KEY, {columns}, twice int GENERATED ALWAYS AS (id * 2) STORED);
         ALTER TABLE sample REPLICA IDENTITY FULL;
         INSERT INTO sample VALUES (1, {values}); INSERT INTO sample (id) VALUES (2)"
    );
    let Some(road) = Road::of(owner, &sql, &["public.sample"]).await else {
        return;
    };
    // A service may speak with its database in ways of its own.
    road.owner
        .run(
            "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET datestyle = ''German, DMY''', current_database());
             EXECUTE format('ALTER DATABASE %I SET timezone = ''Asia/Tokyo''', current_database());
             EXECUTE format('ALTER DATABASE %I SET intervalstyle = ''postgres_verbose''', current_database());
             EXECUTE format('ALTER DATABASE %I SET bytea_output = ''escape''', current_database()); END $$",
        )
        .await;
    let running = road.start().await;
    running
        .wait("it streams", |progress| progress.is_streaming())
        .await;
    road.owner
        .run(&format!(
            "INSERT INTO sample VALUES (3, {values}); INSERT INTO sample (id) VALUES (4)"
        ))
        .await;
    running.wait_confirmed(road.owner.wal_end().await).await;
    running.stop().await;
    let view = road.view("sample").await;
    let events = view.landed();
    assert_eq!(events.len(), 4);
    for event in &events {
        let after = event.value["after"].as_object().unwrap();
        let id = after["id"].as_i64().unwrap();
        assert_eq!(event.op(), if id < 3 { "r" } else { "c" });
        assert!(
            !after.contains_key("twice"),
            "what is generated is not in the log"
        );
        for (index, (name, literal, expected)) in samples.iter().enumerate() {
            let expected = if id % 2 == 1 { expected } else { &Value::Null };
            assert_eq!(
                &after[&format!("c{index}")],
                expected,
                "{name} {literal} of row {id}"
            );
        }
    }
    assert!(events.iter().all(|event| event.schema == events[0].schema));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_that_its_type_does_not_hold_is_named_and_may_be_text() {
    let sql = "CREATE TABLE lease (id int PRIMARY KEY, until timestamptz, share numeric(5, 2), grid int[]);
        ALTER TABLE lease REPLICA IDENTITY FULL";
    for (column, literal) in [
        ("until", "infinity"),
        ("share", "NaN"),
        ("grid", "{{1,2},{3,4}}"),
    ] {
        let Some(mut road) = Road::new(sql, &["public.lease"]).await else {
            return;
        };
        road.owner.run("INSERT INTO lease VALUES (1)").await;
        let insert = format!("INSERT INTO lease (id, {column}) VALUES (2, '{literal}')");
        road.owner.run(&insert).await;
        let error = road.refused().await.to_string();
        for part in ["public.lease", column, "id = 2", "text_columns"] {
            assert!(error.contains(part), "{part}: {error}");
        }
        // Nothing of the column is published yet, so its readers lose nothing.
        road.settings.tables[0].text_columns.push(column.to_owned());
        std::fs::remove_dir_all(road.state_directory()).unwrap();
        road.with_slot("SELECT pg_drop_replication_slot($slot)")
            .await;
        road.service_again();
        road.capture_all().await;
        let rows = road.view("lease").await.rows();
        assert_eq!(rows[r#"{"id":2}"#][column], literal);
    }
}
