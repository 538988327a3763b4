//! A schema registry inside the program, for `lakehead demo` and for development: the part of
//! Confluent's REST API that Avro clients use, on a loopback port, durable in one local directory.
//!
//! Served: `GET /`, `GET /subjects`, `POST /subjects/{subject}` (look a schema up),
//! `GET` and `POST /subjects/{subject}/versions`, `GET /subjects/{subject}/versions/{n|latest}`,
//! `GET /schemas/ids/{id}`, `GET /config`. Everything else is answered with 404 or 405.
//!
//! # Guarantees
//! - An id is given once, counting from 1, and never changes its schema. The same schema has the
//!   same id under every subject; layout and the order of attributes do not make another schema.
//! - A registration is answered when it is in `schemas.jsonl` and fsynced. A line torn by a kill
//!   was never answered, and is cut off at the next start.
//! - A directory is served by one process at a time.
//!
//! # What it does not do
//! - **Compatibility is not checked**, and `GET /config` says so: the level is `NONE`.
//! - Avro only, no references between schemas, nothing is ever deleted, no authentication: it
//!   listens on 127.0.0.1 only.

mod error;
mod problem;
mod registry;
mod routes;
mod schema;
mod schema_log;
mod server;

pub use error::Error;
pub use server::{RegistryServer, Settings};
