//! How a service publishes its changes without losing, doubling or reordering one.
//!
//! The service writes its own tables and one row per change into its [`Outbox`] in *one* local
//! transaction. The [`Relay`] reads the outbox in commit order, encodes each row (Avro, Confluent
//! wire format, the schemas of [`schemas::Envelope`]), publishes it to Kafka and confirms only what
//! the brokers acknowledged.
//!
//! What holds:
//! - **No loss.** A position is confirmed when everything up to it is acknowledged. After a crash,
//!   a failed delivery or a restart of Kafka the relay starts again from the confirmed position.
//! - **At least once in Kafka, once in the lake.** An event may be published again, always with the
//!   same `lakehead_sequence` (its outbox position). The lake-writer keeps the last sequence per
//!   source and topic partition and drops what is not above it.
//! - **Order per key.** One key's events are in one partition in outbox order: the key alone
//!   decides the partition (murmur2 of the encoded key, as Java's clients do), and the producer
//!   stops at the first record that cannot be delivered rather than going on past it.
//! - **Nothing is published that the owner may lose.** Before a row is handed to Kafka, the relay
//!   makes the service's transactions up to it durable (see [`Outbox`]).
//!
//! A row that cannot be encoded stops the relay with an error that names its sequence, its event
//! id and its field: an outbox is the service's word, and skipping one would break it.
//!
//! Where to read next: [`Outbox`], then [`Relay`]; [`Broker`] is the seam that tests stand in for.

mod entity;
mod event;
mod event_encoder;
mod kafka;
mod kafka_settings;
mod outbox;
mod progress;
mod publisher;
mod record_encoder;
mod relay;
mod relay_error;
mod relay_limits;
mod relay_position;
mod window;

pub use entity::Entity;
pub use event::ChangeEvent;
pub use event_encoder::EventEncoder;
pub use kafka::KafkaBroker;
pub use kafka_settings::{KafkaSettings, KafkaSettingsError};
pub use outbox::{Outbox, OutboxError, OutboxRow};
pub use progress::RelayProgress;
pub use publisher::{Broker, Connected, Notice, PublishError, Publisher, Record};
pub use record_encoder::{EncodeError, RecordEncoder};
pub use relay::Relay;
pub use relay_error::RelayError;
pub use relay_limits::RelayLimits;
