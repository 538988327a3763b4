//! Dead letters: records that could not be read, kept whole with the reason.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::error::ArrowError;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lake_store::dead_letters_schema;
use schemas::{SchemaId, TableName, TopicPartition};
use serde_json::json;

use crate::record_log::Record;

/// What every dead letter weighs besides its bytes, in the memory budget.
const OVERHEAD_BYTES: usize = 256;

/// Why a record is a dead letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reason {
    /// A stable word to count and filter by.
    pub(crate) code: &'static str,
    /// What is wrong, for people.
    pub(crate) text: String,
}

impl Reason {
    pub(crate) fn new(code: &'static str, text: impl Into<String>) -> Self {
        Self {
            code,
            text: text.into(),
        }
    }
}

/// A record that could not be read.
#[derive(Clone, Debug)]
pub(crate) struct DeadLetter {
    pub(crate) offset: i64,
    record_time_us: i64,
    ingest_time_us: i64,
    schema_id: Option<SchemaId>,
    reason: Reason,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: String,
}

impl DeadLetter {
    pub(crate) fn of(
        record: &Record<'_>,
        schema_id: Option<SchemaId>,
        reason: Reason,
        ingest_time_us: i64,
    ) -> Self {
        let headers: Vec<_> = record
            .headers()
            .map(|(name, value)| json!([name, value.map(|bytes| STANDARD.encode(bytes))]))
            .collect();
        Self {
            offset: record.offset,
            record_time_us: record.timestamp_ms.saturating_mul(1000),
            ingest_time_us,
            schema_id,
            reason,
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
            headers: json!(headers).to_string(),
        }
    }

    /// Memory held, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        let raw = self.key.as_ref().map_or(0, Vec::len) + self.value.as_ref().map_or(0, Vec::len);
        raw + self.headers.len() + self.reason.text.len() + OVERHEAD_BYTES
    }
}

/// The dead letters of one topic partition as a batch.
pub(crate) fn batch(
    partition: &TopicPartition,
    table: &TableName,
    letters: &[DeadLetter],
) -> Result<RecordBatch, ArrowError> {
    let texts = |text: &dyn Fn(&DeadLetter) -> String| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(letters.iter().map(text)))
    };
    let times = |time: &dyn Fn(&DeadLetter) -> i64| -> ArrayRef {
        let values = TimestampMicrosecondArray::from_iter_values(letters.iter().map(time));
        Arc::new(values.with_timezone("UTC"))
    };
    let binaries = |bytes: &dyn Fn(&DeadLetter) -> Option<&[u8]>| -> ArrayRef {
        Arc::new(
            letters
                .iter()
                .map(|letter| bytes(letter).map(<[u8]>::to_vec))
                .collect::<BinaryArray>(),
        )
    };
    // The registry's ids are small numbers; one that is not is told in the error's text.
    let id = |letter: &DeadLetter| letter.schema_id.and_then(|id| i32::try_from(id.0).ok());
    let columns: Vec<ArrayRef> = vec![
        texts(&|_| partition.topic.to_string()),
        Arc::new(Int32Array::from(vec![partition.partition; letters.len()])),
        Arc::new(Int64Array::from_iter_values(
            letters.iter().map(|letter| letter.offset),
        )),
        times(&|letter| letter.record_time_us),
        times(&|letter| letter.ingest_time_us),
        Arc::new(letters.iter().map(id).collect::<Int32Array>()),
        texts(&|letter| letter.reason.code.to_owned()),
        texts(&|letter| letter.reason.text.clone()),
        texts(&|_| table.to_string()),
        Arc::new(
            letters
                .iter()
                .map(|letter| letter.key.as_deref())
                .collect::<BinaryArray>(),
        ),
        binaries(&|letter| letter.value.as_deref()),
        texts(&|letter| letter.headers.clone()),
    ];
    RecordBatch::try_new(dead_letters_schema(), columns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_letter_keeps_the_record_whole() {
        let record = Record {
            topic: "t",
            partition: 3,
            offset: 9,
            timestamp_ms: 5,
            key: None,
            value: Some(b"\xff"),
            headers: None,
        };
        let letter = DeadLetter::of(
            &record,
            Some(SchemaId(7)),
            Reason::new("truncated", "short"),
            1,
        );
        let partition = TopicPartition::new("t", 3);
        let batch = batch(&partition, &"a.b".parse().unwrap(), &[letter]).unwrap();
        let shown = arrow::util::pretty::pretty_format_batches(&[batch])
            .unwrap()
            .to_string();
        assert!(
            shown.contains("| t      | 3          | 9       | 1970-01-01T00:00:00.005Z"),
            "{shown}"
        );
        assert!(
            shown.contains("| 7          | truncated  | short | a.b   |     | ff    | []"),
            "{shown}"
        );
    }
}
