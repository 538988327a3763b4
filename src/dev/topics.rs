//! What is copied: the topics that the command line or a configuration names.

use std::str::FromStr;

use lake_writer::{Format, KafkaSettings, Topic, TopicSettings, WriterSettings};
use schemas::Shape;

use super::DevArgs;
use crate::config::{Config, Lake, Registry};
use crate::failure::Failure;

/// Shorter than a daemon's default: somebody is waiting for the rows.
const FLUSH_AGE_MAX: std::time::Duration = std::time::Duration::from_secs(1);

/// Stands for the registry that is about to be started, where only its presence is checked.
const REGISTRY_TO_COME: &str = "http://127.0.0.1";

/// What the lake-writer is to do.
#[derive(Clone, Debug)]
pub(super) struct Road {
    pub(super) writer: WriterSettings,
    pub(super) topics: Vec<Topic>,
}

/// `NAME[:FORMAT[:SHAPE]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NamedTopic(TopicSettings);

impl Road {
    /// The road that the arguments ask for.
    pub(super) fn of(args: &DevArgs) -> Result<Self, Failure> {
        match &args.config {
            Some(file) => Self::configured(file),
            None => Self::named(&args.topics),
        }
    }

    fn configured(file: &std::path::Path) -> Result<Self, Failure> {
        let mut config = Config::read(file)?;
        let theirs = [
            ("[lake]", config.lake != Lake::default()),
            ("[kafka]", config.kafka != KafkaSettings::default()),
            ("[registry]", config.registry.is_some()),
        ];
        for (section, is_set) in theirs {
            if is_set {
                return Err(Failure::usage(format!(
                    "{}: {section} is lakehead dev's own; leave it out, or run lakehead write",
                    file.display()
                )));
            }
        }
        config.registry = Some(Registry {
            url: REGISTRY_TO_COME.to_owned(),
        });
        let topics = config.topics_to_write(file)?;
        let mut writer = config.writer;
        if writer.flush_age_max == WriterSettings::default().flush_age_max {
            writer.flush_age_max = FLUSH_AGE_MAX;
        }
        Ok(Self { writer, topics })
    }

    fn named(named: &[NamedTopic]) -> Result<Self, Failure> {
        if named.is_empty() {
            return Err(Failure::usage(
                "no topic to copy is named; name them with --topic, for example \
                 --topic shop.order:avro:upsert, or with --config lakehead.toml",
            ));
        }
        let settings: Vec<TopicSettings> = named.iter().map(|topic| topic.0.clone()).collect();
        let mut problems = Vec::new();
        TopicSettings::validate_all(&settings, &mut problems);
        if !problems.is_empty() {
            return Err(Failure::usage(format!(
                "--topic: {}",
                problems.join("\n  ")
            )));
        }
        let topics = settings.into_iter().map(|settings| Topic {
            settings,
            contract: None,
        });
        Ok(Self {
            writer: WriterSettings {
                flush_age_max: FLUSH_AGE_MAX,
                ..WriterSettings::default()
            },
            topics: topics.collect(),
        })
    }

    /// The tables that the topics land in.
    pub(super) fn tables(&self) -> Vec<String> {
        let names = self.topics.iter().map(|topic| &topic.settings);
        let names = names.map(|settings| settings.table.as_ref().unwrap_or(&settings.name));
        names.cloned().collect()
    }
}

impl FromStr for NamedTopic {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split(':');
        let name = parts.next().filter(|name| !name.is_empty());
        let name = name.ok_or("the topic's name is missing")?;
        let format = match parts.next() {
            None | Some("avro") => Format::Avro,
            Some("json") => {
                return Err(
                    "json needs a contract: describe the topic in a file and name it with --config"
                        .to_owned(),
                );
            }
            Some(other) => return Err(format!("{other:?} is not a format; it is avro")),
        };
        let shape = match parts.next() {
            None => Shape::Upsert,
            Some(shape) => Shape::from_str(shape).map_err(|error| error.to_string())?,
        };
        if let Some(more) = parts.next() {
            return Err(format!("{more:?} is too much; write NAME[:FORMAT[:SHAPE]]"));
        }
        Ok(Self(TopicSettings {
            name: name.to_owned(),
            table: None,
            format,
            shape,
            key: None,
            contract: None,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_named_in_one_to_three_parts() {
        let named = |text: &str| text.parse::<NamedTopic>().map(|topic| topic.0);
        let shape = |text: &str| named(text).map(|settings| settings.shape);
        assert_eq!(shape("shop.order"), Ok(Shape::Upsert));
        assert_eq!(shape("shop.order:avro"), Ok(Shape::Upsert));
        assert_eq!(shape("shop.order:avro:debezium"), Ok(Shape::Debezium));
        assert_eq!(named("shop.order").unwrap().name, "shop.order");
        for (text, why) in [
            ("", "missing"),
            ("a.b:json", "--config"),
            ("a.b:xml", "not a format"),
            ("a.b:avro:heap", "not a shape"),
            ("a.b:avro:append:more", "too much"),
        ] {
            let error = named(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn a_configuration_gives_the_writer_and_the_topics_and_nothing_else() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("lakehead.toml");
        let topic = "[[topic]]\nname = 'shop.order'\nshape = 'upsert'\n";
        std::fs::write(&file, topic).unwrap();
        let road = Road::configured(&file).unwrap();
        assert_eq!(road.tables(), ["shop.order"]);
        assert_eq!(road.writer.flush_age_max, FLUSH_AGE_MAX);
        for section in [
            "[lake]\nurl = 'x'\n",
            "[kafka]\ngroup_id = 'x'\n",
            "[registry]\nurl = 'x'\n",
        ] {
            std::fs::write(&file, format!("{section}{topic}")).unwrap();
            let failure = format!("{:?}", Road::configured(&file).unwrap_err());
            assert!(failure.contains("dev's own"), "{failure}");
        }
    }
}
