//! Opening tables: all are asked at once where to go on, and each is read as soon as it answered. A
//! table whose store is slow, or whose writer is busy, keeps no other one waiting.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use schemas::{Shape, TopicPartition};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::{LakeWriter, Until};
use crate::app_id::cluster_number;
use crate::error::WriterError;
use crate::lane::Lane;
use crate::partition::Partition;
use crate::record_log::RecordLog;
use crate::settings::Start;
use crate::starts::Begun;
use crate::table_writer::{Assigned, Resume};

/// A question to a table's writer that is not answered yet.
#[derive(Debug)]
pub(crate) struct Opening {
    answer: oneshot::Receiver<Result<Assigned, WriterError>>,
    /// How many partitions the topic has.
    partition_count: i32,
    /// The id of the cluster that told so.
    cluster: Option<String>,
    /// The log has these partitions assigned, and they are paused.
    again: bool,
}

/// A table that said where to go on.
struct Opened {
    index: usize,
    resumes: Vec<Resume>,
    /// How many partitions the topic had when the table was last committed to.
    partitions_before: Option<i64>,
    again: bool,
}

/// First offset kept and next offset.
type Kept = (i64, i64);

/// What the log must be told of partitions that were opened.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ToRead {
    /// Some were not read before: all positions must be assigned.
    pub(super) assign: bool,
    /// Paused partitions of the log's assignment, to be read from where they stand now.
    pub(super) again: Vec<TopicPartition>,
}

impl<L: RecordLog> LakeWriter<L> {
    /// Asks one table's writer where to go on in these partitions; false if there is nothing to be
    /// asked.
    pub(super) async fn ask(
        &mut self,
        index: usize,
        mut partitions: Vec<TopicPartition>,
        again: bool,
    ) -> Result<bool, WriterError> {
        // With an end, a topic that is not there has nothing to be copied.
        if partitions.is_empty() && self.until == Until::CaughtUp {
            return Ok(false);
        }
        let lane = &mut self.lanes[index];
        let partition_count = self.log.partition_count(&lane.topic).await?;
        if partition_count == 0 {
            let topic = lane.topic.to_string();
            return Err(WriterError::TopicMissing { topic });
        }
        // What is assigned of a topic that was made again may be more than it has.
        partitions.retain(|partition| partition.partition < partition_count);
        if partitions.is_empty() {
            return Ok(false);
        }
        // Of the cluster that told the partitions.
        let cluster = self.log.cluster_id().await?;
        let number = cluster.as_deref().map(cluster_number);
        lane.opening = Some(Opening {
            answer: lane.outlet.assign(partitions, partition_count, number),
            partition_count,
            cluster,
            again,
        });
        Ok(true)
    }

    /// Opens the partitions of all tables that answer within `wait`, or until none is left.
    pub(super) async fn open_answered(&mut self, wait: Duration) -> Result<ToRead, WriterError> {
        let deadline = Instant::now() + wait;
        let mut opened = Vec::new();
        while let Ok(Some((index, opening, answer))) =
            timeout_at(deadline, next_answer(&mut self.lanes)).await
        {
            match answer.and_then(|assigned| self.check_table(index, &opening, assigned)) {
                Ok(table) => opened.push(table),
                Err(error) => self.stop_table(index, error)?,
            }
        }
        let mut to_read = ToRead::default();
        if opened.is_empty() {
            return Ok(to_read);
        }
        for (table, kept) in self.offsets_kept(opened).await? {
            let (index, again) = (table.index, table.again);
            let known = self.partitions.len();
            match kept.and_then(|kept| self.begin(table, &kept)) {
                Ok(()) => {}
                Err(error) => {
                    self.stop_table(index, error)?;
                    continue;
                }
            }
            self.go_on(index);
            let fresh = self.partitions[known..].iter();
            match again {
                true => to_read
                    .again
                    .extend(fresh.map(|open| open.partition.clone())),
                false => to_read.assign = true,
            }
        }
        Ok(to_read)
    }

    /// Reads what was opened.
    pub(super) async fn read_opened(&mut self, to_read: ToRead) -> Result<(), WriterError> {
        // Before the first assignment nothing was given to us that could be read.
        if to_read.assign && self.assigned_once {
            self.tell_assigned();
            return self.assign_positions().await;
        }
        for place in to_read.again {
            let mut open = self.partitions.iter();
            let Some(open) = open.find(|open| open.partition == place) else {
                continue;
            };
            self.go_to(open.position(), open.lane).await?;
        }
        Ok(())
    }

    /// Holds the table against its topic.
    fn check_table(
        &mut self,
        index: usize,
        opening: &Opening,
        assigned: Assigned,
    ) -> Result<Opened, WriterError> {
        let lane = &mut self.lanes[index];
        self.progress.table(&lane.table).opened(&assigned.resumes);
        if let (Some(before), Some(id)) = (assigned.cluster, &opening.cluster)
            && before != cluster_number(id)
        {
            let (topic, id) = (lane.topic.to_string(), id.clone());
            return Err(WriterError::ClusterChanged { topic, id });
        }
        let now = opening.partition_count;
        let before = assigned.partition_count.unwrap_or(now.into());
        if before != i64::from(now) && lane.shape != Shape::Append {
            let topic = lane.topic.to_string();
            return Err(WriterError::PartitionsChanged { topic, before, now });
        }
        if let Some((contract, shape)) = assigned.table {
            let contract = lane.contract_for(contract, shape)?;
            if lane.differs_from(&contract) {
                // What was read by another contract goes first; the table refuses it if need be.
                self.flush(index);
                self.lanes[index].set_contract(contract)?;
            }
        }
        Ok(Opened {
            index,
            resumes: assigned.resumes,
            partitions_before: assigned.partition_count,
            again: opening.again,
        })
    }

