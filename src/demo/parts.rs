//! Kafka and the registry of the demo: embedded, or the ones that are named.

use std::path::Path;

use crate::embedded::{Embedded, EmbeddedSettings};
use crate::failure::Failure;

/// What the demo stands on.
pub(super) enum Parts {
    Embedded(Embedded),
    Named {
        bootstrap_servers: String,
        registry_url: String,
    },
}

impl Parts {
    /// Starts what is not named.
    pub(super) async fn start(
        directory: &Path,
        kafka: Option<String>,
        registry: Option<String>,
    ) -> Result<Self, Failure> {
        match (kafka, registry) {
            (Some(bootstrap_servers), Some(registry_url)) => Ok(Self::Named {
                bootstrap_servers,
                registry_url,
            }),
            _ => {
                let started = Embedded::start(directory, EmbeddedSettings::default());
                Ok(Self::Embedded(started.await?))
            }
        }
    }

    pub(super) fn bootstrap_servers(&self) -> &str {
        match self {
            Self::Embedded(embedded) => embedded.bootstrap_servers(),
            Self::Named {
                bootstrap_servers, ..
            } => bootstrap_servers,
        }
    }

    pub(super) fn registry_url(&self) -> &str {
        match self {
            Self::Embedded(embedded) => embedded.registry_url(),
            Self::Named { registry_url, .. } => registry_url,
        }
    }

    /// Stops what was started.
    pub(super) async fn stop(self) {
        if let Self::Embedded(embedded) = self {
            embedded.stop().await;
        }
    }
}
