//! From an owner's tables to Kafka: the life of a capture.

use std::collections::BTreeMap;
use std::sync::Arc;

use change_events::{Broker, Connected, TransactionEncoder};
use schemas::{SchemaRegistry, WATERMARKS_TOPIC};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::copy::{Copy, Parts};
use crate::health::Health;
use crate::horizon;
use crate::membership::PublishedTables;
use crate::outlet::Outlet;
use crate::owned_table::OwnedTable;
use crate::pg_type::Types;
use crate::publication::{self, PublicationError};
use crate::relations::Relations;
use crate::session::{Session, SessionError, WalStream};
use crate::slot::{self, SlotError};
use crate::slot_watch::SlotWatch;
use crate::state::State;
use crate::stop::Stop;
use crate::stream::Stream;
use crate::table_copy;
use crate::table_plan::{Publishing, TablePlan};
use crate::watermarks::Watermarks;
use crate::{CaptureError, CaptureProgress, CaptureSettings, Lsn};

/// Publishes the changes of a service's tables. See the crate's documentation for what it guarantees.
#[derive(Debug)]
pub struct Capture {
    settings: CaptureSettings,
    state: State,
    broker: Arc<dyn Broker>,
    registry: Arc<dyn SchemaRegistry>,
    progress: Arc<CaptureProgress>,
}

/// The owner's database, looked at.
#[derive(Debug)]
struct Prepared {
    session: Session,
    owned: Vec<OwnedTable>,
    types: Types,
    published: PublishedTables,
}

impl Capture {
    /// Takes the capture's directory; nothing is connected yet.
    pub fn open(
        settings: CaptureSettings,
        broker: Arc<dyn Broker>,
        registry: Arc<dyn SchemaRegistry>,
    ) -> Result<Self, CaptureError> {
        let mut problems = Vec::new();
        settings.validate(&mut problems);
        if !problems.is_empty() {
            return Err(CaptureError::Settings(problems.join("; ")));
        }
        let state = State::open(&settings.directory)?;
        let progress = Arc::new(CaptureProgress::default());
        progress.confirm(state.progress.confirmed);
        Ok(Self {
            settings,
            state,
            broker,
            registry,
            progress,
        })
    }

    /// The capture's counters; they stay readable while it runs.
    pub fn progress(&self) -> Arc<CaptureProgress> {
        Arc::clone(&self.progress)
    }

    /// The place in the log behind everything that is committed now. Does not wait for a server that is
    /// away.
    pub async fn committed(&self) -> Result<Lsn, CaptureError> {
        let ask = async {
            let mut session = Session::open(&self.settings.access()).await?;
            horizon::end(&mut session).await
        };
        ask.await
            .map_err(|error: SessionError| CaptureError::Postgres {
                server: self.settings.server.to_string(),
                why: error.to_string(),
            })
    }

    /// Captures until `cancel`: then what is in flight is waited for (bounded by
    /// [`crate::CaptureLimits::shutdown_time_max`]) and confirmed.
    ///
    /// Postgres, Kafka or the registry being away is waited for, however long it takes, and said once
    /// per change. An error is something that waiting does not mend; everything up to
    /// [`CaptureProgress::confirmed`] is published then.
    pub async fn run(mut self, cancel: CancellationToken) -> Result<(), CaptureError> {
        let mut health = Health::new(&self.settings.slot);
        loop {
            let stop = self.connection(&cancel, &mut health).await;
            self.progress.stream(false);
            match stop {
                Stop::Cancelled => return Ok(()),
                Stop::Error(error) => return Err(error),
                Stop::Lost { what, why } => health.down(what, &why),
            }
            if health.rest(&cancel).await {
                return Ok(());
            }
        }
    }

    /// Works until a connection is lost or the capture ends.
    async fn connection(&mut self, cancel: &CancellationToken, health: &mut Health) -> Stop {
        let prepared = tokio::select! {
            prepared = self.prepare() => prepared,
            () = cancel.cancelled() => return Stop::Cancelled,
        };
        let (prepared, connected) = match prepared {
            Ok(prepared) => prepared,
            Err(stop) => return stop,
        };
        let progress = Arc::clone(&self.progress);
        let limits = self.settings.limits.clone();
        let mut outlet = Outlet::new(
            connected.publisher,
            &self.state.progress,
            &limits,
            &progress,
        );
        let stop = self.publish(prepared, &mut outlet, cancel, health).await;
        outlet.close().await;
        match stop {
            Ok(stop) | Err(stop) => stop,
        }
    }

