//! A schema registry inside the program, for `lakehead demo` and `lakehead dev`: the part of
//! Confluent's REST API that Avro clients use, on a loopback port, durable in one local directory.
//!
//! | path | methods |
//! |---|---|
//! | `/subjects` | GET (`deleted`, `deletedOnly`, `subjectPrefix`) |
//! | `/subjects/{subject}` | POST: look a schema up; DELETE (`permanent`) |
//! | `/subjects/{subject}/versions` | GET; POST: register (`normalize`) |
//! | `/subjects/{subject}/versions/{n or latest}` | GET, DELETE (`permanent`); `/schema`, `/referencedby` |
//! | `/schemas/ids/{id}` | GET; `/schema`, `/subjects`, `/versions`; `/schemas/types` |
//! | `/compatibility/subjects/{subject}/versions[/{n or latest}]` | POST (`verbose`) |
//! | `/config`, `/config/{subject}` | GET (`defaultToGlobal`), PUT, DELETE |
//! | `/mode`, `/mode/{subject}` | GET, PUT: always `READWRITE` |
//!
//! Everything else is answered with 404 or 405; refusals carry Confluent's error codes.
//!
//! # Guarantees
//! - An id is given once, counting from 1, and never changes its schema, nor loses it: records may
//!   carry it after its versions are deleted. The same schema has the same id under every subject;
//!   layout and the order of attributes do not make another schema.
//! - A change (registration, deletion, level) is answered when it is in `schemas.jsonl` and
//!   fsynced. A line torn by a kill was never answered, and is cut off at the next start.
//! - A schema becomes a version only if the subject's level allows it after the versions that are
//!   there: by Avro's rules of schema resolution, logical types counting as the types under them
//!   (but for the precision and scale of decimals). The level is BACKWARD unless it is set. The
//!   refusal names every field, the reason and the version.
//! - A directory is served by one process at a time.
//!
//! # Limits
//! - A schema may have 512 KiB, the log 256 MiB, the registry 100,000 ids, versions and levels. One
//!   comparison visits a million pairs of types, nested 256 steps deep, and tells 20 reasons.
//! - Avro only: JSON Schema, Protobuf, references between schemas and rules are refused by name.
//! - No authentication: it listens on 127.0.0.1 only.

mod compatibility;
mod entry;
mod error;
mod incompatibility;
mod level;
mod normal;
mod problem;
mod registry;
mod resolution;
mod routes;
mod schema;
mod schema_log;
mod server;
mod state;

pub use error::Error;
pub use server::{RegistryServer, Settings};
