//! Which tables a round is over.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex as Guarded, PoisonError};
use std::time::Duration;

use lake_store::{LakeStore, LakeStoreError};
use schemas::TableName;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tracing::warn;

use super::Round;
use crate::maintenance::current::Means;
use crate::maintenance::error::MaintenanceError;
use crate::maintenance::settings::MaintenanceSettings;

/// The tables that a round is over.
#[derive(Debug)]
pub(super) struct Tables {
    pub(super) names: Vec<TableName>,
    /// All there are.
    pub(super) are_all: bool,
}

impl Tables {
    /// Whether one is among all there are.
    pub(super) fn has(&self, table: &TableName) -> bool {
        debug_assert!(self.are_all, "those that are asked for have no order");
        self.names.binary_search(table).is_ok()
    }
}

/// All tables, and when it was looked.
#[derive(Debug)]
struct Look {
    begun: Instant,
    ended: Instant,
    names: Vec<TableName>,
}

/// Looks for tables, for all loops, and tells of names that none has.
#[derive(Debug)]
pub(super) struct Listing {
    lake: LakeStore,
    settings: Arc<MaintenanceSettings>,
    newest: Mutex<Option<Look>>,
    /// Names without a table that were told.
    told: Guarded<BTreeSet<TableName>>,
}

impl Listing {
    pub(super) fn new(means: &Means) -> Self {
        Self {
            lake: means.lake.clone(),
            settings: Arc::clone(&means.settings),
            newest: Mutex::default(),
            told: Guarded::default(),
        }
    }

    /// Those of `only` that there are, or all, as they were so long ago at most. None if the lake cannot
    /// be listed.
    pub(super) async fn look(
        &self,
        only: &[TableName],
        age_max: Duration,
        round: &mut Round,
    ) -> Tables {
        let names = match only {
            [] => self.all(age_max).await,
            only => self.named(only, round).await,
        };
        let are_all = only.is_empty() && names.is_ok();
        let names = names.unwrap_or_else(|error| {
            warn!(%error, "the lake cannot be listed");
            round.failed.push(error.into());
            Vec::new()
        });
        if are_all {
            self.tell_of_retentions(&names);
        }
        Tables { names, are_all }
    }

    /// All tables. The store is asked about each of them, so loops that ask at about the same time get one
    /// answer.
    async fn all(&self, age_max: Duration) -> Result<Vec<TableName>, LakeStoreError> {
        let asked = Instant::now();
        let mut newest = self.newest.lock().await;
        // One that was waited for is as good, however long it took.
        if let Some(look) = &*newest
            && (look.begun.elapsed() < age_max || (!age_max.is_zero() && look.ended >= asked))
        {
            return Ok(look.names.clone());
        }
        let begun = Instant::now();
        let names = self.lake.tables().await?;
        *newest = Some(Look {
            begun,
            ended: Instant::now(),
            names: names.clone(),
        });
        Ok(names)
    }

    async fn named(
        &self,
        only: &[TableName],
        round: &mut Round,
    ) -> Result<Vec<TableName>, LakeStoreError> {
        let mut names = Vec::new();
        for name in only {
            if self.lake.has_log(&name.changes_path()).await? {
                names.push(name.clone());
                continue;
            }
            let error = MaintenanceError::NotDerived {
                table: name.clone(),
                why: "there are no changes by this name; `lakehead status` and `system.tables` show those \
                      there are",
            };
            if self.is_news(name) {
                warn!(%error, "a table that was asked for is not there; it is looked for in each round");
            }
            round.failed.push(error);
        }
        Ok(names)
    }

    /// Changes are kept for ever where a retention names a table that there is not.
    fn tell_of_retentions(&self, all: &[TableName]) {
        if all.is_empty() {
            // Nothing was copied yet.
            return;
        }
        // It has its place beside the others.
        let watermarks = TableName::watermarks();
        for table in self.settings.retention_days.keys() {
            let is_known = all.contains(table) || *table == watermarks;
            if !is_known && self.is_news(table) {
                warn!(%table, "maintenance.retention_days has a table that is not in the lake, so it does \
                     nothing: if the name is wrong, the changes that it is meant for are kept for ever; \
                     `lakehead status` shows which tables there are");
            }
        }
    }

