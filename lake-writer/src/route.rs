//! From a topic's name to its table and everything else that reading it takes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use schemas::{AvroSchema, Contract, KeyFormat, Shape, TableName};

use crate::settings::{Format, OnIncompatible, Start, TopicSettings, UnknownFields};

mod entry;
mod internal;
mod name;

use entry::Entry;

/// Everything that is to be known of a topic before it is read.
#[derive(Clone, Debug)]
pub struct Route {
    /// The topic.
    pub topic: Arc<str>,
    /// The table its records land in; no other topic's do.
    pub table: TableName,
    /// How values are encoded.
    pub format: Format,
    /// How record keys are encoded.
    pub key_format: KeyFormat,
    /// What a value stands for.
    pub shape: Shape,
    /// The key columns, if the configuration names them.
    pub key: Option<Vec<String>>,
    /// The entity's contract, if one is configured.
    pub contract: Option<Contract>,
    /// Whether the columns of JSON that brings no schema are taken from its first records.
    pub infer: bool,
    /// Avro schemas that values in single-object encoding may be written with, besides the
    /// contract.
    pub writer_schemas: Vec<Arc<AvroSchema>>,
    /// Where a partition is read from that the table has never seen.
    pub start: Start,
    /// What happens to records under a schema that the table cannot follow.
    pub on_incompatible: OnIncompatible,
    /// What happens to rows of JSON with fields that the table lacks.
    pub unknown_fields: UnknownFields,
}

impl Route {
    /// A topic of Debezium envelopes in Avro, read from its earliest record.
    pub fn new(topic: impl Into<Arc<str>>, table: TableName) -> Self {
        Self {
            topic: topic.into(),
            table,
            format: Format::Avro,
            key_format: KeyFormat::Avro,
            shape: Shape::Debezium,
            key: None,
            contract: None,
            infer: false,
            writer_schemas: Vec::new(),
            start: Start::Earliest,
            on_incompatible: OnIncompatible::default(),
            unknown_fields: UnknownFields::default(),
        }
    }
}

/// Why one topic is not read. It concerns no other topic.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// No table can be named after it.
    #[error("topic {topic:?}: {why}")]
    Table {
        /// The topic.
        topic: String,
        /// What is wrong and what to do.
        why: String,
    },
    /// Its table is another topic's.
    #[error(
        "topic {topic:?}: table {table} is already fed by topic {other:?}, and a table has one \
         topic; set another table for one of them, or let no [[topic]] match it"
    )]
    TableTaken {
        /// The topic.
        topic: String,
        /// The table both would feed.
        table: TableName,
        /// The topic that feeds it.
        other: Arc<str>,
    },
    /// Its contract cannot be read.
    #[error("topic {topic:?}: contract {why}")]
    Contract {
        /// The topic.
        topic: String,
        /// The file and what is wrong with it.
        why: String,
    },
}

impl RouteError {
    /// A stable word for the error, to be shown and looked up in the runbook.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Table { .. } => "table_unnamed",
            Self::TableTaken { .. } => "table_taken",
            Self::Contract { .. } => "contract_unreadable",
        }
    }
}

/// The configuration's answer to every topic there is or may be.
///
/// Guarantees that no table has two topics in one process: whichever topic gets a table first
/// keeps it, and those that the configuration names come before those that a pattern finds.
#[derive(Debug)]
pub struct Routes {
    entries: Vec<Entry>,
    contracts_from: PathBuf,
    names: Vec<String>,
    known: BTreeMap<String, Result<Route, RouteError>>,
    owners: BTreeMap<TableName, Arc<str>>,
}

impl Routes {
    /// Checks the list, reads the contracts it names and routes the topics it names. Contract
    /// paths start from `contracts_from`. Errors are all problems at once, each with its place.
    pub fn new(topics: &[TopicSettings], contracts_from: &Path) -> Result<Self, Vec<String>> {
        let mut problems = Vec::new();
        if topics.is_empty() {
            problems.push("there is no [[topic]]: name at least one".to_owned());
        }
        let mut routes = Self {
            entries: Vec::with_capacity(topics.len()),
            contracts_from: contracts_from.to_owned(),
            names: Vec::new(),
            known: BTreeMap::new(),
            owners: BTreeMap::new(),
        };
        for settings in topics {
            if let Some(entry) = Entry::new(settings, contracts_from, &mut problems) {
                routes.add(entry, &mut problems);
            }
        }
        problems.is_empty().then_some(routes).ok_or(problems)
    }

    /// Routes of known topics, and of no others.
    pub fn of(routes: Vec<Route>) -> Result<Self, RouteError> {
        let mut all = Self {
            entries: Vec::new(),
            contracts_from: PathBuf::new(),
            names: Vec::with_capacity(routes.len()),
            known: BTreeMap::new(),
            owners: BTreeMap::new(),
        };
        for route in routes {
            let topic = route.topic.to_string();
            let route = all.own(route)?;
            all.known.insert(topic.clone(), Ok(route));
            all.names.push(topic);
        }
        Ok(all)
    }

    /// The topics that are named, to be read as soon as they exist.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// Whether there is a pattern, so that topics must be looked for.
    pub fn discovers(&self) -> bool {
        self.entries.iter().any(|entry| entry.name().is_none())
    }

    /// Where a topic goes; `None` if it is not to be read. A pattern never takes a topic that
    /// Kafka, Connect or Debezium keep for themselves; a name does.
    ///
    /// The answer to a topic stays the same, but for a contract that could not be read: it is
    /// read again.
    pub fn route(&mut self, topic: &str) -> Option<Result<Route, RouteError>> {
        if let Some(known) = self.known.get(topic) {
            return Some(known.clone());
        }
        let entry = self.entry(topic)?;
        let found = entry.route(topic, &self.contracts_from);
        let found = found.and_then(|route| self.own(route));
        if !matches!(found, Err(RouteError::Contract { .. })) {
            self.known.insert(topic.to_owned(), found.clone());
        }
        Some(found)
    }

    fn entry(&self, topic: &str) -> Option<&Entry> {
        let internal = internal::is_internal(topic);
        self.entries
            .iter()
            .find(|entry| entry.takes(topic) && (entry.name().is_some() || !internal))
    }

    fn add(&mut self, entry: Entry, problems: &mut Vec<String>) {
        let Some(name) = entry.name().map(str::to_owned) else {
            self.entries.push(entry);
            return;
        };
        if let Some(earlier) = self.entry(&name) {
            problems.push(format!(
                "{entry}: never used, since {earlier} stands before it and takes the same topic; \
                 put the narrower one first"
            ));
            return;
        }
        self.entries.push(entry);
        if let Some(Err(error)) = self.route(&name) {
            problems.push(error.to_string());
        }
        self.names.push(name);
    }

    /// Gives the table to the topic, unless another has it.
    fn own(&mut self, route: Route) -> Result<Route, RouteError> {
        let owner = self
            .owners
            .entry(route.table.clone())
            .or_insert_with(|| Arc::clone(&route.topic));
        if *owner == route.topic {
            return Ok(route);
        }
        Err(RouteError::TableTaken {
            topic: route.topic.to_string(),
            other: Arc::clone(owner),
            table: route.table,
        })
    }
}

#[cfg(test)]
mod tests;
