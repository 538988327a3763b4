//! The columns of `_system/gaps`.

use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

/// One row for every gap that somebody accepted: where the table was to go on, where it went on,
/// and why. Partition and offsets are null where a topic as a whole is meant.
pub fn gaps_schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        Arc::new(Schema::new(vec![
            Field::new("table", DataType::Utf8, false),
            Field::new("topic", DataType::Utf8, false),
            Field::new("partition", DataType::Int32, true),
            Field::new("from_offset", DataType::Int64, true),
            Field::new("to_offset", DataType::Int64, true),
            Field::new("reason", DataType::Utf8, false),
            Field::new("accepted_at", time, false),
        ]))
    });
    Arc::clone(&SCHEMA)
}
