//! An outbox in which what is safe to read falls back at times, as when a writer in Postgres is
//! descheduled before it takes its lock.

use std::collections::VecDeque;

use async_trait::async_trait;
use change_events::{
    Horizon, OutboxBatch, OutboxError, OutboxStore, ParkedKey, ParkedRow, Position, Retry,
};

/// Another store, each of whose reads looks only up to what the script says; then to the end.
#[derive(Debug)]
pub(crate) struct FallingStore {
    pub(crate) inner: Box<dyn OutboxStore>,
    pub(crate) safe: VecDeque<i64>,
}

#[async_trait]
impl OutboxStore for FallingStore {
    async fn rows_after(&mut self, position: i64, limit: u32) -> Result<OutboxBatch, OutboxError> {
        let mut batch = self.inner.rows_after(position, limit).await?;
        if let Some(safe) = self.safe.pop_front() {
            batch.safe = batch.safe.min(safe);
            batch.rows.retain(|row| row.sequence <= safe);
        }
        Ok(batch)
    }

    async fn source(&mut self) -> Result<String, OutboxError> {
        self.inner.source().await
    }

    async fn claim(&mut self) -> Result<bool, OutboxError> {
        self.inner.claim().await
    }

    async fn moved(&mut self) -> Result<Option<(String, String)>, OutboxError> {
        self.inner.moved().await
    }

    async fn position(&mut self) -> Result<Position, OutboxError> {
        self.inner.position().await
    }

    async fn save(&mut self, position: &Position) -> Result<(), OutboxError> {
        self.inner.save(position).await
    }

    async fn cluster(&mut self) -> Result<Option<String>, OutboxError> {
        self.inner.cluster().await
    }

    async fn set_cluster(&mut self, cluster: &str) -> Result<(), OutboxError> {
        self.inner.set_cluster(cluster).await
    }

    async fn topic_partitions(&mut self, topic: &str, found: i32) -> Result<i32, OutboxError> {
        self.inner.topic_partitions(topic, found).await
    }

    async fn park(&mut self, rows: &[ParkedRow]) -> Result<(), OutboxError> {
        self.inner.park(rows).await
    }

    async fn park_again(&mut self, rows: &[ParkedRow]) -> Result<(), OutboxError> {
        self.inner.park_again(rows).await
    }

    async fn parked_keys(&mut self, limit: u32) -> Result<Vec<ParkedKey>, OutboxError> {
        self.inner.parked_keys(limit).await
    }

    async fn retries(&mut self, limit: u32) -> Result<Vec<Retry>, OutboxError> {
        self.inner.retries(limit).await
    }

    async fn number_retries(&mut self, sequences: &[i64]) -> Result<Vec<(i64, i64)>, OutboxError> {
        self.inner.number_retries(sequences).await
    }

    async fn unpark(&mut self, sequences: &[i64]) -> Result<(), OutboxError> {
        self.inner.unpark(sequences).await
    }

    async fn horizon(&mut self) -> Result<Option<Horizon>, OutboxError> {
        self.inner.horizon().await
    }

    async fn prune(&mut self, through: i64, rows_max: u32) -> Result<u64, OutboxError> {
        self.inner.prune(through, rows_max).await
    }
}