    /// Connects, and makes sure that everything is there and what it was.
    async fn prepare(&mut self) -> Result<(Prepared, Connected), Stop> {
        let settings = &self.settings;
        let server = &settings.server;
        let mut session = Session::open(&settings.access())
            .await
            .map_err(|error| Stop::of_session(server, error))?;
        let slot_stop = |error| match error {
            SlotError::Session(error) => Stop::of_session(server, error),
            SlotError::Slot(error) => Stop::Error(error),
        };
        slot::check_system(&mut session, settings, &mut self.state)
            .await
            .map_err(slot_stop)?;
        let (mut types, mut owned) = (Types::default(), Vec::new());
        for table in &settings.tables {
            let found = OwnedTable::look_up(&mut session, table, &mut types).await;
            owned.push(found.map_err(|error| error.into_stop(server))?);
        }
        publication::ensure(&mut session, settings, &self.state.progress.copies)
            .await
            .map_err(|error| match error {
                PublicationError::Session(error) => Stop::of_session(server, error),
                PublicationError::Publication(error) => Stop::Error(error),
            })?;
        slot::ensure(&mut session, settings, &mut self.state)
            .await
            .map_err(slot_stop)?;
        table_copy::enroll(&mut self.state.progress.copies, &owned)?;
        let published = PublishedTables::prepare(&mut session, settings, &owned)
            .await
            .map_err(|error| Stop::of_session(server, error))?;
        // Before the copy: how a table is in the publication is known for all that is read of its changes.
        published
            .check(&mut session, &mut self.state.progress.copies)
            .await
            .map_err(|error| error.into_stop(server))?;
        self.state.progress.forget_fallen(&settings.tables);
        let mut topics: Vec<String> = settings
            .tables
            .iter()
            .map(crate::CapturedTable::topic)
            .collect();
        topics.push(TransactionEncoder::topic(&settings.service));
        match settings.watermark_interval {
            None => self.state.progress.counted = None,
            Some(_) => topics.push(WATERMARKS_TOPIC.to_owned()),
        }
        let mut connected = self.broker.connect(&topics).await?;
        // Watermarks have no order that partitions would keep.
        connected.partitions.remove(WATERMARKS_TOPIC);
        self.check_cluster(connected.cluster.as_deref(), &connected.partitions)
            .await?;
        let prepared = Prepared {
            session,
            owned,
            types,
            published,
        };
        Ok((prepared, connected))
    }

    /// Refuses another cluster, and topics whose keys would change partition; remembers both.
    async fn check_cluster(
        &mut self,
        cluster: Option<&str>,
        partitions: &BTreeMap<String, i32>,
    ) -> Result<(), Stop> {
        let progress = &mut self.state.progress;
        if let (Some(known), Some(found)) = (&progress.cluster, cluster)
            && known != found
        {
            return Err(Stop::Error(CaptureError::ClusterChanged {
                known: known.clone(),
                found: found.to_owned(),
            }));
        }
        for (topic, found) in partitions {
            let known = *progress.partitions.entry(topic.clone()).or_insert(*found);
            if known != *found {
                return Err(Stop::Error(CaptureError::PartitionsChanged {
                    topic: topic.clone(),
                    known,
                    found: *found,
                }));
            }
        }
        if progress.cluster.is_none() {
            progress.cluster = cluster.map(str::to_owned);
        }
        Ok(self.state.save().await?)
    }

    /// Copies what is not copied yet, then streams.
    async fn publish(
        &mut self,
        prepared: Prepared,
        outlet: &mut Outlet<'_>,
        cancel: &CancellationToken,
        health: &mut Health,
    ) -> Result<Stop, Stop> {
        let Prepared {
            mut session,
            owned,
            types,
            published,
        } = prepared;
        session.end_with(cancel);
        let source: Arc<str> = self.state.progress.source.as_str().into();
        let publishing = Publishing {
            server: &self.settings.server,
            source: &source,
            registry: &*self.registry,
        };
        let service = &self.settings.service;
        let transactions = TransactionEncoder::prepare(service, &source, &*self.registry).await;
        let transactions = transactions
            .map_err(|error| Stop::of_registry(TransactionEncoder::topic(service), error))?;
        // From here on the log that Postgres keeps for us grows.
        let progress = Arc::clone(&self.progress);
        let access = self.settings.access();
        let _watch = SlotWatch::start(
            access.clone(),
            self.settings.limits.watch_interval,
            move |retained, end| {
                progress.retain(retained);
                progress.see_end(end);
            },
        );
        let mut plans = Vec::new();
        for table in &owned {
            let copy = self.state.progress.copies.get(&table.settings.topic());
            if !copy.is_some_and(|copy| copy.is_done) {
                let columns = table.columns.clone();
                let plan =
                    TablePlan::prepare(&table.settings, columns, &table.key, &types, publishing);
                plans.push(plan.await?);
            }
        }
        let interval = self.settings.watermark_interval;
        let mut watermarks = interval
            .map(|interval| Watermarks::new(interval, &self.settings.tables, &self.state.progress));
        if let Some(watermarks) = &watermarks {
            // Where counting begins is known before anything is sent.
            self.state.progress.counted = Some(watermarks.counted());
            self.state.save().await?;
        }
        let mut copy = Copy {
            settings: &self.settings,
            state: &mut self.state,
            outlet,
            progress: &self.progress,
            health,
            cancel,
            watermarks: watermarks.as_mut(),
        };
        tokio::select! {
            copied = copy.run(&plans) => copied?,
            // What is on its way is published again at the next start.
            () = cancel.cancelled() => return Ok(Stop::Cancelled),
        }
        let owned = owned.into_iter().map(|table| {
            let copy = self.state.progress.copies.get(&table.settings.topic());
            let parts = copy.map(|copy| copy.parts.as_slice()).unwrap_or_default();
            let parts = Parts::new(parts);
            (table, parts)
        });
        let relations = Relations::new(publishing, session, types, owned.collect());
        let wal = WalStream::open(&access, self.state.progress.confirmed)
            .await
            .map_err(|error| Stop::of_session(&self.settings.server, error))?;
        self.progress.stream(true);
        let stream = Stream {
            settings: &self.settings,
            state: &mut self.state,
            outlet,
            progress: &self.progress,
            health,
            relations,
            published,
            transactions,
            wal,
            watermarks: watermarks.as_mut(),
            open: None,
            confirm_at: Instant::now() + self.settings.limits.confirm_interval,
            look_at: Instant::now(),
        };
        Ok(stream.run(cancel).await)
    }
}
