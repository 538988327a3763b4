//! A topic of flights in memory, as long as one likes.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::Duration;

use async_trait::async_trait;
use lake_writer::{Notice, Position, Record, RecordLog, Start, WriterError};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use schemas::TopicPartition;

pub(crate) const TOPIC: &str = "flights.flight";
const PARTITIONS: i32 = 4;

/// Records handed out at a time, of one partition.
const POLL_RECORDS: i64 = 500;

/// Different flights; they come again and again.
const FLIGHTS: usize = 100_000;

/// 2013-01-01.
const FIRST_MS: i64 = 1_356_998_400_000;

pub(crate) const CONTRACT: &str = r#"{"type":"record","name":"Flight","lakehead.key":["flight_id"],
    "fields":[
    {"name":"flight_id","type":"long"},{"name":"carrier","type":"string"},
    {"name":"flight","type":"int"},{"name":"tail","type":["null","string"]},
    {"name":"origin","type":"string"},{"name":"destination","type":"string"},
    {"name":"status","type":"string"},
    {"name":"scheduled_departure","type":{"type":"long","logicalType":"timestamp-millis"}},
    {"name":"departure","type":["null",{"type":"long","logicalType":"timestamp-millis"}]},
    {"name":"arrival","type":["null",{"type":"long","logicalType":"timestamp-millis"}]},
    {"name":"departure_delay","type":["null","int"]},{"name":"arrival_delay","type":["null","int"]},
    {"name":"air_time","type":["null","double"]},{"name":"distance","type":"double"},
    {"name":"remark","type":["null","string"]}]}"#;

pub(crate) struct Flights {
    flights: Vec<Vec<u8>>,
    /// Records of each partition.
    records: i64,
    positions: BTreeMap<i32, (i64, bool)>,
    assigned: bool,
}

impl Flights {
    pub(crate) fn new(records: i64) -> Self {
        let mut rng = StdRng::seed_from_u64(6);
        Self {
            flights: (0..FLIGHTS)
                .map(|number| flight(&mut rng, number))
                .collect(),
            records: records / i64::from(PARTITIONS),
            positions: BTreeMap::new(),
            assigned: false,
        }
    }

    fn set_paused(&mut self, partitions: &[TopicPartition], paused: bool) {
        for partition in partitions {
            if let Some(position) = self.positions.get_mut(&partition.partition) {
                position.1 = paused;
            }
        }
    }
}

fn flight(rng: &mut StdRng, number: usize) -> Vec<u8> {
    let airport = |rng: &mut StdRng| {
        let place = rng.random_range(0..300u32);
        let letter = |n: u32| char::from(b'A' + u8::try_from(n % 26).unwrap_or(0));
        format!(
            "{}{}{}",
            letter(place),
            letter(place / 26),
            letter(place * 7)
        )
    };
    let (origin, destination) = (airport(rng), airport(rng));
    let carrier = ["AA", "UA", "DL", "B6", "WN", "EV", "US", "9E"][rng.random_range(0..8)];
    let status = ["scheduled", "departed", "landed", "cancelled"][rng.random_range(0..4)];
    let scheduled = FIRST_MS + rng.random_range(0..86_400_000i64) / 60_000 * 60_000;
    let delay = rng.random_range(-15..120i64);
    let air = rng.random_range(30.0..600.0f64);
    let late = rng.random_range(-20..140i64);
    let text = format!(
        r#"{{"flight_id":{number},"carrier":"{carrier}","flight":{},"tail":"N{:05}{carrier}",
        "origin":"{origin}","destination":"{destination}","status":"{status}",
        "scheduled_departure":{scheduled},"departure":{},"arrival":{},"departure_delay":{delay},
        "arrival_delay":{late},"air_time":{air},"distance":{},"remark":"gate {} belt {}"}}"#,
        rng.random_range(1..9000),
        rng.random_range(0..20_000),
        scheduled + delay * 60_000,
        scheduled + (delay + late) * 60_000,
        rng.random_range(100.0..5000.0f64),
        rng.random_range(1..90),
        rng.random_range(1..20),
    );
    text.into_bytes()
}

#[async_trait]
impl RecordLog for Flights {
    async fn poll(
        &mut self,
        wait: Duration,
        _: usize,
        each: &mut (dyn for<'r> FnMut(Record<'r>) -> ControlFlow<()> + Send),
    ) -> Result<Option<Notice>, WriterError> {
        if !std::mem::replace(&mut self.assigned, true) {
            let all = (0..PARTITIONS).map(|partition| TopicPartition::new(TOPIC, partition));
            return Ok(Some(Notice::Assigned(all.collect())));
        }
        let mut read = 0;
        for (partition, (next, paused)) in &mut self.positions {
            let end = self.records.min(*next + POLL_RECORDS);
            while !*paused && *next < end {
                // No two partitions have the same flights, or files would compress too well.
                let place = *next * 7919 + i64::from(*partition) * 25_013;
                let which = usize::try_from(place).unwrap_or(0) % self.flights.len();
                let offset = *next;
                *next += 1;
                read += 1;
                let flow = each(Record {
                    topic: TOPIC,
                    partition: *partition,
                    offset,
                    timestamp_ms: FIRST_MS + offset * 20,
                    key: None,
                    value: self.flights.get(which).map(Vec::as_slice),
                    headers: None,
                });
                if flow.is_break() {
                    return Ok(None);
                }
            }
        }
        if read == 0 {
            tokio::time::sleep(wait.min(Duration::from_millis(1))).await;
        }
        Ok(None)
    }

    async fn assign(&mut self, positions: &[Position]) -> Result<(), WriterError> {
        let positions = positions.iter();
        self.positions = positions
            .map(|position| (position.partition.partition, (position.next_offset, false)))
            .collect();
        Ok(())
    }

    async fn unassign(&mut self) -> Result<(), WriterError> {
        self.positions.clear();
        Ok(())
    }

    async fn seek(&mut self, partition: &TopicPartition, next: i64) -> Result<(), WriterError> {
        if let Some(position) = self.positions.get_mut(&partition.partition) {
            position.0 = next;
        }
        Ok(())
    }

    fn pause(&mut self, partitions: &[TopicPartition]) -> Result<(), WriterError> {
        self.set_paused(partitions, true);
        Ok(())
    }

    fn resume(&mut self, partitions: &[TopicPartition]) -> Result<(), WriterError> {
        self.set_paused(partitions, false);
        Ok(())
    }

    async fn offsets_kept(&mut self, _: &TopicPartition) -> Result<(i64, i64), WriterError> {
        Ok((0, self.records))
    }

    async fn topics(&mut self) -> Result<Vec<String>, WriterError> {
        Ok(vec![TOPIC.to_owned()])
    }

    fn read_topics(&mut self, _: Vec<String>) -> Result<(), WriterError> {
        Ok(())
    }

    async fn start_offset(&mut self, _: &TopicPartition, _: Start) -> Result<i64, WriterError> {
        Ok(0)
    }

    fn passed(&self, _: &TopicPartition) -> Option<i64> {
        None
    }

    async fn partition_count(&mut self, _: &str) -> Result<i32, WriterError> {
        Ok(PARTITIONS)
    }

    fn report_progress(&mut self, _: &[(TopicPartition, i64)]) {}
}
