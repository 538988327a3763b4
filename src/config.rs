//! The configuration file: one TOML file, every problem told at once.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use ::capture::CaptureSettings;
use lake_writer::{
    Format, KafkaSettings, MaintenanceSettings, Routes, TopicSettings, WriterSettings,
};
use schemas::HttpRegistry;
use schemas::KeyFormat;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;

mod capture;
mod command;
mod kafka;
mod lake;
mod producer;
mod registry;
mod relay;
mod secret;

pub(crate) use command::{ConfigArgs, run};
pub(crate) use lake::LakePlace;
pub(crate) use relay::{Database, RelaySettings};

/// The whole file. Every section has defaults that work on one machine, but for the topics.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    lake: lake::Lake,
    kafka: kafka::Kafka,
    #[serde(skip_serializing_if = "Option::is_none")]
    registry: Option<registry::Registry>,
    writer: WriterSettings,
    maintenance: MaintenanceSettings,
    #[serde(skip_serializing_if = "Option::is_none")]
    http: Option<Http>,
    #[serde(skip_serializing_if = "Option::is_none")]
    relay: Option<relay::Relay>,
    #[serde(skip_serializing_if = "Option::is_none")]
    capture: Option<capture::Capture>,
    #[serde(rename = "topic", skip_serializing_if = "Vec::is_empty")]
    topics: Vec<TopicSettings>,
}

/// What the file says, checked, with the secrets that it refers to.
pub(crate) struct Resolved {
    pub(crate) lake: LakePlace,
    pub(crate) kafka: KafkaSettings,
    pub(crate) registry: Option<HttpRegistry>,
    pub(crate) writer: WriterSettings,
    pub(crate) maintenance: MaintenanceSettings,
    pub(crate) http: Option<Http>,
    pub(crate) routes: Routes,
}

/// What `lakehead relay` takes of a file, checked, with the secrets that it refers to.
pub(crate) struct ResolvedRelay {
    pub(crate) relay: RelaySettings,
    pub(crate) registry: HttpRegistry,
    /// What the outbox is pruned behind, if it is.
    pub(crate) lake: LakePlace,
    pub(crate) kafka: KafkaSettings,
    pub(crate) pipeline: String,
    pub(crate) routes: Option<Routes>,
}

/// What a capture needs of the file, checked, with the secrets that it refers to.
pub(crate) struct ResolvedCapture {
    pub(crate) capture: CaptureSettings,
    pub(crate) kafka: change_events::KafkaSettings,
    pub(crate) registry: HttpRegistry,
    pub(crate) http: Option<Http>,
}

/// `[http]` and `[capture.http]`: where to ask how the writer, or the capture, does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Http {
    /// Address to listen on: `/livez`, `/readyz`, `/metrics`. Nobody is asked who they are.
    pub(crate) listen: SocketAddr,
}

impl Config {
    /// Reads the file as it stands.
    pub(crate) fn read(file: &Path) -> Result<Self, Failure> {
        let text = std::fs::read_to_string(file)
            .map_err(|error| Failure::usage(format!("{}: {error}", file.display())))?;
        toml::from_str(&text)
            .map_err(|error| Failure::usage(format!("{}: {}", file.display(), secret_free(&error))))
    }

    /// Checks all that can be checked without the outside world and fetches the secrets.
    pub(crate) fn resolve(&self, file: &Path) -> Result<Resolved, Failure> {
        settled(file, |directory, problems| {
            self.resolve_writer(directory, problems)
        })
    }

    /// Checks what a relay needs; of `[[topic]]` only which table a topic has, if it is there.
    pub(crate) fn resolve_relay(&self, file: &Path) -> Result<ResolvedRelay, Failure> {
        settled(file, |directory, problems| {
            self.resolve_outbox(directory, problems)
        })
    }

