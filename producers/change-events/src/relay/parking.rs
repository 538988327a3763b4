//! Which keys wait because a row of theirs cannot be published.

use std::collections::HashMap;

use crate::outbox_store::{OutboxStore, ParkedRow};
use crate::{RelayError, RelayLimits, RelayProgress};

/// The parked keys of an outbox. Bounded by [`RelayLimits::parked_rows_max`].
#[derive(Debug, Default)]
pub(super) struct Parking {
    /// By entity and key.
    keys: HashMap<String, HashMap<Vec<u8>, Span>>,
    rows: u64,
    rows_max: u32,
}

/// The first and the last sequence that is parked.
#[derive(Clone, Copy, Debug)]
struct Span {
    first: i64,
    last: i64,
}

impl Parking {
    pub(super) async fn load(
        store: &mut dyn OutboxStore,
        limits: &RelayLimits,
        progress: &RelayProgress,
    ) -> Result<Self, RelayError> {
        let mut parking = Self {
            rows_max: limits.parked_rows_max,
            ..Self::default()
        };
        let limit = limits.parked_rows_max.saturating_add(1);
        for key in store.parked_keys(limit).await? {
            let (first, last) = (key.first, key.last);
            let keys = parking.keys.entry(key.entity).or_default();
            keys.insert(key.key_id, Span { first, last });
            parking.rows += key.rows;
        }
        parking.show(progress);
        parking.check()?;
        Ok(parking)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Whether rows of an entity are parked.
    pub(super) fn has(&self, entity: &str) -> bool {
        self.keys.get(entity).is_some_and(|keys| !keys.is_empty())
    }

    /// Whether a row is parked or must wait for one of its key that is.
    pub(super) fn holds(&self, entity: &str, key_id: &[u8], sequence: i64) -> bool {
        let keys = self.keys.get(entity);
        keys.and_then(|keys| keys.get(key_id))
            .is_some_and(|span| span.first <= sequence)
    }

    /// Takes in a row; answers whether its key was not parked before.
    pub(super) fn add(&mut self, row: &ParkedRow) -> bool {
        let (sequence, mut is_new) = (row.sequence, false);
        let keys = self.keys.entry(row.entity.clone()).or_default();
        let span = keys.entry(row.key_id.clone()).or_insert_with(|| {
            is_new = true;
            Span {
                first: sequence,
                last: sequence - 1,
            }
        });
        span.first = span.first.min(sequence);
        // A row that was parked already comes again after a restart.
        if span.last < sequence {
            span.last = sequence;
            self.rows += 1;
        }
        is_new
    }

    pub(super) fn show(&self, progress: &RelayProgress) {
        let keys = self.keys.values().map(HashMap::len).sum::<usize>();
        progress.set_parked(keys as u64, self.rows);
    }

    pub(super) fn check(&self) -> Result<(), RelayError> {
        if self.rows <= u64::from(self.rows_max) {
            return Ok(());
        }
        let spans = self.keys.values().flat_map(HashMap::values);
        Err(RelayError::ParkedTooMany {
            rows: self.rows,
            rows_max: self.rows_max,
            first: spans.map(|span| span.first).min().unwrap_or(0),
        })
    }
}
