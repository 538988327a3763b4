//! A new schema against the versions that a subject has, by the subject's level.

use std::sync::Arc;

use apache_avro::Schema;

use crate::incompatibility::Reader;
use crate::level::Level;
use crate::resolution::incompatibilities;

/// A version that the new schema is held against.
#[derive(Clone, Debug)]
pub(crate) struct Older {
    pub(crate) version: u32,
    pub(crate) schema: Arc<str>,
}

/// Why a schema may not follow a version, in Confluent's form: one text per reason, then the
/// version, its schema and the level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Conflict {
    pub(crate) messages: Vec<String>,
}

/// Holds a schema against older ones, the newest first; the first conflict ends it.
///
/// # Errors
/// A schema cannot be read, which was checked when it was registered.
pub(crate) fn check(
    new: &Schema,
    older: impl IntoIterator<Item = Older>,
    level: Level,
) -> Result<Option<Conflict>, String> {
    if level == Level::None {
        return Ok(None);
    }
    let count = if level.is_transitive() { usize::MAX } else { 1 };
    for older in older.into_iter().take(count) {
        let schema = Schema::parse_str(&older.schema).map_err(|error| error.to_string())?;
        let mut messages = Vec::new();
        if level.new_reads_old() {
            let found = incompatibilities(new, &schema)?;
            messages.extend(found.iter().map(|found| found.message(Reader::New)));
        }
        if level.old_reads_new() {
            let found = incompatibilities(&schema, new)?;
            messages.extend(found.iter().map(|found| found.message(Reader::Old)));
        }
        if !messages.is_empty() {
            messages.push(format!("{{oldSchemaVersion: {}}}", older.version));
            messages.push(format!("{{oldSchema: '{}'}}", older.schema));
            messages.push(format!("{{compatibility: '{level}'}}"));
            return Ok(Some(Conflict { messages }));
        }
    }
    Ok(None)
}
