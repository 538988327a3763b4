//! The columns of `_system/periods`.

use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

/// One row for every revision of a period snapshot: of which table and period, the moment it is of
/// (exclusive) and the zone that this is the calendar's of, where it is below the lake's root, and
/// of which version of the changes it was made.
pub fn periods_schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        let time = || DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        Arc::new(Schema::new(vec![
            Field::new("table", DataType::Utf8, false),
            Field::new("period", DataType::Utf8, false),
            Field::new("revision", DataType::Int64, false),
            Field::new("until", time(), false),
            Field::new("time_zone", DataType::Utf8, false),
            Field::new("path", DataType::Utf8, false),
            Field::new("changes_version", DataType::Int64, false),
            Field::new("rows", DataType::Int64, false),
            Field::new("made_at", time(), false),
        ]))
    });
    Arc::clone(&SCHEMA)
}
