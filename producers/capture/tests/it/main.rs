//! The capture from the outside: real Postgres, real Kafka, a registry.
//!
//! `LAKEHEAD_TEST_POSTGRES` is the URL of a superuser, `LAKEHEAD_TEST_KAFKA` the brokers' address
//! (`tests/stack/parts.py run kafka postgres -- …` gives both). Without them the tests are skipped,
//! loudly; with `CI=true` that is a failure.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test stops where it fails; clippy knows tests, not what they call"
)]

mod cabin;
mod copy;
mod outbox_hand_over;
mod outbox_stream;
mod owner;
mod proxy;
mod publication;
mod refusals;
mod restarts;
mod road;
mod schemas;
mod server;
mod silence;
mod standby;
mod stream;
mod tables;
mod transactions;
mod types;
mod view;
mod watermarks;
