//! The table of starts, `_system/starts`: where the copy of each partition began.
//!
//! A table says where it goes on only once it was committed to, and it is not even made before a
//! record could be read. What must not be asked of Kafka twice, for the answer changes with every
//! record and with retention, is written down here before the first record is read. The offset is
//! kept as the `txn` that a table has for its progress; it counts until the table has one.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{
    ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::error::ArrowError;
use lake_store::{LakeStore, STARTS_PATH, starts_schema};
use schemas::{TableName, TopicPartition};
use tracing::warn;

use crate::action;
use crate::app_id::AppIds;
use crate::clock::Clock;
use crate::commit::{Draft, Refusal, Step, commit};
use crate::data_file;
use crate::delta_log::{DeltaLog, DeltaLogError, TableState};
use crate::entropy::Entropy;
use crate::layout;
use crate::patience::Patience;

/// First wait when the store does not answer.
const STORE_WAIT_MIN: Duration = Duration::from_millis(100);

/// A partition whose copy begins.
#[derive(Clone, Debug)]
pub(crate) struct Begun {
    pub(crate) table: TableName,
    pub(crate) partition: TopicPartition,
    pub(crate) first_offset: i64,
}

/// The starts of one pipeline.
#[derive(Debug)]
pub(crate) struct Starts {
    log: DeltaLog,
    state: Option<TableState>,
    pipeline: String,
    clock: Arc<dyn Clock>,
    entropy: Arc<Entropy>,
}

impl Starts {
    pub(crate) fn new(
        lake: &LakeStore,
        pipeline: &str,
        clock: Arc<dyn Clock>,
        entropy: Arc<Entropy>,
    ) -> Self {
        Self {
            log: DeltaLog::new(lake.table_store(STARTS_PATH)),
            state: None,
            pipeline: pipeline.to_owned(),
            clock,
            entropy,
        }
    }

    /// Reads what is written down by now, waiting out a store that is down. The error says what is
    /// wrong with the table.
    pub(crate) async fn refresh(&mut self) -> Result<(), String> {
        let entropy = Arc::clone(&self.entropy);
        let mut patience = Patience::new(&entropy, STORE_WAIT_MIN);
        loop {
            match self.log.load().await {
                Ok(state) => {
                    self.state = state;
                    return Ok(());
                }
                Err(error @ DeltaLogError::Corrupt { .. }) => return Err(error.to_string()),
                Err(DeltaLogError::Store(error)) => {
                    warn!(table = STARTS_PATH, %error, "cannot read the table's log; trying again");
                    patience.wait().await;
                }
            }
        }
    }

    /// Where the copy of a partition began, as of the last look.
    pub(crate) fn of(&self, partition: &TopicPartition) -> Option<i64> {
        let app_id = AppIds::new(&self.pipeline).progress(partition);
        self.state.as_ref()?.txns.get(&app_id).copied()
    }

    /// The topics whose copies were begun, as of the last look.
    pub(crate) fn topics(&self) -> HashSet<&str> {
        let known = self.state.iter().flat_map(|state| state.txns.keys());
        let mine = known.filter_map(|app_id| app_id.strip_prefix(self.pipeline.as_str()));
        mine.filter_map(|place| place.strip_prefix('/')?.split('/').next())
            .collect()
    }

    /// Writes starts down, all in one commit. Where somebody was first, his counts: look at
    /// [`Self::of`] afterwards.
    pub(crate) async fn keep(&mut self, begun: &[Begun]) -> Result<(), String> {
        let entropy = Arc::clone(&self.entropy);
        let mut patience = Patience::new(&entropy, STORE_WAIT_MIN);
        loop {
            let fresh = begun.iter();
            let fresh = fresh.filter(|begun| self.of(&begun.partition).is_none());
            let fresh: Vec<Begun> = fresh.cloned().collect();
            if fresh.is_empty() {
                return Ok(());
            }
            self.create().await?;
            match self.append(&fresh).await {
                Ok(()) => return Ok(()),
                Err(Kept::Moved) => {}
                Err(Kept::Store(error)) => {
                    warn!(table = STARTS_PATH, %error, "cannot write to the table; trying again");
                    patience.wait().await;
                }
                Err(Kept::Broken(why)) => return Err(why),
            }
            self.refresh().await?;
        }
    }