    /// Checks what a capture needs: `[capture]`, `[kafka]` and `[registry]`.
    pub(crate) fn resolve_capture(&self, file: &Path) -> Result<ResolvedCapture, Failure> {
        settled(file, |directory, problems| {
            self.resolve_tables(directory, problems)
        })
    }

    /// Checks what the file has for each program, and says for which it has something.
    pub(crate) fn check(&self, file: &Path) -> Result<Vec<String>, Failure> {
        settled(file, |directory, problems| {
            let mut found = Vec::new();
            if self.relay.is_some() {
                let relay = self.resolve_outbox(directory, problems);
                found.extend(
                    relay.map(|all| format!("a relay of {} entities", all.relay.entities.len())),
                );
            }
            if self.capture.is_some() {
                let capture = self.resolve_tables(directory, problems);
                found.extend(
                    capture.map(|all| format!("a capture of {} tables", all.capture.tables.len())),
                );
            }
            let maintains = self.maintenance != MaintenanceSettings::default();
            if maintains {
                self.lake.resolve(directory, problems);
                self.maintenance.validate(problems);
                found.push("a lake that is cared for".to_owned());
            }
            let has_others = self.relay.is_some() || self.capture.is_some() || maintains;
            if !self.topics.is_empty() || !has_others {
                let writer = self.resolve_writer(directory, problems);
                found.extend(writer.map(|all| said_of(&all.routes)));
            }
            Some(found)
        })
    }

    fn resolve_writer(&self, directory: &Path, problems: &mut Vec<String>) -> Option<Resolved> {
        let lake = self.lake.resolve(directory, problems);
        let mut kafka = self.kafka.resolve(directory, problems);
        kafka.buffer_bytes_max = self.writer.buffer_bytes_max;
        let registry = self.registry.as_ref();
        let registry = registry.and_then(|found| found.resolve(directory, problems));
        self.writer.validate(problems);
        self.maintenance.validate(problems);
        if self.registry.is_none() && self.topics.iter().any(needs_registry) {
            problems.push("registry.url is missing: topics of format avro need it".to_owned());
        }
        let routes = Routes::new(&self.topics, directory);
        let routes = routes.map_err(|why| problems.extend(why)).ok()?;
        Some(Resolved {
            lake,
            kafka,
            registry,
            writer: self.writer.clone(),
            maintenance: self.maintenance.clone(),
            http: self.http.clone(),
            routes,
        })
    }

    fn resolve_outbox(
        &self,
        directory: &Path,
        problems: &mut Vec<String>,
    ) -> Option<ResolvedRelay> {
        let lake = self.lake.resolve(directory, problems);
        let kafka = self.kafka.resolve(directory, problems);
        let registry = self.registry.as_ref();
        let registry = registry.and_then(|found| found.resolve(directory, problems));
        if self.registry.is_none() {
            problems.push("registry.url is missing: a relay registers its schemas".to_owned());
        }
        let relay = match &self.relay {
            Some(relay) => relay.resolve(&kafka, directory, problems),
            None => {
                problems.push("[relay] is missing; docs/outbox.md shows one".to_owned());
                None
            }
        };
        let routes = match Routes::new(&self.topics, directory) {
            Ok(routes) => Some(routes),
            Err(_) if self.topics.is_empty() => None,
            Err(why) => {
                problems.extend(why);
                None
            }
        };
        Some(ResolvedRelay {
            relay: relay?,
            registry: registry?,
            lake,
            kafka,
            pipeline: self.writer.pipeline.clone(),
            routes,
        })
    }

