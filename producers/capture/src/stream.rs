//! From the slot to Kafka: transactions in the order of their commits, change by change.
//!
//! Postgres sends a transaction when it is committed, from its own disk where it is large; each change
//! is published as it comes, so that a transaction takes no more memory than what is in flight. What is
//! confirmed is the end of the last transaction whose every record is acknowledged, and all before it.

use std::sync::Arc;

use change_events::timestamp::now_ms;
use change_events::{Record, TransactionEncoder};
use schemas::Op;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::copy::row_error;
use crate::faults::{Point, point};
use crate::health::Health;
use crate::horizon;
use crate::membership::PublishedTables;
use crate::outlet::Outlet;
use crate::pgoutput::{self, Message, OldRow, Tuple, Value};
use crate::relations::{Relations, StreamedTable};
use crate::session::{WalEvent, WalStream};
use crate::settings::OnTruncate;
use crate::state::State;
use crate::stop::Stop;
use crate::table_plan::{Change, Encoded, Origin, Place};
use crate::transaction::Transaction;
use crate::watermarks::Watermarks;
use crate::{CaptureError, CaptureProgress, CaptureSettings, Lsn};

/// A slot being read, until something ends it.
#[derive(Debug)]
pub(crate) struct Stream<'a, 'o> {
    pub(crate) settings: &'a CaptureSettings,
    pub(crate) state: &'a mut State,
    pub(crate) outlet: &'a mut Outlet<'o>,
    pub(crate) progress: &'a CaptureProgress,
    pub(crate) health: &'a mut Health,
    pub(crate) relations: Relations<'a>,
    pub(crate) published: PublishedTables,
    pub(crate) transactions: TransactionEncoder,
    pub(crate) wal: WalStream,
    /// None if nothing is counted.
    pub(crate) watermarks: Option<&'a mut Watermarks>,
    /// The transaction whose changes come now.
    pub(crate) open: Option<Transaction>,
    /// When what is acknowledged is confirmed next.
    pub(crate) confirm_at: Instant,
    /// When it is asked next whether all tables are published.
    pub(crate) look_at: Instant,
}

impl Stream<'_, '_> {
    /// Reads until cancelled, or until something fails. What was acknowledged is confirmed at the end.
    pub(crate) async fn run(mut self, cancel: &CancellationToken) -> Stop {
        self.health.up();
        let stop = loop {
            if let Err(stop) = self.turn(cancel).await {
                break stop;
            }
        };
        if matches!(stop, Stop::Cancelled) {
            self.last_mark().await;
        }
        // What stops the capture must not keep back what was sent before it.
        if !matches!(stop, Stop::Lost { what: "kafka", .. }) {
            let time_max = self.settings.limits.shutdown_time_max;
            if let Err(error) = self.outlet.drain(self.health, time_max).await {
                debug!(?error, "what was in flight at the end is left unconfirmed");
            }
        }
        if let Err(error) = self.confirm(true).await {
            debug!(?error, "the last position is left unconfirmed");
        }
        self.wal.close().await;
        stop
    }

    /// Takes one event, news of records, or the time to confirm.
    async fn turn(&mut self, cancel: &CancellationToken) -> Result<(), Stop> {
        let (has_room, is_open) = (self.outlet.has_room(), !self.outlet.window.is_empty());
        let event = tokio::select! {
            biased;
            () = cancel.cancelled() => return Err(Stop::Cancelled),
            () = sleep_until(self.confirm_at.min(self.look_at)) => None,
            heard = self.outlet.hear(self.health), if is_open => {
                heard?;
                None
            }
            event = self.wal.next(), if has_room => Some(event),
        };
        if let Some(event) = event {
            let event = event.map_err(|error| Stop::of_session(&self.settings.server, error))?;
            self.take(event).await?;
        }
        if Instant::now() >= self.confirm_at {
            let is_resting = self.outlet.window.is_empty() && self.open.is_none();
            self.confirm(is_resting).await?;
        }
        if Instant::now() >= self.look_at {
            self.check_published().await?;
        }
        self.mark().await
    }

    /// What the publication leaves out is not in the stream, and nothing in the stream says so.
    async fn check_published(&mut self) -> Result<(), Stop> {
        self.look_at = Instant::now() + self.settings.limits.watch_interval;
        let copies = &mut self.state.progress.copies;
        self.relations
            .check_published(&self.published, copies)
            .await
    }

    /// Saves the position, then tells Postgres: what the slot was told is never ahead of what we know.
    /// While nothing is sent, what is reserved for sending is given back.
    async fn confirm(&mut self, is_resting: bool) -> Result<(), Stop> {
        self.confirm_at = Instant::now() + self.settings.limits.confirm_interval;
        let confirmed = self.outlet.window.confirmed();
        let gives_back = is_resting && self.state.give_back();
        if confirmed <= self.state.progress.confirmed && !gives_back {
            return Ok(());
        }
        self.save(confirmed).await
    }

