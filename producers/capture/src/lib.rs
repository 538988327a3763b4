//! Postgres' log as change events: a service's tables in Kafka without code in the service.
//!
//! A [`Capture`] reads a publication of the owner's database by logical replication (`pgoutput`) and
//! publishes each change as Debezium's connector for Postgres does, in Avro with Confluent's wire
//! format ([`schemas::Envelope::captured`]). The rows that are there before come first.
//!
//! What holds:
//! - **No loss.** Postgres keeps its log until a position is confirmed, and what is confirmed is the
//!   end of the last transaction whose every record is acknowledged by the brokers, and all before it.
//! - **At least once in Kafka, once in the lake.** A change that is published again has the same
//!   `lakehead_sequence`: its transaction's commit LSN and its place in the transaction. The lake-writer
//!   drops what is not above the last one per source and topic partition.
//! - **Order per key.** Transactions come in the order of their commits, and a key's events are in one
//!   partition. A change of the key is a delete of the old one and a create of the new one.
//! - **First copy and stream without a hole** and without an overlap: see `copy.rs`.
//! - **Nothing is guessed.** A value that Postgres did not log is an error, not a null; so is one that its
//!   type in the topic does not hold exactly. A slot that lost something, another database system or
//!   another history is refused by name.
//!
//! Where to read next: [`CaptureSettings`], then `stream.rs`.

mod answer;
mod capture;
mod column_type;
mod copy;
mod error;
mod faults;
mod health;
mod horizon;
mod key_order;
mod lsn;
mod membership;
mod outbox;
mod outlet;
mod owned_table;
mod pg_type;
mod pgoutput;
mod progress;
mod publication;
mod relations;
mod server;
mod session;
mod settings;
mod slot;
mod slot_watch;
mod state;
mod stop;
mod stream;
mod table_copy;
mod table_plan;
mod transaction;
mod unread_looks;
mod value;
mod watermarks;
mod window;

pub use capture::Capture;
pub use error::CaptureError;
pub use lsn::{Lsn, NotAnLsn};
pub use outbox::{OutboxProgress, OutboxReading, ReadOutbox, ReplicatedOutbox};
pub use progress::CaptureProgress;
pub use server::{NotAServer, PostgresServer};
pub use settings::{CaptureLimits, CaptureSettings, CapturedTable, OnTruncate};
