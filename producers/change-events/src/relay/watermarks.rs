//! What is counted of each entity's events, and when a watermark may be published.
//!
//! The owner's clock is asked first, then the outbox ([`OutboxStore::horizon`]). Once it was read past
//! what that answered, up to where no transaction can add a row any more ([`OutboxBatch::safe`]), and
//! all that was read is acknowledged, everything that the owner committed up to that time is in Kafka.
//!
//! [`OutboxStore::horizon`]: crate::OutboxStore::horizon
//! [`OutboxBatch::safe`]: crate::OutboxBatch::safe

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use schemas::canonical::{self, EventSums, JsonRow, RowWriter};
use schemas::{Op, PartitionEnd};
use tokio::time::Instant;

use crate::outbox_store::{CountedEvents, Counting, Horizon, Position};
use crate::{Entity, OutboxRow, Record, Tally};

/// How soon it is asked again for a horizon that cannot be told.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// What a relay counts, and the horizon that it is on its way to.
#[derive(Debug)]
pub(super) struct Watermarks {
    interval: Duration,
    entities: BTreeMap<String, OfEntity>,
    /// Events that are sent and not yet acknowledged.
    sent: VecDeque<(i64, String, EventSums)>,
    through: i64,
    ahead: Option<Ahead>,
    /// When the horizon is asked for.
    look_at: Instant,
    /// Watermarks that are sent and not yet acknowledged.
    in_flight: Vec<i64>,
    writer: RowWriter,
}

#[derive(Debug)]
struct OfEntity {
    topic: String,
    row: JsonRow,
    tally: Tally,
    is_changed: bool,
}

/// A horizon on its way.
#[derive(Clone, Copy, Debug)]
struct Ahead {
    horizon: Horizon,
    /// All rows below it are read: with the acknowledgement of this sequence it is reached.
    read: Option<i64>,
}

impl Watermarks {
    /// Goes on counting where the position says. If it does not say, or events were published since
    /// without being counted, the count begins anew.
    pub(super) fn new(
        entities: &[Entity],
        source: &str,
        interval: Duration,
        position: &Position,
    ) -> Self {
        let confirmed = position.confirmed;
        let source: Arc<str> = source.into();
        let known = position.counting.as_ref();
        let of_entity = |entity: &Entity| {
            let name = entity.table.to_string();
            let before = known.and_then(|known| known.entities.get(&name));
            let whole = known.is_some_and(|known| known.through == confirmed);
            let counted = match before {
                Some(before) if whole => *before,
                before => CountedEvents {
                    after: confirmed,
                    sums: EventSums::default(),
                    complete_through_us: before.map_or(0, |before| before.complete_through_us),
                },
            };
            let of_entity = OfEntity {
                topic: entity.topic.clone(),
                row: JsonRow::new(&entity.contract),
                tally: Tally::new(
                    entity.table.clone(),
                    Arc::clone(&source),
                    counted,
                    confirmed,
                ),
                is_changed: true,
            };
            (name, of_entity)
        };
        Self {
            interval,
            entities: entities.iter().map(of_entity).collect(),
            sent: VecDeque::new(),
            through: confirmed,
            ahead: None,
            look_at: Instant::now() + interval,
            in_flight: Vec::new(),
            writer: RowWriter::default(),
        }
    }

    /// Takes in an event that was sent.
    pub(super) fn send(&mut self, row: &OutboxRow) {
        let Some(of_entity) = self.entities.get(&row.entity) else {
            return;
        };
        let image = match (row.op(), &row.after) {
            (Some(Op::Delete), _) | (_, None) => {
                self.writer.clear();
                self.writer.null();
                self.writer.hash()
            }
            // What is no row of the contract counts as its text: a lake that has made a row of it
            // is shown to differ.
            (_, Some(after)) => of_entity
                .row
                .hash(after, &mut self.writer)
                .unwrap_or_else(|_| canonical::hash(after.as_bytes())),
        };
        let mut sums = EventSums::default();
        sums.add(&row.event_id, image);
        self.sent.push_back((row.place, row.entity.clone(), sums));
    }

    /// Counts the events up to a sequence, which are acknowledged.
    pub(super) fn count(&mut self, through: i64) {
        while let Some((_, entity, sums)) = self
            .sent
            .pop_front_if(|(sequence, ..)| *sequence <= through)
        {
            if let Some(of_entity) = self.entities.get_mut(&entity) {
                of_entity.tally.add(&sums);
                of_entity.is_changed = true;
            }
        }
        self.through = through;
    }

    /// What is to be saved with the position; it counts as saved from now on.
    pub(super) fn take_changed(&mut self) -> Counting {
        let changed = self.entities.iter_mut().filter_map(|(name, of_entity)| {
            let was_changed = std::mem::take(&mut of_entity.is_changed);
            was_changed.then(|| (name.clone(), *of_entity.tally.counted()))
        });
        Counting {
            entities: changed.collect(),
            through: self.through,
        }
    }

    /// Whether a horizon is to be asked for now.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.ahead.is_none() && now >= self.look_at
    }

    /// Goes for a horizon; without one it is asked for again soon.
    pub(super) fn go_for(&mut self, horizon: Option<Horizon>, now: Instant) {
        self.ahead = horizon.map(|horizon| Ahead {
            horizon,
            read: None,
        });
        let wait = match horizon {
            Some(_) => Duration::ZERO,
            None => LOOK_INTERVAL,
        };
        self.look_at = now + wait;
    }

    /// Notes that every row up to `through` that is or will be there is read, `last` being the last
    /// of them, or one behind it.
    pub(super) fn read(&mut self, last: i64, through: i64) {
        if let Some(ahead) = &mut self.ahead
            && ahead.read.is_none()
            && through.max(last) >= ahead.horizon.drawn
        {
            ahead.read = Some(last);
        }
    }

    /// The time up to which everything is in Kafka, once it is.
    pub(super) fn reached(&mut self, acknowledged: i64, now: Instant) -> Option<i64> {
        let ahead = self.ahead?;
        ahead.read.filter(|last| *last <= acknowledged)?;
        self.ahead = None;
        self.look_at = now + self.interval;
        Some(ahead.horizon.time_us)
    }

    /// The watermarks of a time, of the entities of which `ends` answers where they end; they count
    /// as published from now on.
    pub(super) fn at(
        &mut self,
        time_us: i64,
        ends: impl Fn(&str, &str) -> Option<Vec<PartitionEnd>>,
    ) -> Vec<Record> {
        let mut records = Vec::new();
        for (name, of_entity) in &mut self.entities {
            let Some(ends) = ends(name, &of_entity.topic) else {
                continue;
            };
            if let Some(watermark) = of_entity.tally.mark(time_us, self.through, ends) {
                of_entity.is_changed = true;
                self.in_flight.push(time_us);
                records.push(Record::of_watermark(&watermark));
            }
        }
        records
    }

    /// Whether this is the number of a watermark in flight, which it is no more.
    pub(super) fn arrived(&mut self, number: i64) -> bool {
        let found = self.in_flight.iter().position(|time| *time == number);
        if let Some(place) = found {
            self.in_flight.swap_remove(place);
        }
        found.is_some()
    }

    pub(super) fn is_in_flight(&self) -> bool {
        !self.in_flight.is_empty()
    }
}

#[cfg(test)]
mod tests;
