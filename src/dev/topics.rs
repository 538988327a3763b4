//! What is copied, and how: the topics that the command line or a configuration describes, and
//! without a configuration every other one.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use lake_writer::{Format, Routes, TopicSettings, WriterSettings};
use schemas::Shape;

use super::DevArgs;
use crate::config::Config;
use crate::failure::Failure;

/// Shorter than a daemon's default: somebody is waiting for the rows.
const FLUSH_AGE_MAX: Duration = Duration::from_secs(1);

/// Every topic; those that the command line names are taken before.
const EVERY_TOPIC: &str = ".*";

/// What the lake-writer is to do.
#[derive(Clone, Debug)]
pub(super) struct Road {
    pub(super) writer: WriterSettings,
    topics: Vec<TopicSettings>,
    contracts_from: PathBuf,
}

/// `NAME[:FORMAT[:SHAPE[:KEY]]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NamedTopic(TopicSettings);

impl Road {
    /// The road that the arguments ask for, checked.
    pub(super) fn of(args: &DevArgs) -> Result<Self, Failure> {
        match &args.config {
            Some(file) => Self::configured(file),
            None => Self::named(&args.topics),
        }
    }

    fn configured(file: &Path) -> Result<Self, Failure> {
        let (mut writer, topics) = Config::read(file)?.for_dev(file)?;
        if writer.flush_age_max == WriterSettings::default().flush_age_max {
            writer.flush_age_max = FLUSH_AGE_MAX;
        }
        let road = Self {
            writer,
            topics,
            contracts_from: file.parent().map_or_else(PathBuf::new, Path::to_path_buf),
        };
        road.checked(&file.display().to_string())
    }

    fn named(named: &[NamedTopic]) -> Result<Self, Failure> {
        let mut topics: Vec<TopicSettings> = named.iter().map(|topic| topic.0.clone()).collect();
        topics.push(TopicSettings {
            pattern: Some(EVERY_TOPIC.to_owned()),
            shape: Shape::Upsert,
            ..TopicSettings::default()
        });
        let road = Self {
            writer: WriterSettings {
                flush_age_max: FLUSH_AGE_MAX,
                ..WriterSettings::default()
            },
            topics,
            contracts_from: PathBuf::new(),
        };
        road.checked("--topic")
    }

    fn checked(self, place: &str) -> Result<Self, Failure> {
        match self.routes() {
            Ok(_) => Ok(self),
            Err(problems) => Err(Failure::usage(format!(
                "{place}:\n  {}",
                problems.join("\n  ")
            ))),
        }
    }

    /// The routes, anew for every start of the lake-writer.
    pub(super) fn routes(&self) -> Result<Routes, Vec<String>> {
        Routes::new(&self.topics, &self.contracts_from)
    }

    /// What is copied, for people.
    pub(super) fn told(&self) -> String {
        let told = self.topics.iter().map(|topic| {
            let which = match (&topic.name, &topic.pattern) {
                (Some(name), _) => name.clone(),
                (None, Some(pattern)) if pattern == EVERY_TOPIC => "every other topic".to_owned(),
                (None, pattern) => pattern.clone().unwrap_or_default(),
            };
            format!("{which} ({})", topic.shape)
        });
        let told = told.collect::<Vec<_>>().join(", ");
        match told.strip_prefix("every other topic") {
            Some(rest) => format!("every topic{rest}"),
            None => told,
        }
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
            Some("json") => Format::Json,
            Some(other) => return Err(format!("{other:?} is not a format; one of avro, json")),
        };
        let shape = match (parts.next(), format) {
            // Nothing in plain JSON says which of its fields are the key.
            (None, Format::Json) => Shape::Append,
            (None, _) => Shape::Upsert,
            (Some(shape), _) => Shape::from_str(shape).map_err(|error| error.to_string())?,
        };
        let key = parts
            .next()
            .map(|fields| fields.split(',').map(str::to_owned).collect());
        if key.is_none() && (format, shape) == (Format::Json, Shape::Upsert) {
            return Err(format!(
                "plain JSON does not say which fields are its key; write {name}:json:upsert:FIELD[,FIELD]"
            ));
        }
        if let Some(more) = parts.next() {
            return Err(format!(
                "{more:?} is too much; write NAME[:FORMAT[:SHAPE[:KEY]]]"
            ));
        }
        Ok(Self(TopicSettings {
            format,
            shape,
            key,
            // Its columns are those of its first records.
            infer: format == Format::Json,
            ..TopicSettings::named(name)
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_named_in_one_to_four_parts() {
        let named = |text: &str| text.parse::<NamedTopic>().map(|topic| topic.0);
        let shape = |text: &str| named(text).map(|settings| settings.shape);
        assert_eq!(shape("shop.order"), Ok(Shape::Upsert));
        assert_eq!(shape("shop.order:avro"), Ok(Shape::Upsert));
        assert_eq!(shape("shop.order:avro:debezium"), Ok(Shape::Debezium));
        let json = named("shop.order:json:append").unwrap();
        assert_eq!((json.format, json.infer), (Format::Json, true));
        assert_eq!(json.name.as_deref(), Some("shop.order"));
        assert_eq!(shape("shop.order:json"), Ok(Shape::Append));
        let keyed = named("shop.cart:json:upsert:shop,cart").unwrap();
        assert_eq!(keyed.key, Some(vec!["shop".to_owned(), "cart".to_owned()]));
        for (text, why) in [
            ("", "missing"),
            ("a.b:xml", "not a format"),
            ("a.b:avro:heap", "not a shape"),
            ("a.b:json:upsert", "a.b:json:upsert:FIELD"),
            ("a.b:avro:upsert:id:more", "too much"),
        ] {
            let error = named(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn every_topic_is_copied_and_those_that_are_named_as_they_are_named() {
        let road = Road::named(&[]).unwrap();
        assert_eq!(road.told(), "every topic (upsert)");
        let named = "shop.click:avro:append".parse().unwrap();
        let road = Road::named(&[named]).unwrap();
        assert_eq!(
            road.told(),
            "shop.click (append), every other topic (upsert)"
        );
        let mut routes = road.routes().unwrap();
        let mut shape = |topic: &str| routes.route(topic).unwrap().unwrap().shape;
        assert_eq!(shape("shop.click"), Shape::Append);
        assert_eq!(shape("shop.order"), Shape::Upsert);
    }

    #[test]
    fn a_configuration_gives_the_writer_and_the_topics_and_nothing_else() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("lakehead.toml");
        let topic = "[[topic]]\nname = 'shop.order'\nshape = 'upsert'\n";
        std::fs::write(&file, topic).unwrap();
        let road = Road::configured(&file).unwrap();
        assert_eq!(road.told(), "shop.order (upsert)");
        assert_eq!(road.writer.flush_age_max, FLUSH_AGE_MAX);
        for section in [
            "[lake]\nurl = 'x'\n",
            "[kafka]\ngroup_id = 'x'\n",
            "[registry]\nurl = 'http://x'\n",
        ] {
            std::fs::write(&file, format!("{section}{topic}")).unwrap();
            let failure = format!("{:?}", Road::configured(&file).unwrap_err());
            assert!(failure.contains("dev's own"), "{failure}");
        }
    }
}
