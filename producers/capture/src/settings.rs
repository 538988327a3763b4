//! What to capture, and bounds.

use std::path::PathBuf;
use std::time::Duration;

use schemas::TableName;

use crate::PostgresServer;
use crate::session::LogAccess;
use crate::unread_looks::UnreadLooks;

/// Longest name of a slot: the copy's own slot adds to it, and Postgres takes 63 bytes.
const SLOT_BYTES_MAX: usize = 40;

/// A table whose changes are published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CapturedTable {
    /// The table's schema in Postgres.
    pub schema: String,
    /// Its name there.
    pub name: String,
    /// Its name in the lake; the topic has the same.
    pub entity: TableName,
    /// The columns of the record's key; empty for the primary key.
    pub key: Vec<String>,
    /// Columns that are published as Postgres' own text, whatever their type.
    pub text_columns: Vec<String>,
}

impl CapturedTable {
    /// A table by its primary key.
    pub fn new(schema: &str, name: &str, entity: TableName) -> Self {
        Self {
            schema: schema.to_owned(),
            name: name.to_owned(),
            entity,
            key: Vec::new(),
            text_columns: Vec::new(),
        }
    }

    /// The topic: `service.entity`.
    pub fn topic(&self) -> String {
        self.entity.to_string()
    }

    /// `schema.name`, as messages and the topic of transactions call it.
    pub fn full_name(&self) -> String {
        format!("{}.{}", self.schema, self.name)
    }
}

/// Which changes to capture, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaptureSettings {
    /// The owner's database.
    pub server: PostgresServer,
    /// The service that owns the tables.
    pub service: String,
    /// The replication slot; created when it is missing and nothing was captured yet.
    pub slot: String,
    /// The publication; created, and given the tables that it lacks.
    pub publication: String,
    /// Where progress is kept, and a chunk of a copy that is on its way. Belongs to this slot.
    pub directory: PathBuf,
    /// The tables.
    pub tables: Vec<CapturedTable>,
    /// What to do when a table is truncated.
    pub on_truncate: OnTruncate,
    /// Accepts a server whose `max_slot_wal_keep_size` sets no bound to what a slot keeps.
    pub slot_unbounded: bool,
    /// How often a watermark of each table is published; none where it is not given, and nothing is
    /// counted then.
    pub watermark_interval: Option<Duration>,
    /// Bounds of what is held.
    pub limits: CaptureLimits,
}

/// What to do when a table is truncated, which no change event says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnTruncate {
    /// Stop: the lake would keep rows that the owner no longer has.
    #[default]
    Stop,
    /// Say so and go on.
    Ignore,
}

/// Bounds of what a capture holds, and how long it waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaptureLimits {
    /// Records in flight.
    pub in_flight_rows_max: usize,
    /// Bytes of the records in flight, passed by at most one record.
    pub in_flight_bytes_max: usize,
    /// Rows of a chunk of the copy.
    pub chunk_rows_max: usize,
    /// Bytes of a chunk of the copy, passed by at most one row.
    pub chunk_bytes: usize,
    /// How often what is published is confirmed to Postgres.
    pub confirm_interval: Duration,
    /// How often the slot is looked at, and whether the publication still has every table.
    pub watch_interval: Duration,
    /// How long acknowledgements are waited for when the capture is told to stop.
    pub shutdown_time_max: Duration,
}

impl Default for CaptureLimits {
    fn default() -> Self {
        Self {
            in_flight_rows_max: 50_000,
            in_flight_bytes_max: 32 << 20,
            chunk_rows_max: 10_000,
            chunk_bytes: 4 << 20,
            confirm_interval: Duration::from_secs(1),
            watch_interval: Duration::from_secs(10),
            shutdown_time_max: Duration::from_secs(10),
        }
    }
}

impl CaptureSettings {
    pub(crate) fn access(&self) -> LogAccess {
        LogAccess {
            server: self.server.clone(),
            slot: self.slot.clone(),
            publication: self.publication.clone(),
            application: "lakehead-capture",
            unread: UnreadLooks::new(),
        }
    }

    /// Settings with defaults: slot and publication `lakehead_<service>`.
    pub fn new(server: PostgresServer, service: &str, directory: PathBuf) -> Self {
        let name = format!("lakehead_{service}");
        Self {
            server,
            service: service.to_owned(),
            slot: name.clone(),
            publication: name,
            directory,
            tables: Vec::new(),
            on_truncate: OnTruncate::default(),
            slot_unbounded: false,
            watermark_interval: None,
            limits: CaptureLimits::default(),
        }
    }

    /// Adds everything that is wrong to `problems`.
    pub fn validate(&self, problems: &mut Vec<String>) {
        if let Err(error) = format!("{}.transaction", self.service).parse::<TableName>() {
            problems.push(format!("service {:?}: {error}", self.service));
        }
        let is_slot_byte =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        if self.slot.is_empty()
            || self.slot.len() > SLOT_BYTES_MAX
            || !self.slot.bytes().all(is_slot_byte)
        {
            problems.push(format!(
                "slot {:?} must be 1 to {SLOT_BYTES_MAX} of a-z, 0-9 and _",
                self.slot
            ));
        }
        // It stands in a list between commas, where Postgres folds what is not quoted.
        if self.publication.is_empty() || !self.publication.bytes().all(is_slot_byte) {
            problems.push(format!(
                "publication {:?} must be of a-z, 0-9 and _",
                self.publication
            ));
        }
        if self.watermark_interval == Some(Duration::ZERO) {
            problems.push("watermark_interval must be longer than 0 s".to_owned());
        }
        if self.tables.is_empty() {
            problems.push("no table to capture".to_owned());
        }
        for (index, table) in self.tables.iter().enumerate() {
            let full_name = table.full_name();
            if table.entity.service() != self.service {
                problems.push(format!(
                    "table {full_name}: {} is not an entity of the service {:?}",
                    table.entity, self.service
                ));
            }
            if table.entity.entity() == "transaction" {
                problems.push(format!(
                    "table {full_name}: {} is the topic of transactions; give it another name",
                    table.entity
                ));
            }
            let earlier = self.tables.iter().take(index);
            for other in earlier {
                if other.full_name() == full_name || other.entity == table.entity {
                    problems.push(format!(
                        "table {full_name} ({}) is there twice",
                        table.entity
                    ));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_is_told() {
        let server = "postgres://ann@h/d".parse().unwrap();
        let mut settings = CaptureSettings::new(server, "shop", "state".into());
        let mut problems = Vec::new();
        settings.validate(&mut problems);
        assert_eq!(problems, ["no table to capture"]);
        settings.slot = "Bad-Slot".to_owned();
        for entity in ["shop.seat", "shop.seat", "cabin.seat", "shop.transaction"] {
            let table = CapturedTable::new("public", entity, entity.parse().unwrap());
            settings.tables.push(table);
        }
        problems.clear();
        settings.validate(&mut problems);
        let text = problems.join("\n");
        for part in [
            "\"Bad-Slot\"",
            "there twice",
            "cabin.seat is not",
            "topic of transactions",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}
