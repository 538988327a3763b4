//! Names of tables and of topic partitions.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Longest accepted part of a table name, in bytes.
const PART_BYTES_MAX: usize = 100;

/// The service that Lakehead is itself, and its one entity: it has its table beside the other
/// tables about the lake.
const OWN_SERVICE: &str = "lakehead";
const WATERMARKS: &str = "watermarks";
const WATERMARKS_PATH: &str = "_system/watermarks";

/// SQL schemas that Lakehead keeps for itself.
const RESERVED_SERVICES: [&str; 3] = ["system", "marts", "information_schema"];

/// Endings of the relations that Lakehead derives from an entity.
const RESERVED_ENDINGS: [&str; 2] = ["_changes", "_history"];

/// An entity's name in the lake: the service that owns it and the entity, as in `flights.flight`.
///
/// Both parts are lower-case identifiers (`[a-z][a-z0-9_]*`, at most 100 bytes), so that a name
/// is the same in a path, in SQL without quotes and on a file system that ignores case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TableName {
    service: String,
    entity: String,
}

/// Why a text is not a table name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{name:?} is not a table name: {why}; write it as service.entity, for example flights.flight"
)]
pub struct NameError {
    name: String,
    why: &'static str,
}

impl TableName {
    /// The owning service: the SQL schema and the first folder of the table's path.
    pub fn service(&self) -> &str {
        &self.service
    }

    /// The entity: the SQL name of the current state and the second folder of the table's path.
    pub fn entity(&self) -> &str {
        &self.entity
    }

    /// The table of watermarks, `lakehead.watermarks`.
    pub fn watermarks() -> Self {
        Self {
            service: OWN_SERVICE.to_owned(),
            entity: WATERMARKS.to_owned(),
        }
    }

    /// The path of the table of changes below the lake's root: `<service>/<entity>/changes`, and
    /// `_system/watermarks`.
    pub fn changes_path(&self) -> String {
        match (self.service.as_str(), self.entity.as_str()) {
            (OWN_SERVICE, WATERMARKS) => WATERMARKS_PATH.to_owned(),
            (service, entity) => format!("{service}/{entity}/changes"),
        }
    }

    /// The path of the current table below the lake's root: `<service>/<entity>/current`.
    pub fn current_path(&self) -> String {
        format!("{}/{}/current", self.service, self.entity)
    }

    /// The path of one revision of a period snapshot below the lake's root:
    /// `<service>/<entity>/periods/<period>/r<revision>`.
    pub fn period_path(&self, period: &str, revision: i64) -> String {
        format!(
            "{}/{}/periods/{period}/r{revision}",
            self.service, self.entity
        )
    }
}

impl FromStr for TableName {
    type Err = NameError;

    fn from_str(name: &str) -> Result<Self, NameError> {
        let refuse = |why| NameError {
            name: name.to_owned(),
            why,
        };
        let (service, entity) = name
            .split_once('.')
            .ok_or_else(|| refuse("it has no dot between service and entity"))?;
        if entity.contains('.') {
            return Err(refuse("it has more than one dot"));
        }
        if !is_identifier(service) || !is_identifier(entity) {
            return Err(refuse(
                "each part must match [a-z][a-z0-9_]* and be 1 to 100 bytes long",
            ));
        }
        if RESERVED_SERVICES.contains(&service) {
            return Err(refuse(
                "system, marts and information_schema are reserved services",
            ));
        }
        if service == OWN_SERVICE && entity != WATERMARKS {
            return Err(refuse("lakehead is a reserved service"));
        }
        if RESERVED_ENDINGS
            .iter()
            .any(|ending| entity.ends_with(ending))
        {
            return Err(refuse(
                "names ending in _changes or _history are reserved for derived tables",
            ));
        }
        Ok(Self {
            service: service.to_owned(),
            entity: entity.to_owned(),
        })
    }
}

impl TryFrom<String> for TableName {
    type Error = NameError;

    fn try_from(name: String) -> Result<Self, NameError> {
        name.parse()
    }
}

impl From<TableName> for String {
    fn from(name: TableName) -> Self {
        name.to_string()
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.service, self.entity)
    }
}

fn is_identifier(part: &str) -> bool {
    let mut bytes = part.bytes();
    part.len() <= PART_BYTES_MAX
        && bytes.next().is_some_and(|first| first.is_ascii_lowercase())
        && bytes.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

/// One partition of a Kafka topic. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The partition's number, from 0.
    pub partition: i32,
}

impl TopicPartition {
    /// Names a partition.
    pub fn new(topic: impl Into<Arc<str>>, partition: i32) -> Self {
        Self {
            topic: topic.into(),
            partition,
        }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.topic, self.partition)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_name_has_two_parts_and_a_path() {
        let name: TableName = "flights.flight".parse().unwrap();
        assert_eq!(name.changes_path(), "flights/flight/changes");
        assert_eq!(name.to_string(), "flights.flight");
    }

    #[test]
    fn watermarks_stand_with_the_tables_about_the_lake() {
        let name: TableName = "lakehead.watermarks".parse().unwrap();
        assert_eq!(name, TableName::watermarks());
        assert_eq!(name.changes_path(), "_system/watermarks");
    }

    #[test]
    fn names_that_could_escape_collide_or_shadow_are_refused() {
        for name in [
            "flight",
            "a.b.c",
            "../x.y",
            "a.",
            ".b",
            "A.b",
            "a.B",
            "a/b.c",
            "system.x",
            "marts.x",
            "lakehead.x",
            "a.b_changes",
            "a.b_history",
            "1a.b",
            "a.ü",
        ] {
            assert!(name.parse::<TableName>().is_err(), "{name} was accepted");
        }
        assert!(
            format!("a.{}", "x".repeat(101))
                .parse::<TableName>()
                .is_err()
        );
    }
}
