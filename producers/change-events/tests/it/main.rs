//! The kit from the outside: outbox, relay against a broker that fails on purpose, and real Kafka.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test stops where it fails; clippy knows tests, not what they call"
)]

mod falling_store;
mod faulty_broker;
mod gap;
mod kafka;
mod memory_registry;
mod outbox;
mod parking;
mod postgres;
mod postgres_away;
mod pruning;
mod relay;
mod said;
mod service;
mod store;
mod transactions;
mod watermarks;
