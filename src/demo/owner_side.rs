//! The owner's side of the demo: the flight-inventory service and its relay.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use airline::{FlightInventory, Period, ReplayProgress};
use change_events::{KafkaSettings, Relay, RelayProgress};
use schemas::SchemaRegistry;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::open_inventory;
use crate::failure::Failure;

/// How often the relay's position is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// Partitions of the demo's topic.
const PARTITIONS: i32 = 4;

/// The service and its relay, about to start.
pub(super) struct Owner {
    inventory: FlightInventory,
    relay: Relay,
    replayed: Arc<ReplayProgress>,
}

/// What can be watched of them.
#[derive(Clone)]
pub(super) struct OwnerWatch {
    pub(super) replayed: Arc<ReplayProgress>,
    pub(super) relayed: Arc<RelayProgress>,
}

impl Owner {
    pub(super) async fn open(
        directory: &Path,
        period: Period,
        mut kafka: KafkaSettings,
        registry: Arc<dyn SchemaRegistry>,
    ) -> Result<Self, Failure> {
        let inventory = open_inventory(directory, period).await?;
        kafka.partitions = PARTITIONS;
        let relay = inventory
            .relay(kafka, registry)
            .await
            .map_err(Failure::failed)?;
        Ok(Self {
            inventory,
            relay,
            replayed: Arc::new(ReplayProgress::default()),
        })
    }

    pub(super) fn watch(&self) -> OwnerWatch {
        OwnerWatch {
            replayed: Arc::clone(&self.replayed),
            relayed: self.relay.progress(),
        }
    }

    /// Replays the period and publishes every change; returns when Kafka has acknowledged all.
    pub(super) async fn run(self, mut stop: watch::Receiver<bool>) -> Result<(), Failure> {
        let cancel = CancellationToken::new();
        let guard = cancel.clone();
        let asked = tokio::spawn(async move {
            if stop.wait_for(|asked| *asked).await.is_ok() {
                guard.cancel();
            }
        });
        let relayed = self.relay.progress();
        let mut relay = tokio::spawn(self.relay.run(cancel.clone()));
        let published = async {
            let whole = self.inventory.replay(&self.replayed, &cancel).await;
            if !whole.map_err(Failure::failed)? {
                return Err(Failure::interrupted());
            }
            let end = self.inventory.outbox_end().await.map_err(Failure::failed)?;
            while relayed.confirmed() < end {
                if cancel.is_cancelled() {
                    return Err(Failure::interrupted());
                }
                tokio::time::sleep(LOOK_INTERVAL).await;
            }
            Ok(())
        };
        let result = tokio::select! {
            result = published => {
                cancel.cancel();
                let ended = relay.await.map_err(Failure::failed)?.map_err(Failure::failed);
                result.and(ended)
            }
            ended = &mut relay => match ended.map_err(Failure::failed)? {
                Ok(()) => Err(Failure::interrupted()),
                Err(error) => Err(Failure::failed(error)),
            },
        };
        asked.abort();
        result
    }
}
