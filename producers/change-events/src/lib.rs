//! How a service publishes its changes without losing, doubling or reordering one.
//!
//! The service writes its own tables and one row per change into its [`Outbox`] in *one* local
//! transaction, in SQLite or in Postgres. The [`Relay`] reads the outbox in order, encodes each row
//! (Avro, Confluent wire format, the schemas of [`schemas::Envelope`]), publishes it to Kafka and
//! confirms only what the brokers acknowledged.
//!
//! What holds:
//! - **No loss.** A position is confirmed when everything up to it is acknowledged. After a crash,
//!   a failed delivery or a restart of Kafka or the database the relay starts again from the
//!   confirmed position. A sequence that becomes visible late is not passed over (see
//!   [`PostgresOutbox`]).
//! - **At least once in Kafka, once in the lake.** An event may be published again, always with the
//!   same `lakehead_sequence` (its outbox position). The lake-writer keeps the last sequence per
//!   source and topic partition and drops what is not above it.
//! - **Order per key.** One key's events are in one partition in outbox order: the key alone
//!   decides the partition (murmur2 of the encoded key, as Java's clients do), and the producer
//!   stops at the first record that cannot be delivered rather than going on past it.
//! - **Nothing is published that the owner may lose.** Before a row is handed to Kafka, the relay
//!   makes the service's transactions up to it durable (see [`Outbox`]).
//! - **A row that cannot be published stops its key alone.** It is parked, with a reason, and the
//!   later rows of its key are parked behind it; other keys go on. Put right and marked `retry`,
//!   the rows are published in their order.
//! - **What is complete is said with evidence.** With [`RelayLimits::watermark_interval`] the relay
//!   publishes watermarks: up to when everything the owner committed is in Kafka, where the
//!   partitions end, and what the events add up to.
//! - **A whole transaction can be told from half of one.** On Postgres every event carries its
//!   transaction's id and its place in it; with [`Relay::with_transactions`] the relay says at a
//!   transaction's end how many events of each entity it has.
//! - **Nothing is removed before the lake has it.** With a [`LakeProgress`] the relay prunes the
//!   outbox behind what the lake has committed; without one it keeps every row.
//!
//! Where to read next: [`Outbox`], then [`Relay`]. [`OutboxStore`] and [`Broker`] are the relay's
//! two ends.

mod entity;
mod event;
mod event_encoder;
#[doc(hidden)]
pub mod faults;
mod kafka;
mod kafka_settings;
mod lake_progress;
mod offsets;
mod outbox;
mod outbox_error;
mod outbox_store;
pub mod owner_time;
mod postgres_outbox;
mod progress;
mod publisher;
mod record_encoder;
mod relay;
mod relay_error;
mod relay_limits;
mod sqlite_outbox;
mod tally;
pub mod timestamp;
mod transaction_encoder;
mod window;

pub use entity::Entity;
pub use event::ChangeEvent;
pub use event_encoder::EventEncoder;
pub use kafka::KafkaBroker;
pub use kafka_settings::{KafkaSettings, KafkaSettingsError};
pub use lake_progress::LakeProgress;
pub use offsets::{Noted, Offsets};
pub use outbox::{Outbox, OutboxConnection, OutboxRow, TransactionPlace};
pub use outbox_error::OutboxError;
pub use outbox_store::{
    CountedEvents, Counting, Horizon, OutboxBatch, OutboxStore, ParkedKey, ParkedRow, Position,
    Retry,
};
pub use postgres_outbox::{LogSave, OutboxLog, PostgresOutbox};
pub use progress::RelayProgress;
pub use publisher::{Broker, Connected, Notice, PublishError, Publisher, Record};
pub use record_encoder::{EncodeError, RecordEncoder, put_long, put_text};
pub use relay::Relay;
pub use relay_error::RelayError;
pub use relay_limits::RelayLimits;
pub use sqlite_outbox::SqliteOutbox;
pub use tally::Tally;
pub use transaction_encoder::{TransactionEncoder, TransactionMark};

/// The page of the docs: its Rust is compiled.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/outbox.md")]
struct OutboxPage;
