//! Taking and giving up partitions: where to go on is asked of the lake, never of the group.

use schemas::TopicPartition;
use tokio::sync::oneshot;
use tracing::info;

use super::{LakeWriter, Until};
use crate::error::WriterError;
use crate::faults::{self, Point};
use crate::partition::Partition;
use crate::record_log::{Position, RecordLog};
use crate::table_writer::{Assigned, Request};

impl<L: RecordLog> LakeWriter<L> {
    /// Drops all buffers: whoever reads the partitions next starts at the committed progress.
    pub(super) async fn give_up_partitions(&mut self) -> Result<(), WriterError> {
        self.drop_buffers();
        faults::point(Point::RebalanceDuring);
        info!("all partitions revoked");
        self.log.unassign().await
    }

    /// Starts reading these partitions, and only these, where the lake stands.
    pub(super) async fn take_assignment(
        &mut self,
        partitions: Vec<TopicPartition>,
    ) -> Result<(), WriterError> {
        self.drop_buffers();
        for lane in 0..self.lanes.len() {
            let topic = &self.lanes[lane].topic;
            let mine: Vec<_> = partitions
                .iter()
                .filter(|partition| &partition.topic == topic)
                .cloned()
                .collect();
            if !mine.is_empty() {
                self.open(lane, mine).await?;
            }
        }
        faults::point(Point::RebalanceDuring);
        let positions: Vec<Position> = self
            .partitions
            .iter()
            .map(|partition| Position {
                partition: partition.partition.clone(),
                next_offset: Some(partition.next_offset),
            })
            .collect();
        self.log.assign(&positions).await?;
        self.assigned_once = true;
        info!(
            partitions = positions.len(),
            epoch = self.epoch,
            "partitions assigned"
        );
        Ok(())
    }

    /// Reads fenced partitions again from where the other writer left them.
    pub(super) async fn read_again(
        &mut self,
        fenced: &[TopicPartition],
    ) -> Result<(), WriterError> {
        for lane in 0..self.lanes.len() {
            let topic = &self.lanes[lane].topic;
            let mine: Vec<_> = fenced
                .iter()
                .filter(|partition| &partition.topic == topic)
                .cloned()
                .collect();
            if mine.is_empty() {
                continue;
            }
            self.partitions
                .retain(|partition| !mine.contains(&partition.partition));
            self.open(lane, mine.clone()).await?;
            for partition in self
                .partitions
                .iter()
                .filter(|known| mine.contains(&known.partition))
            {
                self.log
                    .seek(&partition.partition, partition.next_offset)
                    .await?;
            }
        }
        Ok(())
    }

    fn drop_buffers(&mut self) {
        self.epoch += 1;
        self.partitions.clear();
        self.paused = false;
    }

    /// Asks the table's writer where to go on and opens a buffer for each partition.
    async fn open(
        &mut self,
        lane: usize,
        partitions: Vec<TopicPartition>,
    ) -> Result<(), WriterError> {
        let (reply, answer) = oneshot::channel();
        let request = Request::Assign {
            epoch: self.epoch,
            partitions,
            reply,
        };
        let died = || WriterError::Internal("a table's writer died".to_owned());
        self.lanes[lane]
            .requests
            .send(request)
            .map_err(|_| died())?;
        let Assigned { resumes, table } = answer.await.map_err(|_| died())??;
        if let (None, Some((contract, _))) = (&self.lanes[lane].schema, table) {
            self.lanes[lane].set_contract(contract)?;
        }
        for resume in resumes {
            let (first, end) = self.log.offsets_kept(&resume.partition).await?;
            if let Some(next_offset) = resume
                .next_offset
                .filter(|next| !(first..=end).contains(next))
            {
                let why = format!("it holds the offsets from {first} to {end}");
                let partition = resume.partition;
                return Err(WriterError::OffsetOutOfRange {
                    partition,
                    next_offset,
                    why,
                });
            }
            let mut partition = Partition::new(resume, lane, first);
            partition.end_offset = (self.until == Until::CaughtUp).then_some(end);
            self.partitions.push(partition);
        }
        Ok(())
    }
}
