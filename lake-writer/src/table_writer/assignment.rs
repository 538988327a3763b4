//! Where to go on: progress, sequences and dead letters as the lake has them.

use std::collections::{BTreeSet, HashMap};

use lake_store::DEAD_LETTERS_PATH;
use object_store::ObjectStoreExt;
use object_store::path::Path;
use schemas::{Sequence, TopicPartition};
use tracing::warn;

use super::{Assigned, Owned, Resume, STORE_WAIT_MIN, TableWriter};
use crate::app_id::{AppIds, NO_MARK, NO_ORDINAL};
use crate::dead_letter;
use crate::delta_log::DeltaLogError;
use crate::error::WriterError;
use crate::layout;
use crate::patience::Patience;

impl TableWriter {
    /// Looks up where these partitions stand and remembers that as the start of their rows.
    pub(super) async fn assign(
        &mut self,
        partitions: Vec<TopicPartition>,
    ) -> Result<Assigned, WriterError> {
        self.changes_state = self.load(&self.changes).await?;
        self.dead_letters_state = self.load(&self.dead_letters).await?;
        let table = match &self.changes_state {
            None => None,
            Some(state) => {
                let found = layout::contract_of_table(&state.metadata);
                Some(found.map_err(|why| self.table_error(why))?)
            }
        };
        let topic = partitions.first().map(|partition| &partition.topic);
        let (count, cluster) = match topic {
            Some(topic) => {
                self.check_feed(topic)?;
                let count = self.txn(&self.ids().partition_count(topic));
                (count, self.txn(&self.ids().cluster(topic)))
            }
            None => (None, None),
        };
        let mut resumes: Vec<Resume> = partitions
            .into_iter()
            .map(|partition| self.resume(partition))
            .collect();
        self.find_dead_lettered(&mut resumes).await?;
        Ok(Assigned {
            resumes,
            table,
            partition_count: count,
            cluster,
        })
    }

    /// Refuses a table that has another topic: two owners would mix in it, or, under another
    /// pipeline's progress, every record land twice.
    fn check_feed(&self, topic: &str) -> Result<(), WriterError> {
        let ours = (self.parts.pipeline.as_str(), topic);
        let txns = self.changes_state.iter().flat_map(|state| &state.txns);
        let mut feeds = txns.filter_map(|(app_id, _)| AppIds::feed_of(app_id));
        let told = |(pipeline, topic)| format!("topic {topic} by pipeline {pipeline:?}");
        match feeds.find(|feed| *feed != ours) {
            None => Ok(()),
            Some(theirs) => Err(WriterError::TableTaken {
                table: self.parts.table.to_string(),
                ours: told(ours),
                theirs: told(theirs),
            }),
        }
    }

    /// What the table of changes says of an application.
    fn txn(&self, app_id: &str) -> Option<i64> {
        self.changes_state.as_ref()?.txns.get(app_id).copied()
    }

    fn resume(&mut self, partition: TopicPartition) -> Resume {
        let data = self.txn(&self.ids().progress(&partition));
        let letters = self.dead_letters_state.as_ref();
        let letters = letters.map(|state| state.txns.get(&self.ids().dead_letters(&partition)));
        let dead_letters = letters.flatten().copied();
        self.owned
            .insert(partition.clone(), Owned { data, dead_letters });
        Resume {
            last_mark: self
                .txn(&self.ids().last_record(&partition))
                .filter(|mark| *mark != NO_MARK),
            generation: self.generation(&partition),
            sequences: self.sequences(&partition),
            next_offset: data,
            dead_lettered: BTreeSet::new(),
            partition,
        }
    }

    fn generation(&self, partition: &TopicPartition) -> i32 {
        let generation = self.txn(&self.ids().generation(partition));
        generation.map_or(0, |number| i32::try_from(number).unwrap_or(i32::MAX))
    }

    fn sequences(&self, partition: &TopicPartition) -> HashMap<String, Sequence> {
        let prefix = self.ids().sequence(partition, "");
        let txns = self.changes_state.iter().flat_map(|state| &state.txns);
        txns.filter_map(|(app_id, major)| {
            let source = app_id.strip_prefix(&prefix)?;
            let sequence = Sequence {
                major: *major,
                minor: self
                    .txn(&self.ids().ordinal(partition, source))
                    .filter(|ordinal| *ordinal != NO_ORDINAL),
            };
            Some((source.to_owned(), sequence))
        })
        .collect()
    }

    /// Finds the offsets that are dead letters already though the table has not passed them: a crash
    /// came between their commit and the data commit.
    async fn find_dead_lettered(&self, resumes: &mut [Resume]) -> Result<(), WriterError> {
        let ahead = |resume: &&mut Resume| {
            let owned = self.owned.get(&resume.partition);
            let reached = owned.and_then(|owned| owned.dead_letters);
            reached.is_some_and(|reached| reached > resume.next_offset.unwrap_or(0))
        };
        let mut resumes: Vec<&mut Resume> = resumes.iter_mut().filter(ahead).collect();
        if resumes.is_empty() {
            return Ok(());
        }
        let mut patience = Patience::new(&self.parts.entropy, STORE_WAIT_MIN);
        loop {
            match self.read_dead_lettered(&mut resumes).await {
                Ok(()) => return Ok(()),
                Err(DeltaLogError::Store(error)) => {
                    warn!(%error, "cannot read the dead letters; trying again");
                    patience.wait().await;
                }
                Err(error @ DeltaLogError::Corrupt { .. }) => {
                    return Err(WriterError::Table {
                        table: DEAD_LETTERS_PATH.to_owned(),
                        why: error.to_string(),
                    });
                }
            }
        }
    }

    /// When the partition's dead letters began to be of the topic that is there now.
    fn dead_letters_since(&self, partition: &TopicPartition) -> i64 {
        let txns = self.dead_letters_state.as_ref().map(|state| &state.txns);
        let since = txns.and_then(|txns| txns.get(&self.ids().dead_letters_since(partition)));
        since.copied().unwrap_or(i64::MIN)
    }

    async fn read_dead_lettered(&self, resumes: &mut [&mut Resume]) -> Result<(), DeltaLogError> {
        for file in self.dead_letters.files().await? {
            let path = Path::from(file.path);
            let bytes = self.dead_letters.store().get(&path).await?.bytes().await?;
            for resume in resumes.iter_mut() {
                let first = resume.next_offset.unwrap_or(0);
                let since = self.dead_letters_since(&resume.partition);
                let found = dead_letter::offsets(bytes.clone(), &resume.partition, first, since);
                let found = found.map_err(|error| DeltaLogError::Corrupt {
                    path: path.clone(),
                    why: error.to_string(),
                })?;
                resume.dead_lettered.extend(found);
            }
        }
        Ok(())
    }
}