    /// Whether this is the first time that it is to be told that a name has no table.
    fn is_news(&self, name: &TableName) -> bool {
        let told = self.told.lock();
        let mut told = told.unwrap_or_else(PoisonError::into_inner);
        told.insert(name.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use object_store::ObjectStoreExt;
    use object_store::path::Path;
    use object_store::throttle::{ThrottleConfig, ThrottledStore};
    use tracing::span::{Attributes, Id, Record};
    use tracing::{Event, Level, Metadata, Subscriber};

    use super::*;
    use crate::{Entropy, Meter, MeteredStore, SystemClock};

    /// How many warnings this module gave.
    #[derive(Clone, Default)]
    struct Warnings(Arc<AtomicUsize>);

    impl Warnings {
        fn count(&self) -> usize {
            self.0.load(Ordering::SeqCst)
        }
    }

    impl Subscriber for Warnings {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            *metadata.level() == Level::WARN && metadata.target().ends_with("maintainer::tables")
        }

        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }

        fn record(&self, _: &Id, _: &Record<'_>) {}

        fn record_follows_from(&self, _: &Id, _: &Id) {}

        fn event(&self, _: &Event<'_>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }

        fn enter(&self, _: &Id) {}

        fn exit(&self, _: &Id) {}
    }

    fn named(name: &str) -> TableName {
        name.parse().unwrap()
    }

    /// A lake in memory, and who looks for tables in it.
    fn lake(settings: MaintenanceSettings) -> (LakeStore, Listing) {
        let lake = LakeStore::open("memory:///", &[], true).unwrap();
        let means = Means {
            lake: lake.clone(),
            clock: Arc::new(SystemClock),
            entropy: Arc::new(Entropy::seeded(1)),
            settings: Arc::new(settings),
            room: Arc::default(),
        };
        let listing = Listing::new(&means);
        (lake, listing)
    }

    async fn create(lake: &LakeStore, name: &str) {
        let store = lake.table_store(&named(name).changes_path());
        let entry = Path::from("_delta_log/00000000000000000000.json");
        store.put(&entry, "{}".into()).await.unwrap();
    }

    #[tokio::test]
    async fn a_table_that_is_asked_for_and_not_there_is_told_once() {
        let warnings = Warnings::default();
        let _guard = tracing::subscriber::set_default(warnings.clone());
        let (lake, listing) = lake(MaintenanceSettings::default());
        create(&lake, "shop.order").await;
        let only = ["shop.order", "shop.ordre", "shop.odrer"].map(named);
        for _ in 0..3 {
            let mut round = Round::default();
            let tables = listing.look(&only, Duration::ZERO, &mut round).await;
            assert_eq!(tables.names, [named("shop.order")]);
            assert_eq!((tables.are_all, round.failed.len()), (false, 2));
            assert_eq!(warnings.count(), 2);
        }
    }

    #[tokio::test]
    async fn a_retention_of_a_table_that_is_not_there_is_told_once() {
        let warnings = Warnings::default();
        let _guard = tracing::subscriber::set_default(warnings.clone());
        let names = ["shop.order", "shop.ordre", "lakehead.watermarks"];
        let (lake, listing) = lake(MaintenanceSettings {
            retention_days: names.map(|name| (named(name), 5)).into(),
            ..MaintenanceSettings::default()
        });
        let mut round = Round::default();
        listing.look(&[], Duration::ZERO, &mut round).await;
        assert_eq!(warnings.count(), 0, "nothing was copied yet");
        create(&lake, "shop.order").await;
        listing
            .look(&[named("shop.order")], Duration::ZERO, &mut round)
            .await;
        assert_eq!(warnings.count(), 0, "not all tables are known");
        for _ in 0..3 {
            listing.look(&[], Duration::ZERO, &mut round).await;
            assert_eq!(warnings.count(), 1);
        }
        assert!(round.failed.is_empty(), "{:?}", round.failed);
    }

    /// However long the store takes for it.
    #[tokio::test(start_paused = true)]
    async fn a_look_that_was_waited_for_is_not_taken_again() {
        let meter = Arc::new(Meter::default());
        let counted = Arc::clone(&meter);
        let (lake, mut listing) = lake(MaintenanceSettings::default());
        create(&lake, "shop.a").await;
        listing.lake = lake.map_store(|store| {
            let config = ThrottleConfig {
                wait_list_with_delimiter_per_call: Duration::from_secs(60),
                ..ThrottleConfig::default()
            };
            Arc::new(MeteredStore::new(
                Arc::new(ThrottledStore::new(store, config)),
                counted,
            ))
        });
        let moment = Duration::from_nanos(1);
        let (mut one, mut two, mut three) = Default::default();
        let looks = tokio::join!(
            listing.look(&[], moment, &mut one),
            listing.look(&[], moment, &mut two),
            listing.look(&[], moment, &mut three),
        );
        let requests = meter.requests();
        for tables in [looks.0, looks.1, looks.2] {
            assert_eq!(tables.names, [named("shop.a")]);
        }
        tokio::time::advance(moment).await;
        listing.look(&[], moment, &mut one).await;
        assert_eq!(meter.requests(), 2 * requests);
    }

    #[tokio::test(start_paused = true)]
    async fn loops_that_ask_at_about_the_same_time_get_one_answer() {
        let (lake, listing) = lake(MaintenanceSettings::default());
        let (minute, mut round) = (Duration::from_secs(60), Round::default());
        let mut counts = Vec::new();
        for (name, age_max) in [
            ("shop.a", minute),
            ("shop.b", minute),
            ("shop.c", Duration::ZERO),
        ] {
            create(&lake, name).await;
            let tables = listing.look(&[], age_max, &mut round).await;
            counts.push(tables.names.len());
        }
        create(&lake, "shop.d").await;
        tokio::time::advance(minute).await;
        let tables = listing.look(&[], minute, &mut round).await;
        counts.push(tables.names.len());
        assert_eq!(counts, [1, 1, 3, 4]);
    }
}
