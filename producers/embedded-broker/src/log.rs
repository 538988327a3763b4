//! All partitions of the broker, found by topic name, over one database.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use slatedb::Db;
use tansu_sans_io::ErrorCode;
use tansu_sans_io::create_topics_request::CreatableTopic;
use tansu_sans_io::record::deflated::Batch;
use tansu_storage::slate::Engine;
use tansu_storage::{Storage as _, TopicId};
use tokio::sync::{Mutex, watch};
use tracing::error;
use uuid::Uuid;

use crate::durability::Durability;
use crate::key::{NEXT_PRODUCER_ID, PartitionId, trailing_number};
use crate::partition::{Appended, Partition};

/// The log of every partition. Topics themselves are tansu's, in the same database.
pub(crate) struct Log {
    db: Arc<Db>,
    engine: Engine,
    durability: Durability,
    known: Mutex<Known>,
    producer_id: Mutex<()>,
    /// Counts publications, so that a waiting fetch wakes up.
    published: watch::Sender<u64>,
}

/// Topics and partitions seen since the start. One lock for both, held while a partition loads:
/// a partition must never be loaded twice.
#[derive(Debug, Default)]
struct Known {
    topics: HashMap<String, Topic>,
    partitions: HashMap<PartitionId, Arc<Partition>>,
}

#[derive(Clone, Copy, Debug)]
struct Topic {
    id: Uuid,
    partitions: i32,
}

impl Log {
    pub(crate) fn new(db: Arc<Db>, engine: Engine, flush_interval: Duration) -> Self {
        Self {
            durability: Durability::start(Arc::clone(&db), flush_interval),
            db,
            engine,
            known: Mutex::default(),
            producer_id: Mutex::default(),
            published: watch::Sender::new(0),
        }
    }

    /// Appends to a partition; see [`Log::settle`] for what must follow.
    pub(crate) async fn append(
        &self,
        topic: &str,
        index: i32,
        batch: Batch,
    ) -> Result<(Arc<Partition>, Appended), ErrorCode> {
        let partition = self.partition(topic, index).await?;
        let appended = partition.append(&self.db, batch).await?;
        Ok((partition, appended))
    }

    /// Waits until appended batches are durable and shows them to consumers. After an error none
    /// of them may be acknowledged.
    pub(crate) async fn settle(
        &self,
        appended: impl IntoIterator<Item = (Arc<Partition>, i64)>,
    ) -> Result<(), ErrorCode> {
        if self.durability.reached().await.is_err() {
            return Err(ErrorCode::KafkaStorageError);
        }
        for (partition, end) in appended {
            partition.publish(end);
        }
        self.published.send_modify(|count| *count += 1);
        Ok(())
    }

    /// Changes whenever records become visible.
    pub(crate) fn publications(&self) -> watch::Receiver<u64> {
        self.published.subscribe()
    }

    pub(crate) async fn read(
        &self,
        partition: &Partition,
        offset: i64,
        bytes_max: usize,
    ) -> Result<Vec<Batch>, ErrorCode> {
        let batches = partition.read(&self.db, offset, bytes_max).await;
        batches.map_err(storage_error)
    }

    /// See [`Partition::first_at`].
    pub(crate) async fn first_at(
        &self,
        partition: &Partition,
        millis: i64,
    ) -> Result<Option<(i64, i64)>, ErrorCode> {
        let found = partition.first_at(&self.db, millis).await;
        found.map_err(storage_error)
    }

    /// A producer id that was never given before and never will be again.
    pub(crate) async fn next_producer_id(&self) -> Result<i64, ErrorCode> {
        let _one_at_a_time = self.producer_id.lock().await;
        let stored = self.db.get(NEXT_PRODUCER_ID).await;
        let stored = stored.map_err(storage_error)?;
        let id = stored
            .and_then(|bytes| trailing_number(&bytes))
            .unwrap_or(1);
        let kept = self.db.put(NEXT_PRODUCER_ID, (id + 1).to_be_bytes()).await;
        kept.map_err(storage_error)?;
        Ok(id)
    }

    /// The partition of a topic that exists.
    pub(crate) async fn partition(
        &self,
        topic: &str,
        index: i32,
    ) -> Result<Arc<Partition>, ErrorCode> {
        let mut known = self.known.lock().await;
        let found = match known.topics.get(topic) {
            Some(found) => *found,
            None => {
                let found = self.topic(topic).await?;
                known.topics.insert(topic.to_owned(), found);
                found
            }
        };
        if !(0..found.partitions).contains(&index) {
            return Err(ErrorCode::UnknownTopicOrPartition);
        }
        let id = PartitionId {
            topic: found.id,
            index,
        };
        if let Some(partition) = known.partitions.get(&id) {
            return Ok(Arc::clone(partition));
        }
        let partition = Partition::load(&self.db, id).await.map_err(storage_error)?;
        let partition = Arc::new(partition);
        known.partitions.insert(id, Arc::clone(&partition));
        Ok(partition)
    }

    async fn topic(&self, name: &str) -> Result<Topic, ErrorCode> {
        let asked = [TopicId::Name(name.to_owned())];
        let answer = self.engine.metadata(Some(&asked)).await.map_err(|error| {
            error!(%error, topic = name, "cannot look a topic up");
            ErrorCode::KafkaStorageError
        })?;
        let found = answer
            .topics()
            .first()
            .filter(|topic| topic.error_code == 0);
        let found = found.ok_or(ErrorCode::UnknownTopicOrPartition)?;
        let partitions = found.partitions.as_ref().map_or(0, Vec::len);
        Ok(Topic {
            id: Uuid::from_bytes(found.topic_id.unwrap_or_default()),
            partitions: i32::try_from(partitions).unwrap_or(i32::MAX),
        })
    }

    pub(crate) async fn has_topic(&self, name: &str) -> Result<bool, ErrorCode> {
        match self.topic(name).await {
            Ok(_) => Ok(true),
            Err(ErrorCode::UnknownTopicOrPartition) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Creates a topic and returns its id. One at a time: tansu keeps all of them under one key.
    pub(crate) async fn create_topic(&self, topic: CreatableTopic) -> Result<Uuid, ErrorCode> {
        let name = topic.name.clone();
        let created = self.engine.create_topic(topic, false).await;
        created.map_err(|error| match error {
            tansu_storage::Error::Api(code) => code,
            other => {
                error!(error = %other, topic = name, "cannot create a topic");
                ErrorCode::KafkaStorageError
            }
        })
    }

    /// Removes the records of a topic that is about to be deleted. Killed in between, some stay
    /// behind unseen: a topic of the same name has another id.
    pub(crate) async fn forget(&self, topic: &str) -> Result<(), ErrorCode> {
        let Ok(found) = self.topic(topic).await else {
            return Ok(());
        };
        for index in 0..found.partitions {
            let partition = self.partition(topic, index).await?;
            partition.clear(&self.db).await.map_err(storage_error)?;
        }
        let mut known = self.known.lock().await;
        known.topics.remove(topic);
        known.partitions.retain(|id, _| id.topic != found.id);
        Ok(())
    }
}

fn storage_error(error: slatedb::Error) -> ErrorCode {
    error!(%error, "the embedded broker's database failed");
    ErrorCode::KafkaStorageError
}
