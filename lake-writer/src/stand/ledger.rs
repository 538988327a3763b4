//! The table of accepted gaps, `_system/gaps`.
//!
//! Each place (a partition, or a topic as a whole) counts its gaps twice: here when one is
//! recorded, in the table of changes when it is passed. One more here than there is a gap that was
//! recorded and not passed: whoever recorded it was killed, and it is passed without another row.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::error::ArrowError;
use lake_store::{GAPS_PATH, LakeStore, gaps_schema};
use schemas::TableName;

use super::{Gap, GapReason, Stand, StandError};
use crate::action;
use crate::app_id::AppIds;
use crate::clock::Clock;
use crate::commit::{Draft, Step, commit};
use crate::data_file;
use crate::delta_log::{DeltaLog, TableState};
use crate::entropy::Entropy;
use crate::layout;

/// Numbers of the last gap of a place.
const FROM: &str = "from";
const TO: &str = "to";
const REASON: &str = "reason";

pub(super) struct Ledger<'a> {
    log: DeltaLog,
    state: Option<TableState>,
    ids: AppIds<'a>,
}

/// A gap as it was recorded last at its place.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Recorded {
    pub(super) from: i64,
    pub(super) to: i64,
    pub(super) reason: GapReason,
}

impl<'a> Ledger<'a> {
    pub(super) async fn load(lake: &LakeStore, ids: AppIds<'a>) -> Result<Self, StandError> {
        let log = DeltaLog::new(lake.table_store(GAPS_PATH));
        let state = log.load().await;
        let state = state.map_err(|error| StandError::of(GAPS_PATH, error))?;
        Ok(Self { log, state, ids })
    }

    /// How many gaps were recorded at a place.
    pub(super) fn count(&self, place: &str) -> i64 {
        self.txn(&self.ids.gaps_recorded(&place)).unwrap_or(0)
    }

    /// The last gap recorded at a place.
    pub(super) fn last(&self, place: &str) -> Option<Recorded> {
        let number = |what| self.txn(&self.ids.last_gap(&place, what));
        Some(Recorded {
            from: number(FROM)?,
            to: number(TO)?,
            reason: GapReason::of_number(number(REASON)?)?,
        })
    }

    /// Records gaps of one table, all in one commit. Refused if somebody has recorded one of them
    /// since the table was looked at.
    pub(super) async fn append(
        &mut self,
        stand: &Stand,
        gaps: &[Gap],
        (clock, entropy): (&dyn Clock, &Entropy),
    ) -> Result<(), StandError> {
        let now_us = clock.now_us();
        let broken = |why: String| StandError::Table {
            table: GAPS_PATH.to_owned(),
            why,
        };
        let batch =
            batch(&stand.feed.table, gaps, now_us).map_err(|error| broken(error.to_string()))?;
        let file = data_file::encode(entropy.uuid(), None, &[batch]);
        let file = file.map_err(|error| broken(error.to_string()))?;
        let (steps, further) = self.moves(stand, gaps);
        self.create(entropy, now_us).await?;
        let added = file.upload(self.log.store(), now_us).await;
        let added = added.map_err(|error| StandError::of(GAPS_PATH, error.into()))?;
        let Some(state) = &mut self.state else {
            return Err(broken("it cannot be created".to_owned()));
        };
        let draft = Draft {
            layout: state.metadata.clone(),
            steps,
            further,
            files: vec![added],
            rework: None,
        };
        let landed = commit(&self.log, state, &draft, clock, entropy).await;
        landed.map_err(|refusal| super::passage::refused(GAPS_PATH, refusal))?;
        Ok(())
    }

    fn moves(&self, stand: &Stand, gaps: &[Gap]) -> (Vec<Step>, Vec<(String, i64)>) {
        let (mut steps, mut further) = (Vec::new(), Vec::new());
        for gap in gaps {
            let place = gap.place();
            let passed = stand.txn(&self.ids.gaps_passed(&place));
            let to = gap.to.unwrap_or(gap.from);
            steps.push(Step {
                app_id: self.ids.gaps_recorded(&place),
                from: passed,
                to: passed.unwrap_or(0) + 1,
            });
            let numbers = [(FROM, gap.from), (TO, to), (REASON, gap.reason.number())];
            let numbers = numbers.map(|(what, number)| (self.ids.last_gap(&place, what), number));
            further.extend(numbers);
        }
        (steps, further)
    }

    /// Makes the table, or finds the one that somebody else made meanwhile.
    async fn create(&mut self, entropy: &Entropy, now_us: i64) -> Result<(), StandError> {
        let broken = |why: String| StandError::Table {
            table: GAPS_PATH.to_owned(),
            why,
        };
        let metadata = layout::system_metadata(&gaps_schema(), entropy.uuid(), now_us);
        let metadata = metadata.map_err(broken)?;
        if self.state.is_none() {
            let entry = action::creation(metadata.clone(), now_us);
            let entry = entry.map_err(|error| broken(error.to_string()))?;
            // Whose entry it is does not matter; whether it landed is seen by looking.
            self.log.put(0, entry).await;
            let state = self.log.load().await;
            self.state = state.map_err(|error| StandError::of(GAPS_PATH, error))?;
        }
        match &self.state {
            Some(state) => layout::check_system(&metadata, &state.metadata).map_err(broken),
            None => Err(broken("it cannot be created".to_owned())),
        }
    }

    fn txn(&self, app_id: &str) -> Option<i64> {
        self.state.as_ref()?.txns.get(app_id).copied()
    }
}

fn batch(table: &TableName, gaps: &[Gap], now_us: i64) -> Result<RecordBatch, ArrowError> {
    let texts = |text: &dyn Fn(&Gap) -> String| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(gaps.iter().map(text)))
    };
    let offsets = |offset: &dyn Fn(&Gap) -> Option<i64>| -> ArrayRef {
        let of_partition = gaps
            .iter()
            .map(|gap| gap.partition.and_then(|_| offset(gap)));
        Arc::new(of_partition.collect::<Int64Array>())
    };
    let times = TimestampMicrosecondArray::from(vec![now_us; gaps.len()]);
    let columns: Vec<ArrayRef> = vec![
        texts(&|_| table.to_string()),
        texts(&|gap| gap.topic.to_string()),
        Arc::new(gaps.iter().map(|gap| gap.partition).collect::<Int32Array>()),
        offsets(&|gap| Some(gap.from)),
        offsets(&|gap| gap.to),
        texts(&|gap| gap.reason.code().to_owned()),
        Arc::new(times.with_timezone("UTC")),
    ];
    RecordBatch::try_new(gaps_schema(), columns)
}
