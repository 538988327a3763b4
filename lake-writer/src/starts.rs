//! The table of starts, `_system/starts`: where the copy of each partition began.
//!
//! A table says where it goes on only once it was committed to, and it is not even made before a
//! record could be read. What must not be asked of Kafka twice, for the answer changes with every
//! record and with retention, is written down here before the first record is read. The offset is
//! kept as the `txn` that a table has for its progress; it counts until the table has one.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::error::ArrowError;
use lake_store::{LakeStore, STARTS_PATH, starts_schema};
use schemas::{TableName, TopicPartition};

use crate::app_id::AppIds;
use crate::clock::Clock;
use crate::commit::{Draft, Refusal, Step, commit};
use crate::data_file;
use crate::delta_log::{DeltaLog, TableState, create, patiently};
use crate::entropy::Entropy;
use crate::error::WriterError;
use crate::layout;

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

    /// Reads what is written down by now, waiting out a store that is down.
    pub(crate) async fn refresh(&mut self) -> Result<(), WriterError> {
        self.state = patiently(STARTS_PATH, &self.entropy, || self.log.load()).await?;
        Ok(())
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
    pub(crate) async fn keep(&mut self, begun: &[Begun]) -> Result<(), WriterError> {
        loop {
            let fresh = begun.iter();
            let fresh = fresh.filter(|begun| self.of(&begun.partition).is_none());
            let fresh: Vec<Begun> = fresh.cloned().collect();
            if fresh.is_empty() || self.append(&fresh).await? {
                return Ok(());
            }
            self.refresh().await?;
        }
    }

    /// Commits starts, in a table that is made if it is not there; false if somebody else wrote one
    /// of them down.
    async fn append(&mut self, begun: &[Begun]) -> Result<bool, WriterError> {
        let now_us = self.clock.now_us();
        let ours = layout::system_metadata(&starts_schema(), self.entropy.uuid(), now_us);
        let ours = ours.map_err(broken)?;
        let state = match &mut self.state {
            Some(state) => state,
            none => {
                let parts = (self.clock.as_ref(), self.entropy.as_ref());
                none.insert(create(&self.log, STARTS_PATH, ours.clone(), parts).await?)
            }
        };
        layout::check_system(&ours, &state.metadata).map_err(broken)?;
        let batch = batch(begun, now_us).map_err(|error| broken(error.to_string()))?;
        let file = data_file::encode(self.entropy.uuid(), None, &[batch]);
        let file = file.map_err(|error| broken(error.to_string()))?;
        let upload = || async { Ok(file.upload(self.log.store(), now_us).await?) };
        let added = patiently(STARTS_PATH, &self.entropy, upload).await?;
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
            files: vec![added],
            rework: None,
        };
        let landed = commit(&self.log, state, &draft, self.clock.as_ref(), &self.entropy).await;
        match landed {
            Ok(_) => Ok(true),
            Err(Refusal::Fenced(_) | Refusal::Overtaken | Refusal::NoAnswer(_)) => Ok(false),
            Err(Refusal::LayoutChanged) => Err(broken(
                "its protocol is not one that this program writes".to_owned(),
            )),
            Err(Refusal::NotEncodable(why) | Refusal::Unreadable(why)) => Err(broken(why)),
        }
    }
}

fn broken(why: String) -> WriterError {
    WriterError::Table {
        table: STARTS_PATH.to_owned(),
        why,
    }
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
