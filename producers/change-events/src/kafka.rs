//! The real [`Broker`]: Kafka through librdkafka's idempotent producer.

mod deliveries;

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer, ThreadedProducer};
use schemas::{TopicPartition, WATERMARKS_TOPIC};
use tokio::sync::mpsc;
use tracing::{debug, info};

use self::deliveries::Deliveries;
use crate::kafka_settings::KafkaSettingsError;
use crate::{Broker, Connected, KafkaSettings, Notice, PublishError, Publisher, Record};

/// How long one question to the brokers may take before it is asked again.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a topic may take to appear after it was created.
const TOPIC_TIMEOUT: Duration = Duration::from_secs(10);

/// Most notices that are taken at once.
const NOTICES_MAX: usize = 10_000;

/// Kafka, by its settings.
#[derive(Clone, Debug)]
pub struct KafkaBroker {
    settings: KafkaSettings,
}

impl KafkaBroker {
    /// Names the brokers; nothing is connected yet.
    pub fn new(settings: KafkaSettings) -> Self {
        Self { settings }
    }

    /// Whether the settings can work at all, as far as that is known without the brokers. An error
    /// repeats no value.
    pub fn validate(&self) -> Result<(), PublishError> {
        let config = self.settings.producer_config()?;
        config.create_native_config().map_err(publish_error)?;
        Ok(())
    }

    fn admin(&self) -> Result<AdminClient<DefaultClientContext>, PublishError> {
        let config = self.settings.client_config()?;
        config.create().map_err(publish_error)
    }