    async fn save(&mut self, confirmed: Lsn) -> Result<(), Stop> {
        let progress = &mut self.state.progress;
        progress.confirmed = progress.confirmed.max(confirmed);
        progress.note_offsets(self.outlet.offsets.take_changed());
        progress.counted = self
            .watermarks
            .as_mut()
            .map(|watermarks| watermarks.count(confirmed));
        for copy in progress.copies.values_mut() {
            copy.settle(confirmed);
        }
        self.state.save().await?;
        point(Point::PositionSaved);
        self.wal.confirm(confirmed);
        self.progress.confirm(confirmed);
        Ok(())
    }

    /// Asks for a horizon when one is due, and publishes the watermarks of one that is reached.
    async fn mark(&mut self) -> Result<(), Stop> {
        let now = Instant::now();
        let Some(watermarks) = &mut self.watermarks else {
            return Ok(());
        };
        if watermarks.is_due(now) {
            let asked =
                horizon::ask(self.relations.session(), &mut watermarks.is_hidden_told).await;
            let horizon = asked.map_err(|error| Stop::of_session(&self.settings.server, error))?;
            watermarks.go_for(horizon, now);
        }
        let confirmed = self.outlet.window.confirmed();
        let Some(time_us) = watermarks.reached(confirmed, now) else {
            return Ok(());
        };
        // Now that it is reached: a change of the publication that has kept something from the stream up to
        // here and is not seen yet was open, or had not begun, when the horizon was asked for.
        self.check_published().await?;
        let Some(watermarks) = &mut self.watermarks else {
            return Ok(());
        };
        watermarks.count(confirmed);
        let (offsets, progress) = (&self.outlet.offsets, &self.state.progress);
        let records = watermarks.at(time_us, confirmed, |topic| {
            let is_known = progress.knows_offsets_of(topic);
            is_known.then(|| offsets.ends(topic)).flatten()
        });
        if records.is_empty() {
            return Ok(());
        }
        // None goes back, whatever becomes of these.
        self.save(confirmed).await?;
        records
            .into_iter()
            .try_for_each(|record| self.outlet.send(record))
    }

    /// Says, before the capture ends, what is complete; for that it reads on to where the log ends now.
    async fn last_mark(&mut self) {
        let Some(watermarks) = &mut self.watermarks else {
            return;
        };
        watermarks.hurry(Instant::now());
        let time_max = self.settings.limits.shutdown_time_max;
        let reading = async {
            let never = CancellationToken::new();
            while self
                .watermarks
                .as_ref()
                .is_some_and(|watermarks| !watermarks.rests(Instant::now()))
            {
                self.turn(&never).await?;
            }
            Ok::<_, Stop>(())
        };
        match timeout(time_max, reading).await {
            Ok(Ok(())) => {}
            ended => debug!(?ended, "the last watermark is left out"),
        }
    }

    async fn take(&mut self, event: WalEvent) -> Result<(), Stop> {
        match event {
            WalEvent::Begin {
                commit_lsn,
                xid,
                commit_time_us,
            } => {
                self.state.reserve(commit_lsn).await?;
                self.open = Some(Transaction::begin(commit_lsn, xid, commit_time_us));
                Ok(())
            }
            WalEvent::Message { lsn, bytes } => self.message(lsn, &bytes).await,
            WalEvent::Commit { end_lsn } => self.commit(end_lsn),
            WalEvent::Idle { wal_end } => {
                if self.open.is_none() {
                    self.outlet.window.idle(wal_end);
                }
                Ok(())
            }
        }
    }

    fn commit(&mut self, end_lsn: Lsn) -> Result<(), Stop> {
        if let Some(transaction) = self.open.take()
            && transaction.events() > 0
        {
            let (mark, counts) = (transaction.end_mark(), transaction.events_of_table());
            self.outlet.send(self.transactions.end(mark, counts))?;
            point(Point::TransactionPublished);
        }
        if let Some(watermarks) = &mut self.watermarks {
            watermarks.end_transaction(end_lsn);
        }
        self.outlet.window.end_transaction(end_lsn);
        Ok(())
    }

    async fn message(&mut self, lsn: Lsn, bytes: &[u8]) -> Result<(), Stop> {
        let message = pgoutput::decode(bytes).map_err(|error| protocol(lsn, error.to_string()))?;
        match message {
            Message::Relation(relation) => {
                let transaction = self.open.as_ref();
                let commit_lsn = transaction.map_or(lsn, |transaction| transaction.commit_lsn);
                self.relations.learn(&relation, commit_lsn).await
            }
            Message::Insert { relation, new } => self.change(lsn, relation, Row::inserted(&new)),
            Message::Update { relation, old, new } => {
                self.change(lsn, relation, Row::updated(old.as_ref(), &new))
            }
            Message::Delete { relation, old } => self.change(lsn, relation, Row::deleted(&old)),
            Message::Truncate { relations } => self.truncate(lsn, &relations),
            Message::Other => Ok(()),
        }
    }

    fn truncate(&mut self, lsn: Lsn, relations: &[u32]) -> Result<(), Stop> {
        for relation in relations {
            let Some(table) = self.relations.get(*relation).flatten() else {
                continue;
            };
            let table = table.name.clone();
            if self.settings.on_truncate == OnTruncate::Stop {
                return Err(CaptureError::Truncated { table, lsn }.into());
            }
            warn!(table, %lsn, "the table was truncated; the lake keeps its rows");
        }
        Ok(())
    }

