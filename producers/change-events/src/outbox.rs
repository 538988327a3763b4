//! The service's side of the outbox: a table in its own database.

mod postgres;
mod sqlite;
#[cfg(feature = "tokio-postgres")]
mod tokio_postgres;

use std::collections::BTreeMap;

use async_trait::async_trait;
use schemas::Op;
use sqlx::sqlite::SqliteConnection;
use uuid::Uuid;

pub(crate) use self::postgres::TABLES as POSTGRES_TABLES;
pub(crate) use self::sqlite::RELAY_TABLES as SQLITE_RELAY_TABLES;
use crate::{ChangeEvent, OutboxError};

/// The outbox of a service's database: SQLite, or Postgres through sqlx or tokio-postgres.
///
/// **SQLite.** The table `outbox` and what belongs to it. The database must be in WAL mode. SQLite
/// has one writer at a time, so the order of sequences is the order of commits and no reader ever
/// sees a sequence before a smaller one. The service may use `synchronous = NORMAL`: a power loss
/// can then take back its latest transactions, table and outbox alike.
///
/// **Postgres.** The schema `lakehead`, one outbox per database. Many transactions write at once
/// and commit in any order, so a sequence may become visible after a larger one; each writing
/// transaction holds an advisory lock that tells the relay how far it may read (see
/// [`crate::PostgresOutbox`]). A row's sequence is drawn when it is written: a transaction changes
/// its row first and appends the event then, and the row's own lock puts one key's events in the
/// order of their commits. The service may use `synchronous_commit = off`.
///
/// The [`crate::Relay`] publishes nothing that a power loss could take back: it commits on the same
/// log, waiting for the disk, before it hands rows to Kafka. That makes every transaction before it
/// durable, at one fsync per batch and not one per change.
#[derive(Debug)]
pub struct Outbox;

/// A row of the outbox.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutboxRow {
    /// The row's number in the table, starting at 1, with gaps: strictly rising for each key.
    pub sequence: i64,
    /// Its place in the order of publishing, by which its record is known: strictly rising, with
    /// gaps. It is the sequence, but for a relay that reads by replication.
    pub place: i64,
    /// The event's id.
    pub event_id: String,
    /// The entity, as in `flights.flight`.
    pub entity: String,
    /// The operation's letter: c, u, d or r.
    pub op: String,
    /// What kind of event it is, where the service gave it a name: header `ce_type`.
    pub event_type: Option<String>,
    /// The owner's commit time in microseconds since 1970-01-01 UTC.
    pub event_time_us: i64,
    /// The key fields, a JSON object; or the key's one field as a bare text.
    pub key: String,
    /// The row before the change, a JSON object.
    pub before: Option<String>,
    /// The row after the change, a JSON object.
    pub after: Option<String>,
    /// Its place in the transaction that wrote it, where the database tells.
    pub transaction: Option<TransactionPlace>,
}

/// A row's place in the transaction that wrote it. The rows of others may lie between those of one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TransactionPlace {
    /// The transaction's name, the same in all its rows: its number in the database, and the sequence
    /// of its first row, as in `734:17`. No two transactions of an outbox have the same.
    pub id: String,
    /// The row's place among those of the transaction, from 1.
    pub total_order: i64,
    /// The same among those of its entity.
    pub entity_order: i64,
    /// In the last row of the transaction: how many rows of each entity it wrote.
    pub ended: Option<BTreeMap<String, i64>>,
}

/// A connection, or a transaction, of a service's database.
///
/// Implemented for sqlx's SQLite and Postgres connections and transactions and, with the feature
/// `tokio-postgres`, for that crate's clients and transactions.
#[async_trait]
pub trait OutboxConnection: Send {
    /// Creates what is missing; the database gets `source` for its identity if it has none.
    async fn create(&mut self, source: &str) -> Result<(), OutboxError>;
    /// The database's identity.
    async fn source(&mut self) -> Result<String, OutboxError>;
    /// Writes one event and answers its sequence.
    async fn append(&mut self, event: &ChangeEvent) -> Result<i64, OutboxError>;
    /// The last sequence of the outbox, pruned or not; 0 if it never had a row.
    async fn end(&mut self) -> Result<i64, OutboxError>;
}

impl Outbox {
    /// Creates the kit's tables where they are missing, and gives the database its identity.
    ///
    /// Answers the identity, `/<service>/<database id>`: the `ce_source` of all its events. The id
    /// is made once per database, so that a database created anew is a new source and its
    /// sequences, starting at 1 again, are not mistaken for repeats.
    pub async fn create(
        connection: &mut impl OutboxConnection,
        service: &str,
    ) -> Result<String, OutboxError> {
        let source = format!("/{service}/{}", Uuid::new_v4());
        connection.create(&source).await?;
        connection.source().await
    }

    /// The identity that [`Self::create`] gave the database.
    pub async fn source(connection: &mut impl OutboxConnection) -> Result<String, OutboxError> {
        connection.source().await
    }

    /// Writes one event and answers its sequence.
    ///
    /// To be called inside the transaction that changes the entity's table, after the change: both
    /// are then committed, or neither.
    pub async fn append(
        connection: &mut impl OutboxConnection,
        event: &ChangeEvent,
    ) -> Result<i64, OutboxError> {
        connection.append(event).await
    }

    /// The last sequence of the outbox, pruned or not; 0 if it never had a row.
    pub async fn end(connection: &mut impl OutboxConnection) -> Result<i64, OutboxError> {
        connection.end().await
    }

    /// Up to `limit` rows of a SQLite outbox above `position`, in order.
    pub async fn after(
        connection: &mut SqliteConnection,
        position: i64,
        limit: u32,
    ) -> Result<Vec<OutboxRow>, OutboxError> {
        sqlite::after(connection, position, limit).await
    }

    /// What [`Self::create`] runs in Postgres, for those who let nobody else create tables. The
    /// database's identity is then given by `SELECT lakehead.create_source('<service>')`.
    pub fn postgres_sql() -> &'static str {
        POSTGRES_TABLES
    }
}

impl OutboxRow {
    /// The operation, if its letter is one.
    pub fn op(&self) -> Option<Op> {
        Op::from_letter(&self.op)
    }

    /// Sets operation and event type by the column `type` of an outbox in Postgres; to be called
    /// when `after` is set. A type that is no operation's letter is the name of an event.
    pub fn set_type(&mut self, kind: &str) {
        let is_op = Op::from_letter(kind).is_some();
        let op = match &self.after {
            _ if is_op => kind,
            // Debezium's own meaning of an outbox row without a payload.
            None => Op::Delete.letter(),
            Some(_) => Op::Create.letter(),
        };
        self.op = op.to_owned();
        self.event_type = (!is_op).then(|| kind.to_owned());
    }
}
