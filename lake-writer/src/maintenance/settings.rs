//! The section of the configuration file on the lake's care.

use std::time::Duration;

use bytesize::ByteSize;
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use super::period::PeriodLength;

/// Most that a bucket may be meant to hold: it is encoded in memory.
const BUCKET_BYTES_MAX: ByteSize = ByteSize::gib(1);

/// Least that a fold can work with.
const MEMORY_BYTES_MIN: ByteSize = ByteSize::mib(16);

/// `[maintenance]`: how tables are taken care of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MaintenanceSettings {
    /// Whether `lakehead write` does it too, beside its own work.
    pub enabled: bool,
    /// Time between the beginnings of two rounds over all tables.
    #[serde(with = "humantime_serde")]
    pub interval: Duration,
    /// Memory for the latest changes of a table while it is refreshed.
    pub memory_bytes_max: ByteSize,
    /// What a bucket of a current table is to hold when the table is computed anew.
    pub bucket_bytes: ByteSize,
    /// At the ends of which periods entities' rows are kept.
    pub periods: Vec<PeriodLength>,
    /// Whose midnights these are: a name of the IANA time zone database.
    pub time_zone: String,
    /// How long after a period its last changes may come.
    #[serde(with = "humantime_serde")]
    pub period_delay: Duration,
}

impl Default for MaintenanceSettings {
    fn default() -> Self {
        Self {
            enabled: false,
            interval: Duration::from_secs(60),
            memory_bytes_max: ByteSize::mib(256),
            bucket_bytes: ByteSize::mib(32),
            periods: Vec::new(),
            time_zone: "UTC".to_owned(),
            period_delay: Duration::from_secs(3600),
        }
    }
}

impl MaintenanceSettings {
    pub(crate) fn zone(&self) -> Result<Tz, String> {
        self.time_zone.parse().map_err(|_| {
            format!(
                "maintenance.time_zone: {:?} is not in the time zone database; write Europe/Stockholm, or UTC",
                self.time_zone
            )
        })
    }

    /// Adds what is wrong to `problems`, each with its place in the file.
    pub fn validate(&self, problems: &mut Vec<String>) {
        if self.interval.is_zero() {
            problems.push("maintenance.interval must be above 0".to_owned());
        }
        problems.extend(self.zone().err());
        if self.memory_bytes_max < MEMORY_BYTES_MIN {
            problems.push(format!(
                "maintenance.memory_bytes_max must be at least {MEMORY_BYTES_MIN}"
            ));
        }
        if self.bucket_bytes == ByteSize::b(0) || self.bucket_bytes > BUCKET_BYTES_MAX {
            problems.push(format!(
                "maintenance.bucket_bytes must be above 0 and at most {BUCKET_BYTES_MAX}"
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_is_told_at_once() {
        let mut problems = Vec::new();
        MaintenanceSettings::default().validate(&mut problems);
        assert!(problems.is_empty(), "{problems:#?}");
        let settings = MaintenanceSettings {
            interval: Duration::ZERO,
            memory_bytes_max: ByteSize::kib(1),
            bucket_bytes: ByteSize::gib(2),
            time_zone: "Europe/Atlantis".to_owned(),
            ..MaintenanceSettings::default()
        };
        settings.validate(&mut problems);
        assert_eq!(problems.len(), 4, "{problems:#?}");
    }
}
