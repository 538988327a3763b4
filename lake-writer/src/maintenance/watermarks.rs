//! What owners' publishers say to be complete: the table of watermarks, `_system/watermarks`.
//!
//! Which sources an entity has, and how far each has come, is told by the table's progress: a watermark
//! is an event of its own source whose sequence is the time. Only when all that are waited for have
//! come far enough, rows are read: those that say where in its topic an entity must be read up to.

use std::collections::{BTreeMap, HashMap};

use lake_store::LakeStore;
use schemas::{TableName, TopicPartition, WATERMARKS_TOPIC, source};

use super::error::FoldError;
use super::kept_table::KeptTable;
use crate::app_id::AppIds;
use crate::delta_log::{DeltaLog, TableState};

mod marks;

use marks::{Marks, read};

/// How an entity stands to a moment of its owner's time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It has no watermarks that one could wait for.
    None,
    /// Everything that its owner committed before the moment is among the changes.
    Passed,
    /// Not yet, as far as is known, for this is not there.
    Awaited(String),
}

/// The table, which is looked at once for all entities of a round.
#[derive(Debug)]
pub(crate) struct Watermarks {
    table: KeptTable,
    seen: Option<Seen>,
}

/// The furthest that an owner has said. An outbox that was handed over goes on as another source, which is
/// complete only where the one before is.
#[derive(Clone, Debug, Default)]
struct Heard {
    source: String,
    complete_us: i64,
}

/// What a look found.
#[derive(Debug)]
struct Seen {
    state: Option<TableState>,
    /// How far each entity is complete, by its owners.
    heard: HashMap<String, BTreeMap<String, Heard>>,
    /// By a moment, what says that this moment is complete.
    marks: HashMap<i64, Marks>,
}

impl Watermarks {
    pub(crate) fn new(lake: &LakeStore) -> Self {
        let path = TableName::watermarks().changes_path();
        let log = DeltaLog::new(lake.table_store(&path));
        Self {
            table: KeptTable::new(path, log),
            seen: None,
        }
    }

    /// Who asks next, looks again.
    pub(crate) fn forget(&mut self) {
        self.seen = None;
    }

    /// Whether these changes of an entity are complete up to `end_us`, in microseconds since
    /// 1970-01-01T00:00Z. A source that has said nothing of any time at or after `since_us` is taken
    /// for one that is no more.
    pub(crate) async fn stand(
        &mut self,
        table: &TableName,
        (since_us, end_us): (i64, i64),
        changes: &TableState,
    ) -> Result<Standing, FoldError> {
        let entity = table.to_string();
        let seen = self.look().await?;
        let owners = seen.heard.get(&entity).into_iter().flatten();
        let heard: Vec<Heard> = owners
            .map(|(_, heard)| heard.clone())
            .filter(|heard| heard.complete_us >= since_us)
            .collect();
        if heard.is_empty() {
            return Ok(Standing::None);
        }
        if let Some(late) = heard.iter().find(|heard| heard.complete_us < end_us) {
            let source = &late.source;
            return Ok(Standing::Awaited(format!("a watermark of {source}")));
        }
        let marks = self.marks(end_us).await?;
        let progress = progress(changes);
        for Heard { source, .. } in heard {
            let awaited = format!("the changes before the watermark of {source}");
            let span = marks.get(&(entity.clone(), source));
            if !span.is_some_and(|span| span.is_passed(&progress)) {
                return Ok(Standing::Awaited(awaited));
            }
        }
        Ok(Standing::Passed)
    }

    /// The sources of an entity that were taken for ones that are no more in the last look.
    pub(crate) fn gone(&self, table: &TableName, since_us: i64) -> Vec<String> {
        let seen = self.seen.as_ref();
        let owners = seen.and_then(|seen| seen.heard.get(&table.to_string()));
        let owners = owners.into_iter().flatten();
        let gone = owners.filter(|(_, heard)| heard.complete_us < since_us);
        gone.map(|(_, heard)| heard.source.clone()).collect()
    }

    async fn look(&mut self) -> Result<&mut Seen, FoldError> {
        let seen = match self.seen.take() {
            Some(seen) => seen,
            None => Seen::at(self.table.newest().await?),
        };
        Ok(self.seen.insert(seen))
    }

    /// What says that a moment is complete.
    async fn marks(&mut self, end_us: i64) -> Result<&Marks, FoldError> {
        let log = self.table.log.clone();
        let seen = self.look().await?;
        if let Some(state) = seen
            .state
            .as_mut()
            .filter(|_| !seen.marks.contains_key(&end_us))
        {
            let found = read(&log, state, end_us).await?;
            seen.marks.insert(end_us, found);
        }
        Ok(seen.marks.entry(end_us).or_default())
    }
}

impl Seen {
    fn at(state: Option<TableState>) -> Self {
        let mut heard: HashMap<String, BTreeMap<String, Heard>> = HashMap::new();
        for (app_id, time_us) in state.iter().flat_map(|state| &state.txns) {
            let Some((WATERMARKS_TOPIC, source)) = AppIds::source_of(app_id) else {
                continue;
            };
            if let Some((source, entity)) = source.rsplit_once("/watermarks/") {
                let owners = heard.entry(entity.to_owned()).or_default();
                let owner = source::outbox_of(source).to_owned();
                let known = owners.entry(owner).or_default();
                if *time_us >= known.complete_us {
                    *known = Heard {
                        source: source.to_owned(),
                        complete_us: *time_us,
                    };
                }
            }
        }
        Self {
            state,
            heard,
            marks: HashMap::new(),
        }
    }
}

/// The next offset of each partition.
fn progress(changes: &TableState) -> HashMap<TopicPartition, i64> {
    let mut progress = HashMap::new();
    for (app_id, offset) in &changes.txns {
        if let Some(partition) = AppIds::partition_of(app_id) {
            let known = progress.entry(partition).or_insert(*offset);
            *known = (*known).max(*offset);
        }
    }
    progress
}
