//! Which way an outbox in Postgres is read.

/// How the relay reads an outbox in Postgres, and what it may leave on the server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutboxReading {
    /// The way.
    pub way: ReadOutbox,
    /// The name of a slot that is to be created; `lakehead_outbox_<number of the database>` if none.
    pub slot: Option<String>,
    /// Accepts a server whose `max_slot_wal_keep_size` sets no bound to what a slot keeps.
    pub slot_unbounded: bool,
}

/// A way to read an outbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReadOutbox {
    /// As before; one of which nothing was ever published by replication, where that is allowed.
    #[default]
    Auto,
    /// By replication; one that was polled is handed over.
    Replication,
    /// By polling; one that was read by replication is handed back.
    Polling,
}