    /// Makes the table, or finds the one that somebody else made.
    async fn create(&mut self) -> Result<(), String> {
        let now_us = self.clock.now_us();
        let ours = layout::system_metadata(&starts_schema(), self.entropy.uuid(), now_us)?;
        if self.state.is_none() {
            let entry =
                action::creation(ours.clone(), now_us).map_err(|error| error.to_string())?;
            // Whose entry it is does not matter; whether it landed is seen by looking.
            self.log.put(0, entry).await;
            self.refresh().await?;
        }
        match &self.state {
            None => Ok(()),
            Some(state) if layout::same_columns(&ours, &state.metadata) => Ok(()),
            Some(_) => Err(
                "its columns are not those of this program's version; move it away or use the \
                 version that made it"
                    .to_owned(),
            ),
        }
    }

    async fn append(&mut self, begun: &[Begun]) -> Result<(), Kept> {
        let Some(state) = &mut self.state else {
            return Err(Kept::Moved);
        };
        let now_us = self.clock.now_us();
        let broken = |error: &dyn std::fmt::Display| Kept::Broken(error.to_string());
        let batch = batch(begun, now_us).map_err(|error| broken(&error))?;
        let file = data_file::encode(self.entropy.uuid(), None, &[batch]);
        let file = file.map_err(|error| broken(&error))?;
        let added = file.upload(self.log.store(), now_us).await;
        let ids = AppIds::new(&self.pipeline);
        let steps = begun.iter().map(|begun| Step {
            app_id: ids.progress(&begun.partition),
            from: None,
            to: begun.first_offset,
        });
        let draft = Draft {
            layout: state.metadata.clone(),
            steps: steps.collect(),
            further: Vec::new(),
            files: vec![added.map_err(Kept::Store)?],
            growth: None,
        };
        let landed = commit(&self.log, state, &draft, self.clock.as_ref(), &self.entropy).await;
        match landed {
            Ok(_) => Ok(()),
            Err(Refusal::Fenced(_) | Refusal::Overtaken) => Err(Kept::Moved),
            Err(Refusal::LayoutChanged) => Err(Kept::Broken(
                "its protocol is not one that this program writes".to_owned(),
            )),
            Err(Refusal::NotEncodable(why) | Refusal::Unreadable(why)) => Err(Kept::Broken(why)),
        }
    }
}

/// Why starts were not written down.
enum Kept {
    /// Somebody else wrote one of them down.
    Moved,
    Store(object_store::Error),
    Broken(String),
}

fn batch(begun: &[Begun], now_us: i64) -> Result<RecordBatch, ArrowError> {
    let texts = |text: &dyn Fn(&Begun) -> String| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(begun.iter().map(text)))
    };
    let partitions = begun.iter().map(|begun| begun.partition.partition);
    let offsets = begun.iter().map(|begun| begun.first_offset);
    let times = TimestampMicrosecondArray::from(vec![now_us; begun.len()]);
    let columns: Vec<ArrayRef> = vec![
        texts(&|begun| begun.table.to_string()),
        texts(&|begun| begun.partition.topic.to_string()),
        Arc::new(Int32Array::from_iter_values(partitions)),
        Arc::new(Int64Array::from_iter_values(offsets)),
        Arc::new(times.with_timezone("UTC")),
    ];
    RecordBatch::try_new(starts_schema(), columns)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SystemClock;

    fn starts(lake: &LakeStore, seed: u64) -> Starts {
        let entropy = Arc::new(Entropy::seeded(seed));
        Starts::new(lake, "p", Arc::new(SystemClock), entropy)
    }

    fn begun(partition: i32, first_offset: i64) -> Begun {
        Begun {
            table: "s.e".parse().unwrap(),
            partition: TopicPartition::new("t", partition),
            first_offset,
        }
    }

    #[tokio::test]
    async fn the_first_start_of_a_partition_counts() {
        let lake = LakeStore::open("memory:///", &[], true).unwrap();
        let (mut ours, mut theirs) = (starts(&lake, 1), starts(&lake, 2));
        ours.refresh().await.unwrap();
        theirs.refresh().await.unwrap();
        ours.keep(&[begun(0, 10), begun(1, 0)]).await.unwrap();
        // They looked before, and ask Kafka later: its end is another one by now.
        theirs.keep(&[begun(1, 7), begun(2, 9)]).await.unwrap();
        ours.refresh().await.unwrap();
        for starts in [&ours, &theirs] {
            let found = [0, 1, 2, 3].map(|number| starts.of(&TopicPartition::new("t", number)));
            assert_eq!(found, [Some(10), Some(0), Some(9), None]);
            assert_eq!(starts.topics(), HashSet::from(["t"]));
        }
    }
}