    /// What the log keeps of each table's partitions; and where the copy of those begins that no
    /// table knows, written down.
    async fn offsets_kept(
        &mut self,
        opened: Vec<Opened>,
    ) -> Result<Vec<(Opened, Result<Vec<Kept>, WriterError>)>, WriterError> {
        let places = opened.iter().flat_map(|table| &table.resumes);
        let places: Vec<_> = places.map(|resume| resume.partition.clone()).collect();
        let mut kept = self.log.offsets_kept(&places).await?.into_iter();
        let mut tables = Vec::with_capacity(opened.len());
        for table in opened {
            let kept: Vec<_> = kept.by_ref().take(table.resumes.len()).collect();
            tables.push((table, kept.into_iter().collect::<Result<Vec<Kept>, _>>()));
        }
        let is_new = |(table, _): &(Opened, _)| {
            let mut resumes = table.resumes.iter();
            resumes.any(|resume| resume.next_offset.is_none())
        };
        if tables.iter().any(is_new) {
            self.keep_starts(&mut tables).await?;
        }
        Ok(tables)
    }

    /// Writes down where the copies of new partitions begin. Tables whose starts cannot be written
    /// down have that error from here on.
    async fn keep_starts(
        &mut self,
        tables: &mut [(Opened, Result<Vec<Kept>, WriterError>)],
    ) -> Result<(), WriterError> {
        let mut kept = self.starts.refresh().await;
        let mut begun = Vec::new();
        for (table, offsets) in tables.iter() {
            let Ok(offsets) = offsets else { continue };
            for (resume, kept) in table.resumes.iter().zip(offsets) {
                let place = &resume.partition;
                if resume.next_offset.is_none() && self.starts.of(place).is_none() {
                    let start = self.start_of(table, place);
                    let first_offset = match start {
                        Start::Earliest => kept.0,
                        Start::Latest => kept.1,
                        Start::At { .. } => self.log.start_offset(place, start).await?,
                    };
                    let (table, partition) = (self.lanes[table.index].table.clone(), place.clone());
                    begun.push(Begun {
                        table,
                        partition,
                        first_offset,
                    });
                }
            }
        }
        if kept.is_ok() {
            kept = self.starts.keep(&begun).await;
        }
        let why = match kept {
            Ok(()) => return Ok(()),
            Err(WriterError::Table { why, .. }) => why,
            Err(error) => return Err(error),
        };
        for (table, offsets) in tables {
            let mut resumes = table.resumes.iter();
            if offsets.is_ok() && resumes.any(|resume| resume.next_offset.is_none()) {
                *offsets = Err(WriterError::Table {
                    table: lake_store::STARTS_PATH.to_owned(),
                    why: why.clone(),
                });
            }
        }
        Ok(())
    }

    /// Where to begin: partitions that come to a topic that is copied already have nothing to be
    /// left out.
    fn start_of(&self, table: &Opened, partition: &TopicPartition) -> Start {
        let before = table.partitions_before;
        match before.is_some_and(|before| i64::from(partition.partition) >= before) {
            true => Start::Earliest,
            false => self.lanes[table.index].route.start,
        }
    }

    /// Opens a buffer for each partition of a table.
    fn begin(&mut self, table: Opened, kept: &[Kept]) -> Result<(), WriterError> {
        let mut opened = Vec::with_capacity(table.resumes.len());
        for (resume, (first, end)) in table.resumes.into_iter().zip(kept) {
            let start = match resume.next_offset {
                Some(_) => *first,
                None => self.starts.of(&resume.partition).unwrap_or(*first),
            };
            let mut partition = Partition::new(resume, table.index, start, Instant::now());
            partition.check_kept((*first, *end))?;
            partition.end_offset = (self.until == Until::CaughtUp).then_some(*end);
            let progress = self.progress.table(&self.lanes[table.index].table);
            progress.starts(&partition.partition, partition.next_offset);
            opened.push(partition);
        }
        self.partitions.append(&mut opened);
        Ok(())
    }
}

/// The next table that answers where to go on, its question and its answer; `None` if none was
/// asked.
async fn next_answer(
    lanes: &mut [Lane],
) -> Option<(usize, Opening, Result<Assigned, WriterError>)> {
    poll_fn(|context| {
        let mut waits = false;
        for (index, lane) in lanes.iter_mut().enumerate() {
            let Some(opening) = &mut lane.opening else {
                continue;
            };
            waits = true;
            if let Poll::Ready(answer) = Pin::new(&mut opening.answer).poll(context) {
                let died = || WriterError::Internal("a table's writer died".to_owned());
                let answer = answer.unwrap_or_else(|_| Err(died()));
                let opening = lane.opening.take();
                return Poll::Ready(opening.map(|opening| (index, opening, answer)));
            }
        }
        match waits {
            true => Poll::Pending,
            false => Poll::Ready(None),
        }
    })
    .await
}
