//! A Kafka broker inside the program, for `lakehead demo` and for development: nothing to install,
//! durable in one local directory, reachable by any Kafka client on a loopback port.
//!
//! The protocol is that of [tansu](tansu_broker); everything is kept in a SlateDB database of local
//! files. The making of topics and consumer groups are ours (`topic.rs` and `groups.rs` say why), and
//! so is the log itself (produce, fetch, offsets, idempotent producers), because tansu 0.6, by its source,
//! does not keep what Lakehead stands on:
//!
//! - a fetch from an offset inside a batch starts with the *next* batch, so a consumer that
//!   resumes in the middle of one silently loses the rest of it;
//! - "earliest" is the offset of the smallest timestamp, not of the first record;
//! - every fetch waits half of the client's waiting time, even when there are records;
//! - every append rewrites a map of all earlier appends, and two producers at once fail each other.
//!
//! # Guarantees
//! - A record is acknowledged when it is in the write-ahead log: it survives a SIGKILL, with its
//!   offset, and in order. Consumers see no record before that. (A power loss is another matter,
//!   see [`LIMITS`].)
//! - An idempotent producer's batch is appended once and in order, also across a restart.
//! - A directory is served by one process at a time; the cluster's id and, where it is free, the
//!   port stay the same from one start to the next.
//! - No signal handlers are installed: tansu's own `main`, which would take SIGINT and SIGTERM for
//!   itself and write to standard output, is not called.
//!
//! # Measured
//! On two cores shared with the client, 300-byte records on 8 partitions, lz4, idempotent, by the
//! example `measure`; figures move from machine to machine: use them as proportions.
//!
//! | flush interval | acknowledged, one at a time | produced |
//! |---|---|---|
//! | 0 | 1.5 ms | 266,000/s |
//! | 2 ms (default) | 3.0 ms | 225,000/s |
//! | 10 ms | 11 ms | 142,000/s |
//! | 20 ms | 21 ms | 115,000/s |
//!
//! Consumed: 165,000/s. Restart: 0.1 to 0.4 s, also after a SIGKILL. After 12,600 appends one at a
//! time the broker's process had used 46 MB of memory.
//!
//! # Its log
//! Ours goes to the `tracing` target `embedded_broker`. Tansu's and SlateDB's is not for users:
//! `slatedb=warn,tansu_broker=warn,tansu_storage=error` keeps what matters (`tansu_storage` warns
//! at every fetch of committed offsets).

mod batch;
mod broker;
mod commits;
mod directory;
mod durability;
mod error;
mod fetch;
mod group;
mod groups;
mod key;
mod listener;
mod log;
mod member;
mod membership;
mod offsets;
mod partition;
mod produce;
mod producer;
mod protocol;
mod recent;
mod roster;
mod settings;
mod store;
mod tail;
mod topic;
mod versions;

pub use broker::EmbeddedBroker;
pub use error::Error;
pub use settings::Settings;

/// What a real Kafka does and this broker does not. Those that a client can run into are asserted
/// by this crate's tests.
pub const LIMITS: &[&str] = &[
    "transactions: refused when a producer initialises them",
    "groups: Kafka's classic protocol only; after a restart members join again, and a static member that is started again makes the others join again",
    "security: no TLS, no authentication, no ACLs; it listens on 127.0.0.1 only",
    "replication: one broker, every topic has one replica, however many are asked for",
    "retention and compaction: records are kept until their topic is deleted; deleting records is refused",
    "power loss: a SIGKILL loses nothing acknowledged, a power loss may (files are not fsynced)",
    "topic settings: kept and shown, but without effect; a batch may have up to 16 MiB",
    "topics are created explicitly, unless the settings let producers create them; they have up to 1000 partitions, and their number does not change",
    "log append time: record timestamps are the producer's",
    "fetch.min.bytes: above one it counts as one",
    "offsets by time: found by reading the partition from its start",
];