    fn resolve_tables(
        &self,
        directory: &Path,
        problems: &mut Vec<String>,
    ) -> Option<ResolvedCapture> {
        let kafka = self.kafka.resolve(directory, problems);
        let registry = self.registry.as_ref();
        let registry = registry.and_then(|found| found.resolve(directory, problems));
        if self.registry.is_none() {
            problems.push("registry.url is missing: a capture registers its schemas".to_owned());
        }
        let capture = match &self.capture {
            Some(capture) => capture.resolve(&kafka, directory, problems),
            None => {
                problems.push("[capture] is missing; docs/capture.md shows one".to_owned());
                None
            }
        };
        let (capture, kafka) = capture?;
        Some(ResolvedCapture {
            capture,
            kafka,
            registry: registry?,
            http: self
                .capture
                .as_ref()
                .and_then(|capture| capture.http.clone()),
        })
    }

    /// What `lakehead dev` takes of a file: `[writer]` and `[[topic]]`. The rest is its own, and
    /// must not be there.
    pub(crate) fn for_dev(
        self,
        file: &Path,
    ) -> Result<(WriterSettings, Vec<TopicSettings>), Failure> {
        let absent = Self::default();
        let sections = [
            ("[lake]", self.lake != absent.lake),
            ("[kafka]", self.kafka != absent.kafka),
            ("[registry]", self.registry.is_some()),
            ("[relay]", self.relay.is_some()),
            ("[capture]", self.capture.is_some()),
            ("[maintenance]", self.maintenance != absent.maintenance),
        ];
        let present = sections.iter().filter(|(_, is_present)| *is_present);
        let mut problems: Vec<String> = present
            .map(|(section, _)| {
                format!("{section} is lakehead dev's own; leave it out, or run lakehead write")
            })
            .collect();
        self.writer.validate(&mut problems);
        if problems.is_empty() {
            return Ok((self.writer, self.topics));
        }
        Err(refusal(file, &problems))
    }

    /// The place of the lake and how it is taken care of.
    pub(crate) fn maintenance(
        &self,
        file: &Path,
    ) -> Result<(LakePlace, MaintenanceSettings), Failure> {
        settled(file, |directory, problems| {
            let place = self.lake.resolve(directory, problems);
            self.maintenance.validate(problems);
            Some((place, self.maintenance.clone()))
        })
    }

    /// The place of the lake alone, for readers.
    pub(crate) fn place(&self, file: &Path) -> Result<LakePlace, Failure> {
        settled(file, |directory, problems| {
            Some(self.lake.resolve(directory, problems))
        })
    }
}

/// What was made of a file, unless something is wrong with it: then all that is, each thing once.
fn settled<T>(
    file: &Path,
    resolve: impl FnOnce(&Path, &mut Vec<String>) -> Option<T>,
) -> Result<T, Failure> {
    let mut found = Vec::new();
    let resolved = resolve(&directory_of(file), &mut found);
    match resolved {
        Some(resolved) if found.is_empty() => Ok(resolved),
        _ => {
            let mut problems: Vec<String> = Vec::with_capacity(found.len());
            for problem in found {
                if !problems.contains(&problem) {
                    problems.push(problem);
                }
            }
            Err(refusal(file, &problems))
        }
    }
}

fn said_of(routes: &Routes) -> String {
    let discovers = match routes.discovers() {
        true => ", and more by pattern",
        false => "",
    };
    format!("{} topics by name{discovers}", routes.names().count())
}

fn needs_registry(topic: &TopicSettings) -> bool {
    topic.format == Format::Avro || topic.key_format == Some(KeyFormat::Avro)
}

fn directory_of(file: &Path) -> PathBuf {
    file.parent().map_or_else(PathBuf::new, Path::to_path_buf)
}

fn refusal(file: &Path, problems: &[String]) -> Failure {
    let place = file.display();
    Failure::usage(format!("{place}:\n  {}", problems.join("\n  ")))
}

/// What is wrong and where, without the line itself, which may hold a secret.
fn secret_free(error: &toml::de::Error) -> String {
    let shown = error.to_string();
    let place = shown.lines().next().filter(|line| line.starts_with("TOML"));
    match place {
        Some(place) => format!("{place}: {}", error.message()),
        None => error.message().to_owned(),
    }
}

#[cfg(test)]
mod tests;
