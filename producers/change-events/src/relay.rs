//! From the outbox to Kafka.
//!
//! A relay lives in connections: it connects to the brokers, publishes from the confirmed position
//! on until something fails, gives the connection up and connects again. Within a connection
//! ([`pump`]) rows are read, made durable, encoded and sent in sequence order, and the window of
//! what is in flight says what may be confirmed.

mod caution;
mod health;
mod parking;
mod pruning;
mod pump;
mod retry;
mod stop;
mod watermarks;

use std::collections::BTreeMap;
use std::sync::Arc;

use schemas::{Envelope, SchemaRegistry, TopicPartition, WATERMARKS_TOPIC};
use tokio_util::sync::CancellationToken;

use self::caution::Caution;
use self::health::Health;
use self::pruning::Pruning;
use self::pump::{Encoders, Lent, Pump};
use self::stop::Ended;
use crate::{
    Broker, Connected, Entity, EventEncoder, LakeProgress, OutboxStore, Position, PublishError,
    RelayError, RelayLimits, RelayProgress, TransactionEncoder,
};

/// Publishes an outbox. See the crate's documentation for what it guarantees.
#[derive(Debug)]
pub struct Relay {
    store: Box<dyn OutboxStore>,
    source: String,
    entities: Vec<Entity>,
    broker: Arc<dyn Broker>,
    registry: Arc<dyn SchemaRegistry>,
    limits: RelayLimits,
    lake: Option<Arc<dyn LakeProgress>>,
    /// The service whose transactions are told.
    transactions: Option<String>,
    progress: Arc<RelayProgress>,
}

/// What outlives a connection.
struct Kept<'a> {
    encoders: &'a mut Option<Encoders>,
    pruning: &'a mut Pruning,
    caution: &'a mut Caution,
}

impl Relay {
    /// A relay of this outbox; the brokers and the registry are not connected yet.
    pub async fn open(
        mut store: Box<dyn OutboxStore>,
        entities: Vec<Entity>,
        broker: Arc<dyn Broker>,
        registry: Arc<dyn SchemaRegistry>,
    ) -> Result<Self, RelayError> {
        let source = store.source().await?;
        let progress = Arc::new(RelayProgress::default());
        progress.confirm(store.position().await?.confirmed);
        Ok(Self {
            store,
            source,
            entities,
            broker,
            registry,
            limits: RelayLimits::default(),
            lake: None,
            transactions: None,
            progress,
        })
    }

    /// The same relay with other bounds.
    #[must_use]
    pub fn with_limits(mut self, limits: RelayLimits) -> Self {
        self.limits = limits;
        self
    }

    /// The same relay, which removes rows from the outbox that this lake has committed. Without a
    /// lake the outbox is kept.
    #[must_use]
    pub fn with_lake(mut self, lake: Arc<dyn LakeProgress>) -> Self {
        self.lake = Some(lake);
        self
    }

    /// The same relay, which also publishes where the transactions of its service begin and end, to
    /// the topic [`TransactionEncoder::topic`]. An outbox that does not say which transaction wrote a
    /// row (SQLite, and one in Postgres of before) has none.
    #[must_use]
    pub fn with_transactions(mut self, service: &str) -> Self {
        self.transactions = Some(service.to_owned());
        self
    }

    /// The relay's counters; they stay readable while it runs.
    pub fn progress(&self) -> Arc<RelayProgress> {
        Arc::clone(&self.progress)
    }

    /// Publishes until `cancel`: then what is in flight is waited for (bounded by
    /// [`RelayLimits::shutdown_time_max`]) and confirmed.
    ///
    /// Kafka, the registry or the database being away is waited for, however long it takes, and
    /// said once per change. An error is something that waiting does not mend; everything up to
    /// [`RelayProgress::confirmed`] is published (or parked) then.
    pub async fn run(mut self, cancel: CancellationToken) -> Result<(), RelayError> {
        let mut health = Health::new(&self.source);
        let mut pruning = Pruning::new(self.lake.take(), self.topics());
        let (mut encoders, mut caution) = (None, Caution::default());
        loop {
            let kept = Kept {
                encoders: &mut encoders,
                pruning: &mut pruning,
                caution: &mut caution,
            };
            let ended = self.connection(kept, &cancel, &mut health);
            match ended.await {
                Ok(Ended::Cancelled) => return Ok(self.store.close().await?),
                Ok(Ended::Refused) => continue,
                Ok(Ended::Standby) => health.standby(),
                Ok(Ended::Lost(why)) => health.down("kafka", &why),
                Err(RelayError::Outbox(error)) if error.is_turn() => continue,
                Err(RelayError::Outbox(error)) if error.is_passing() => {
                    health.down("the database", &error.to_string());
                }
                Err(error) => return Err(error),
            }
            if health.rest(&cancel).await {
                return Ok(());
            }
        }
    }

