//! One `[[topic]]` of the configuration, checked.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use regex::Regex;
use schemas::{AvroSchema, Contract, KeyFormat, Shape, TableName, WATERMARKS_TOPIC, Watermark};

use super::{Route, RouteError, name};
use crate::settings::{Format, TopicSettings, UnknownFields};

/// Which topics an entry takes.
#[derive(Debug)]
enum Topics {
    Named(String),
    Matching { text: String, pattern: Regex },
}

/// Where the contract comes from.
#[derive(Debug)]
enum ContractFrom {
    Nowhere,
    /// One for all topics of the entry.
    Entry(Box<Contract>),
    /// A path with groups of the pattern.
    Template(String),
}

#[derive(Debug)]
pub(super) struct Entry {
    topics: Topics,
    settings: TopicSettings,
    contract: ContractFrom,
    writer_schemas: Vec<Arc<AvroSchema>>,
}

impl Entry {
    /// Checks an entry by itself; what is wrong goes to `problems`. `None` if it takes no topics.
    pub(super) fn new(
        settings: &TopicSettings,
        contracts_from: &Path,
        problems: &mut Vec<String>,
    ) -> Option<Self> {
        if settings.name.as_deref() == Some(WATERMARKS_TOPIC) {
            return Self::watermarks(settings, problems);
        }
        let topics = match topics(settings) {
            Ok(topics) => topics,
            Err(why) => {
                problems.push(why);
                return None;
            }
        };
        let mut entry = Self {
            topics,
            settings: settings.clone(),
            contract: ContractFrom::Nowhere,
            writer_schemas: Vec::new(),
        };
        entry.check(problems);
        for path in &settings.writer_schemas {
            match read_schema(&contracts_from.join(path)) {
                Ok(schema) => entry.writer_schemas.push(Arc::new(schema)),
                Err(why) => problems.push(format!("{entry}: writer_schemas {why}")),
            }
        }
        if let Some(path) = &settings.contract {
            match entry.find_contract(path, contracts_from) {
                Ok(contract) => entry.contract = contract,
                Err(why) => problems.push(format!("{entry}: contract {why}")),
            }
        }
        entry.check_key(problems);
        Some(entry)
    }

    /// The topic of watermarks, of which everything is known but its name and where it is read from.
    fn watermarks(settings: &TopicSettings, problems: &mut Vec<String>) -> Option<Self> {
        let bare = TopicSettings {
            start: settings.start,
            ..TopicSettings::named(WATERMARKS_TOPIC)
        };
        if *settings != bare {
            problems.push(format!(
                "topic {WATERMARKS_TOPIC:?}: its table and format are Lakehead's own; leave out \
                 everything but name and start"
            ));
            return None;
        }
        let contract = match Watermark::contract() {
            Ok(contract) => contract,
            Err(error) => {
                problems.push(format!("topic {WATERMARKS_TOPIC:?}: {error}"));
                return None;
            }
        };
        Some(Self {
            topics: Topics::Named(WATERMARKS_TOPIC.to_owned()),
            settings: TopicSettings {
                format: Format::Json,
                shape: Shape::Append,
                table: Some(TableName::watermarks().to_string()),
                // A later version may say more.
                unknown_fields: UnknownFields::Ignore,
                ..bare
            },
            contract: ContractFrom::Entry(Box::new(contract)),
            writer_schemas: Vec::new(),
        })
    }

    /// The topic, if the entry names one.
    pub(super) fn name(&self) -> Option<&str> {
        match &self.topics {
            Topics::Named(name) => Some(name),
            Topics::Matching { .. } => None,
        }
    }

    /// Whether the topic is one of the entry's.
    pub(super) fn takes(&self, topic: &str) -> bool {
        match &self.topics {
            Topics::Named(name) => name == topic,
            Topics::Matching { pattern, .. } => pattern.is_match(topic),
        }
    }

    /// The route of a topic that the entry takes.
    pub(super) fn route(&self, topic: &str, contracts_from: &Path) -> Result<Route, RouteError> {
        let refuse = |why| RouteError::Table {
            topic: topic.to_owned(),
            why,
        };
        let settings = &self.settings;
        Ok(Route {
            topic: topic.into(),
            table: self.table(topic).map_err(refuse)?,
            format: settings.format,
            key_format: self.key_format(),
            shape: settings.shape,
            key: settings.key.clone(),
            contract: self.contract(topic, contracts_from)?,
            infer: settings.infer,
            writer_schemas: self.writer_schemas.clone(),
            start: settings.start,
            on_incompatible: settings.on_incompatible,
            unknown_fields: settings.unknown_fields,
        })
    }

    fn table(&self, topic: &str) -> Result<TableName, String> {
        match (&self.settings.table, &self.topics) {
            (None, _) => name::default_table(topic),
            (Some(table), Topics::Named(_)) => table
                .parse()
                .map_err(|error: schemas::NameError| error.to_string()),
            (Some(table), Topics::Matching { pattern, .. }) => match pattern.captures(topic) {
                Some(captures) => name::captured_table(table, &captures),
                None => name::default_table(topic),
            },
        }
    }

