//! The configuration file: one TOML file, every problem told at once.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use lake_store::LakeStore;
use lake_writer::{Feed, KafkaSettings, Topic, TopicSettings, WriterSettings};
use schemas::Contract;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;

mod secret;

use secret::Text;

/// The whole file. Every section has defaults that work on one machine, but for the topics.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    pub(crate) lake: Lake,
    pub(crate) kafka: KafkaSettings,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) registry: Option<Registry>,
    pub(crate) writer: WriterSettings,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) http: Option<Http>,
    #[serde(rename = "topic", skip_serializing_if = "Vec::is_empty")]
    topics: Vec<TopicSettings>,
}

/// `[lake]`: where the tables are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Lake {
    /// A directory, `file://` or `s3://bucket/prefix`.
    url: String,
    /// object_store's own option names.
    options: BTreeMap<String, Text>,
}

impl Default for Lake {
    fn default() -> Self {
        Self::at("lake")
    }
}

/// `[registry]`: where Avro schemas are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Registry {
    /// Base address of a registry that speaks Confluent's REST API.
    pub(crate) url: String,
}

/// `[http]`: where to ask how the writer does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Http {
    /// Address to listen on: `/livez`, `/readyz`, `/metrics`. Nobody is asked who they are.
    pub(crate) listen: SocketAddr,
}

impl Config {
    /// Reads the file and checks what can be checked without the outside world.
    pub(crate) fn read(file: &Path) -> Result<Self, Failure> {
        let text = std::fs::read_to_string(file)
            .map_err(|error| Failure::usage(format!("{}: {error}", file.display())))?;
        let config: Self = toml::from_str(&text)
            .map_err(|error| Failure::usage(format!("{}: {error}", file.display())))?;
        let mut problems = Vec::new();
        config.kafka.validate(&mut problems);
        config.writer.validate(&mut problems);
        refuse(file, problems)?;
        Ok(config)
    }

    /// The topics of the file, with their contracts.
    pub(crate) fn topics_to_write(&self, file: &Path) -> Result<Vec<Topic>, Failure> {
        let mut problems = Vec::new();
        TopicSettings::validate_all(&self.topics, &mut problems);
        let avro = self
            .topics
            .iter()
            .any(|topic| topic.format == lake_writer::Format::Avro);
        if avro && self.registry.is_none() {
            problems.push("registry.url is missing: topics of format avro need it".to_owned());
        }
        let directory = file.parent().map_or_else(PathBuf::new, Path::to_path_buf);
        let mut topics = Vec::with_capacity(self.topics.len());
        for settings in &self.topics {
            let contract = settings
                .contract
                .as_ref()
                .map(|path| read_contract(&directory.join(path)));
            match contract.transpose() {
                Ok(contract) => topics.push(Topic {
                    settings: settings.clone(),
                    contract,
                }),
                Err(why) => problems.push(format!("topic {:?}: contract {why}", settings.name)),
            }
        }
        refuse(file, problems)?;
        Ok(topics)
    }
}

/// Each topic with the table it feeds.
pub(crate) fn feeds(topics: &[Topic]) -> Result<Vec<Feed>, Failure> {
    let feed = |topic: &Topic| {
        Ok(Feed {
            topic: topic.settings.name.as_str().into(),
            table: topic.settings.table_name().map_err(Failure::usage)?,
            shape: topic.settings.shape,
        })
    };
    topics.iter().map(feed).collect()
}

impl Lake {
    /// A lake that needs no options.
    pub(crate) fn at(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            options: BTreeMap::new(),
        }
    }

    /// Opens the lake's store; `create` makes a missing local directory.
    pub(crate) fn open(&self, create: bool) -> Result<LakeStore, Failure> {
        let mut options = Vec::with_capacity(self.options.len());
        for (name, value) in &self.options {
            let value = value.resolve();
            let value =
                value.map_err(|why| Failure::usage(format!("lake.options.{name}: {why}")))?;
            options.push((name.clone(), value));
        }
        Ok(LakeStore::open(&self.url, &options, create)?)
    }
}

fn refuse(file: &Path, problems: Vec<String>) -> Result<(), Failure> {
    if problems.is_empty() {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "{}:\n  {}",
        file.display(),
        problems.join("\n  ")
    )))
}

fn read_contract(path: &Path) -> Result<Contract, String> {
    let place = path.display();
    let text = std::fs::read_to_string(path).map_err(|error| format!("{place}: {error}"))?;
    text.parse().map_err(|error| format!("{place}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_is_the_defaults() {
        let example = include_str!("../deploy/lakehead.example.toml");
        let mut config: Config = toml::from_str(example).unwrap();
        // What has no default is shown in the example by example.
        assert!(!config.topics.is_empty() && config.registry.is_some() && config.http.is_some());
        config.topics.clear();
        config.registry = None;
        config.http = None;
        assert_eq!(config, Config::default());
        for section in [
            "[lake]",
            "[kafka]",
            "[registry]",
            "[writer]",
            "[http]",
            "[[topic]]",
        ] {
            assert!(example.contains(section), "{section} is missing");
        }
        let defaults = toml::Table::try_from(Config::default()).unwrap();
        for (section, keys) in defaults {
            for key in keys.as_table().unwrap().keys() {
                assert!(
                    example.contains(&format!("\n{key} = "))
                        || example.contains(&format!(".{key}]")),
                    "{section}.{key} is missing"
                );
            }
        }
    }

    #[test]
    fn unknown_keys_are_refused() {
        let error = toml::from_str::<Config>("[writer]\nflush_age = '1s'").unwrap_err();
        assert!(error.to_string().contains("flush_age_max"), "{error}");
    }

    #[test]
    fn every_problem_is_told_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("lakehead.toml");
        let text = "[writer]\nflush_rows_max = 0\n[kafka]\ngroup_id = ''";
        std::fs::write(&file, text).unwrap();
        let failure = format!("{:?}", Config::read(&file).unwrap_err());
        assert!(
            failure.contains("flush_rows_max") && failure.contains("group_id"),
            "{failure}"
        );
        std::fs::write(
            &file,
            "[[topic]]\nname = 'a'\nformat = 'json'\n[[topic]]\nname = 'b.c'",
        )
        .unwrap();
        let config = Config::read(&file).unwrap();
        let failure = format!("{:?}", config.topics_to_write(&file).unwrap_err());
        for part in ["not a table name", "needs a contract", "registry.url"] {
            assert!(failure.contains(part), "{part}: {failure}");
        }
    }
}
