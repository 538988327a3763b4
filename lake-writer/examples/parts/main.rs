//! The unavoidable parts of the writer's work, each by itself, in CPU-seconds of this process:
//! what it takes to consume a topic, to decode its records, and to encode their rows. Decoding and
//! encoding work on what is in memory already; nothing is written anywhere.
//!
//! `parts BROKERS TOPIC json|avro|debezium CONTRACT_FILE RECORDS`, of a topic whose Avro records
//! have the contract's schema. Prints one JSON object.

mod records;

use std::error::Error;
use std::io::Write;
use std::sync::Arc;

use arrow::array::RecordBatch;
use columnar::{ChangeBuffer, ChangeDecoder, ChangeSchema, Decoded, RecordMeta, contract_of};
use lake_writer::DataFileWriter;
use schemas::{Shape, TopicPartition, wire};
use serde_json::json;

use crate::records::{Chunk, read};

/// The shipped binary's.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Rows of a file: about what a flush of the default settings has.
const FILE_ROWS: usize = 262_144;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [brokers, topic, format, contract, records] = &arguments[..] else {
        return Err("usage: parts BROKERS TOPIC json|avro|debezium CONTRACT_FILE RECORDS".into());
    };
    let records: usize = records.parse()?;
    let shape = match format.as_str() {
        "debezium" => Shape::Debezium,
        _ => Shape::Append,
    };
    let schema = apache_avro::Schema::parse_str(&std::fs::read_to_string(contract)?)?;
    let contract = contract_of(&schema, None, Shape::Append)?.with_key(vec!["flight_id".into()])?;
    let table = ChangeSchema::new(&contract);
    let decoder = match format.as_str() {
        "avro" => ChangeDecoder::avro(&schema, shape, &table)?,
        _ => ChangeDecoder::json(shape, &table),
    };

    let (consume, _) = measured(|| read(brokers, topic, records, false))?;
    let chunks = read(brokers, topic, records, true)?;
    let mut rows = Rows {
        decoder,
        table,
        topic,
        framed: format == "avro",
    };
    // The rows go as they come, like the writer's: keeping them all costs memory never touched.
    let (decode, ()) = measured(|| chunks.iter().try_for_each(|chunk| rows.of(chunk).map(drop)))?;
    let mut batches = Vec::new();
    for chunk in chunks {
        batches.push(rows.of(&chunk)?);
    }
    let (encode, bytes) = measured(|| encode(&batches))?;
    let told = json!({
        "topic": topic, "records": records, "consume_cpu_s": consume, "decode_cpu_s": decode,
        "encode_cpu_s": encode, "sum_cpu_s": consume + decode + encode, "file_bytes": bytes,
    });
    writeln!(std::io::stdout(), "{told}")?;
    Ok(())
}

/// Makes rows of records.
struct Rows<'a> {
    decoder: ChangeDecoder,
    table: Arc<ChangeSchema>,
    topic: &'a str,
    /// The records are framed Avro.
    framed: bool,
}

impl Rows<'_> {
    /// A chunk's records as a table's writer gets them.
    fn of(&mut self, chunk: &Chunk) -> Result<RecordBatch, Box<dyn Error>> {
        let place = TopicPartition::new(self.topic, chunk.partition);
        let mut buffer = ChangeBuffer::new(Arc::clone(&self.table), place);
        for record in chunk.records() {
            let (schema_id, body) = match wire::unframe(record.value) {
                Some((id, body)) if self.framed => (Some(id), body),
                _ => (None, record.value),
            };
            let meta = RecordMeta {
                offset: record.offset,
                record_time_us: record.timestamp_ms * 1000,
                ingest_time_us: record.timestamp_ms * 1000,
                schema_id,
                ..RecordMeta::default()
            };
            let decoded = self.decoder.decode(&meta, Some(body), None, &mut buffer)?;
            if decoded != Decoded::Row {
                return Err("a record gave no row".into());
            }
        }
        Ok(buffer.finish(0)?)
    }
}

/// Encodes the batches into files of one date, as the topics of the benchmark have it; the bytes of
/// all files.
fn encode(batches: &[RecordBatch]) -> Result<usize, Box<dyn Error>> {
    let mut bytes = 0;
    let mut open: Option<(usize, DataFileWriter)> = None;
    for batch in batches {
        if let Some((_, full)) = open.take_if(|(rows, _)| *rows >= FILE_ROWS) {
            bytes += full.finish()?.size_bytes();
        }
        let (rows, writer) = match &mut open {
            Some(file) => file,
            None => {
                let writer = DataFileWriter::new(uuid::Uuid::nil(), Some(0), batch.schema())?;
                open.insert((0, writer))
            }
        };
        writer.write(batch)?;
        *rows += batch.num_rows();
    }
    if let Some((_, last)) = open {
        bytes += last.finish()?.size_bytes();
    }
    Ok(bytes)
}

/// CPU-seconds of this process, all its threads, while something is done.
fn measured<T>(
    work: impl FnOnce() -> Result<T, Box<dyn Error>>,
) -> Result<(f64, T), Box<dyn Error>> {
    let before = cpu_seconds()?;
    let done = work()?;
    Ok((cpu_seconds()? - before, done))
}

/// User and system time of this process so far (Linux: in hundredths of a second).
fn cpu_seconds() -> Result<f64, Box<dyn Error>> {
    let text = std::fs::read_to_string("/proc/self/stat")?;
    let fields = text.rsplit(')').next().unwrap_or_default();
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks: Vec<f64> = ticks.map(str::parse).collect::<Result<_, _>>()?;
    Ok(ticks.iter().sum::<f64>() / 100.0)
}
