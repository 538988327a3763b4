//! A log's entries, one after the other, several of which are asked for at once.
//!
//! A store that is far takes its time for each, so that a hundred asked for one by one take seconds.
//! But who looks whether there is something new mostly finds nothing: so one entry is asked for, then
//! twice as many at once each time.

use std::ops::RangeInclusive;

use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};

use super::{DeltaLog, DeltaLogError};
use crate::action::Action;

/// Entries that are asked for at the same time, at most.
const AT_ONCE_MAX: usize = 8;

/// A version and its entry.
pub(crate) type Entry = (u64, Vec<Action>);

/// What is to be asked for.
struct Ahead {
    log: DeltaLog,
    versions: RangeInclusive<u64>,
    at_once: usize,
}

impl DeltaLog {
    /// The entries of these versions, up to the first that is not there.
    pub(crate) fn entries(
        &self,
        versions: RangeInclusive<u64>,
    ) -> BoxStream<'static, Result<Entry, DeltaLogError>> {
        let ahead = Ahead {
            log: self.clone(),
            versions,
            at_once: 1,
        };
        let parts = stream::try_unfold(Some(ahead), |ahead: Option<Ahead>| async move {
            match ahead {
                Some(ahead) => ahead.part().await.map(Some),
                None => Ok(None),
            }
        });
        let entries = parts.map_ok(|part| stream::iter(part).map(Ok));
        entries.try_flatten().boxed()
    }
}

impl Ahead {
    /// The next entries; and what comes after them, unless that is the end.
    async fn part(mut self) -> Result<(Vec<Entry>, Option<Self>), DeltaLogError> {
        let (first, last) = (*self.versions.start(), *self.versions.end());
        if self.versions.is_empty() {
            return Ok((Vec::new(), None));
        }
        let to = last.min(first.saturating_add(self.at_once as u64 - 1));
        let log = &self.log;
        let asked = stream::iter(first..=to).map(|version| async move {
            let entry = log.entry(version).await?;
            Ok::<_, DeltaLogError>(entry.map(|actions| (version, actions)))
        });
        let found: Vec<Option<Entry>> = asked.buffered(AT_ONCE_MAX).try_collect().await?;
        let is_over = to == last || found.iter().any(Option::is_none);
        let part = found.into_iter().map_while(|entry| entry).collect();
        if is_over {
            return Ok((part, None));
        }
        self.versions = to + 1..=last;
        self.at_once = (2 * self.at_once).min(AT_ONCE_MAX);
        Ok((part, Some(self)))
    }
}