    /// Publishes a change: two events if it changed the key, none if the table is not captured or the
    /// change is in its first copy.
    fn change(&mut self, lsn: Lsn, relation: u32, row: Row<'_>) -> Result<(), Stop> {
        let table = self.relations.get(relation).map(Option::<&_>::cloned);
        let table =
            table.ok_or_else(|| protocol(lsn, format!("relation {relation} was not told")))?;
        let transaction = self.open.as_ref();
        let commit_lsn = transaction.map(|transaction| transaction.commit_lsn);
        let commit_lsn = commit_lsn
            .ok_or_else(|| protocol(lsn, "a change outside of a transaction".to_owned()))?;
        if let Some(table) = table {
            match (row.before, row.after) {
                (Some(before), Some(after)) if table.plan.key_differs(before, after) => {
                    let delete = row.event(Op::Delete, Some(before), None);
                    let create = row.event(Op::Create, None, Some(after));
                    self.event(lsn, commit_lsn, &table, delete, false)?;
                    self.event(lsn, commit_lsn, &table, create, true)?;
                }
                (before, after) => {
                    // The key alone is not the row that was updated.
                    let before = match row.op {
                        Op::Update => row.whole_before,
                        _ => before,
                    };
                    let event = row.event(row.op, before, after);
                    self.event(lsn, commit_lsn, &table, event, false)?;
                }
            }
        }
        if let Some(transaction) = &mut self.open {
            transaction.count_change();
        }
        Ok(())
    }

    /// Publishes one event; the first one of its transaction behind the transaction's begin.
    fn event(
        &mut self,
        lsn: Lsn,
        commit_lsn: Lsn,
        table: &Arc<StreamedTable>,
        change: Change<'_>,
        second: bool,
    ) -> Result<(), Stop> {
        let plan = &table.plan;
        if table.parts.reach(commit_lsn) {
            let key = plan.key_texts(change).unwrap_or_default();
            if table.parts.have(&key, commit_lsn, &plan.key_order) {
                return Ok(());
            }
        }
        let Some(transaction) = &mut self.open else {
            return Ok(());
        };
        if transaction.events() == 0 {
            let begin = self.transactions.begin(transaction.begin_mark());
            self.outlet.send(begin)?;
        }
        let (total_order, data_collection_order) = transaction.count_event(&table.name);
        let sequence = transaction.sequence(second);
        let origin = Origin {
            lsn: lsn.signed(),
            commit_time_us: transaction.commit_time_us,
            transaction: Some(Place {
                xid: transaction.xid,
                id: &transaction.id,
                total_order,
                data_collection_order,
            }),
            sequence,
            published_ms: now_ms(),
        };
        let encoded = plan.encode(change, origin);
        let encoded = encoded.map_err(|error| row_error(plan, change.keyed(), lsn, error))?;
        if let Some(watermarks) = &mut self.watermarks {
            watermarks.send(plan, sequence, &encoded);
        }
        let Encoded { key, value, .. } = encoded;
        self.outlet.send(Record {
            number: 0,
            sequence,
            topic: Arc::clone(&plan.topic),
            source: Arc::clone(&plan.source),
            event_type: Arc::clone(&plan.event_type),
            event_id: sequence.to_string(),
            time: transaction.time.clone(),
            key,
            value,
        })?;
        point(Point::TransactionOpen);
        Ok(())
    }
}

/// What a message says of a row.
#[derive(Clone, Copy, Debug)]
struct Row<'a> {
    op: Op,
    before: Option<&'a [Value<'a>]>,
    after: Option<&'a [Value<'a>]>,
    /// The row before, if all of it was logged.
    whole_before: Option<&'a [Value<'a>]>,
}

impl<'a> Row<'a> {
    fn inserted(new: &'a Tuple<'a>) -> Self {
        Self {
            op: Op::Create,
            before: None,
            after: Some(new),
            whole_before: None,
        }
    }

    fn updated(old: Option<&'a OldRow<'a>>, new: &'a Tuple<'a>) -> Self {
        Self {
            op: Op::Update,
            after: Some(new),
            ..Self::before(old)
        }
    }

    fn deleted(old: &'a OldRow<'a>) -> Self {
        Self {
            op: Op::Delete,
            ..Self::before(Some(old))
        }
    }

    fn before(old: Option<&'a OldRow<'a>>) -> Self {
        Self {
            op: Op::Delete,
            before: old.map(|old| old.values.as_slice()),
            after: None,
            whole_before: old
                .filter(|old| old.is_whole)
                .map(|old| old.values.as_slice()),
        }
    }

    fn event(
        &self,
        op: Op,
        before: Option<&'a [Value<'a>]>,
        after: Option<&'a [Value<'a>]>,
    ) -> Change<'a> {
        Change {
            op,
            before,
            after,
            whole_before: self.whole_before,
        }
    }
}

fn protocol(lsn: Lsn, why: String) -> Stop {
    Stop::Error(CaptureError::Protocol { lsn, why })
}
