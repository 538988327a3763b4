//! The lake-writer: Kafka → Delta tables, exactly once.
//!
//! # Guarantee
//! Every offset of a partition from its start on is, exactly once, a row of the table, a dead
//! letter, or a repetition that its source announced as one. It holds across crashes at any
//! moment, rebalances, processes that were stopped and go on, and whatever answer the object store
//! gives to a put. Kafka's committed group offsets play no part in it.
//!
//! # How
//! One commit carries the data files *and* one Delta `txn` per topic partition: application
//! `<pipeline>/<topic>/<partition>`, version = the next offset. A commit is put on top of a table
//! version only if that version's `txn`s are where the rows start (`commit.rs`).
//!
//! # The stages
//! [`RecordLog`] hands out records → a lane per topic decodes them into column buffers, one per
//! partition, and hands those on in chunks → a table writer per table makes Parquet of them and
//! commits → the outcome goes back to the loop in [`LakeWriter`]. A table that cannot go on is
//! stopped and tried again later; all others go on.
//!
//! # Limits
//! - A table's columns are those of its first contract; a record whose schema has other fields is
//!   a dead letter with code `schema_mismatch`.
//! - `Until::CaughtUp` counts offsets: behind a transactional producer, whose markers take offsets
//!   at the end of a partition, it waits for the next record.
//! - SIGKILL-safe. For power loss, a local directory is as durable as its file system makes a
//!   write without fsync; S3 is durable when a put returns.

mod action;
mod app_id;
mod audit;
mod batch_rows;
mod clock;
mod commit;
mod data_file;
mod dead_letter;
mod dead_letters_log;
mod delta_log;
mod entropy;
mod error;
#[cfg(any(test, feature = "faults"))]
mod fault_store;
mod faults;
mod kafka;
mod lag_watch;
mod lake_writer;
mod lane;
mod layout;
#[cfg(test)]
mod log_conformance;
mod maintenance;
mod meter;
mod offset_ranges;
mod partition;
mod patience;
mod progress;
mod record_log;
mod route;
mod schema_cache;
mod settings;
#[cfg(test)]
mod simulation;
mod stand;
mod starts;
#[cfg(test)]
mod store_conformance;
mod stored_file;
mod table_writer;

pub use audit::{AuditError, Finding, PartitionAudit, TableAudit, audit};
pub use clock::{Clock, SystemClock};
pub use data_file::{DataFile, DataFileWriter};
pub use entropy::Entropy;
pub use error::WriterError;
#[cfg(feature = "faults")]
pub use faults::arm as arm_fail_points;
pub use kafka::KafkaLog;
pub use lag_watch::{KafkaSeen, LagWatch};
pub use lake_writer::{LakeWriter, Parts, Until};
pub use maintenance::{
    CareProgress, Compaction, CompactionReport, CompactionSettings, Housekept, LogCleanup,
    LogCleanupReport, LogCleanupSettings, LoopProgress, Maintainer, MaintenanceError,
    MaintenanceSettings, Period, PeriodLength, PeriodNameError, Refreshed, Retention,
    RetentionReport, Round, Snapshot, Vacuum, VacuumReport, VacuumSettings,
};
pub use meter::{Meter, MeteredRegistry, MeteredStore};
pub use progress::{Lag, StoppedTable, TableProgress, WriterProgress};
pub use record_log::{Headers, Notice, Position, Record, RecordLog};
pub use route::{Route, RouteError, Routes};
pub use settings::{
    Assignment, Format, KafkaSettings, OnIncompatible, Start, TopicSettings, UnknownFields,
    WriterSettings,
};
pub use stand::{
    Feed, Gap, GapReason, Observer, PartitionStand, RefusedTopic, Restart, Stand, StandError,
};
