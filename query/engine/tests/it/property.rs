//! The current state of random histories, cut into random files, against a fold of our own.

use std::collections::{BTreeMap, HashMap};

use arrow::array::{Array, AsArray};
use arrow::datatypes::{Date32Type, Float64Type, Int64Type, TimestampMicrosecondType};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use query_engine::EngineSettings;

use crate::lake::{Change, Lake, Row, START_US};

/// Partitions of the topic; a key's changes of one generation are all in one.
const PARTITIONS: i64 = 3;

fn values() -> impl Strategy<Value = Row> {
    let values = (
        prop::option::of("[a-c]{0,2}"),
        prop::option::of(prop::sample::select(vec![-0.5, 0.0, 1.0, f64::MAX])),
        any::<Option<bool>>(),
        prop::option::of(-3..3_i32),
        prop::option::of(0..3_i64),
        prop::option::of(prop::collection::vec(any::<u8>(), 0..2)),
    );
    values.prop_map(|(name, hours, active, hired, seen, photo)| Row {
        name,
        hours,
        active,
        hired,
        seen,
        photo,
        ..Row::default()
    })
}

/// Changes in the order of their making: which key, what happened, how long after the last one.
fn history() -> impl Strategy<Value = Vec<(i64, bool, Row, i64)>> {
    prop::collection::vec(
        (0..8_i64, any::<bool>(), values(), 0..40_000_000_000_i64),
        1..40,
    )
}

/// Turns a history into changes: a key that is there is updated or deleted, one that is not is
/// created. Also the rows that are left, by our own account.
fn played(history: &[(i64, bool, Row, i64)]) -> (Vec<Change>, BTreeMap<(String, i64), Row>) {
    let mut rows = BTreeMap::new();
    let mut next_offsets = HashMap::new();
    let mut generation = 0;
    let mut time_us = START_US;
    let mut changes = Vec::new();
    for (key, delete, values, pause) in history {
        let (base, number) = (["NCE", "LYS"][usize::from(*key > 3)].to_owned(), key % 4);
        let row = Row {
            base: base.clone(),
            number,
            ..values.clone()
        };
        if pause % 11 == 0 {
            // The topic is made again, with other partitions.
            generation += 1;
            next_offsets.clear();
        }
        let partition = (key + i64::from(generation)) % PARTITIONS;
        let offset = next_offsets.entry(partition).or_insert(0_i64);
        time_us += pause;
        let here = rows.contains_key(&(base.clone(), number));
        let op = match (here, delete) {
            (true, true) => "d",
            (true, false) => "u",
            (false, true) => "r",
            (false, false) => "c",
        };
        if op == "d" {
            rows.remove(&(base, number));
        } else {
            rows.insert((base, number), row.clone());
        }
        let partition = i32::try_from(partition).unwrap();
        changes.push(Change {
            op,
            partition,
            offset: *offset,
            generation,
            time_us,
            row,
        });
        *offset += 1 + pause % 3;
    }
    (changes, rows)
}

/// The rows of an answer that holds the entity's columns in order.
fn rows(batch: &arrow::array::RecordBatch) -> Vec<Row> {
    let plain = |at: usize, data_type| arrow::compute::cast(batch.column(at), &data_type).unwrap();
    let (base, name) = (
        plain(0, arrow::datatypes::DataType::Utf8),
        plain(2, arrow::datatypes::DataType::Utf8),
    );
    let photo = plain(7, arrow::datatypes::DataType::Binary);
    let value = |at: usize, row: usize| batch.column(at).is_valid(row).then_some(row);
    (0..batch.num_rows())
        .map(|row| Row {
            base: base.as_string::<i32>().value(row).to_owned(),
            number: batch.column(1).as_primitive::<Int64Type>().value(row),
            name: value(2, row).map(|row| name.as_string::<i32>().value(row).to_owned()),
            hours: value(3, row)
                .map(|row| batch.column(3).as_primitive::<Float64Type>().value(row)),
            active: value(4, row).map(|row| batch.column(4).as_boolean().value(row)),
            hired: value(5, row).map(|row| batch.column(5).as_primitive::<Date32Type>().value(row)),
            seen: value(6, row).map(|row| {
                batch
                    .column(6)
                    .as_primitive::<TimestampMicrosecondType>()
                    .value(row)
            }),
            photo: value(7, row).map(|row| photo.as_binary::<i32>().value(row).to_vec()),
        })
        .collect()
}

/// A condition in SQL and the same one in our own words.
type Condition = (&'static str, fn(&Row) -> bool);

const CONDITIONS: [Condition; 7] = [
    ("TRUE", |_| true),
    ("base = 'NCE'", |row| row.base == "NCE"),
    ("number > 1 AND base = 'LYS'", |row| {
        row.number > 1 && row.base == "LYS"
    }),
    ("name = 'a'", |row| row.name.as_deref() == Some("a")),
    ("name IS NULL", |row| row.name.is_none()),
    ("active AND number < 2", |row| {
        row.active == Some(true) && row.number < 2
    }),
    ("hired >= 0 OR seen IS NULL", |row| {
        row.hired.is_some_and(|day| day >= 0) || row.seen.is_none()
    }),
];

async fn check(
    history: Vec<(i64, bool, Row, i64)>,
    cuts: Vec<usize>,
    swap: bool,
    settings: EngineSettings,
) {
    let (mut changes, expected) = played(&history);
    if swap {
        // Partitions reach the lake at different speeds: whole partitions after each other.
        changes.sort_by_key(|change| change.partition);
    }
    let lake = Lake::with_settings(&settings);
    lake.create("crew", "pilot").await;
    let mut rest = changes.as_slice();
    for cut in cuts {
        let (commit, later) = rest.split_at(cut.min(rest.len()));
        if !commit.is_empty() {
            lake.append(commit).await;
        }
        rest = later;
    }
    if !rest.is_empty() {
        lake.append(rest).await;
    }
    for (sql, holds) in CONDITIONS {
        let expected: Vec<Row> = expected
            .values()
            .filter(|row| holds(row))
            .cloned()
            .collect();
        let question = format!("SELECT * FROM crew.pilot WHERE {sql} ORDER BY base, number");
        let found = rows(&lake.ask(&question).await.unwrap());
        assert_eq!(found, expected, "WHERE {sql}");
        let question = format!("SELECT count(*) FROM crew.pilot WHERE {sql}");
        let count = lake.number(&question).await;
        assert_eq!(count, i64::try_from(expected.len()).unwrap(), "{question}");
    }
}

#[test]
fn the_current_state_is_the_fold_of_the_changes() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let mut runner = TestRunner::new(Config {
        cases: 48,
        failure_persistence: None,
        ..Config::default()
    });
    let inputs = (
        history(),
        prop::collection::vec(1..12_usize, 0..6),
        any::<bool>(),
        any::<bool>(),
    );
    runner
        .run(&inputs, |(history, cuts, swap, sorted)| {
            let mut settings = EngineSettings::default();
            if sorted {
                settings.hash_bytes_max = 0;
            }
            runtime.block_on(check(history, cuts, swap, settings));
            Ok(())
        })
        .unwrap();
}
