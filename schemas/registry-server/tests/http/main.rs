//! The registry over HTTP, as a client sees it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "clippy allows them in test functions, not in what these call"
)]

mod client;
mod compatibility;
mod deletion;
mod kill;
mod refusal;
mod registration;
mod restart;
