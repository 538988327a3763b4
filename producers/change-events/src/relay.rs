//! From the outbox to Kafka.
//!
//! A relay lives in connections: it connects to the brokers, publishes from the confirmed position
//! on until something fails, gives the connection up and connects again. Within a connection
//! ([`pump`]) rows are read, made durable, encoded and sent in sequence order, and the window of
//! what is in flight says what may be confirmed.

mod health;
mod pump;
mod stop;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use schemas::{Envelope, SchemaRegistry};
use tokio_util::sync::CancellationToken;

use self::health::Health;
use self::pump::Pump;
use self::stop::Ended;
use crate::relay_position::RelayPosition;
use crate::{
    Broker, Connected, Entity, EventEncoder, PublishError, RelayError, RelayLimits, RelayProgress,
};

/// Publishes an outbox. See the crate's documentation for what it guarantees.
#[derive(Debug)]
pub struct Relay {
    position: RelayPosition,
    source: String,
    entities: Vec<Entity>,
    broker: Arc<dyn Broker>,
    registry: Arc<dyn SchemaRegistry>,
    limits: RelayLimits,
    progress: Arc<RelayProgress>,
}

impl Relay {
    /// Opens the outbox of a service's database; nothing else is connected yet.
    pub async fn open(
        database: &Path,
        entities: Vec<Entity>,
        broker: Arc<dyn Broker>,
        registry: Arc<dyn SchemaRegistry>,
    ) -> Result<Self, RelayError> {
        let mut position = RelayPosition::open(database).await?;
        let source = position.source().await?;
        let progress = Arc::new(RelayProgress::default());
        progress.confirm(position.confirmed().await?);
        let limits = RelayLimits::default();
        Ok(Self {
            position,
            source,
            entities,
            broker,
            registry,
            limits,
            progress,
        })
    }

    /// The same relay with other bounds.
    #[must_use]
    pub fn with_limits(mut self, limits: RelayLimits) -> Self {
        self.limits = limits;
        self
    }

    /// The relay's counters; they stay readable while it runs.
    pub fn progress(&self) -> Arc<RelayProgress> {
        Arc::clone(&self.progress)
    }

    /// Publishes until `cancel`: then what is in flight is waited for (bounded by
    /// [`RelayLimits::shutdown_time_max`]) and confirmed.
    ///
    /// Kafka or the registry being away is waited for, however long it takes, and said once per
    /// change. An error is something that waiting does not mend; everything up to
    /// [`RelayProgress::confirmed`] is published then.
    pub async fn run(mut self, cancel: CancellationToken) -> Result<(), RelayError> {
        let mut health = Health::new(&self.source);
        let topics = self.topics();
        let mut encoders = None;
        loop {
            if encoders.is_none() {
                encoders = self.encoders(&cancel, &mut health).await?;
            }
            let Some(encoders) = encoders.as_mut() else {
                return Ok(());
            };
            let Some(connected) = self.connect(&topics, &cancel, &mut health).await? else {
                return Ok(());
            };
            let Connected {
                publisher,
                cluster,
                partitions,
            } = connected;
            self.position
                .check_cluster(cluster.as_deref(), &partitions)
                .await?;
            let confirmed = self.position.confirmed().await?;
            let pump = Pump::new(
                &mut self.position,
                encoders,
                publisher,
                &self.limits,
                &self.progress,
                confirmed,
            );
            match pump.run(&cancel, &mut health).await? {
                Ended::Cancelled => return Ok(()),
                Ended::Lost(why) => health.down("kafka", &why),
            }
            if health.rest(&cancel).await {
                return Ok(());
            }
        }
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
    ) -> Result<Option<BTreeMap<String, EventEncoder>>, RelayError> {
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

    async fn register(&self) -> Result<BTreeMap<String, EventEncoder>, RelayError> {
        let mut encoders = BTreeMap::new();
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
            encoders.insert(entity, encoder);
        }
        Ok(encoders)
    }
}
