//! A broker in memory that fails on purpose, within what Kafka's idempotent producer allows.
//!
//! Per partition a connection's records are stored in the order sent, without a gap; everything
//! else may go wrong: a connection fails, an acknowledgement is lost, some partitions' records
//! land and others' do not, records of a lost connection land late, the relay's process dies.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use change_events::{Broker, Connected, Notice, PublishError, Publisher, Record};
use schemas::{Sequence, TopicPartition};
use tokio::sync::Notify;

/// What happens at one step; a script of them is used up, then all goes well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Up to this many records of each partition are stored and acknowledged, odd partitions first.
    Deliver(u8),
    /// The next record is stored, but its acknowledgement is an error.
    AckLost,
    /// The next record is not stored.
    Refuse,
    /// The connection breaks; what was sent lands later, unseen.
    LandLate,
    /// The relay's process is killed.
    Kill,
    /// The brokers cannot be reached when the relay connects next.
    Away,
    /// Nothing is told until [`FaultyBroker::go_on`].
    Hold,
}

pub(crate) const PARTITIONS: i32 = 4;

#[derive(Debug, Default)]
pub(crate) struct FaultyBroker {
    state: Arc<Mutex<State>>,
    pub(crate) kill: Arc<Notify>,
    held: Arc<Notify>,
    too_large: Option<(String, Refusal)>,
}

/// When a record that will never be taken is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    BeforeSending,
    ByTheBroker,
    /// With all records that go to its partition of its topic together.
    InCompany,
}

#[derive(Debug, Default)]
struct State {
    script: VecDeque<Fault>,
    logs: BTreeMap<i32, Vec<Record>>,
    late: Vec<(i32, Record)>,
    /// Records that were ever sent.
    sent: usize,
}

impl FaultyBroker {
    pub(crate) fn new(script: impl IntoIterator<Item = Fault>) -> Self {
        let state = State {
            script: script.into_iter().collect(),
            ..State::default()
        };
        Self {
            state: Arc::new(Mutex::new(state)),
            ..Self::default()
        }
    }

    /// All goes well but for records with this in their value, which are never taken.
    pub(crate) fn refusing(value: &str, refusal: Refusal) -> Self {
        Self {
            too_large: Some((value.to_owned(), refusal)),
            ..Self::default()
        }
    }

    pub(crate) fn logs(&self) -> BTreeMap<i32, Vec<Record>> {
        self.state.lock().unwrap().logs.clone()
    }

    /// One more step.
    pub(crate) fn push(&self, fault: Fault) {
        self.state.lock().unwrap().script.push_back(fault);
    }

    /// Whether a connection is at [`Fault::Hold`] with this many records sent.
    pub(crate) fn holds(&self, records: usize) -> bool {
        let state = self.state.lock().unwrap();
        state.script.front() == Some(&Fault::Hold) && state.sent >= records
    }

    /// What is held is delivered.
    pub(crate) fn go_on(&self) {
        self.state.lock().unwrap().script.pop_front();
        self.held.notify_waiters();
    }

    /// All goes well from now on.
    pub(crate) fn calm(&self) {
        self.state.lock().unwrap().script.clear();
    }

    /// The topic is deleted and made again.
    pub(crate) fn forget(&self) {
        self.state.lock().unwrap().logs.clear();
    }

    /// What the lake keeps: per partition and source, only what is above the last sequence.
    pub(crate) fn landed(&self) -> BTreeMap<i32, Vec<i64>> {
        let mut landed: BTreeMap<i32, Vec<i64>> = BTreeMap::new();
        for record in self.landed_records() {
            let partition = landed.entry(partition(&record.key)).or_default();
            partition.push(record.sequence.major);
        }
        landed
    }

    /// The same as whole records, partition by partition.
    pub(crate) fn landed_records(&self) -> Vec<Record> {
        let mut landed = Vec::new();
        for log in self.logs().into_values() {
            let mut last: HashMap<(Arc<str>, Arc<str>), Sequence> = HashMap::new();
            for record in log {
                let of = (Arc::clone(&record.topic), Arc::clone(&record.source));
                let last = last.entry(of).or_insert(0.into());
                if record.sequence > *last {
                    *last = record.sequence;
                    landed.push(record);
                }
            }
        }
        landed
    }
}

#[async_trait]
impl Broker for FaultyBroker {
    async fn connect(&self, topics: &[String]) -> Result<Connected, PublishError> {
        tokio::task::yield_now().await;
        let mut state = self.state.lock().unwrap();
        if state.script.front() == Some(&Fault::Away) {
            state.script.pop_front();
            return Err(PublishError::Unavailable("nobody answers".into()));
        }
        let partitions = topics
            .iter()
            .map(|topic| (topic.clone(), PARTITIONS))
            .collect();
        let publisher = Box::new(FaultyPublisher {
            state: Arc::clone(&self.state),
            kill: Arc::clone(&self.kill),
            held: Arc::clone(&self.held),
            too_large: self.too_large.clone(),
            sent: VecDeque::new(),
            is_spent: false,
        });
        Ok(Connected {
            publisher,
            cluster: Some("memory".into()),
            partitions,
        })
    }

    async fn ends(
        &self,
        places: Vec<TopicPartition>,
    ) -> Result<BTreeMap<TopicPartition, i64>, PublishError> {
        let places = places.into_iter();
        Ok(places
            .map(|place| {
                let end = self.end(place.partition);
                (place, end)
            })
            .collect())
    }
}

