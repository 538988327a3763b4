//! Taking and giving up partitions: where to go on is asked of the lake, never of the group.

use std::sync::Arc;
use std::time::Duration;

use schemas::TopicPartition;
use tracing::info;

use super::LakeWriter;
use super::pace::Flow;
use crate::error::WriterError;
use crate::faults::{self, Point};
use crate::partition::Partition;
use crate::record_log::{Position, RecordLog};

/// Longest time that tables are waited for after they were asked where to go on, so that most are
/// assigned at once. Those that answer later are read later.
const OPENING_WAIT_MAX: Duration = Duration::from_secs(2);

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
        info!(partitions = self.partitions.len(), "partitions assigned");
        Ok(())
    }

    /// Reads all partitions again from where the lake stands, after a topic has gone or come: where
    /// each one goes on is compared with what was copied.
    pub(super) async fn look_again(&mut self) -> Result<(), WriterError> {
        if !self.assigned_once {
            return self.find_forbidden().await;
        }
        self.start_reading().await
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
            match self.ask(index, self.assigned_to(index), false).await {
                Ok(true) => {}
                Ok(false) => self.go_on(index),
                Err(error) => self.stop_table(index, error)?,
            }
        }
        self.open_answered(OPENING_WAIT_MAX).await?;
        faults::point(Point::RebalanceDuring);
        self.tell_assigned();
        self.assign_positions().await
    }

    /// Tells how many partitions are read, once there are some or no more are awaited.
    pub(super) fn tell_assigned(&self) {
        let waits = self.lanes.iter().any(|lane| lane.opening.is_some());
        if !waits || !self.partitions.is_empty() {
            self.progress.assigned(self.partitions.len());
        }
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
        self.log.pause(&fenced)?;
        self.partitions
            .retain(|partition| !fenced.contains(&partition.partition));
        match self.ask(index, fenced, true).await {
            Ok(_) => Ok(()),
            Err(error) => self.stop_table(index, error),
        }
    }

    /// Reads one partition, which may be paused, from a position on; stops its table if it cannot.
    pub(super) async fn go_to(
        &mut self,
        Position {
            partition,
            next_offset,
        }: Position,
        lane: usize,
    ) -> Result<(), WriterError> {
        match self.log.seek(&partition, next_offset).await {
            Ok(()) if self.flow != Flow::Paused => {
                self.log.resume(std::slice::from_ref(&partition))
            }
            Ok(()) => Ok(()),
            Err(error) => self.stop_table(lane, error),
        }
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
        self.partitions.clear();
        for lane in &mut self.lanes {
            lane.opening = None;
            lane.outlet.release();
        }
    }
}
