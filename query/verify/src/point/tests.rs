use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use lake_store::LakeStore;
use query_engine::{Engine, EngineSettings};

use super::*;

/// 2013-01-01T00:00:00Z.
const NOW_US: i64 = 1_356_998_400_000_000;

/// A change as the lake tells of it: source, sequence, LSN, transaction, microseconds before now.
type Change<'a> = (
    &'a str,
    Option<i64>,
    Option<i64>,
    Option<&'a str>,
    Option<i64>,
);

/// The numbers of the changes that fulfil the condition, asked of the engine itself.
async fn fulfilling(changes: &[Change<'_>], condition: &str) -> Vec<i64> {
    let lake = LakeStore::open("memory:///", &[], true).unwrap();
    let engine = Engine::open(lake, &EngineSettings::default()).unwrap();
    let number = |value: Option<i64>| value.map_or("NULL".to_owned(), |number| number.to_string());
    let rows = changes.iter().enumerate().map(|(place, change)| {
        let (source, sequence, lsn, transaction, ago_us) = change;
        let transaction = transaction.map_or("NULL".to_owned(), |text| format!("'{text}'"));
        let (sequence, lsn) = (number(*sequence), number(*lsn));
        let time = NOW_US - ago_us.unwrap_or(0);
        format!("({place}, '{source}', {sequence}, {lsn}, {transaction}, {time})")
    });
    let rows = rows.collect::<Vec<_>>().join(", ");
    let sql = format!(
        "SELECT place FROM (SELECT column1 AS place, \
         CASE WHEN column2 = 'db#copy' THEN 'r' ELSE 'u' END AS _op, to_timestamp_micros(column6) AS _event_time, \
         named_struct('name', column2, 'sequence', CAST(column3 AS BIGINT), \
         'lsn', CAST(column4 AS BIGINT), 'transaction', CAST(column5 AS VARCHAR)) AS _source \
         FROM (VALUES {rows})) WHERE {condition} ORDER BY place"
    );
    let answer = engine.ask(&sql).await.unwrap();
    let batches = answer.collect().await.unwrap();
    let places = batches.iter().flat_map(|batch| {
        let places = batch.column(0).as_primitive::<Int64Type>();
        places.values().to_vec()
    });
    places.collect()
}

fn outbox() -> OutboxPoint {
    OutboxPoint {
        source: "/it's/1".to_owned(),
        through: 10,
        runs: vec![(12, 14), (17, 17)],
        told_through: i64::MAX,
    }
}

fn transactions(next: u64, open: &[u64]) -> TransactionPoint {
    TransactionPoint {
        next,
        open: open.to_vec(),
        lsn: 1000,
        begun: 900,
        time_us: NOW_US,
    }
}

#[tokio::test]
async fn of_an_outbox_exactly_the_sequences_that_the_snapshot_saw() {
    let own = |sequence| ("/it''s/1", Some(sequence), None, None, None);
    let changes = [
        own(1),
        own(10),
        own(11),
        own(12),
        own(14),
        own(15),
        own(17),
        own(18),
        ("/another/1", Some(99), None, None, None),
        ("/it''s/1/unparked", Some(3), None, None, None),
    ];
    let mut point = Point {
        outbox: Some(outbox()),
        transactions: None,
    };
    assert_eq!(
        fulfilling(&changes, &point.seen()).await,
        [0, 1, 3, 4, 6, 8, 9]
    );
    assert_eq!(fulfilling(&changes, &point.doubtful()).await, [8, 9]);
    point.transactions = Some(transactions(100, &[]));
    assert_eq!(
        fulfilling(&changes, &point.seen()).await,
        [0, 1, 3, 4, 6, 8, 9]
    );
    if let Some(outbox) = &mut point.outbox {
        outbox.told_through = 14;
    }
    let doubtful = fulfilling(&changes, &point.doubtful()).await;
    assert_eq!(doubtful, [5, 6, 7, 8, 9]);
}

#[tokio::test]
async fn of_transactions_those_that_had_ended_at_the_snapshot() {
    let of = |transaction| ("db", None, Some(1), Some(transaction), None);
    let changes = [
        of("99"),
        of("100"),
        of("101:2000"),
        of("97"),
        // Round the corner: of 32 bits only.
        of("4294967290"),
        ("db", None, Some(1), Some("101"), Some(OPEN_US_MAX + 1)),
        ("db", None, Some(1000), None, None),
        ("db", None, Some(1001), None, None),
        ("db", None, None, None, None),
        ("db#copy", None, Some(900), None, None),
        ("db#copy", None, Some(901), None, None),
        ("db#copy", None, Some(1001), None, None),
    ];
    let point = Point {
        outbox: None,
        transactions: Some(transactions((1 << 32) + 100, &[(1 << 32) + 97])),
    };
    let seen = fulfilling(&changes, &point.seen()).await;
    assert_eq!(seen, [0, 4, 5, 6, 8, 9, 10]);
    let doubtful = fulfilling(&changes, &point.doubtful()).await;
    assert_eq!(doubtful, [6, 7, 8, 10, 11]);
}

#[tokio::test]
async fn without_either_everything_is_doubtful() {
    let changes = [("db", Some(1), None, None, None)];
    let point = Point::default();
    assert_eq!(fulfilling(&changes, &point.seen()).await, [0]);
    assert_eq!(fulfilling(&changes, &point.doubtful()).await, [0]);
}
