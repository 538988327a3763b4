//! What a start needs to know.

use std::path::PathBuf;
use std::time::Duration;

/// What a start needs to know.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Settings {
    /// Where everything is kept; created where missing. One process at a time.
    pub directory: PathBuf,
    /// The port on 127.0.0.1. 0: the port of the last start in this directory where it is free,
    /// else any free one.
    pub port: u16,
    /// The least time between two flushes of the log to its files. An idle broker acknowledges a
    /// record at once; a busy one gathers records for this long, and writes fewer files.
    pub flush_interval: Duration,
    /// Partitions of a topic whose creator does not say how many. From 1 to 1000.
    pub partitions_default: i32,
    /// Whether a client that wants to produce to a topic that is not there gets it, as Kafka's
    /// `auto.create.topics.enable` has it. Consumers ask for no such thing.
    pub topics_on_demand: bool,
}

impl Settings {
    /// The default of [`Settings::flush_interval`]: measured, see the crate's documentation.
    pub const FLUSH_INTERVAL: Duration = Duration::from_millis(2);

    /// A broker in this directory, on any port.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            port: 0,
            flush_interval: Self::FLUSH_INTERVAL,
            partitions_default: 1,
            topics_on_demand: false,
        }
    }

    /// On this port, or not at all.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Topics that clients produce to come to be by themselves, with so many partitions.
    #[must_use]
    pub fn topics_on_demand(mut self, partitions: i32) -> Self {
        self.partitions_default = partitions;
        self.topics_on_demand = true;
        self
    }

    /// See [`Settings::flush_interval`].
    #[must_use]
    pub fn flush_interval(mut self, interval: Duration) -> Self {
        self.flush_interval = interval;
        self
    }
}
