//! Kafka and the schema registry inside the program, for the demo and for development.

use std::path::Path;

use registry_server::RegistryServer;

use crate::failure::Failure;

/// How the parts are to be started.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct EmbeddedSettings {
    /// Kafka's port on 127.0.0.1; 0: the one of the last start where it is free, else any.
    pub(crate) kafka_port: u16,
    /// The registry's, alike.
    pub(crate) registry_port: u16,
    /// Partitions of topics that come to be when somebody produces to them; none: they do not.
    pub(crate) partitions_on_demand: Option<i32>,
}

/// The parts, running.
#[derive(Debug)]
pub(crate) struct Embedded {
    bootstrap_servers: String,
    #[cfg(feature = "embedded")]
    broker: embedded_broker::EmbeddedBroker,
    registry: RegistryServer,
}

impl Embedded {
    /// Starts both, everything kept below `directory`.
    #[cfg(feature = "embedded")]
    pub(crate) async fn start(
        directory: &Path,
        settings: EmbeddedSettings,
    ) -> Result<Self, Failure> {
        let mut of_broker =
            embedded_broker::Settings::new(directory.join("broker")).port(settings.kafka_port);
        if let Some(partitions) = settings.partitions_on_demand {
            of_broker = of_broker.topics_on_demand(partitions);
        }
        let broker = embedded_broker::EmbeddedBroker::start(of_broker).await;
        let broker = broker.map_err(|error| match error {
            embedded_broker::Error::Listen { port, .. } => taken(error, "--kafka-port", port),
            other => Failure::failed(other),
        })?;
        let of_registry = registry_server::Settings::new(directory.join("registry"));
        let registry = RegistryServer::start(of_registry.port(settings.registry_port)).await;
        match registry {
            Ok(registry) => Ok(Self {
                bootstrap_servers: broker.bootstrap_servers().to_owned(),
                broker,
                registry,
            }),
            Err(error) => {
                stopped("broker", broker.stop().await);
                Err(match error {
                    registry_server::Error::Listen { port, .. } => {
                        taken(error, "--registry-port", port)
                    }
                    other => Failure::failed(other),
                })
            }
        }
    }

    #[cfg(not(feature = "embedded"))]
    pub(crate) async fn start(_: &Path, _: EmbeddedSettings) -> Result<Self, Failure> {
        Err(Failure::usage(
            "this program was built without the embedded broker (cargo feature embedded); \
             use a real Kafka and registry: lakehead write, or lakehead demo --kafka … --registry …",
        ))
    }

    pub(crate) fn bootstrap_servers(&self) -> &str {
        &self.bootstrap_servers
    }

    pub(crate) fn registry_url(&self) -> &str {
        self.registry.url()
    }

    /// Stops both. Nothing is lost if that fails: all of it survives a kill.
    pub(crate) async fn stop(self) {
        stopped("registry", self.registry.stop().await);
        #[cfg(feature = "embedded")]
        stopped("broker", self.broker.stop().await);
    }
}

fn stopped<E: std::fmt::Display>(part: &str, result: Result<(), E>) {
    if let Err(error) = result {
        tracing::warn!(part, %error, "an embedded part did not stop cleanly");
    }
}

/// A port that cannot be had, with the option that names another one.
#[cfg(feature = "embedded")]
fn taken<E>(error: E, option: &str, port: u16) -> Failure
where
    E: std::error::Error + Send + Sync + 'static,
{
    let told = format!("port {port} cannot be had; choose another one with {option}, or 0 for any");
    Failure::failed(anyhow::Error::new(error).context(told))
}
