//! Partitions that wait: for a schema, or for their table's next contract.

use std::collections::BTreeMap;

use schemas::TopicPartition;
use tokio::time::Instant;
use tracing::info;

use super::{FORGET_INTERVAL, LakeWriter};
use crate::error::WriterError;
use crate::lane::Wait;
use crate::record_log::RecordLog;

impl<L: RecordLog> LakeWriter<L> {
    /// Goes on where partitions waited for a schema that is known by now.
    pub(super) async fn take_schemas(&mut self) -> Result<(), WriterError> {
        if Instant::now() >= self.forget_at {
            self.schemas.forget_failures();
            self.forget_at = Instant::now() + FORGET_INTERVAL;
        }
        if !self.schemas.take_answers() {
            return Ok(());
        }
        self.stop_refused()?;
        let mut known = Vec::new();
        for partition in &self.partitions {
            if let Some(Wait::Schema(id)) = partition.waits_for
                && self.schemas.get(id).is_some()
            {
                known.push(partition.partition.clone());
            }
        }
        self.read_waiting(known).await
    }

    /// Stops the tables that need a schema of a registry that does not let us in.
    fn stop_refused(&mut self) -> Result<(), WriterError> {
        let refusals = self.schemas.take_refusals();
        if refusals.is_empty() {
            return Ok(());
        }
        let mut stopped = BTreeMap::new();
        for partition in &self.partitions {
            if let Some(Wait::Schema(id)) = partition.waits_for
                && let Some(why) = refusals.get(&id)
            {
                stopped.insert(partition.lane, partition.refused_schema(id, why.clone()));
            }
        }
        for (index, error) in stopped {
            self.stop_table(index, error)?;
        }
        Ok(())
    }

    /// Takes the next contract of every lane that has one: what was read under the one before is
    /// committed first, then the waiting records are read again.
    pub(super) async fn take_contracts(&mut self) -> Result<(), WriterError> {
        for index in 0..self.lanes.len() {
            if let Err(error) = self.lanes[index].infer() {
                self.stop_table(index, error)?;
                continue;
            }
            let Some(contract) = self.lanes[index].next_contract.take() else {
                continue;
            };
            self.flush(index);
            if let Err(error) = self.lanes[index].set_contract(contract) {
                self.stop_table(index, error)?;
                continue;
            }
            info!(table = %self.lanes[index].table, "the table's contract grows");
            let waiting = self.partitions_of(index);
            let waiting = waiting.filter(|partition| partition.waits_for == Some(Wait::Contract));
            let waiting = waiting.map(|partition| partition.partition.clone());
            self.read_waiting(waiting.collect()).await?;
        }
        Ok(())
    }

    /// Reads partitions from where they began to wait.
    async fn read_waiting(&mut self, waiting: Vec<TopicPartition>) -> Result<(), WriterError> {
        for place in waiting {
            let mut open = self.partitions.iter_mut();
            // The table of one that is gone is stopped, with all its partitions.
            let Some(partition) = open.find(|open| open.partition == place) else {
                continue;
            };
            partition.waits_for = None;
            let (lane, position) = (partition.lane, partition.position());
            self.go_to(position, lane).await?;
        }
        Ok(())
    }

    /// Keeps the log from handing out records that would be dropped.
    pub(super) fn pause_waiting(&mut self) -> Result<(), WriterError> {
        let waiting = self.partitions.iter();
        let waiting = waiting.filter(|partition| partition.waits_for.is_some());
        let waiting: Vec<TopicPartition> = waiting
            .map(|partition| partition.partition.clone())
            .collect();
        if waiting.is_empty() {
            Ok(())
        } else {
            self.log.pause(&waiting)
        }
    }
}
