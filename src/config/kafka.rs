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
            if let Some(value) = text.resolve_named(&place, name, directory, problems) {
                settings
                    .properties
                    .insert(name.clone(), at_home(name, value, directory));
            }
        }
        settings.validate(problems);
        settings
    }
}

/// A place of a file or folder, seen from the configuration file.
fn at_home(name: &str, value: String, directory: &Path) -> String {
    if !name.ends_with(".location") || value == "probe" {
        return value;
    }
    directory.join(value).display().to_string()
}