    async fn create_topics(&self, topics: &[String]) -> Result<(), PublishError> {
        let admin = self.admin()?;
        let new_topics: Vec<NewTopic<'_>> = topics
            .iter()
            .map(|topic| {
                let replication = TopicReplication::Fixed(self.settings.replication);
                match topic.as_str() {
                    // The newest of each entity and source is what is asked for.
                    WATERMARKS_TOPIC => {
                        NewTopic::new(topic, 1, replication).set("cleanup.policy", "compact")
                    }
                    topic => NewTopic::new(topic, self.settings.partitions, replication),
                }
            })
            .collect();
        let options = AdminOptions::new()
            .request_timeout(Some(REQUEST_TIMEOUT))
            .operation_timeout(Some(REQUEST_TIMEOUT));
        let results = admin.create_topics(&new_topics, &options).await;
        close_blocking(admin).await;
        for result in results.map_err(publish_error)? {
            match result {
                Ok(topic) => info!(topic, "topic created"),
                Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                // Who may not create topics may still publish to one that is there.
                Err((topic, code)) => debug!(topic, %code, "topic not created"),
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Broker for KafkaBroker {
    async fn connect(&self, topics: &[String]) -> Result<Connected, PublishError> {
        self.create_topics(topics).await?;
        let (told, notices) = mpsc::unbounded_channel();
        let producer: ThreadedProducer<Deliveries> = self
            .settings
            .producer_config()?
            .create_with_context(Deliveries { told })
            .map_err(publish_error)?;
        let topics = topics.to_vec();
        // librdkafka's questions block.
        let asked = tokio::task::spawn_blocking(move || {
            let partitions = topic_partitions(&producer, &topics)?;
            let cluster = producer.client().fetch_cluster_id(REQUEST_TIMEOUT);
            Ok::<_, PublishError>((producer, partitions, cluster))
        });
        let (producer, partitions, cluster) = asked
            .await
            .map_err(|error| PublishError::Refused(error.to_string()))??;
        let cluster = cluster.filter(|id| !id.is_empty());
        let publisher = Box::new(KafkaPublisher { producer, notices });
        Ok(Connected {
            publisher,
            cluster,
            partitions,
        })
    }

    async fn ends(
        &self,
        places: Vec<TopicPartition>,
    ) -> Result<BTreeMap<TopicPartition, i64>, PublishError> {
        let admin = self.admin()?;
        // librdkafka's questions block, and so does the end of a client.
        let asked = tokio::task::spawn_blocking(move || partition_ends(&admin, places));
        asked
            .await
            .map_err(|error| PublishError::Refused(error.to_string()))?
    }
}

/// Asked one by one: it is asked for what the database does not know, once.
fn partition_ends(
    admin: &AdminClient<DefaultClientContext>,
    places: Vec<TopicPartition>,
) -> Result<BTreeMap<TopicPartition, i64>, PublishError> {
    let mut ends = BTreeMap::new();
    for place in places {
        let client = admin.inner();
        let (_, end) = client
            .fetch_watermarks(&place.topic, place.partition, REQUEST_TIMEOUT)
            .map_err(publish_error)?;
        ends.insert(place, end);
    }
    Ok(ends)
}

/// The partition count of each topic; a topic that was just created may take a moment to appear.
fn topic_partitions(
    producer: &ThreadedProducer<Deliveries>,
    topics: &[String],
) -> Result<BTreeMap<String, i32>, PublishError> {
    let mut counts = BTreeMap::new();
    for topic in topics {
        let deadline = std::time::Instant::now() + TOPIC_TIMEOUT;
        let count = loop {
            let metadata = producer
                .client()
                .fetch_metadata(Some(topic), REQUEST_TIMEOUT)
                .map_err(publish_error)?;
            let count = metadata
                .topics()
                .first()
                .map_or(0, |found| found.partitions().len());
            if count > 0 {
                break count;
            }
            if std::time::Instant::now() > deadline {
                let why = format!(
                    "topic {topic:?} is not there and could not be created; create it, or allow \
                     this user to"
                );
                return Err(PublishError::Unavailable(why));
            }
            std::thread::sleep(Duration::from_millis(100));
        };
        counts.insert(topic.clone(), i32::try_from(count).unwrap_or(i32::MAX));
    }
    Ok(counts)
}

/// A connection: librdkafka's producer and what its thread tells.
struct KafkaPublisher {
    producer: ThreadedProducer<Deliveries>,
    notices: mpsc::UnboundedReceiver<Notice>,
}

impl std::fmt::Debug for KafkaPublisher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KafkaPublisher").finish_non_exhaustive()
    }
}

#[async_trait]
impl Publisher for KafkaPublisher {
    fn send(&mut self, record: &Record) -> Result<(), PublishError> {
        let sequence = record.sequence.to_string();
        let mut headers = OwnedHeaders::new_with_capacity(6);
        for (key, text) in record.headers(&sequence) {
            headers = headers.insert(Header {
                key,
                value: Some(text),
            });
        }
        // The record's own timestamp stays the time of publishing: brokers delete by it, and an
        // owner's commit time may lie far back.
        let number = usize::try_from(record.number)
            .map_err(|_| PublishError::Refused(format!("number {} is negative", record.number)))?;
        let kafka_record = BaseRecord::with_opaque_to(&record.topic, number)
            .key(record.key.as_slice())
            .payload(record.value.as_slice())
            .headers(headers);
        self.producer.send(kafka_record).map_err(|(error, _)| {
            let why = error.to_string();
            match error.rdkafka_error_code() {
                Some(RDKafkaErrorCode::MessageSizeTooLarge) => PublishError::Refused(why),
                _ => PublishError::Unavailable(why),
            }
        })
    }

    async fn notices(&mut self, notices: &mut Vec<Notice>) -> Result<(), PublishError> {
        match self.notices.recv_many(notices, NOTICES_MAX).await {
            0 => Err(PublishError::Unavailable(
                "the producer has stopped".to_owned(),
            )),
            _ => Ok(()),
        }
    }

    async fn close(self: Box<Self>) {
        close_blocking(self.producer).await;
    }
}

/// Dropping a client joins its thread.
async fn close_blocking(client: impl Send + 'static) {
    if let Err(error) = tokio::task::spawn_blocking(move || drop(client)).await {
        debug!(%error, "a kafka client did not close cleanly");
    }
}

/// A wrong setting stays wrong; everything else may pass.
fn publish_error(error: KafkaError) -> PublishError {
    match error {
        // Its last part is the value, which may be a secret.
        KafkaError::ClientConfig(_, why, name, _) => {
            PublishError::Refused(format!("{name}: {why}"))
        }
        KafkaError::ClientCreation(_) => PublishError::Refused(error.to_string()),
        other => PublishError::Unavailable(other.to_string()),
    }
}

impl From<KafkaSettingsError> for PublishError {
    fn from(error: KafkaSettingsError) -> Self {
        Self::Refused(error.to_string())
    }
}
