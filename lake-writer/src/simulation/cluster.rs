//! The simulated Kafka: partitions of records, and members that may learn late what is theirs.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use schemas::{TopicPartition, header};

use super::oracle::Landed;
use crate::error::WriterError;
use crate::record_log::{Headers, Notice, Position, Record, RecordLog};
use crate::settings::Start;

pub(super) const TOPIC: &str = "sim.row";
pub(super) const RECORD_BYTES_MAX: usize = 200;

/// A record of the simulated log.
#[derive(Clone, Debug)]
struct Stored {
    key: Vec<u8>,
    value: Option<Vec<u8>>,
    source: Option<(String, i64)>,
    lands: Landed,
}

/// What every member sees, sooner or later.
#[derive(Debug)]
pub(super) struct Cluster {
    partitions: Vec<Vec<Stored>>,
    members: HashMap<usize, VecDeque<Notice>>,
    joined: usize,
    numbers: i64,
    /// Nothing is lost, and no topic is away for a moment, from now on.
    calm: bool,
    /// The topic is deleted right before the next seek in it.
    pub(super) goes_at_seek: bool,
    /// The topic is deleted.
    pub(super) gone: bool,
}

impl Cluster {
    pub(super) fn new(partitions: i32) -> Self {
        let partitions = (0..partitions).map(|_| Vec::new()).collect();
        Self {
            partitions,
            members: HashMap::new(),
            joined: 0,
            numbers: 0,
            calm: false,
            goes_at_seek: false,
            gone: false,
        }
    }

    pub(super) fn calm_down(&mut self) {
        self.calm = true;
    }

    pub(super) fn join(&mut self) -> usize {
        self.joined += 1;
        self.members.insert(self.joined, VecDeque::new());
        self.joined
    }

    pub(super) fn leave(&mut self, member: usize) {
        self.members.remove(&member);
    }

    /// Shares the partitions anew. A member may not be told that it lost its own: then it goes on
    /// reading them as a zombie beside the new owner.
    pub(super) fn rebalance(&mut self, rng: &mut StdRng, members: &[usize]) {
        if members.is_empty() {
            return;
        }
        let mut shares: BTreeMap<usize, Vec<TopicPartition>> =
            members.iter().map(|member| (*member, Vec::new())).collect();
        for partition in 0..self.partitions.len() {
            let owner = members[rng.random_range(0..members.len())];
            let partition = TopicPartition::new(TOPIC, i32::try_from(partition).unwrap());
            shares.entry(owner).or_default().push(partition);
        }
        for (member, share) in shares {
            let told = members.len() == 1 || rng.random_range(0..100) < 70;
            if let (true, Some(events)) = (told, self.members.get_mut(&member)) {
                events.push_back(Notice::Revoked);
                events.push_back(Notice::Assigned(share));
            }
        }
    }

    /// Appends records: rows, deletes, poison, and events that their source publishes again.
    pub(super) fn produce(&mut self, rng: &mut StdRng, count: usize) {
        let partition_count = i64::try_from(self.partitions.len()).unwrap();
        for _ in 0..count {
            let partition = rng.random_range(0..self.partitions.len());
            let log = &mut self.partitions[partition];
            if rng.random_range(0..100) < 10 && !log.is_empty() {
                // Published again: from somewhere back on, in the same order, at new offsets.
                let from = log.len().saturating_sub(rng.random_range(1..20));
                let again: Vec<Stored> = log[from..]
                    .iter()
                    .filter(|stored| stored.source.is_some())
                    .cloned()
                    .collect();
                log.extend(again);
                continue;
            }
            self.numbers += 1;
            // A key is in one partition, as Kafka's partitioners have it.
            let id = rng.random_range(0..8) * partition_count + i64::try_from(partition).unwrap();
            let n = self.numbers;
            let key = format!("{{\"id\":{id}}}").into_bytes();
            let (value, lands) = match rng.random_range(0..20) {
                0 => (
                    Some(b"\xff\x00 garbage".to_vec()),
                    Landed::Dead("invalid".to_owned()),
                ),
                1 => (
                    Some(vec![b' '; RECORD_BYTES_MAX + 1]),
                    Landed::Dead("too_large".to_owned()),
                ),
                2 => (
                    None,
                    Landed::Row {
                        op: "d".to_owned(),
                        id,
                        n: None,
                    },
                ),
                _ => {
                    let value = format!("{{\"id\":{id},\"n\":{n}}}").into_bytes();
                    (
                        Some(value),
                        Landed::Row {
                            op: "u".to_owned(),
                            id,
                            n: Some(n),
                        },
                    )
                }
            };
            let source = (rng.random_range(0..100) < 70).then(|| ("/source".to_owned(), n));
            log.push(Stored {
                key,
                value,
                source,
                lands,
            });
        }
    }

    /// What must be in the lake: everything but what its source had published before.
    pub(super) fn expected(&self) -> BTreeMap<(i32, i64), Landed> {
        let mut expected = BTreeMap::new();
        for (partition, log) in self.partitions.iter().enumerate() {
            let mut last: HashMap<&str, i64> = HashMap::new();
            for (offset, stored) in log.iter().enumerate() {
                if let Some((source, sequence)) = &stored.source {
                    if last
                        .get(source.as_str())
                        .is_some_and(|last| sequence <= last)
                    {
                        continue;
                    }
                    last.insert(source, *sequence);
                }
                let place = (
                    i32::try_from(partition).unwrap(),
                    i64::try_from(offset).unwrap(),
                );
                expected.insert(place, stored.lands.clone());
            }
        }
        expected
    }
}