impl FaultyBroker {
    fn end(&self, partition: i32) -> i64 {
        let state = self.state.lock().unwrap();
        let log = state.logs.get(&partition);
        i64::try_from(log.map_or(0, Vec::len)).unwrap()
    }
}

#[derive(Debug)]
struct FaultyPublisher {
    state: Arc<Mutex<State>>,
    kill: Arc<Notify>,
    held: Arc<Notify>,
    too_large: Option<(String, Refusal)>,
    sent: VecDeque<(i32, Record)>,
    is_spent: bool,
}

fn partition(key: &[u8]) -> i32 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    i32::try_from(hasher.finish() % 4).unwrap()
}

#[async_trait]
impl Publisher for FaultyPublisher {
    fn send(&mut self, record: &Record) -> Result<(), PublishError> {
        if self.refuses(record, Refusal::BeforeSending) {
            return Err(PublishError::Refused("too large".into()));
        }
        if self.is_spent {
            return Err(PublishError::Unavailable("the connection is spent".into()));
        }
        self.sent
            .push_back((partition(&record.key), record.clone()));
        self.state.lock().unwrap().sent += 1;
        Ok(())
    }

    async fn notices(&mut self, notices: &mut Vec<Notice>) -> Result<(), PublishError> {
        if self.sent.is_empty() {
            std::future::pending::<()>().await;
        }
        tokio::task::yield_now().await;
        if self.is_spent {
            return Err(PublishError::Unavailable("the connection is spent".into()));
        }
        // Waited for here, as this may be dropped while it waits.
        while self.state.lock().unwrap().script.front() == Some(&Fault::Hold) {
            self.held.notified().await;
        }
        let fault = self.state.lock().unwrap().script.pop_front();
        if fault == Some(Fault::Kill) {
            self.kill.notify_one();
            std::future::pending::<()>().await;
        }
        self.step(fault.unwrap_or(Fault::Deliver(u8::MAX)), notices);
        Ok(())
    }

    async fn close(self: Box<Self>) {}
}

impl FaultyPublisher {
    fn refuses(&self, record: &Record, when: Refusal) -> bool {
        self.too_large.as_ref().is_some_and(|(value, refusal)| {
            let mut windows = record.value.windows(value.len());
            *refusal == when && windows.any(|bytes| bytes == value.as_bytes())
        })
    }

    fn step(&mut self, fault: Fault, notices: &mut Vec<Notice>) {
        let mut state = self.state.lock().unwrap();
        // What an earlier connection had sent lands before or between what this one stores.
        for (partition, record) in std::mem::take(&mut state.late) {
            state.logs.entry(partition).or_default().push(record);
        }
        // The broker answers for the first one first; nothing after it in its partition is stored.
        let company = self
            .sent
            .iter()
            .find(|(_, record)| self.refuses(record, Refusal::InCompany))
            .map(|(partition, record)| (*partition, Arc::clone(&record.topic)));
        if let Some((partition, topic)) = company {
            let refused = self.sent.drain(..);
            let refused =
                refused.filter(|(other, record)| *other == partition && record.topic == topic);
            notices.extend(refused.map(|(_, record)| Notice::Failed {
                number: record.number,
                why: "too large".into(),
                refused: true,
            }));
            self.is_spent = true;
            return;
        }
        if let Some((partition, number)) = self
            .sent
            .iter()
            .find(|(_, record)| self.refuses(record, Refusal::ByTheBroker))
            .map(|(partition, record)| (*partition, record.number))
        {
            let stored = self
                .sent
                .drain(..)
                .filter(|(other, record)| *other != partition || record.number < number);
            for (partition, record) in stored {
                state.logs.entry(partition).or_default().push(record);
            }
            notices.push(Notice::Failed {
                number,
                why: "too large".into(),
                refused: true,
            });
            self.is_spent = true;
            return;
        }
        match fault {
            Fault::Deliver(most) => {
                for wanted in [1, 3, 0, 2] {
                    let mut left = most.max(1);
                    self.sent.retain(|(partition, record)| {
                        if *partition != wanted || left == 0 {
                            return true;
                        }
                        left -= 1;
                        let log = state.logs.entry(wanted).or_default();
                        notices.push(Notice::Delivered {
                            number: record.number,
                            partition: wanted,
                            offset: i64::try_from(log.len()).unwrap(),
                        });
                        log.push(record.clone());
                        false
                    });
                }
            }
            Fault::AckLost | Fault::Refuse => {
                if let Some((partition, record)) = self.sent.pop_front() {
                    let number = record.number;
                    if fault == Fault::AckLost {
                        state.logs.entry(partition).or_default().push(record);
                    }
                    notices.push(Notice::Failed {
                        number,
                        why: "on purpose".into(),
                        refused: false,
                    });
                }
                self.is_spent = true;
            }
            Fault::LandLate => {
                state.late.extend(self.sent.drain(..));
                notices.push(Notice::Down {
                    why: "on purpose".into(),
                });
                notices.push(Notice::Failed {
                    number: 0,
                    why: "timed out".into(),
                    refused: false,
                });
                self.is_spent = true;
            }
            Fault::Kill | Fault::Away | Fault::Hold => {}
        }
    }
}
