//! `[kafka]` as it stands in the file.

use std::collections::BTreeMap;
use std::path::Path;

use lake_writer::{Assignment, KafkaSettings};
use serde::{Deserialize, Serialize};

use super::secret::Text;

/// Where the records are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Kafka {
    bootstrap_servers: String,
    group_id: String,
    assignment: Assignment,
    /// librdkafka's own settings, passed through; secrets by reference.
    properties: BTreeMap<String, Text>,
}

impl Default for Kafka {
    fn default() -> Self {
        let settings = KafkaSettings::default();
        Self {
            bootstrap_servers: settings.bootstrap_servers,
            group_id: settings.group_id,
            assignment: settings.assignment,
            properties: BTreeMap::new(),
        }
    }
}

impl Kafka {
    /// The settings with their secrets; what is wrong goes to `problems`.
    pub(super) fn resolve(&self, directory: &Path, problems: &mut Vec<String>) -> KafkaSettings {
        let mut settings = KafkaSettings {
            bootstrap_servers: self.bootstrap_servers.clone(),
            group_id: self.group_id.clone(),
            assignment: self.assignment,
            ..KafkaSettings::default()
        };
        for (name, text) in &self.properties {
            let place = format!("kafka.properties.\"{name}\"");
            if text.is_reference() {
                settings.secrets.insert(name.clone());
            }
            let value = text.resolve_named(&place, name, directory, problems);
            match value.map(|value| at_home(name, value, directory)) {
                Some(Ok(value)) => {
                    settings.properties.insert(name.clone(), value);
                }
                Some(Err(why)) => problems.push(format!("{place}: {why}")),
                None => {}
            }
        }
        settings.validate(problems);
        settings
    }
}

/// A place of a file or folder, seen from the configuration file. librdkafka would not say which
/// one is missing.
fn at_home(name: &str, value: String, directory: &Path) -> Result<String, String> {
    let is_place = name.starts_with("ssl.") && name.ends_with(".location");
    if !is_place || name == "ssl.engine.location" || value == "probe" {
        return Ok(value);
    }
    let place = directory.join(value).display().to_string();
    match std::fs::metadata(&place) {
        Ok(_) => Ok(place),
        Err(error) => Err(format!("{place}: {error}")),
    }
}