    fn contract(&self, topic: &str, from: &Path) -> Result<Option<Contract>, RouteError> {
        let template = match &self.contract {
            ContractFrom::Nowhere => return Ok(None),
            ContractFrom::Entry(contract) => return Ok(Some((**contract).clone())),
            ContractFrom::Template(template) => template,
        };
        let mut path = String::new();
        if let Topics::Matching { pattern, .. } = &self.topics
            && let Some(captures) = pattern.captures(topic)
        {
            captures.expand(template, &mut path);
        }
        let contract = read_contract(&from.join(path));
        contract.map(Some).map_err(|why| RouteError::Contract {
            topic: topic.to_owned(),
            why,
        })
    }

    fn find_contract(&self, path: &Path, from: &Path) -> Result<ContractFrom, String> {
        let text = path.to_string_lossy();
        match &self.topics {
            Topics::Matching { pattern, .. } if text.contains('$') => {
                let unknown = name::unknown_groups(&text, pattern);
                if let Some(group) = unknown.first() {
                    return Err(format!("{text:?} {}", no_such_group(group)));
                }
                Ok(ContractFrom::Template(text.into_owned()))
            }
            _ => read_contract(&from.join(path))
                .map(|contract| ContractFrom::Entry(Box::new(contract))),
        }
    }

    fn key_format(&self) -> KeyFormat {
        let values = self.settings.format;
        self.settings.key_format.unwrap_or_else(|| values.of_keys())
    }

    /// Whether the settings fit together.
    fn check(&self, problems: &mut Vec<String>) {
        let settings = &self.settings;
        let mut refuse = |why: String| problems.push(format!("{self}: {why}"));
        if let (Topics::Matching { pattern, .. }, Some(table)) = (&self.topics, &settings.table) {
            for group in name::unknown_groups(table, pattern) {
                refuse(format!("table {table:?} {}", no_such_group(&group)));
            }
        }
        let has_schema = settings.contract.is_some() || !settings.writer_schemas.is_empty();
        if settings.format == Format::AvroSingleObject && !has_schema {
            refuse(
                "format avro-single-object needs writer_schemas or a contract: the schemas that its \
                 fingerprints stand for"
                    .to_owned(),
            );
        }
        if settings.format != Format::Json && settings.unknown_fields == UnknownFields::Ignore {
            refuse("unknown_fields is for json; what Avro brings becomes columns".to_owned());
        }
        match (settings.format, &settings.contract, settings.infer) {
            (_, Some(_), true) => {
                refuse("infer = true and a contract contradict each other".to_owned());
            }
            (Format::Avro | Format::AvroSingleObject, _, true) => {
                refuse("infer = true is for json; Avro brings its schema".to_owned());
            }
            _ => {}
        }
    }

    /// Whether the key columns fit the shape and the format of record keys.
    fn check_key(&self, problems: &mut Vec<String>) {
        let settings = &self.settings;
        let of_contract = match &self.contract {
            ContractFrom::Entry(contract) if !contract.key().is_empty() => Some(contract.key()),
            _ => None,
        };
        let key = settings.key.as_deref().or(of_contract);
        let mut refuse = |why: String| problems.push(format!("{self}: {why}"));
        if settings.shape == Shape::Append {
            return;
        }
        if settings.key.as_ref().is_some_and(Vec::is_empty) {
            refuse(format!(
                "key is empty, but shape {} needs one",
                settings.shape
            ));
        } else if matches!(self.key_format(), KeyFormat::String | KeyFormat::Integer) {
            let later = matches!(self.contract, ContractFrom::Template(_));
            match key {
                Some([_]) => {}
                None if later => {}
                Some(_) => refuse("a string or integer key is one column, not several".to_owned()),
                None => {
                    refuse("a string or integer key needs the name of its column: key".to_owned());
                }
            }
        }
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.topics {
            Topics::Named(name) => write!(f, "topic {name:?}"),
            Topics::Matching { text, .. } => write!(f, "topics that match {text:?}"),
        }
    }
}

fn topics(settings: &TopicSettings) -> Result<Topics, String> {
    match (&settings.name, &settings.pattern) {
        (Some(name), None) if is_topic_name(name) => Ok(Topics::Named(name.clone())),
        (Some(name), None) => Err(format!(
            "topic {name:?}: not a name that Kafka allows (letters, digits, '.', '_', '-', at most \
             249); a regular expression goes into match"
        )),
        (None, Some(text)) => {
            let pattern = Regex::new(&format!("^(?:{text})$"));
            // The error shows the expression with a mark under the place.
            let pattern =
                pattern.map_err(|error| format!("topics that match {text:?}: {error}"))?;
            Ok(Topics::Matching {
                text: text.clone(),
                pattern,
            })
        }
        (Some(name), Some(_)) => Err(format!(
            "topic {name:?}: has name and match; take one of them"
        )),
        (None, None) => Err("a [[topic]] has neither name nor match".to_owned()),
    }
}

/// Kafka's own rule.
fn is_topic_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=249).contains(&name.len()) && name.bytes().all(allowed) && name != "." && name != ".."
}

fn no_such_group(group: &str) -> String {
    format!(
        "names group {group:?}, which match does not have; a letter, digit or _ after a group's \
         number belongs to its name: write ${{1}}_x"
    )
}

fn read_contract(path: &Path) -> Result<Contract, String> {
    let place = path.display();
    let text = std::fs::read_to_string(path).map_err(|error| format!("{place}: {error}"))?;
    text.parse().map_err(|error| format!("{place}: {error}"))
}

fn read_schema(path: &Path) -> Result<AvroSchema, String> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
    text.parse()
        .map_err(|error: schemas::ContractError| format!("{}: {error}", path.display()))
}
