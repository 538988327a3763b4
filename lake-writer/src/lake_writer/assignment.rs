//! Taking and giving up partitions: where to go on is asked of the lake, never of the group.

use std::sync::Arc;

use schemas::{Shape, TopicPartition};
use tokio::time::Instant;
use tracing::info;

use super::pace::Flow;
use super::{LakeWriter, Until};
use crate::app_id::cluster_number;
use crate::error::WriterError;
use crate::faults::{self, Point};
use crate::partition::Partition;
use crate::record_log::{Position, RecordLog};
use crate::settings::Start;
use crate::table_writer::Assigned;

impl<L: RecordLog> LakeWriter<L> {
    /// Drops all buffers: whoever reads the partitions next starts at the committed progress.
    pub(super) async fn give_up_partitions(&mut self) -> Result<(), WriterError> {
        self.drop_buffers();
        self.assigned.clear();
        self.progress.revoked();
        faults::point(Point::RebalanceDuring);
        info!("all partitions revoked");
        self.log.unassign().await
    }

    /// Starts reading these partitions, and only these, where the lake stands.
    pub(super) async fn take_assignment(
        &mut self,
        partitions: Vec<TopicPartition>,
    ) -> Result<(), WriterError> {
        self.assigned = partitions;
        self.start_reading().await?;
        self.assigned_once = true;
        self.progress.assigned(self.partitions.len());
        info!(
            partitions = self.partitions.len(),
            epoch = self.epoch,
            "partitions assigned"
        );
        Ok(())
    }

    /// Reads all partitions again from where the lake stands, after a topic has gone or come: where
    /// each one goes on is compared with what was copied.
    pub(super) async fn look_again(&mut self) -> Result<(), WriterError> {
        if !self.assigned_once {
            return self.find_forbidden().await;
        }
        self.start_reading().await?;
        self.progress.assigned(self.partitions.len());
        Ok(())
    }

    /// Stops the tables of topics that are not for us. Who waits for nothing else is never assigned
    /// a partition.
    async fn find_forbidden(&mut self) -> Result<(), WriterError> {
        for index in 0..self.lanes.len() {
            let topic = Arc::clone(&self.lanes[index].topic);
            match self.log.partition_count(&topic).await {
                Err(error @ WriterError::TopicForbidden { .. }) => self.stop_table(index, error)?,
                counted => {
                    counted?;
                }
            }
        }
        Ok(())
    }

    async fn start_reading(&mut self) -> Result<(), WriterError> {
        let reading = self.partitions.iter();
        let reading: Vec<_> = reading.map(|open| open.partition.clone()).collect();
        if !reading.is_empty() {
            // Every question below would wait for a fetch. What is assigned then is read on.
            self.log.pause(&reading)?;
        }
        self.drop_buffers();
        for index in 0..self.lanes.len() {
            match self.open(index, self.assigned_to(index)).await {
                Ok(()) => self.go_on(index),
                Err(error) => self.stop_table(index, error)?,
            }
        }
        faults::point(Point::RebalanceDuring);
        self.assign_positions().await
    }

    /// Reads from where every open partition stands, and nothing else.
    pub(super) async fn assign_positions(&mut self) -> Result<(), WriterError> {
        let positions: Vec<Position> = self.partitions.iter().map(Partition::position).collect();
        self.log.assign(&positions).await?;
        // What is assigned is not paused.
        self.flow = Flow::Free;
        Ok(())
    }

    /// Reads partitions of one table again from where another writer left them.
    pub(super) async fn read_again(
        &mut self,
        index: usize,
        fenced: Vec<TopicPartition>,
    ) -> Result<(), WriterError> {
        self.partitions
            .retain(|partition| !fenced.contains(&partition.partition));
        let known = self.partitions.len();
        if let Err(error) = self.open(index, fenced).await {
            return self.stop_table(index, error);
        }
        let opened = self.partitions[known..].iter();
        let positions: Vec<Position> = opened.map(Partition::position).collect();
        for position in positions {
            // It may have been waiting for a schema, which it does no more.
            if let Err(error) = self.read_at(&position).await {
                return self.stop_table(index, error);
            }
        }
        Ok(())
    }

    /// The assigned partitions of one lane's topic.
    pub(super) fn assigned_to(&self, index: usize) -> Vec<TopicPartition> {
        let topic = &self.lanes[index].topic;
        let mine = self.assigned.iter();
        mine.filter(|partition| &partition.topic == topic)
            .cloned()
            .collect()
    }

    fn drop_buffers(&mut self) {
        self.epoch += 1;
        self.partitions.clear();
        for lane in &mut self.lanes {
            lane.outlet.release(self.epoch);
        }
    }

    /// Asks the table's writer where to go on and opens a buffer for each partition.
    pub(super) async fn open(
        &mut self,
        index: usize,
        mut partitions: Vec<TopicPartition>,
    ) -> Result<(), WriterError> {
        // With an end, a topic that is not there has nothing to be copied.
        if partitions.is_empty() && self.until == Until::CaughtUp {
            return Ok(());
        }
        let lane = &mut self.lanes[index];
        let now = self.log.partition_count(&lane.topic).await?;
        if now == 0 {
            let topic = lane.topic.to_string();
            return Err(WriterError::TopicMissing { topic });
        }
        // What is assigned of a topic that was made again may be more than it has.
        partitions.retain(|partition| partition.partition < now);
        if partitions.is_empty() {
            return Ok(());
        }
        // Of the cluster that told the partitions.
        let id = self.log.cluster_id().await?;
        let cluster = id.as_deref().map(cluster_number);
        let assigned = lane.outlet.assign(partitions, now, cluster).await?;
        self.progress.table(&lane.table).opened(&assigned.resumes);
        let Assigned {
            resumes,
            table,
            partition_count,
            cluster: cluster_before,
        } = assigned;
        if let (Some(id), Some(_), true) = (id, cluster_before, cluster_before != cluster) {
            let topic = lane.topic.to_string();
            return Err(WriterError::ClusterChanged { topic, id });
        }
        let before = partition_count.unwrap_or(now.into());
        if before != i64::from(now) && lane.shape != Shape::Append {
            let topic = lane.topic.to_string();
            return Err(WriterError::PartitionsChanged { topic, before, now });
        }
        if let Some((contract, shape)) = table {
            let contract = lane.contract_for(contract, shape)?;
            if lane.differs_from(&contract) {
                // What was read by another contract goes first; the table refuses it if need be.
                self.flush(index);
                self.lanes[index].set_contract(contract)?;
            }
        }
        // Partitions that come to a topic that is copied already have nothing to be left out.
        let start = match partition_count {
            None => self.lanes[index].route.start,
            Some(_) => Start::Earliest,
        };
        let mut opened = Vec::with_capacity(resumes.len());
        for resume in resumes {
            let (kept, end) = self.log.offsets_kept(&resume.partition).await?;
            let first = match (resume.next_offset, start) {
                (None, Start::Latest | Start::At { .. }) => {
                    self.log.start_offset(&resume.partition, start).await?
                }
                _ => kept,
            };
            let mut partition = Partition::new(resume, index, first, Instant::now());
            partition.check_kept((kept, end))?;
            partition.end_offset = (self.until == Until::CaughtUp).then_some(end);
            let progress = self.progress.table(&self.lanes[index].table);
            progress.starts(&partition.partition, partition.next_offset);
            opened.push(partition);
        }
        self.partitions.append(&mut opened);
        Ok(())
    }
}
