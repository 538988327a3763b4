//! A topic's records, from the product's own consumer.

use std::collections::HashMap;
use std::error::Error;
use std::ops::{ControlFlow, Range};
use std::time::Duration;

use lake_writer::{
    Assignment, KafkaLog, KafkaSettings, Notice, Position, Record as Taken, RecordLog,
};

/// Records that are decoded into one buffer.
const CHUNK_RECORDS: usize = 16_384;

/// Records of one partition, in memory.
#[derive(Default)]
pub(crate) struct Chunk {
    pub(crate) partition: i32,
    bytes: Vec<u8>,
    places: Vec<Place>,
}

struct Place {
    offset: i64,
    timestamp_ms: i64,
    value: Range<usize>,
}

/// One record.
pub(crate) struct Record<'a> {
    pub(crate) offset: i64,
    pub(crate) timestamp_ms: i64,
    pub(crate) value: &'a [u8],
}

impl Chunk {
    /// Its records, in the order of their offsets.
    pub(crate) fn records(&self) -> impl Iterator<Item = Record<'_>> {
        self.places.iter().map(|place| Record {
            offset: place.offset,
            timestamp_ms: place.timestamp_ms,
            value: &self.bytes[place.value.clone()],
        })
    }

    fn keep(&mut self, record: &Taken<'_>) {
        let value = record.value.unwrap_or_default();
        let start = self.bytes.len();
        self.bytes.extend_from_slice(value);
        self.places.push(Place {
            offset: record.offset,
            timestamp_ms: record.timestamp_ms,
            value: start..start + value.len(),
        });
    }
}

/// Reads a topic from its start until it has given so many records, with their headers; keeps
/// them or not.
pub(crate) fn read(
    brokers: &str,
    topic: &str,
    records: usize,
    keep: bool,
) -> Result<Vec<Chunk>, Box<dyn Error>> {
    let settings = KafkaSettings {
        bootstrap_servers: brokers.to_owned(),
        group_id: "lakehead-parts".to_owned(),
        assignment: Assignment::All,
        ..KafkaSettings::default()
    };
    let mut log = KafkaLog::new(&settings, vec![topic.to_owned()])?;
    let mut open: HashMap<i32, Chunk> = HashMap::new();
    let (mut full, mut seen, mut headers) = (Vec::new(), 0, 0);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        while seen < records {
            let mut each = |record: Taken<'_>| {
                seen += 1;
                headers += record.headers().count();
                if keep {
                    let chunk = open.entry(record.partition).or_default();
                    chunk.partition = record.partition;
                    chunk.keep(&record);
                    if chunk.places.len() == CHUNK_RECORDS {
                        full.push(std::mem::take(chunk));
                    }
                }
                ControlFlow::Continue(())
            };
            let notice = log
                .poll(Duration::from_millis(100), 10_000, &mut each)
                .await?;
            if let Some(Notice::Assigned(partitions)) = notice {
                let start = partitions.into_iter().map(|partition| Position {
                    partition,
                    next_offset: 0,
                });
                log.assign(&start.collect::<Vec<_>>()).await?;
            }
        }
        Ok::<_, Box<dyn Error>>(())
    })?;
    let rest = open.into_values();
    full.extend(rest.filter(|chunk| !chunk.places.is_empty()));
    Ok(full)
}
