//! Measures the current state: one million changes of a quarter of a million keys in 40 files.
//!
//! `cargo run --release -p query-engine --example current_state [CHANGES KEYS [DIR]]`; the lake is
//! kept if it is made in DIR. With SORTED set, current states are found by sorting.

use std::collections::HashMap;
use std::error::Error;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use arrow::array::{
    ArrayRef, Date32Array, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use deltalake::DeltaTable;
use deltalake::kernel::StructType;
use deltalake::kernel::engine::arrow_conversion::TryIntoKernel;
use deltalake::operations::create::CreateBuilder;
use deltalake::operations::write::WriteBuilder;
use lake_store::LakeStore;
use query_engine::{Engine, EngineSettings};

const PATH: &str = "flights/flight/changes";
const FILES: i64 = 40;
const START_US: i64 = 1_356_998_400_000_000;
const CARRIERS: [&str; 16] = [
    "UA", "AA", "B6", "DL", "EV", "MQ", "US", "WN", "VX", "FL", "AS", "9E", "F9", "HA", "YV", "OO",
];

type Failure = Box<dyn Error + Send + Sync>;

/// Changes `from..to`: change n is of key n modulo `keys`, so that every key changes in every round.
fn batch(from: i64, to: i64, keys: i64) -> Result<RecordBatch, Failure> {
    let numbers = |value: fn(i64, i64) -> i64| -> ArrayRef {
        Arc::new((from..to).map(|n| value(n, keys)).collect::<Int64Array>())
    };
    let doubles = |scale: i64| -> ArrayRef {
        let value = |n: i64| (n % 7 != 0).then(|| ((n * 31) % scale) as f64);
        Arc::new((from..to).map(value).collect::<Float64Array>())
    };
    let text = |value: fn(i64, i64) -> String| -> ArrayRef {
        Arc::new(
            (from..to)
                .map(|n| Some(value(n, keys)))
                .collect::<StringArray>(),
        )
    };
    let time = || -> ArrayRef {
        let values = (from..to).map(|n| Some(START_US + n * 1_000));
        Arc::new(
            values
                .collect::<TimestampMicrosecondArray>()
                .with_timezone("UTC"),
        )
    };
    let op = |n: i64, keys: i64| match n / keys {
        0 => "c".to_owned(),
        _ if (n % keys) % 50 == 3 => "d".to_owned(),
        _ => "u".to_owned(),
    };
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("_op", text(op)),
        (
            "_event_id",
            text(|n, _| format!("018d3f1e-0000-7000-8000-{n:012x}")),
        ),
        ("_event_time", time()),
        ("_topic", text(|_, _| "flights.flight".to_owned())),
        (
            "_partition",
            Arc::new((from..to).map(|n| (n % 4) as i32).collect::<Int32Array>()),
        ),
        ("_offset", numbers(|n, _| n / 4)),
        ("_ingest_time", time()),
        ("year", numbers(|_, _| 2013)),
        ("month", numbers(|n, keys| (n % keys) / 30_000 % 12 + 1)),
        ("day", numbers(|n, keys| (n % keys) / 1_000 % 30 + 1)),
        (
            "carrier",
            text(|n, keys| CARRIERS[((n % keys) % 16) as usize].to_owned()),
        ),
        ("flight", numbers(|n, keys| n % keys)),
        (
            "origin",
            text(|n, keys| ["JFK", "LGA", "EWR"][((n % keys) % 3) as usize].to_owned()),
        ),
        ("dep_time", doubles(2400)),
        ("sched_dep_time", doubles(2359)),
        ("dep_delay", doubles(300)),
        ("arr_time", doubles(2400)),
        ("sched_arr_time", doubles(2350)),
        ("arr_delay", doubles(290)),
        ("tailnum", text(|n, _| format!("N{:05}", n % 4_000))),
        ("dest", text(|n, _| format!("D{:02}", n % 100))),
        ("air_time", doubles(600)),
        ("distance", doubles(5_000)),
        ("hour", doubles(24)),
        ("minute", doubles(60)),
        ("time_hour", time()),
        (
            "_event_date",
            Arc::new((from..to).map(|_| Some(15_706)).collect::<Date32Array>()),
        ),
    ];
    Ok(RecordBatch::try_from_iter_with_nullable(
        columns.into_iter().map(|(n, c)| (n, c, true)),
    )?)
}

async fn write(lake: &LakeStore, changes: i64, keys: i64) -> Result<(), Failure> {
    let kernel: StructType = batch(0, 1, keys)?.schema().as_ref().try_into_kernel()?;
    let key = r#"["year","month","day","carrier","flight","origin"]"#;
    let properties = [
        ("lakehead.format", "1"),
        ("lakehead.key", key),
        ("lakehead.shape", "debezium"),
    ];
    let properties: HashMap<_, _> = properties
        .into_iter()
        .map(|(name, value)| (name, Some(value)))
        .collect();
    let mut table: DeltaTable = CreateBuilder::new()
        .with_log_store(lake.table_log(PATH))
        .with_columns(kernel.fields().cloned())
        .with_partition_columns(["_event_date"])
        .with_raise_if_key_not_exists(false)
        .with_configuration(properties)
        .await?;
    for file in 0..FILES {
        let (from, to) = (changes * file / FILES, changes * (file + 1) / FILES);
        let snapshot = table.snapshot()?.snapshot().clone();
        table = WriteBuilder::new(table.log_store(), Some(snapshot))
            .with_input_batches([batch(from, to, keys)?])
            .await?;
    }
    Ok(())
}

/// The questions; `flights.flight` stands for the current state.
const QUESTIONS: [(&str, &str); 6] = [
    ("log: count", "SELECT count(*) FROM flights.flight_changes"),
    ("count", "SELECT count(*) FROM flights.flight"),
    (
        "group",
        "SELECT carrier, avg(arr_delay), count(*) FROM flights.flight GROUP BY carrier",
    ),
    ("all columns", "SELECT * FROM flights.flight"),
    (
        "one key",
        "SELECT * FROM flights.flight WHERE flight = 4711 AND carrier = 'WN'",
    ),
    (
        "filter",
        "SELECT count(*) FROM flights.flight WHERE dest = 'D17'",
    ),
];

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let changes: i64 = arguments
        .next()
        .map_or(Ok(1_000_000), |text| text.parse())?;
    let keys: i64 = arguments.next().map_or(Ok(250_000), |text| text.parse())?;
    let temporary = tempfile::tempdir()?;
    let directory = arguments
        .next()
        .map_or(temporary.path().to_owned(), PathBuf::from);
    let lake = LakeStore::open(&directory.to_string_lossy(), &[], true)?;
    write(&lake, changes, keys).await?;
    let mut settings = EngineSettings::default();
    if std::env::var_os("SORTED").is_some() {
        settings.hash_bytes_max = 0;
    }
    let engine = Engine::open(lake, &settings)?;
    let mut out = std::io::stdout();
    for (name, sql) in QUESTIONS {
        let mut seconds = Vec::new();
        let mut rows = 0;
        for _ in 0..3 {
            let started = Instant::now();
            let mut answer = engine.ask(sql).await?;
            rows = 0;
            while let Some(batch) = answer.next().await? {
                rows += batch.num_rows();
            }
            seconds.push(started.elapsed().as_secs_f64());
        }
        seconds.sort_by(f64::total_cmp);
        writeln!(out, "{name:14} {:7.3} s  {rows} rows", seconds[1])?;
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status
        .lines()
        .find(|line| line.starts_with("VmHWM"))
        .unwrap_or_default();
    writeln!(out, "{peak}")?;
    Ok(())
}
