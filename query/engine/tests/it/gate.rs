//! What is refused, and in which words; what is answered all the same.

use std::fs;

use query_engine::{QueryError, statements};

use crate::lake::{Change, Lake, row};

/// A statement and a word that its refusal must hold.
const REFUSED: &[(&str, &str)] = &[
    ("INSERT INTO crew.pilot VALUES (1)", "INSERT"),
    (
        "INSERT INTO crew.pilot_changes SELECT * FROM crew.pilot_changes",
        "INSERT",
    ),
    ("UPDATE crew.pilot SET name = 'x'", "UPDATE"),
    ("DELETE FROM crew.pilot", "DELETE"),
    ("TRUNCATE TABLE crew.pilot", "TRUNCATE"),
    (
        "MERGE INTO crew.pilot p USING crew.pilot q ON p.number = q.number WHEN MATCHED THEN DELETE",
        "MERGE",
    ),
    ("COPY crew.pilot TO '/tmp/lakehead-refused.csv'", "COPY"),
    (
        "COPY (SELECT 1) TO '/tmp/lakehead-refused.parquet' STORED AS PARQUET",
        "COPY",
    ),
    ("COPY crew.pilot FROM '/etc/passwd'", "COPY"),
    (
        "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/etc/passwd'",
        "CREATE",
    ),
    ("CREATE VIEW v AS SELECT 1", "CREATE"),
    ("CREATE OR REPLACE VIEW v AS SELECT 1", "CREATE"),
    ("CREATE TABLE t AS SELECT 1", "CREATE"),
    ("CREATE TABLE t (a INT)", "CREATE"),
    ("CREATE SCHEMA s", "CREATE"),
    ("CREATE DATABASE d", "CREATE"),
    (
        "CREATE FUNCTION f(DOUBLE) RETURNS DOUBLE RETURN $1",
        "CREATE",
    ),
    ("CREATE INDEX i ON crew.pilot (name)", "CREATE"),
    ("DROP TABLE crew.pilot", "DROP"),
    ("DROP VIEW crew.pilot", "DROP"),
    ("DROP SCHEMA crew CASCADE", "DROP"),
    ("ALTER TABLE crew.pilot ADD COLUMN x INT", "ALTER"),
    ("SET datafusion.execution.batch_size = 1", "SET"),
    ("RESET datafusion.execution.batch_size", "RESET"),
    ("USE crew", "USE"),
    ("BEGIN", "BEGIN"),
    ("START TRANSACTION", "START"),
    ("COMMIT", "COMMIT"),
    ("ROLLBACK", "ROLLBACK"),
    ("PREPARE p AS SELECT 1", "PREPARE"),
    ("EXECUTE p(1)", "EXECUTE"),
    ("DEALLOCATE p", "DEALLOCATE"),
    ("GRANT SELECT ON crew.pilot TO x", "GRANT"),
    ("VACUUM crew.pilot", "VACUUM"),
    ("ATTACH DATABASE 'x' AS y", "ATTACH"),
    ("CALL f()", "CALL"),
    ("LOAD '/tmp/evil.so'", "LOAD"),
    ("SHOW ALL", "SHOW"),
    ("SHOW FUNCTIONS", "SHOW"),
    ("SHOW CREATE TABLE crew.pilot", "SHOW"),
    ("EXPLAIN INSERT INTO crew.pilot VALUES (1)", "INSERT"),
    (
        "EXPLAIN ANALYZE INSERT INTO crew.pilot VALUES (1)",
        "INSERT",
    ),
    ("EXPLAIN ANALYZE VERBOSE DELETE FROM crew.pilot", "DELETE"),
    (
        "EXPLAIN COPY crew.pilot TO '/tmp/lakehead-refused.csv'",
        "COPY",
    ),
    ("EXPLAIN CREATE TABLE t AS SELECT 1", "CREATE"),
    ("DESCRIBE INSERT INTO crew.pilot VALUES (1)", "INSERT"),
    ("SELECT * INTO t FROM crew.pilot", "SELECT INTO"),
    ("SELECT * FROM crew.pilot FOR UPDATE", "FOR UPDATE"),
    (
        "WITH t AS (INSERT INTO crew.pilot VALUES (1) RETURNING *) SELECT * FROM t",
        "INSERT",
    ),
    (
        "WITH t AS (DELETE FROM crew.pilot RETURNING *) SELECT * FROM t",
        "DELETE",
    ),
    (
        "WITH t AS (UPDATE crew.pilot SET name = 'x' RETURNING *) SELECT * FROM t",
        "UPDATE",
    ),
    (
        "WITH t AS (SELECT 1) INSERT INTO crew.pilot SELECT * FROM t",
        "INSERT",
    ),
    ("WITH t AS (SELECT 1) DELETE FROM crew.pilot", "DELETE"),
    ("SELECT * FROM '/etc/passwd'", "/etc/passwd"),
    ("SELECT * FROM \"/etc/passwd\"", "/etc/passwd"),
    ("SELECT * FROM \"data.parquet\"", "data.parquet"),
    ("SELECT * FROM 's3://other/file.parquet'", "s3://other"),
    ("SELECT (SELECT max(a) FROM '/etc/passwd')", "/etc/passwd"),
    (
        "SELECT * FROM crew.pilot WHERE name IN (SELECT a FROM 'x.csv')",
        "x.csv",
    ),
    ("DESCRIBE '/etc/passwd'", "/etc/passwd"),
    ("SELECT * FROM read_csv('/etc/passwd')", "read_csv"),
    ("SELECT * FROM read_parquet('x.parquet')", "read_parquet"),
    (
        "SELECT * FROM parquet_metadata('x.parquet')",
        "parquet_metadata",
    ),
    (
        "SELECT * FROM LATERAL read_csv('/etc/passwd') AS t",
        "read_csv",
    ),
    (
        "SELECT * FROM crew.pilot, read_csv('/etc/passwd')",
        "read_csv",
    ),
    (
        "SELECT * FROM crew.pilot FOR SYSTEM_TIME AS OF '2013-01-01'",
        "FOR SYSTEM_TIME AS OF",
    ),
    (
        "SELECT * FROM crew.pilot FOR VALID_TIME AS OF now() p",
        "FOR VALID_TIME AS OF",
    ),
    ("SELECT * FROM crew.pilot VERSION AS OF 3", "VERSION AS OF"),
    (
        "SELECT * FROM crew.pilot FOR VERSION AS OF 3",
        "FOR VERSION AS OF",
    ),
    (
        "SELECT * FROM crew.pilot TIMESTAMP AS OF '2013-01-01'",
        "TIMESTAMP AS OF",
    ),
    (
        "SELECT 1 WHERE EXISTS (SELECT * FROM crew.pilot for system_time as of now())",
        "FOR SYSTEM_TIME AS OF",
    ),
    (
        "SELECT * FROM crew.pilot TABLESAMPLE BERNOULLI (10)",
        "TABLESAMPLE",
    ),
    (
        "SELECT * FROM generate_series(1, 3) WITH ORDINALITY",
        "WITH ORDINALITY",
    ),
    ("TABLE crew.pilot", "TABLE"),
];

