//! The columns of `_system/dead_letters`.

use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

/// Where the record came from, when, why it could not be read, and the record itself: key and
/// value as they were, headers as a JSON array of `[name, base64 or null]`.
pub fn dead_letters_schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        let time = || DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        Arc::new(Schema::new(vec![
            Field::new("_topic", DataType::Utf8, false),
            Field::new("_partition", DataType::Int32, false),
            Field::new("_offset", DataType::Int64, false),
            Field::new("_record_time", time(), false),
            Field::new("_ingest_time", time(), false),
            Field::new("_schema_id", DataType::Int32, true),
            Field::new("error_code", DataType::Utf8, false),
            Field::new("error", DataType::Utf8, false),
            Field::new("table", DataType::Utf8, false),
            Field::new("key", DataType::Binary, true),
            Field::new("value", DataType::Binary, true),
            Field::new("headers", DataType::Utf8, false),
        ]))
    });
    Arc::clone(&SCHEMA)
}
