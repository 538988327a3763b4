//! SQL over the lake.
//!
//! The catalog is found in the lake, nothing is declared: `<service>.<entity>_changes` is the log
//! of an entity's changes, `<service>.<entity>` its current state computed from that log,
//! `system.tables` what is there, `system.dead_letters` what could not be read, `system.gaps` what was
//! accepted as missing, `system.periods` which period snapshots were made and `system.watermarks`
//! what owners know to be complete.
//!
//! What must never happen here: a statement that writes, reads outside the lake, mixes two
//! versions of a table, or drops a clause silently. [`statements`] checks a whole script before
//! any of it runs; [`Engine::run`] checks each plan again.
//!
//! Where to read next: `engine.rs` (one statement's way), `gate.rs` (what is accepted),
//! `catalog.rs` and `change_table.rs` (how names become tables), `current.rs` (the current state).

mod answer;
mod catalog;
mod change_table;
mod current;
mod engine;
mod error;
mod gate;
mod memory;
mod settings;
mod snapshot;
mod statement;
mod statement_tables;
mod store_registry;
mod suggestion;
mod system;
mod timestamp_type;

pub use answer::Answer;
pub use engine::Engine;
pub use error::{Position, QueryError, Refusal};
pub use settings::EngineSettings;
pub use snapshot::{Entity, Snapshot};
pub use statement::{Statement, statements};
