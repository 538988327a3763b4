//! The events of one source of an entity, added up for its watermarks.

use std::sync::Arc;

use schemas::canonical::{self, EventSums};
use schemas::{Counted, PartitionEnd, TableName, WATERMARKS_TOPIC, Watermark};

use crate::Record;
use crate::outbox_store::CountedEvents;
use crate::timestamp;

/// The type of a watermark's event.
const EVENT_TYPE: &str = "lakehead.watermark";

/// What a source's events of an entity add up to, and what was said of it last.
#[derive(Clone, Debug)]
pub struct Tally {
    entity: TableName,
    source: Arc<str>,
    counted: CountedEvents,
    /// The events since the last watermark of this connection.
    interval: Counted,
}

impl Tally {
    /// Goes on from what was counted up to the sequence `through`.
    pub fn new(entity: TableName, source: Arc<str>, counted: CountedEvents, through: i64) -> Self {
        Self {
            entity,
            source,
            counted,
            interval: Counted {
                after: through,
                sums: EventSums::default(),
            },
        }
    }

    /// Adds events that are acknowledged.
    pub fn add(&mut self, sums: &EventSums) {
        self.counted.sums.join(sums);
        self.interval.sums.join(sums);
    }

    /// What is to be kept of it.
    pub fn counted(&self) -> &CountedEvents {
        &self.counted
    }

    /// The watermark of a time, all up to it being counted up to `through`; it counts as published from
    /// now on. `None` if the last one was not earlier.
    pub fn mark(
        &mut self,
        time_us: i64,
        through: i64,
        ends: Vec<PartitionEnd>,
    ) -> Option<Watermark> {
        if time_us <= self.counted.complete_through_us {
            return None;
        }
        self.counted.complete_through_us = time_us;
        let next = Counted {
            after: through,
            sums: EventSums::default(),
        };
        Some(Watermark {
            entity: self.entity.clone(),
            source: self.source.to_string(),
            complete_through_us: time_us,
            through,
            ends,
            canonical_version: canonical::VERSION,
            total: Counted {
                after: self.counted.after,
                sums: self.counted.sums,
            },
            interval: std::mem::replace(&mut self.interval, next),
        })
    }
}

impl Record {
    /// A watermark as an event of a source of its own, which rises with the owner's time; its number is
    /// that time.
    pub fn of_watermark(watermark: &Watermark) -> Self {
        let Watermark {
            entity,
            source,
            complete_through_us,
            ..
        } = watermark;
        Self {
            number: *complete_through_us,
            sequence: (*complete_through_us).into(),
            topic: WATERMARKS_TOPIC.into(),
            source: format!("{source}/watermarks/{entity}").into(),
            event_type: EVENT_TYPE.into(),
            event_id: format!("{source}/watermarks/{entity}/{complete_through_us}"),
            time: timestamp::rfc3339_or_epoch(*complete_through_us),
            key: watermark.key().into_bytes(),
            value: watermark.to_json().into_bytes(),
        }
    }
}
