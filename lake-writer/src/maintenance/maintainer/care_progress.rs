//! How the care of a lake goes on, to be read from other threads.

use super::loop_progress::LoopProgress;

/// How each of the care's loops stands.
#[derive(Debug, Default)]
pub struct CareProgress {
    pub(super) refresh: LoopProgress,
    pub(super) periods: LoopProgress,
    pub(super) houses: LoopProgress,
}

impl CareProgress {
    /// Every loop by its name: current tables, period snapshots, files and logs.
    pub fn loops(&self) -> [(&'static str, &LoopProgress); 3] {
        [
            ("refresh", &self.refresh),
            ("periods", &self.periods),
            ("houses", &self.houses),
        ]
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use lake_store::LakeStore;
    use tokio::sync::watch;
    use tokio::time::{sleep, timeout};

    use super::*;
    use crate::maintenance::maintainer::Maintainer;
    use crate::maintenance::settings::MaintenanceSettings;
    use crate::{Entropy, SystemClock};

    fn rounds(progress: &CareProgress) -> [u64; 3] {
        progress.loops().map(|(_, of_loop)| of_loop.rounds())
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn every_loop_tells_of_its_rounds() {
        let lake = LakeStore::open("memory:///", &[], true).unwrap();
        let (clock, entropy) = (Arc::new(SystemClock), Arc::new(Entropy::seeded(1)));
        let settings = MaintenanceSettings {
            interval: Duration::from_millis(1),
            ..MaintenanceSettings::default()
        };
        let progress = Arc::<CareProgress>::default();
        let maintainer = Maintainer::new(lake, clock, entropy, settings);
        let mut maintainer = maintainer.telling(Arc::clone(&progress));
        maintainer.round(&["shop.nothing".parse().unwrap()]).await;
        assert_eq!(rounds(&progress), [1; 3]);
        let failures = progress.loops().map(|(_, of_loop)| of_loop.failures());
        assert_eq!(failures, [1, 0, 0], "one look for tables was for all loops");
        let (enough, following) = watch::channel(false);
        let some = async {
            while rounds(&progress).iter().any(|rounds| *rounds < 3) {
                sleep(Duration::from_millis(1)).await;
            }
            enough.send_replace(true);
        };
        let care = async { tokio::join!(maintainer.run(&[], following), some) };
        timeout(Duration::from_secs(30), care).await.unwrap();
    }
}
