//! Decoding rates: records per CPU-second, for the benchmark's flat flight records and for
//! Debezium envelopes, in JSON and in Avro. Includes making the record batches.
//!
//! `cargo run --release -p columnar --example decode_rate [SECONDS [NAME]]`

mod records;

use std::error::Error;
use std::io::Write;
use std::time::{Duration, Instant};

use apache_avro::Schema;
use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;
use columnar::{ChangeBuffer, ChangeDecoder, ChangeSchema, Decoded, RecordMeta, contract_of};
use schemas::{SchemaId, Shape, TopicPartition};

use crate::records::{Change, ENVELOPE, FLIGHT, Flight};

/// Different records of each kind, and rows per buffer.
const RECORDS: u64 = 20_000;
const ROWS: usize = 100_000;

fn main() -> Result<(), Box<dyn Error>> {
    let seconds = std::env::args()
        .nth(1)
        .map_or(Ok(2.0), |text| text.parse())?;
    let seconds = Duration::from_secs_f64(seconds);
    let flight = Schema::parse_str(FLIGHT)?;
    let table = ChangeSchema::new(&contract_of(&flight, None, Shape::Append)?);
    let json: Vec<Vec<u8>> = (0..RECORDS)
        .map(|n| Flight::new(n).json().into_bytes())
        .collect();
    let avro = (0..RECORDS).map(|n| encoded(&flight, Flight::new(n).avro()));
    let avro = avro.collect::<Result<Vec<_>, _>>()?;
    measure(
        "flat JSON",
        &json,
        ChangeDecoder::json(Shape::Append, &table),
        &table,
        seconds,
    )?;
    let decoder = ChangeDecoder::avro(&flight, Shape::Append, &table)?;
    measure("flat Avro", &avro, decoder, &table, seconds)?;

    let envelope = Schema::parse_str(ENVELOPE)?;
    let table = ChangeSchema::new(&contract_of(&envelope, None, Shape::Debezium)?);
    let json: Vec<Vec<u8>> = (0..RECORDS)
        .map(|n| Change::new(n).json().into_bytes())
        .collect();
    let avro = (0..RECORDS).map(|n| encoded(&envelope, Change::new(n).avro()));
    let avro = avro.collect::<Result<Vec<_>, _>>()?;
    let decoder = ChangeDecoder::json(Shape::Debezium, &table);
    measure("Debezium JSON", &json, decoder, &table, seconds)?;
    let decoder = ChangeDecoder::avro(&envelope, Shape::Debezium, &table)?;
    measure("Debezium Avro", &avro, decoder, &table, seconds)
}

/// Decodes the records over and over, and prints the rate.
fn measure(
    name: &str,
    records: &[Vec<u8>],
    mut decoder: ChangeDecoder,
    table: &std::sync::Arc<ChangeSchema>,
    least: Duration,
) -> Result<(), Box<dyn Error>> {
    if !name.contains(&std::env::args().nth(2).unwrap_or_default()) {
        return Ok(());
    }
    let place = TopicPartition::new("bench", 0);
    let started = Instant::now();
    let (mut rounds, mut total, mut best) = (0, Duration::ZERO, Duration::MAX);
    let mut held = 0;
    while started.elapsed() < least {
        let before = cpu_time()?;
        let mut buffer = ChangeBuffer::new(std::sync::Arc::clone(table), place.clone());
        for (offset, record) in (0..).zip(records.iter().cycle().take(ROWS)) {
            let meta = RecordMeta {
                offset,
                record_time_us: 1_357_000_000_000_000,
                ingest_time_us: 1_357_000_000_000_001,
                schema_id: Some(SchemaId(1)),
                ..RecordMeta::default()
            };
            if decoder.decode(&meta, Some(record), None, &mut buffer)? != Decoded::Row {
                return Err("a record gave no row".into());
            }
        }
        held = buffer.bytes();
        drop(buffer.finish(0)?);
        let round = cpu_time()?.saturating_sub(before);
        rounds += 1;
        total += round;
        best = best.min(round);
    }
    let bytes = records.iter().map(Vec::len).sum::<usize>() / records.len();
    let nanos = |time: Duration, rows: usize| time.as_secs_f64() * 1e9 / rows as f64;
    let (mean, best) = (nanos(total, rounds * ROWS), nanos(best, ROWS));
    writeln!(
        std::io::stdout(),
        "{name:14} {bytes:4} bytes  best {:5.0} k records/CPU-s ({best:4.0} ns)  mean {:5.0} k ({mean:4.0} ns)  {:.0} bytes held a row",
        1e6 / best,
        1e6 / mean,
        held as f64 / ROWS as f64,
    )?;
    Ok(())
}

/// CPU time of this process so far (Linux), which other processes do not blur as they do the clock.
fn cpu_time() -> Result<Duration, Box<dyn Error>> {
    let text = std::fs::read_to_string("/proc/self/schedstat")?;
    let nanos = text
        .split_whitespace()
        .next()
        .ok_or("/proc/self/schedstat is empty")?;
    Ok(Duration::from_nanos(nanos.parse()?))
}

fn encoded(schema: &Schema, value: Value) -> Result<Vec<u8>, apache_avro::Error> {
    GenericDatumWriter::builder(schema)
        .build()?
        .write_value_to_vec(value)
}
