//! Leading a table over its gaps: record them, then move its progress.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use lake_store::{DEAD_LETTERS_PATH, STARTS_PATH};
use schemas::TopicPartition;
use tracing::info;

use super::ledger::Ledger;
use super::{Gap, GapReason, Observer, Stand, StandError};
use crate::app_id::NO_MARK;
use crate::commit::{Draft, Refusal, Step, commit};
use crate::delta_log::{DeltaLog, TableState};
use crate::faults::{self, Point};

/// Longest time that accepting waits for the store.
const STORE_WAIT_MAX: Duration = Duration::from_secs(60);

impl Observer {
    /// Adds to `gaps` those that were recorded and not passed: somebody was killed in between. They
    /// come first, and a place has one gap only.
    ///
    /// # Errors
    /// The table of gaps cannot be read.
    pub async fn with_recorded(
        &self,
        stand: &Stand,
        gaps: Vec<Gap>,
    ) -> Result<Vec<Gap>, StandError> {
        let ledger = Ledger::load(&self.lake, self.ids()).await?;
        let mut places: Vec<(Option<i32>, Option<i64>)> = stand
            .partitions
            .iter()
            .map(|partition| (Some(partition.partition), partition.next_offset))
            .collect();
        places.push((None, stand.partitions_before));
        let mut all = Vec::new();
        for (partition, from) in places {
            let Some(from) = from else { continue };
            let gap = stand.gap(partition, from, None, GapReason::Retention);
            let place = gap.place();
            let passed = stand.txn(&self.ids().gaps_passed(&place)).unwrap_or(0);
            let Some(recorded) = ledger
                .last(&place)
                .filter(|_| passed < ledger.count(&place))
            else {
                continue;
            };
            // The table may have moved on between the two, and then there is nothing to pass.
            let to = if recorded.from == from {
                recorded.to
            } else {
                from
            };
            all.push(Gap {
                to: Some(to),
                reason: recorded.reason,
                recorded: true,
                ..gap
            });
        }
        let fresh = gaps.into_iter();
        let fresh: Vec<Gap> = fresh
            .filter(|gap| !all.iter().any(|known| known.partition == gap.partition))
            .collect();
        all.extend(fresh);
        Ok(all)
    }

    /// Records gaps and moves the table's progress over them: the writer, running or not, goes on
    /// by itself. To be killed at any moment: run again, it ends with one row for each gap.
    /// `forget_sequences`: the sources of these partitions count from the beginning again.
    ///
    /// Returns the table's version that passes over the gaps, or nothing if the table is not made
    /// yet: it will begin behind them.
    ///
    /// # Errors
    /// The store does not answer, a table is not as it must be, or somebody moved it meanwhile.
    pub async fn accept(
        &self,
        stand: &Stand,
        gaps: &[Gap],
        forget_sequences: bool,
    ) -> Result<Option<u64>, StandError> {
        let accepted = self.accept_all(stand, gaps, forget_sequences);
        match tokio::time::timeout(STORE_WAIT_MAX, accepted).await {
            Ok(accepted) => accepted,
            Err(_) => Err(StandError::Store {
                table: stand.feed.table.to_string(),
                why: format!("no commit within {STORE_WAIT_MAX:?}"),
            }),
        }
    }

    async fn accept_all(
        &self,
        stand: &Stand,
        gaps: &[Gap],
        forget_sequences: bool,
    ) -> Result<Option<u64>, StandError> {
        let mut ledger = Ledger::load(&self.lake, self.ids()).await?;
        let fresh: Vec<Gap> = gaps.iter().filter(|gap| !gap.recorded).cloned().collect();
        if !fresh.is_empty() {
            let means = (self.clock.as_ref(), self.entropy.as_ref());
            self.check_unmoved(stand, &fresh).await?;
            ledger.append(stand, &fresh, means).await?;
            for gap in &fresh {
                info!(table = %stand.feed.table, %gap, "gap recorded");
            }
        }
        faults::point(Point::GapRecorded);
        self.restart_dead_letters(gaps).await?;
        let draft = self.passage(stand, gaps, &ledger, forget_sequences);
        let path = match stand.version {
            Some(_) => stand.feed.table.changes_path(),
            None => STARTS_PATH.to_owned(),
        };
        let version = self.commit_to(&path, |_| draft).await?;
        let version = version.ok_or_else(|| StandError::Table {
            table: path,
            why: "there is no such table any more".to_owned(),
        })?;
        Ok(stand.version.map(|_| version))
    }

    /// A commit of the writer may have been on its way when the table was looked at. Then the gap is
    /// another one, and its row would say too much.
    async fn check_unmoved(&self, stand: &Stand, gaps: &[Gap]) -> Result<(), StandError> {
        let now = self.look_in_lake(&stand.feed).await?;
        let is_there = |gap: &Gap| match gap.topic_partition() {
            Some(partition) => now.next_offset(&self.ids().progress(&partition)) == Some(gap.from),
            None => now.partitions_before == Some(gap.from),
        };
        match gaps.iter().all(is_there) {
            true => Ok(()),
            false => Err(StandError::Moved {
                table: stand.feed.table.to_string(),
            }),
        }
    }