const ANSWERED: &[&str] = &[
    "SELECT 1",
    "select count(*) from crew.pilot",
    "VALUES (1, 'a'), (2, 'b')",
    "WITH t AS (SELECT * FROM crew.pilot) SELECT * FROM t",
    "WITH RECURSIVE t AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM t WHERE n < 3) SELECT * FROM t",
    "(SELECT 1) UNION ALL (SELECT 2) ORDER BY 1",
    "EXPLAIN SELECT * FROM crew.pilot",
    "EXPLAIN ANALYZE SELECT * FROM crew.pilot",
    "DESCRIBE crew.pilot_changes",
    "DESC crew.pilot",
    "SHOW TABLES",
    "SHOW COLUMNS FROM crew.pilot",
    "SELECT * FROM generate_series(1, 3)",
    "SELECT unnest([1, 2])",
    "SELECT count(*) FROM crew.pilot_changes changes JOIN crew.pilot before ON true",
    "SELECT 1 AS version, _event_time AS of FROM crew.pilot_changes timestamp",
    "SELECT _source.sequence FROM crew.pilot_changes",
    "SELECT row_number() OVER (PARTITION BY base ORDER BY number) FROM crew.pilot",
    "SELECT 'INSERT INTO x; DROP TABLE y' -- FOR SYSTEM_TIME AS OF now()",
    "SELECT max(c) FROM (SELECT count(*) FILTER (WHERE number > 0) AS c FROM crew.pilot)",
];

async fn lake() -> Lake {
    let lake = Lake::new();
    lake.create("crew", "pilot").await;
    lake.append(&[Change::new("c", 0, row("NCE", 1, Some("Ada")))])
        .await;
    lake
}

#[tokio::test]
async fn what_does_not_only_ask_is_refused_by_name() {
    let lake = lake().await;
    for (sql, word) in REFUSED {
        let error = match lake.ask(sql).await {
            Ok(batch) => panic!("{sql} was answered: {batch:?}"),
            Err(error) => error,
        };
        let QueryError::Refused(refusal) = &error else {
            panic!("{sql} failed, but was not refused: {error:?}")
        };
        assert!(refusal.what.contains(word), "{sql}: {error}");
        assert!(
            !refusal.why.is_empty() && !refusal.instead.is_empty(),
            "{sql}: {error}"
        );
        assert!(error.position().is_some(), "{sql}: {error:?}");
    }
    assert!(!fs::exists("/tmp/lakehead-refused.csv").unwrap());
    assert_eq!(
        lake.number("SELECT count(*) FROM crew.pilot_changes").await,
        1
    );
}

#[tokio::test]
async fn questions_are_answered() {
    let lake = lake().await;
    for sql in ANSWERED {
        if let Err(error) = lake.ask(sql).await {
            panic!("{sql}: {error}");
        }
    }
}

#[test]
fn a_script_is_refused_as_a_whole() {
    let error = statements("SELECT 1;\nSELECT 2; DROP TABLE crew.pilot").unwrap_err();
    assert!(
        matches!(&error, QueryError::Refused(refusal) if refusal.what == "DROP"),
        "{error:?}"
    );
    let position = error.position().unwrap();
    assert_eq!((position.line, position.column), (2, 11));
    assert!(statements("SELECT 1; SELEC 2").is_err());
    assert_eq!(
        statements("; SELECT 1;; -- nothing\n ; SELECT 2")
            .unwrap()
            .len(),
        2
    );
    assert!(statements(" -- nothing").unwrap().is_empty());
}

#[test]
fn mistakes_are_told_with_their_place() {
    let error = statements("SELECT 1,\n  FROM x").unwrap_err();
    let position = error.position().unwrap();
    assert_eq!(position.line, 2, "{error}");
    assert!(!error.to_string().contains("Line:"), "{error}");
    let error = statements("SELCT 1").unwrap_err();
    assert!(error.to_string().contains("found SELCT"), "{error}");
    assert!(statements("SELECT 'open").is_err());
    assert!(
        statements(&format!(
            "SELECT {}1{}",
            "(".repeat(5_000),
            ")".repeat(5_000)
        ))
        .is_err()
    );
}
