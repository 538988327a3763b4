//! The outbox's rows as the slot gives them.

use std::collections::{BTreeMap, VecDeque};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use change_events::{OutboxError, OutboxLog, OutboxRow, TransactionPlace};

use super::passed::Passed;
use super::session_error;
use crate::Lsn;
use crate::pgoutput::{self, Malformed, Message, Relation, Value};
use crate::session::{LogAccess, SessionError, WalEvent, WalStream};

/// What is held of rows that were not asked for yet.
const ROWS_MAX: usize = 4_000;
const BYTES_MAX: usize = 8 << 20;

/// A slot being read.
#[derive(Debug)]
pub(super) struct LogReader {
    wal: WalStream,
    pub(super) passed: Passed,
    /// Rows with sequences up to this one were polled.
    handed_over: i64,
    /// The outbox's relation and its columns, once they are told.
    outbox: Option<(u32, Arc<Columns>)>,
    rows: VecDeque<Logged>,
    bytes: usize,
    is_open: bool,
    /// The last of the rows is one of the open transaction: whether it is its last one shows later.
    holds_last: bool,
    /// What was committed before it is taken.
    seen: Lsn,
    /// What ended the stream, to be told when the rows before it are.
    ended: Option<SessionError>,
}

/// A row that was taken and may be asked for.
#[derive(Debug)]
struct Logged {
    place: i64,
    columns: Arc<Columns>,
    message: Bytes,
    /// Whether it is the last of its transaction.
    is_last: bool,
}

/// At which place of a row's values the outbox's columns are.
#[derive(Debug, PartialEq, Eq)]
struct Columns {
    sequence: usize,
    id: usize,
    entity: usize,
    key: usize,
    kind: usize,
    after: usize,
    before: usize,
    event_time_us: usize,
    /// Number, first sequence, order and counts, where the outbox tells them.
    transaction: Option<[usize; 4]>,
}

impl LogReader {
    pub(super) async fn open(access: &LogAccess, log: &OutboxLog) -> Result<Self, SessionError> {
        let from = Lsn(log.lsn.unsigned_abs());
        Ok(Self {
            wal: WalStream::open(access, from).await?,
            passed: Passed::of(log),
            handed_over: log.handed_over.unwrap_or_default(),
            outbox: None,
            rows: VecDeque::new(),
            bytes: 0,
            is_open: false,
            holds_last: false,
            seen: from,
            ended: None,
        })
    }

    /// Lets go of rows up to a place, which nobody will ask for again.
    pub(super) fn forget(&mut self, place: i64) {
        while let Some(row) = self.rows.pop_front_if(|row| row.place <= place) {
            self.bytes -= row.message.len();
        }
    }

    /// Takes what is there, without waiting.
    pub(super) fn fill(&mut self) -> Result<(), OutboxError> {
        while self.has_room() {
            // The channel's own limit is the bound of how long this takes.
            let polled = {
                let next = pin!(tokio::task::unconstrained(self.wal.next()));
                next.poll(&mut Context::from_waker(Waker::noop()))
            };
            match polled {
                Poll::Pending => break,
                Poll::Ready(Ok(event)) => self.take(event)?,
                Poll::Ready(Err(error)) => self.ended = Some(error),
            }
        }
        // A row that is held back is not waited for: nothing comes behind it any more.
        if self.available() == 0
            && let Some(error) = self.ended.take()
        {
            return Err(session_error(error));
        }
        Ok(())
    }

    /// Waits until there is a row behind a place, or until everything before `until` is taken. May be
    /// dropped while it waits.
    pub(super) async fn wait(&mut self, place: i64, until: Option<Lsn>) -> Result<(), OutboxError> {
        loop {
            let last = self.available().checked_sub(1);
            let last = last.and_then(|last| self.rows.get(last));
            let has_row = last.is_some_and(|row| row.place > place);
            let is_there = until.is_some_and(|until| self.seen >= until);
            if has_row && until.is_none() || is_there || !self.has_room() {
                return Ok(());
            }
            match self.wal.next().await {
                Ok(event) => self.take(event)?,
                Err(error) => self.ended = Some(error),
            }
        }
    }

    /// A row that is held back is let go by what comes behind it, however large it is.
    fn has_room(&self) -> bool {
        let has_room = self.rows.len() < ROWS_MAX && self.bytes < BYTES_MAX;
        self.ended.is_none() && (has_room || self.available() == 0)
    }

    fn available(&self) -> usize {
        self.rows.len() - usize::from(self.holds_last)
    }

    /// The first rows that are there; whether these are all.
    pub(super) fn rows(&self, limit: usize) -> Result<(Vec<OutboxRow>, bool), OutboxError> {
        let available = self.available();
        let rows = self.rows.iter().take(limit.min(available));
        let rows: Result<Vec<OutboxRow>, Malformed> = rows.map(Logged::read).collect();
        let rows = rows.map_err(malformed)?;
        let is_all = rows.len() == available;
        Ok((rows, is_all))
    }

    fn take(&mut self, event: WalEvent) -> Result<(), OutboxError> {
        match event {
            WalEvent::Begin { .. } => self.is_open = true,
            WalEvent::Message { bytes, .. } => self.message(bytes).map_err(malformed)?,
            WalEvent::Commit { end_lsn } => {
                self.is_open = false;
                if std::mem::take(&mut self.holds_last)
                    && let Some(last) = self.rows.back_mut()
                {
                    last.is_last = true;
                }
                self.seen = self.seen.max(end_lsn);
                self.passed.end_transaction(end_lsn);
            }
            WalEvent::Idle { wal_end } if !self.is_open => self.seen = self.seen.max(wal_end),
            WalEvent::Idle { .. } => {}
        }
        Ok(())
    }

