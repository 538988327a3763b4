//! The query engine over small lakes that the tests write themselves.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking; clippy knows only test functions as tests, not what they call"
)]

mod catalog;
mod current;
mod gate;
mod lake;
mod limits;
mod property;
mod snapshot;
