//! `[capture]` as it stands in the file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytesize::ByteSize;
use capture::{CaptureLimits, CaptureSettings, CapturedTable, OnTruncate, PostgresServer};
use change_events::KafkaSettings;
use serde::{Deserialize, Serialize};

use super::Http;
use super::producer::{Producer, default_partitions, default_replication};
use super::secret::Text;

/// Whose changes are captured, and which tables'.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Capture {
    /// The service that owns the tables.
    service: String,
    /// Its database: `postgres://user:password@host:5432/database`.
    database_url: Text,
    /// The replication slot, and the publication; `lakehead_<service>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    slot: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    publication: Option<String>,
    /// Where progress is kept.
    #[serde(default = "default_directory")]
    directory: PathBuf,
    /// What to do when a table is truncated.
    #[serde(default)]
    on_truncate: Truncate,
    /// Accepts a server that sets no bound to what a slot keeps.
    #[serde(default)]
    slot_unbounded: bool,
    /// How often watermarks are published; none are when left out.
    #[serde(
        default,
        with = "humantime_serde",
        skip_serializing_if = "Option::is_none"
    )]
    watermark_interval: Option<Duration>,
    /// Partitions and copies of topics that are created because they are missing.
    #[serde(default = "default_partitions")]
    topic_partitions: i32,
    #[serde(default = "default_replication")]
    topic_replication: i32,
    #[serde(default = "default_in_flight_rows_max")]
    in_flight_rows_max: usize,
    #[serde(default = "default_in_flight_bytes_max")]
    in_flight_bytes_max: ByteSize,
    /// Where to ask how the capture does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) http: Option<Http>,
    /// librdkafka's own settings of the producer, beside those of `[kafka.properties]`.
    #[serde(default)]
    properties: BTreeMap<String, Text>,
    /// The tables.
    #[serde(default, rename = "table")]
    tables: Vec<Table>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Truncate {
    #[default]
    Stop,
    Ignore,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    /// `schema.name`.
    name: String,
    /// Its name in the lake, without the service; its own when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    entity: Option<String>,
    /// The columns of the records' key; the primary key's when left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    key: Vec<String>,
    /// Columns that are published as Postgres' own text.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    text_columns: Vec<String>,
}

fn default_directory() -> PathBuf {
    "capture".into()
}

fn default_in_flight_rows_max() -> usize {
    CaptureLimits::default().in_flight_rows_max
}

fn default_in_flight_bytes_max() -> ByteSize {
    ByteSize::b(CaptureLimits::default().in_flight_bytes_max as u64)
}

impl Capture {
    /// The settings with their secret; what is wrong goes to `problems`.
    pub(super) fn resolve(
        &self,
        kafka: &lake_writer::KafkaSettings,
        directory: &Path,
        problems: &mut Vec<String>,
    ) -> Option<(CaptureSettings, KafkaSettings)> {
        let before = problems.len();
        let server = self.server(directory, problems);
        let producer = Producer {
            section: "capture",
            topic_partitions: self.topic_partitions,
            topic_replication: self.topic_replication,
            properties: &self.properties,
        };
        let kafka = producer.resolve(kafka, directory, problems);
        let mut told = Vec::new();
        let tables: Vec<CapturedTable> = self
            .tables
            .iter()
            .filter_map(|table| self.table(table, &mut told))
            .collect();
        let all_read = tables.len() == self.tables.len();
        let server = server.or_else(|| "postgres://nobody@localhost".parse().ok())?;
        let mut settings =
            CaptureSettings::new(server, &self.service, directory.join(&self.directory));
        if let Some(slot) = &self.slot {
            settings.slot.clone_from(slot);
        }
        if let Some(publication) = &self.publication {
            settings.publication.clone_from(publication);
        }
        settings.tables = tables;
        settings.slot_unbounded = self.slot_unbounded;
        settings.watermark_interval = self.watermark_interval;
        settings.limits.in_flight_rows_max = self.in_flight_rows_max;
        settings.limits.in_flight_bytes_max =
            usize::try_from(self.in_flight_bytes_max.as_u64()).unwrap_or(usize::MAX);
        settings.on_truncate = match self.on_truncate {
            Truncate::Stop => OnTruncate::Stop,
            Truncate::Ignore => OnTruncate::Ignore,
        };
        // What cannot be read would be told a second time, as a table that is missing.
        if all_read {
            settings.validate(&mut told);
        }
        problems.extend(
            told.into_iter()
                .map(|problem| format!("capture: {problem}")),
        );
        (problems.len() == before).then_some((settings, kafka))
    }

    fn server(&self, directory: &Path, problems: &mut Vec<String>) -> Option<PostgresServer> {
        let text = self.database_url.resolve_named(
            "capture.database_url",
            "database_url",
            directory,
            problems,
        )?;
        match text.parse::<PostgresServer>() {
            Ok(server) if server.has_password() && !self.database_url.is_reference() => {
                problems.push(
                    "capture.database_url holds a password and stands in the file; give it as { env = \"NAME\" } or \
                     { file = \"PATH\" }"
                        .to_owned(),
                );
                None
            }
            Ok(server) => Some(server),
            Err(error) => {
                problems.push(format!("capture.database_url: {error}"));
                None
            }
        }
    }

    fn table(&self, table: &Table, problems: &mut Vec<String>) -> Option<CapturedTable> {
        let Some((schema, name)) = table.name.split_once('.') else {
            problems.push(format!("table {:?}: write it as schema.name", table.name));
            return None;
        };
        let entity = format!(
            "{}.{}",
            self.service,
            table.entity.as_deref().unwrap_or(name)
        );
        match entity.parse() {
            Ok(entity) => {
                let mut captured = CapturedTable::new(schema, name, entity);
                captured.key.clone_from(&table.key);
                captured.text_columns.clone_from(&table.text_columns);
                Some(captured)
            }
            Err(error) => {
                problems.push(format!("table {:?}: {error}", table.name));
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(toml: &str) -> Vec<String> {
        let capture: Capture = toml::from_str(toml).unwrap();
        let mut problems = Vec::new();
        let kafka = lake_writer::KafkaSettings::default();
        capture.resolve(&kafka, Path::new("."), &mut problems);
        problems
    }

    #[test]
    fn every_problem_is_told_and_no_password() {
        let found = problems(
            "service = 'shop'\ndatabase_url = 'postgres://ann:hunter2@h/d'\nslot = 'Not-A-Slot'\n[[table]]\nname = 'booking'\n",
        );
        let text = found.join("\n");
        assert!(
            text.contains("holds a password") && !text.contains("hunter2"),
            "{text}"
        );
        assert!(text.contains("schema.name"), "{text}");
        let found =
            problems("service = 'shop'\ndatabase_url = 'postgres://ann@h/d'\nslot = 'Not-A-Slot'");
        let text = found.join("\n");
        assert!(
            text.contains("\"Not-A-Slot\"") && text.contains("no table"),
            "{text}"
        );
        let well = "service = 'shop'\ndatabase_url = 'postgres://ann@h/d'\n[[table]]\nname = 'public.booking'\n";
        assert_eq!(problems(well), [] as [&str; 0]);
    }
}