    fn message(&mut self, bytes: Bytes) -> Result<(), Malformed> {
        match pgoutput::decode(&bytes)? {
            Message::Relation(relation) if is_outbox(&relation) => {
                self.outbox = Some((relation.id, Arc::new(Columns::of(&relation)?)));
            }
            Message::Insert { relation, new } => {
                let of_outbox = self.outbox.as_ref().filter(|(id, _)| *id == relation);
                let Some((_, columns)) = of_outbox else {
                    return Ok(());
                };
                let sequence = number(&new, columns.sequence)?;
                // What was polled before the slot took over has no place.
                if sequence > self.handed_over
                    && let Some(place) = self.passed.take(sequence)
                {
                    self.bytes += bytes.len();
                    self.rows.push_back(Logged {
                        place,
                        columns: Arc::clone(columns),
                        message: bytes,
                        is_last: false,
                    });
                    self.holds_last = true;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Whether a part of a transaction is taken.
    pub(super) fn is_open(&self) -> bool {
        self.is_open
    }

    pub(super) fn seen(&self) -> Lsn {
        self.seen
    }

    /// Lets Postgres forget what is before the end that is saved.
    pub(super) fn confirm(&self, end: Lsn) {
        self.wal.confirm(end);
    }

    pub(super) async fn close(self) {
        self.wal.close().await;
    }
}

impl Logged {
    fn read(&self) -> Result<OutboxRow, Malformed> {
        let Message::Insert { new, .. } = pgoutput::decode(&self.message)? else {
            return Err(Malformed("a row is no insert any more".to_owned()));
        };
        let columns = &*self.columns;
        let text = |column| text(&new, column).map(|text| text.unwrap_or_default().to_owned());
        let image = |column| text_of(&new, column);
        let mut row = OutboxRow {
            sequence: number(&new, columns.sequence)?,
            place: self.place,
            event_id: text(columns.id)?,
            entity: text(columns.entity)?,
            event_time_us: number(&new, columns.event_time_us)?,
            key: text(columns.key)?,
            before: image(columns.before)?,
            after: image(columns.after)?,
            ..OutboxRow::default()
        };
        row.set_type(&text(columns.kind)?);
        row.transaction = self.transaction(&new, &row.entity)?;
        Ok(row)
    }

    fn transaction(
        &self,
        values: &[Value<'_>],
        entity: &str,
    ) -> Result<Option<TransactionPlace>, Malformed> {
        let Some([id, first, order, counts]) = self.columns.transaction else {
            return Ok(None);
        };
        let (Some(id), Some(first), Some(counts)) = (
            text(values, id)?,
            text(values, first)?,
            text(values, counts)?,
        ) else {
            return Ok(None);
        };
        let counts: BTreeMap<String, i64> =
            serde_json::from_str(counts).map_err(|error| Malformed(error.to_string()))?;
        Ok(Some(TransactionPlace {
            id: format!("{id}:{first}"),
            total_order: number(values, order)?,
            entity_order: counts.get(entity).copied().unwrap_or_default(),
            ended: self.is_last.then_some(counts),
        }))
    }
}

impl Columns {
    fn of(relation: &Relation<'_>) -> Result<Self, Malformed> {
        let place = |name: &str| {
            let mut columns = relation.columns.iter();
            let place = columns.position(|column| column.name == name);
            place.ok_or_else(|| Malformed(format!("lakehead.outbox has no column {name}")))
        };
        let transaction = [
            place("transaction_id"),
            place("transaction_first"),
            place("transaction_order"),
            place("transaction_counts"),
        ];
        let transaction = match transaction {
            [Ok(id), Ok(first), Ok(order), Ok(counts)] => Some([id, first, order, counts]),
            _ => None,
        };
        Ok(Self {
            transaction,
            sequence: place("sequence")?,
            id: place("id")?,
            entity: place("aggregatetype")?,
            key: place("aggregateid")?,
            kind: place("type")?,
            after: place("payload")?,
            before: place("before")?,
            event_time_us: place("event_time_us")?,
        })
    }
}

fn is_outbox(relation: &Relation<'_>) -> bool {
    (relation.schema, relation.name) == ("lakehead", "outbox")
}

fn text<'a>(values: &[Value<'a>], column: usize) -> Result<Option<&'a str>, Malformed> {
    match values.get(column) {
        Some(Value::Null) => Ok(None),
        Some(Value::Text(text)) => std::str::from_utf8(text)
            .map(Some)
            .map_err(|error| Malformed(error.to_string())),
        found => Err(Malformed(format!("value {column} of a row is {found:?}"))),
    }
}

fn text_of(values: &[Value<'_>], column: usize) -> Result<Option<String>, Malformed> {
    Ok(text(values, column)?.map(str::to_owned))
}

fn number(values: &[Value<'_>], column: usize) -> Result<i64, Malformed> {
    let text = text(values, column)?.unwrap_or_default();
    text.parse()
        .map_err(|_| Malformed(format!("{text:?} is no number")))
}

fn malformed(error: Malformed) -> OutboxError {
    OutboxError::new("read by replication", false, error)
}
