//! The airline's services, from the outside.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test stops where it fails; clippy knows tests, not what they call"
)]

mod january;
