//! Watermarks: what an owner's publisher knows to be complete, with evidence.

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::canonical::EventSums;
use crate::{Contract, ContractError, TableName, TopicPartition};

/// The compacted topic of watermarks: the newest of each entity and source is kept.
pub const WATERMARKS_TOPIC: &str = "lakehead.watermarks";

/// What the lake holds of a watermark.
const CONTRACT: &str = r#"{"type": "record", "name": "Watermark", "namespace": "lakehead", "fields": [
    {"name": "entity", "type": "string"},
    {"name": "source", "type": "string"},
    {"name": "complete_through", "type": {"type": "long", "logicalType": "timestamp-micros"}},
    {"name": "through", "type": "long"},
    {"name": "ends", "type": {"type": "array", "items": {"type": "record", "name": "End", "fields": [
        {"name": "topic", "type": "string"},
        {"name": "partition", "type": "long"},
        {"name": "offset", "type": "long"}]}}},
    {"name": "canonical_version", "type": "long"},
    {"name": "total", "type": {"type": "record", "name": "Counted", "fields": [
        {"name": "after", "type": "long"},
        {"name": "count", "type": "long"},
        {"name": "ids", "type": "string"},
        {"name": "rows", "type": "string"}]}},
    {"name": "interval", "type": "Counted"}]}"#;

/// Everything that the owner of an entity committed up to a time is in Kafka, acknowledged, below
/// these offsets; and this is what it adds up to.
///
/// The lake has it all when its progress has passed the offsets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watermark {
    /// The entity.
    pub entity: TableName,
    /// Who published its events: their `ce_source`.
    pub source: String,
    /// The owner's commit time up to which all is published, by the owner's clock, in microseconds
    /// since 1970-01-01 UTC. It is never past the start of a transaction that was open and had
    /// written. It says nothing of times in the business.
    #[serde(rename = "complete_through")]
    pub complete_through_us: i64,
    /// The sequence up to which events are counted: all up to it are below the ends.
    pub through: i64,
    /// Where each topic partition ended.
    pub ends: Vec<PartitionEnd>,
    /// The version of the canonical form that the sums of rows are of.
    pub canonical_version: u32,
    /// All events of the source, as far back as they were counted.
    pub total: Counted,
    /// The events since the watermark before.
    pub interval: Counted,
}

/// The events of a source with sequences above `after`, up to the watermark's `through`: each counts
/// once, however often it was published.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// The sequence after which they begin.
    pub after: i64,
    /// How many there are and what they add up to.
    #[serde(flatten)]
    pub sums: EventSums,
}

/// The end of a topic partition: the offset after the last record.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PartitionEnd {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The next offset.
    pub offset: i64,
}

impl PartitionEnd {
    /// Whether a table has all below it that goes on at this offset, or has none of the partition.
    pub fn is_passed(&self, next_offset: Option<i64>) -> bool {
        self.offset == 0 || next_offset >= Some(self.offset)
    }
}

impl Watermark {
    /// The key of its record: entity and source, so that compaction keeps the newest of each.
    pub fn key(&self) -> String {
        json!({"entity": self.entity, "source": self.source}).to_string()
    }

    /// The value of its record.
    pub fn to_json(&self) -> String {
        json!(self).to_string()
    }

    /// Reads the value of a record. Members that a later version adds are passed over.
    ///
    /// # Errors
    /// It is not JSON, or not a watermark's.
    pub fn from_json(value: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(value)
    }

    /// Whether a table whose progress this is has all that the watermark speaks of.
    pub fn is_passed(&self, next_offset: impl Fn(&TopicPartition) -> Option<i64>) -> bool {
        self.ends.iter().all(|end| {
            let partition = TopicPartition::new(end.topic.as_str(), end.partition);
            end.is_passed(next_offset(&partition))
        })
    }

    /// The columns of the table of watermarks.
    ///
    /// # Errors
    /// None: the contract is our own.
    pub fn contract() -> Result<Contract, ContractError> {
        CONTRACT.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canonical::{self, JsonRow, RowWriter, hash};

    fn watermark() -> Watermark {
        let mut sums = EventSums::default();
        sums.add("a", hash(b"row"));
        let ends = (0..).zip([3, 0]);
        let ends = ends.map(|(partition, offset)| PartitionEnd {
            topic: "flights.flight".to_owned(),
            partition,
            offset,
        });
        Watermark {
            entity: "flights.flight".parse().unwrap(),
            source: "/flights/1".to_owned(),
            complete_through_us: 1_357_016_523_004_000,
            through: 17,
            ends: ends.collect(),
            canonical_version: canonical::VERSION,
            total: Counted { after: 4, sums },
            interval: Counted::default(),
        }
    }

    #[test]
    fn it_is_read_as_it_was_written_and_its_contract_holds_it() {
        let mark = watermark();
        let json = mark.to_json();
        assert!(
            json.contains(r#""total":{"after":4,"count":1,"ids":""#),
            "{json}"
        );
        assert_eq!(Watermark::from_json(json.as_bytes()).unwrap(), mark);
        let more = json.replacen('{', r#"{"later":1,"#, 1);
        assert_eq!(Watermark::from_json(more.as_bytes()).unwrap(), mark);
        assert!(Watermark::from_json(b"{}").is_err());
        let contract = Watermark::contract().unwrap();
        let mut row = RowWriter::default();
        JsonRow::new(&contract).write(&json, &mut row).unwrap();
        let text = String::from_utf8_lossy(row.bytes()).into_owned();
        assert!(
            text.contains("complete_throughi1357016523004000;"),
            "{text}"
        );
    }

    #[test]
    fn it_is_passed_when_every_partition_is() {
        let mark = watermark();
        let progress = |first: Option<i64>| {
            move |partition: &TopicPartition| first.filter(|_| partition.partition == 0)
        };
        assert!(mark.is_passed(progress(Some(3))) && mark.is_passed(progress(Some(4))));
        assert!(!mark.is_passed(progress(Some(2))) && !mark.is_passed(progress(None)));
    }
}
