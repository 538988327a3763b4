//! The section of the configuration file on the lake's care.

use std::collections::BTreeMap;
use std::time::Duration;

use bytesize::ByteSize;
use chrono_tz::Tz;
use schemas::TableName;
use serde::{Deserialize, Serialize};

use super::compaction::CompactionSettings;
use super::log_cleanup::LogCleanupSettings;
use super::period::PeriodLength;
use super::vacuum::VacuumSettings;

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
    /// How long after a period its last changes may come, for entities without watermarks.
    #[serde(with = "humantime_serde")]
    pub period_delay: Duration,
    /// How long after a period its watermarks are waited for, and how long before its end a source may
    /// have fallen silent to be waited for at all.
    #[serde(with = "humantime_serde")]
    pub watermark_wait_max: Duration,
    /// How long no more changes of before a period's end must have come, for its snapshot to be made:
    /// every revision, and the first one where no watermarks say that the period is complete.
    #[serde(with = "humantime_serde")]
    pub late_changes_quiet_age: Duration,
    /// How long after the first of such changes their snapshot is made all the same.
    #[serde(with = "humantime_serde")]
    pub late_changes_wait_max: Duration,
    /// Least time between two looks at the files and the log of a table.
    #[serde(with = "humantime_serde")]
    pub housekeeping_interval: Duration,
    /// For how many days the changes of an entity are kept. Those of others are kept for ever.
    pub retention_days: BTreeMap<TableName, u32>,
    /// Small files of changes become large ones.
    pub compaction: CompactionSettings,
    /// Files are deleted that no retained version needs.
    pub vacuum: VacuumSettings,
    /// Logs are deleted behind the versions that are retained.
    pub log: LogCleanupSettings,
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
            watermark_wait_max: Duration::from_secs(24 * 3600),
            late_changes_quiet_age: Duration::from_secs(600),
            late_changes_wait_max: Duration::from_secs(24 * 3600),
            housekeeping_interval: Duration::from_secs(3600),
            retention_days: BTreeMap::new(),
            compaction: CompactionSettings::default(),
            vacuum: VacuumSettings::default(),
            log: LogCleanupSettings::default(),
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
        if self.late_changes_quiet_age > self.late_changes_wait_max {
            problems.push(
                "maintenance.late_changes_quiet_age must be at most \
                 maintenance.late_changes_wait_max; with 0s no snapshot waits for late changes"
                    .to_owned(),
            );
        }
        if self.retention_days.values().any(|days| *days == 0) {
            problems.push("maintenance.retention_days must be at least 1 each".to_owned());
        }
        if !self.retention_days.is_empty() && !self.periods.is_empty() {
            problems.push(
                "maintenance.retention_days and maintenance.periods do not go together: periods \
                 are computed from all changes"
                    .to_owned(),
            );
        }
        self.compaction.validate(problems);
        self.vacuum.validate(problems);
        self.log.validate(problems);
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
            late_changes_wait_max: Duration::from_secs(60),
            periods: vec![PeriodLength::Month],
            retention_days: BTreeMap::from([("a.b".parse().unwrap(), 0)]),
            compaction: CompactionSettings {
                files_min: 1,
                ..CompactionSettings::default()
            },
            vacuum: VacuumSettings {
                retention: Duration::from_secs(3600),
                ..VacuumSettings::default()
            },
            log: LogCleanupSettings {
                retention: Duration::ZERO,
                ..LogCleanupSettings::default()
            },
            ..MaintenanceSettings::default()
        };
        settings.validate(&mut problems);
        assert_eq!(problems.len(), 10, "{problems:#?}");
    }
}