    /// The moves that pass over the gaps.
    fn passage(
        &self,
        stand: &Stand,
        gaps: &[Gap],
        ledger: &Ledger<'_>,
        forget_sequences: bool,
    ) -> (Vec<Step>, Vec<(String, i64)>) {
        let (mut steps, mut further) = (Vec::new(), Vec::new());
        for gap in gaps {
            let place = gap.place();
            let passed = self.ids().gaps_passed(&place);
            steps.push(Step {
                from: stand.txn(&passed),
                to: ledger.count(&place),
                app_id: passed,
            });
            let to = gap.to.unwrap_or(gap.from);
            let (app_id, partition) = match gap.topic_partition() {
                Some(partition) => (self.ids().progress(&partition), Some(partition)),
                None => (self.ids().partition_count(&gap.topic), None),
            };
            steps.push(Step {
                from: stand.txn(&app_id),
                app_id,
                to,
            });
            let Some(partition) = partition.filter(|_| to != gap.from) else {
                continue;
            };
            further.push((self.ids().last_record(&partition), NO_MARK));
            if forget_sequences {
                let prefix = self.ids().sequence(&partition, "");
                let known = stand.txns.keys();
                let known = known.filter(|app_id| app_id.starts_with(&prefix));
                // Every sequence is above it.
                further.extend(known.map(|app_id| (app_id.clone(), -1)));
            }
        }
        let mut reasons = gaps.iter().map(|gap| gap.reason);
        if reasons.any(|reason| reason == GapReason::ClusterChanged) {
            let app_id = self.ids().cluster(&stand.feed.topic);
            further.extend(stand.cluster_now.map(|number| (app_id, number)));
        }
        further.extend(self.next_generation(stand, gaps));
        further.sort();
        (steps, further)
    }

    /// Where offsets begin anew, later rows are told from earlier ones by their generation. When a
    /// topic has other partitions a key may have moved, so all of them begin the same one.
    fn next_generation(&self, stand: &Stand, gaps: &[Gap]) -> Vec<(String, i64)> {
        let topic = &stand.feed.topic;
        let partition = |number| TopicPartition::new(Arc::clone(topic), number);
        let known = |number: i32| {
            let app_id = self.ids().generation(&partition(number));
            stand.txn(&app_id).unwrap_or(0)
        };
        let began_anew = gaps
            .iter()
            .filter(|gap| gap.to.is_some_and(|to| to < gap.from));
        let mut anew: BTreeSet<i32> = began_anew.filter_map(|gap| gap.partition).collect();
        for gap in gaps.iter().filter(|gap| gap.partition.is_none()) {
            let most = gap.from.max(gap.to.unwrap_or(gap.from));
            anew.extend(0..i32::try_from(most).unwrap_or(i32::MAX));
        }
        let next = anew.iter().map(|number| known(*number) + 1).max();
        let moved = anew.into_iter();
        moved
            .map(|number| (self.ids().generation(&partition(number)), next.unwrap_or(1)))
            .collect()
    }

    /// Dead letters of a topic that is gone say nothing of the one that is there, though it has the
    /// same offsets.
    async fn restart_dead_letters(&self, gaps: &[Gap]) -> Result<(), StandError> {
        let (ids, since) = (self.ids(), self.clock.now_us());
        let moves = |state: &TableState| {
            let (mut steps, mut further) = (Vec::new(), Vec::new());
            for gap in gaps {
                let Some((partition, to)) = gap.topic_partition().zip(gap.to) else {
                    continue;
                };
                let app_id = ids.dead_letters(&partition);
                let Some(reached) = state.txns.get(&app_id).copied() else {
                    continue;
                };
                if to < gap.from && reached != to {
                    let from = Some(reached);
                    steps.push(Step { app_id, from, to });
                    further.push((ids.dead_letters_since(&partition), since));
                }
            }
            (steps, further)
        };
        self.commit_to(DEAD_LETTERS_PATH, moves).await.map(|_| ())
    }

    /// Commits moves without files to a table; its version then, or nothing if there is no table.
    async fn commit_to(
        &self,
        path: &str,
        moves: impl FnOnce(&TableState) -> (Vec<Step>, Vec<(String, i64)>),
    ) -> Result<Option<u64>, StandError> {
        let log: DeltaLog = self.log(path);
        let state = log.load().await;
        let Some(mut state) = state.map_err(|error| StandError::of(path, error))? else {
            return Ok(None);
        };
        let (steps, further) = moves(&state);
        if steps.is_empty() {
            return Ok(Some(state.version));
        }
        let draft = Draft {
            layout: state.metadata.clone(),
            steps,
            further,
            files: Vec::new(),
            rework: None,
        };
        let landed = commit(&log, &mut state, &draft, self.clock.as_ref(), &self.entropy).await;
        landed.map(Some).map_err(|refusal| refused(path, refusal))
    }
}

pub(super) fn refused(table: &str, refusal: Refusal) -> StandError {
    let table = table.to_owned();
    match refusal {
        Refusal::Fenced(_) | Refusal::Overtaken => StandError::Moved { table },
        Refusal::LayoutChanged => StandError::Table {
            table,
            why: "its protocol is not one that this program writes".to_owned(),
        },
        Refusal::NoAnswer(why) => StandError::Store { table, why },
        Refusal::NotEncodable(why) | Refusal::Unreadable(why) => StandError::Table { table, why },
    }
}