/// One process's view of the cluster.
#[derive(Debug)]
pub(super) struct Member {
    cluster: Arc<Mutex<Cluster>>,
    member: usize,
    rng: StdRng,
    /// Next offset and whether it is paused, by partition.
    positions: BTreeMap<i32, (i64, bool)>,
    /// The next question for offsets is answered as if retention had passed them.
    lost: bool,
}

impl Member {
    pub(super) fn new(cluster: Arc<Mutex<Cluster>>, member: usize, seed: u64) -> Self {
        Self {
            cluster,
            member,
            rng: StdRng::seed_from_u64(seed),
            positions: BTreeMap::new(),
            lost: false,
        }
    }

    /// Whether something goes wrong for a moment that stops the table.
    fn stumbles(&mut self, one_in: u32) -> bool {
        let stumbles = self.rng.random_range(0..one_in) == 0;
        stumbles && !self.cluster.lock().unwrap().calm
    }

    fn set_paused(&mut self, partitions: &[TopicPartition], paused: bool) {
        for partition in partitions {
            if let Some(position) = self.positions.get_mut(&partition.partition) {
                position.1 = paused;
            }
        }
    }
}

#[async_trait]
impl RecordLog for Member {
    async fn poll(
        &mut self,
        _: Duration,
        _: usize,
        each: &mut (dyn for<'r> FnMut(Record<'r>) -> ControlFlow<()> + Send),
    ) -> Result<Option<Notice>, WriterError> {
        tokio::time::sleep(Duration::from_millis(self.rng.random_range(1..30))).await;
        let mut cluster = self.cluster.lock().unwrap();
        'partitions: for (partition, (next, paused)) in &mut self.positions {
            let log = &cluster.partitions[usize::try_from(*partition).unwrap()];
            let some = if *paused {
                0
            } else {
                self.rng.random_range(0..30)
            };
            let from = usize::try_from(*next).unwrap().min(log.len());
            for stored in &log[from..log.len().min(from + some)] {
                let headers = stored.source.as_ref().map(|(source, sequence)| {
                    Pairs(vec![
                        (header::SOURCE.to_owned(), source.clone()),
                        (header::SEQUENCE.to_owned(), sequence.to_string()),
                    ])
                });
                let flow = each(Record {
                    topic: TOPIC,
                    partition: *partition,
                    offset: *next,
                    timestamp_ms: 1_357_000_000_000 + *next * 40_000,
                    key: Some(&stored.key),
                    value: stored.value.as_deref(),
                    headers: headers.as_ref().map(|headers| headers as &dyn Headers),
                });
                *next += 1;
                if flow.is_break() {
                    break 'partitions;
                }
            }
        }
        let notices = cluster.members.get_mut(&self.member);
        let notice = notices.and_then(VecDeque::pop_front);
        drop(cluster);
        if notice.is_none() && !self.positions.is_empty() && self.stumbles(100) {
            self.lost = true;
            return Ok(Some(Notice::OffsetLost));
        }
        Ok(notice)
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

    async fn seek(
        &mut self,
        partition: &TopicPartition,
        next_offset: i64,
    ) -> Result<(), WriterError> {
        let mut cluster = self.cluster.lock().unwrap();
        cluster.gone |= std::mem::take(&mut cluster.goes_at_seek);
        if cluster.gone {
            let topic = partition.topic.to_string();
            return Err(WriterError::TopicMissing { topic });
        }
        if let Some(position) = self.positions.get_mut(&partition.partition) {
            position.0 = next_offset;
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

    async fn offsets_kept(
        &mut self,
        partitions: &[TopicPartition],
    ) -> Result<Vec<Result<(i64, i64), WriterError>>, WriterError> {
        let lost = std::mem::take(&mut self.lost);
        let cluster = self.cluster.lock().unwrap();
        let kept = partitions.iter().map(|partition| {
            let index = usize::try_from(partition.partition).unwrap();
            let end = i64::try_from(cluster.partitions[index].len()).unwrap();
            Ok(if lost { (end + 1, end + 1) } else { (0, end) })
        });
        Ok(kept.collect())
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
        if self.stumbles(20) {
            return Ok(0);
        }
        let cluster = self.cluster.lock().unwrap();
        let count = if cluster.gone {
            0
        } else {
            cluster.partitions.len()
        };
        Ok(i32::try_from(count).unwrap())
    }

    async fn cluster_id(&mut self) -> Result<Option<String>, WriterError> {
        Ok(Some("simulated".to_owned()))
    }

    fn report_progress(&mut self, _: &[(TopicPartition, i64)]) {}
}

struct Pairs(Vec<(String, String)>);

impl Headers for Pairs {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn get(&self, index: usize) -> Option<(&str, Option<&[u8]>)> {
        self.0
            .get(index)
            .map(|(name, value)| (name.as_str(), Some(value.as_bytes())))
    }
}
