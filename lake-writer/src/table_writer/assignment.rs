//! Where to go on: progress, sequences and dead letters as the lake has them.

use std::collections::HashMap;

use schemas::{Sequence, TopicPartition};

use super::{Assigned, Owned, Resume, TableWriter};
use crate::app_id::{AppIds, NO_MARK, NO_ORDINAL};
use crate::dead_letters_log::Ahead;
use crate::error::WriterError;
use crate::layout;
use crate::offset_ranges::OffsetRanges;

impl TableWriter {
    /// Looks up where these partitions stand and remembers that as the start of their rows.
    pub(super) async fn assign(
        &mut self,
        partitions: Vec<TopicPartition>,
    ) -> Result<Assigned, WriterError> {
        let found = futures::future::join(self.load(), self.letters_of(&partitions)).await;
        let (changes, letters) = (found.0?, found.1?);
        self.changes_state = changes;
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
            .map(|partition| self.resume(partition, &letters))
            .collect();
        self.find_dead_lettered(&mut resumes, &letters).await?;
        self.forget_sequences();
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

    /// Sequences are read when partitions are assigned and never again, and there may be thousands in
    /// each: the reader keeps them.
    pub(super) fn forget_sequences(&mut self) {
        if let Some(state) = &mut self.changes_state {
            state.txns.retain(|app_id, _| !AppIds::is_sequence(app_id));
            state.txns.shrink_to(state.txns.len() * 2);
        }
    }

    /// What the table of changes says of an application.
    fn txn(&self, app_id: &str) -> Option<i64> {
        self.changes_state.as_ref()?.txns.get(app_id).copied()
    }

    fn resume(&mut self, partition: TopicPartition, letters: &HashMap<String, i64>) -> Resume {
        let data = self.txn(&self.ids().progress(&partition));
        let dead_letters = letters.get(&self.ids().dead_letters(&partition)).copied();
        self.owned
            .insert(partition.clone(), Owned { data, dead_letters });
        Resume {
            last_mark: self
                .txn(&self.ids().last_record(&partition))
                .filter(|mark| *mark != NO_MARK),
            generation: self.generation(&partition),
            sequences: self.sequences(&partition),
            next_offset: data,
            dead_lettered: OffsetRanges::default(),
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
    /// came between their commit and the data commit, or the topic has no table yet.
    async fn find_dead_lettered(
        &self,
        resumes: &mut [Resume],
        letters: &HashMap<String, i64>,
    ) -> Result<(), WriterError> {
        let ahead = resumes.iter_mut().filter_map(|resume| {
            let first = resume.next_offset.unwrap_or(0);
            let reached = letters.get(&self.ids().dead_letters(&resume.partition))?;
            if *reached <= first {
                return None;
            }
            let since = letters.get(&self.ids().dead_letters_since(&resume.partition));
            let ahead = Ahead {
                partition: resume.partition.clone(),
                first,
                since_us: since.copied().unwrap_or(i64::MIN),
            };
            Some((resume, ahead))
        });
        let (resumes, ahead): (Vec<_>, Vec<_>) = ahead.unzip();
        if ahead.is_empty() {
            return Ok(());
        }
        let found = self.parts.dead_letters.find(&ahead).await?;
        for (resume, found) in resumes.into_iter().zip(found) {
            resume.dead_lettered = found;
        }
        Ok(())
    }

    /// What the table of dead letters says of these partitions.
    async fn letters_of(
        &self,
        partitions: &[TopicPartition],
    ) -> Result<HashMap<String, i64>, WriterError> {
        let ids = partitions.iter().flat_map(|partition| {
            [
                self.ids().dead_letters(partition),
                self.ids().dead_letters_since(partition),
            ]
        });
        self.parts.dead_letters.txns(ids).await
    }
}
