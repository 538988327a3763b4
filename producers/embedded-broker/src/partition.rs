//! One partition's log: appended at the end, read from any offset.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};

use slatedb::bytes::Bytes;
use slatedb::config::{ScanOptions, WriteOptions};
use slatedb::{Db, WriteBatch};
use tansu_sans_io::ErrorCode;
use tansu_sans_io::record::deflated::Batch;
use tokio::sync::Mutex;
use tracing::error;

use crate::batch::{BATCH_BYTES_MAX, Taken, first_in, validate};
use crate::key::{PartitionId, trailing_number};
use crate::producer::Producer;
use crate::recent::Recent;
use crate::tail::Tail;

/// What a scan asks of a file at once.
const READ_AHEAD_BYTES: usize = 256 * 1024;

#[derive(Debug)]
pub(crate) struct Partition {
    id: PartitionId,
    tail: Mutex<Tail>,
    recent: Recent,
    /// The end of what would survive a kill: consumers see nothing behind it.
    durable_end: AtomicI64,
}

/// Where a batch lies; it may be acknowledged once it is durable.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Appended {
    pub(crate) base_offset: i64,
    pub(crate) end: i64,
}

impl Partition {
    /// Reads the end offset and the producers of a partition as a restart finds them.
    pub(crate) async fn load(db: &Db, id: PartitionId) -> Result<Self, slatedb::Error> {
        let end = match db.get(id.end()).await? {
            Some(bytes) => trailing_number(&bytes).unwrap_or(0),
            None => 0,
        };
        let mut producers = BTreeMap::new();
        let mut stored = Box::pin(db.scan_prefix(id.producers())).await?;
        while let Some(entry) = stored.next().await? {
            let number = trailing_number(&entry.key);
            if let (Some(number), Some(producer)) = (number, Producer::decode(&entry.value)) {
                producers.insert(number, producer);
            }
        }
        Ok(Self {
            id,
            tail: Mutex::new(Tail { end, producers }),
            recent: Recent::default(),
            durable_end: AtomicI64::new(end),
        })
    }

    /// The offset after the last record that consumers may see.
    pub(crate) fn end(&self) -> i64 {
        self.durable_end.load(Ordering::Acquire)
    }

    /// Shows consumers everything before `end`, which has become durable.
    pub(crate) fn publish(&self, end: i64) {
        self.durable_end.fetch_max(end, Ordering::AcqRel);
    }

    /// Writes a batch at the end. Batches of one partition reach the database in offset order;
    /// none of it is durable yet.
    pub(crate) async fn append(&self, db: &Db, mut batch: Batch) -> Result<Appended, ErrorCode> {
        validate(&batch)?;
        let mut tail = self.tail.lock().await;
        if let Some(base_offset) = tail.appended_before(&batch)? {
            let end = base_offset + i64::from(batch.last_offset_delta) + 1;
            return Ok(Appended { base_offset, end });
        }
        let base_offset = tail.end;
        let last_offset = base_offset + i64::from(batch.last_offset_delta);
        batch.base_offset = base_offset;
        batch.partition_leader_epoch = 0;
        let mut write = WriteBatch::new();
        let producers = tail.note(&batch, self.id, &mut write);
        let bytes = Bytes::from(batch);
        write.put(self.id.batch(last_offset), &bytes);
        write.put(self.id.end(), (last_offset + 1).to_be_bytes());
        let unawaited = WriteOptions {
            await_durable: false,
        };
        if let Err(error) = db.write_with_options(write, &unawaited).await {
            error!(%error, "the embedded broker cannot append");
            return Err(ErrorCode::KafkaStorageError);
        }
        tail.end = last_offset + 1;
        if let Some((id, producer)) = producers {
            tail.producers.insert(id, producer);
        }
        self.recent.keep(last_offset, bytes);
        Ok(Appended {
            base_offset,
            end: last_offset + 1,
        })
    }

    /// The batches from the one that holds `offset` on, as Kafka gives them: the first may start
    /// before `offset` (the client skips), and at least one is given however large it is.
    pub(crate) async fn read(
        &self,
        db: &Db,
        offset: i64,
        bytes_max: usize,
    ) -> Result<Vec<Batch>, slatedb::Error> {
        let end = self.end();
        if offset >= end {
            return Ok(Vec::new());
        }
        let mut taken = Taken::new(end, bytes_max);
        if let Some(recent) = self.recent.since(offset) {
            for bytes in recent {
                if !taken.take(bytes) {
                    break;
                }
            }
            return Ok(taken.batches);
        }
        let options = ScanOptions {
            read_ahead_bytes: READ_AHEAD_BYTES,
            ..ScanOptions::default()
        };
        let keys = self.id.batch(offset)..self.id.batch(i64::MAX);
        let mut stored = Box::pin(db.scan_with_options(keys, &options)).await?;
        while let Some(entry) = stored.next().await? {
            if !taken.take(entry.value) {
                break;
            }
        }
        Ok(taken.batches)
    }

    /// The first record at or after a time in milliseconds, by its own timestamp: its offset and
    /// timestamp. Reads the log from the start: there is no time index.
    pub(crate) async fn first_at(
        &self,
        db: &Db,
        millis: i64,
    ) -> Result<Option<(i64, i64)>, slatedb::Error> {
        let mut offset = 0;
        loop {
            let batches = self.read(db, offset, BATCH_BYTES_MAX).await?;
            let Some(last) = batches.last() else {
                return Ok(None);
            };
            offset = last.max_offset() + 1;
            let found = batches
                .into_iter()
                .find(|batch| batch.max_timestamp >= millis);
            if let Some(batch) = found {
                return Ok(Some(first_in(batch, millis)));
            }
        }
    }

    /// Deletes everything the partition stored; for a topic that is deleted.
    pub(crate) async fn clear(&self, db: &Db) -> Result<(), slatedb::Error> {
        const DELETES_MAX: usize = 1000;
        for prefix in [self.id.batches(), self.id.producers(), self.id.end()] {
            let mut stored = Box::pin(db.scan_prefix(prefix)).await?;
            let mut write = WriteBatch::new();
            let mut deletes = 0;
            while let Some(entry) = stored.next().await? {
                write.delete(entry.key);
                deletes += 1;
                if deletes == DELETES_MAX {
                    db.write(std::mem::take(&mut write)).await?;
                    deletes = 0;
                }
            }
            db.write(write).await?;
        }
        Ok(())
    }
}