    /// Connects and publishes until something ends the connection.
    async fn connection(
        &mut self,
        kept: Kept<'_>,
        cancel: &CancellationToken,
        health: &mut Health,
    ) -> Result<Ended, RelayError> {
        let Kept {
            encoders,
            pruning,
            caution,
        } = kept;
        if !self.store.claim().await? {
            return Ok(Ended::Standby);
        }
        if let Some((known, found)) = self.store.moved().await? {
            let confirmed = self.store.position().await?.confirmed;
            return Err(RelayError::ServerChanged {
                known,
                found,
                confirmed,
            });
        }
        let source = self.store.source().await?;
        let tells = self.told_service().is_some();
        let told = encoders.as_ref().map(|known| known.transactions.is_some());
        if source != self.source || told.is_some_and(|told| told != tells) {
            (self.source, *encoders) = (source, None);
        }
        if encoders.is_none() {
            *encoders = self.encoders(cancel, health).await?;
        }
        let Some(encoders) = encoders.as_mut() else {
            return Ok(Ended::Cancelled);
        };
        let mut topics = self.topics();
        topics.extend(self.told_service().map(TransactionEncoder::topic));
        if self.limits.watermark_interval.is_some() {
            topics.push(WATERMARKS_TOPIC.to_owned());
        }
        let Some(connected) = self.connect(&topics, cancel, health).await? else {
            return Ok(Ended::Cancelled);
        };
        let Connected {
            publisher,
            cluster,
            mut partitions,
        } = connected;
        // Watermarks have no order that partitions would keep.
        partitions.remove(WATERMARKS_TOPIC);
        check_cluster(self.store.as_mut(), cluster.as_deref(), &partitions).await?;
        let own = self.topics();
        partitions.retain(|topic, _| own.contains(topic));
        let position = match self.position(&partitions).await? {
            Ok(position) => position,
            Err(why) => {
                publisher.close().await;
                return Ok(Ended::Lost(why));
            }
        };
        let lent = Lent {
            store: self.store.as_mut(),
            encoders,
            limits: &self.limits,
            progress: &self.progress,
            pruning,
            caution,
            partitions,
            entities: &self.entities,
            source: &self.source,
        };
        let pump = Pump::new(lent, &position, publisher).await?;
        pump.run(cancel, health).await
    }

    /// The position, with an offset for every partition: where the database has none, all that was
    /// published is below the partition's end. An inner error is Kafka's.
    async fn position(
        &mut self,
        partitions: &BTreeMap<String, i32>,
    ) -> Result<Result<Position, String>, RelayError> {
        let mut position = self.store.position().await?;
        let places = partitions.iter().flat_map(|(topic, &count)| {
            (0..count).map(|partition| TopicPartition::new(topic.as_str(), partition))
        });
        let unknown: Vec<TopicPartition> = places
            .filter(|place| !position.offsets.contains_key(place))
            .collect();
        if unknown.is_empty() {
            return Ok(Ok(position));
        }
        let ends = match self.broker.ends(unknown).await {
            Ok(ends) => ends,
            Err(error) => return Ok(Err(error.to_string())),
        };
        let mut learned = Position::new(position.confirmed, position.released);
        learned.offsets = ends.clone();
        self.store.save(&learned).await?;
        position.offsets.extend(ends);
        Ok(Ok(position))
    }

    /// The service whose transactions are told; none where the outbox does not say which transaction
    /// wrote a row: then the relay needs no rights to their topic.
    fn told_service(&self) -> Option<&str> {
        let service = self.transactions.as_deref();
        service.filter(|_| self.store.tells_transactions())
    }

