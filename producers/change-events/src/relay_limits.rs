//! How much the relay holds, and how long it waits.

use std::time::Duration;

/// Bounds of what the relay holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayLimits {
    /// Rows that are read from the outbox at once.
    pub batch_rows_max: u32,
    /// Records in flight.
    pub in_flight_rows_max: usize,
    /// Bytes of the records in flight, passed by at most one batch.
    pub in_flight_bytes_max: usize,
    /// Rows that may be parked; with more the relay stops.
    pub parked_rows_max: u32,
    /// How long the relay rests when it has read the outbox to its end.
    pub poll_interval: Duration,
    /// How long it waits for acknowledgements when it is told to stop.
    pub shutdown_time_max: Duration,
    /// How often the lake is asked what may be pruned.
    pub prune_interval: Duration,
    /// How often watermarks are published; not at all without it. Events are counted only with it.
    pub watermark_interval: Option<Duration>,
}

impl Default for RelayLimits {
    fn default() -> Self {
        Self {
            batch_rows_max: 2_000,
            in_flight_rows_max: 50_000,
            in_flight_bytes_max: 64 << 20,
            parked_rows_max: 100_000,
            poll_interval: Duration::from_millis(10),
            shutdown_time_max: Duration::from_secs(10),
            prune_interval: Duration::from_secs(30),
            watermark_interval: None,
        }
    }
}
