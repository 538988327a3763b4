//! Kafka and the registry of the demo: embedded, or the ones that are named.

use std::path::Path;

use registry_server::RegistryServer;

use crate::failure::Failure;

/// What the demo stands on.
pub(super) struct Parts {
    bootstrap_servers: String,
    registry_url: String,
    #[cfg(feature = "embedded")]
    broker: Option<embedded_broker::EmbeddedBroker>,
    registry: Option<RegistryServer>,
}

impl Parts {
    /// Starts what is not named.
    pub(super) async fn start(
        directory: &Path,
        kafka: Option<String>,
        registry: Option<String>,
    ) -> Result<Self, Failure> {
        if let (Some(bootstrap_servers), Some(registry_url)) = (kafka, registry) {
            return Ok(Self {
                bootstrap_servers,
                registry_url,
                #[cfg(feature = "embedded")]
                broker: None,
                registry: None,
            });
        }
        Self::start_embedded(directory).await
    }

    #[cfg(feature = "embedded")]
    async fn start_embedded(directory: &Path) -> Result<Self, Failure> {
        let settings = embedded_broker::Settings::new(directory.join("broker"));
        let broker = embedded_broker::EmbeddedBroker::start(settings)
            .await
            .map_err(Failure::failed)?;
        let settings = registry_server::Settings::new(directory.join("registry"));
        let registry = RegistryServer::start(settings)
            .await
            .map_err(Failure::failed)?;
        Ok(Self {
            bootstrap_servers: broker.bootstrap_servers().to_owned(),
            registry_url: registry.url().to_owned(),
            broker: Some(broker),
            registry: Some(registry),
        })
    }

    #[cfg(not(feature = "embedded"))]
    async fn start_embedded(_: &Path) -> Result<Self, Failure> {
        Err(Failure::usage(
            "this program was built without the embedded broker (cargo feature embedded); \
             name a real Kafka and registry with --kafka and --registry",
        ))
    }

    pub(super) fn bootstrap_servers(&self) -> &str {
        &self.bootstrap_servers
    }

    pub(super) fn registry_url(&self) -> &str {
        &self.registry_url
    }

    /// Stops what was started. Nothing is lost if that fails: all of it survives a kill.
    pub(super) async fn stop(self) {
        if let Some(registry) = self.registry
            && let Err(error) = registry.stop().await
        {
            tracing::warn!(%error, "the registry did not stop cleanly");
        }
        #[cfg(feature = "embedded")]
        if let Some(broker) = self.broker
            && let Err(error) = broker.stop().await
        {
            tracing::warn!(%error, "the broker did not stop cleanly");
        }
    }
}