    fn topics(&self) -> Vec<String> {
        let mut topics: Vec<String> = self
            .entities
            .iter()
            .map(|entity| entity.topic.clone())
            .collect();
        topics.sort();
        topics.dedup();
        topics
    }

    /// Connects to the brokers, however long it takes; `None` when cancelled.
    async fn connect(
        &self,
        topics: &[String],
        cancel: &CancellationToken,
        health: &mut Health,
    ) -> Result<Option<Connected>, RelayError> {
        loop {
            let connected = tokio::select! {
                connected = self.broker.connect(topics) => connected,
                () = cancel.cancelled() => return Ok(None),
            };
            match connected {
                Ok(connected) => return Ok(Some(connected)),
                Err(PublishError::Refused(why)) => return Err(RelayError::KafkaRefused(why)),
                Err(PublishError::Unavailable(why)) => health.down("kafka", &why),
            }
            if health.rest(cancel).await {
                return Ok(None);
            }
        }
    }

    /// Registers every entity's schemas, however long it takes; `None` when cancelled.
    async fn encoders(
        &self,
        cancel: &CancellationToken,
        health: &mut Health,
    ) -> Result<Option<Encoders>, RelayError> {
        loop {
            let encoders = tokio::select! {
                encoders = self.register() => encoders,
                () = cancel.cancelled() => return Ok(None),
            };
            match encoders {
                Ok(encoders) => {
                    health.up();
                    return Ok(Some(encoders));
                }
                Err(RelayError::Registry { source, .. }) if source.is_passing() => {
                    health.down("schema registry", &source.to_string());
                }
                Err(error) => return Err(error),
            }
            if health.rest(cancel).await {
                return Ok(None);
            }
        }
    }

    async fn register(&self) -> Result<Encoders, RelayError> {
        let mut encoders = Encoders::default();
        for Entity {
            table,
            contract,
            topic,
        } in &self.entities
        {
            let entity = table.to_string();
            let envelope = Envelope::of(table, contract);
            let (key, value) = (format!("{topic}-key"), format!("{topic}-value"));
            let refused = |source| RelayError::Registry {
                entity: entity.clone(),
                source,
            };
            let ids = tokio::try_join!(
                self.registry.register(&key, &envelope.key_schema),
                self.registry.register(&value, &envelope.value_schema),
            );
            let (key_id, value_id) = ids.map_err(refused)?;
            let encoder =
                EventEncoder::new(table, topic, &self.source, &envelope, key_id, value_id)
                    .map_err(|source| RelayError::Contract {
                        entity: entity.clone(),
                        source,
                    })?;
            encoders.events.insert(entity, encoder);
        }
        if let Some(service) = self.told_service() {
            let prepared =
                TransactionEncoder::prepare(service, &self.source, self.registry.as_ref());
            let prepared = prepared.await.map_err(|source| RelayError::Registry {
                entity: TransactionEncoder::topic(service),
                source,
            });
            encoders.transactions = Some(prepared?);
        }
        Ok(encoders)
    }
}

/// Holds the cluster and its topics against those of the first connection.
///
/// Positions say nothing about another cluster, and with another partition count a key's later
/// events would overtake its earlier ones: both are refused by name.
async fn check_cluster(
    store: &mut dyn OutboxStore,
    cluster: Option<&str>,
    partitions: &BTreeMap<String, i32>,
) -> Result<(), RelayError> {
    if let Some(found) = cluster {
        let confirmed = store.position().await?.confirmed;
        match store.cluster().await? {
            Some(known) if known == found => {}
            Some(known) if confirmed > 0 => {
                return Err(RelayError::ClusterChanged {
                    known,
                    found: found.to_owned(),
                    confirmed,
                });
            }
            // The first connection; or nothing is confirmed yet, and a cluster may be left.
            _ => store.set_cluster(found).await?,
        }
    }
    for (topic, &found) in partitions {
        let known = store.topic_partitions(topic, found).await?;
        if known != found {
            return Err(RelayError::PartitionsChanged {
                topic: topic.clone(),
                known,
                found,
            });
        }
    }
    Ok(())
}
