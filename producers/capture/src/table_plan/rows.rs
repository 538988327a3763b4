//! A row's values as a key and a value in Confluent's wire format.

use change_events::{put_long, put_text};
use schemas::{Op, Sequence, wire};

use super::TablePlan;
use crate::pgoutput::Value;
use crate::value::put;

/// Why a row has no record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RowError {
    /// It does not go with its relation.
    Malformed(String),
    /// A value that its column's type does not hold.
    Value { column: String, why: String },
    /// An update left the value as it was, and Postgres did not log it.
    Unlogged { column: String },
}

/// Where a change comes from, as the envelope's `source` tells it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin<'a> {
    pub(crate) lsn: i64,
    pub(crate) commit_time_us: i64,
    /// None of a row that was copied.
    pub(crate) transaction: Option<Place<'a>>,
    pub(crate) sequence: Sequence,
    /// Our clock, milliseconds since 1970.
    pub(crate) published_ms: i64,
}

/// A change's place in its transaction.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    pub(crate) xid: u32,
    pub(crate) id: &'a str,
    pub(crate) total_order: i64,
    pub(crate) data_collection_order: i64,
}

/// A row before and after.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Change<'a> {
    pub(crate) op: Op,
    pub(crate) before: Option<&'a [Value<'a>]>,
    pub(crate) after: Option<&'a [Value<'a>]>,
    /// The whole row before, from which is taken what an update left as it was and Postgres did not log.
    pub(crate) whole_before: Option<&'a [Value<'a>]>,
}

/// A change as a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Encoded {
    pub(crate) key: Vec<u8>,
    pub(crate) value: Vec<u8>,
    /// Where in the value the row after the change begins; none of a delete.
    image_at: Option<usize>,
}

impl Encoded {
    /// The value from the row after the change on.
    pub(crate) fn image(&self) -> Option<&[u8]> {
        self.value.get(self.image_at?..)
    }
}

impl<'a> Change<'a> {
    /// The row whose key is the record's.
    pub(crate) fn keyed(&self) -> &'a [Value<'a>] {
        self.after.or(self.before).unwrap_or_default()
    }
}

impl TablePlan {
    /// The change's record.
    pub(crate) fn encode(
        &self,
        change: Change<'_>,
        origin: Origin<'_>,
    ) -> Result<Encoded, RowError> {
        let mut key = Vec::with_capacity(32);
        wire::frame(self.key_id, &mut key);
        for place in &self.key {
            let value = change.keyed().get(*place).copied();
            let before = change
                .whole_before
                .and_then(|before| before.get(*place).copied());
            self.put_column(*place, value, before, &mut key)?;
        }
        let mut value = Vec::with_capacity(512);
        wire::frame(self.value_id, &mut value);
        self.put_image(change.before, None, &mut value)?;
        // The union's branch is before it.
        let image_at = change.after.map(|_| value.len() + 1);
        self.put_image(change.after, change.whole_before, &mut value)?;
        self.put_source(&origin, &mut value);
        put_text(change.op.letter(), &mut value);
        value.push(2);
        put_long(origin.published_ms, &mut value);
        match origin.transaction {
            None => value.push(0),
            Some(place) => {
                value.push(2);
                put_text(place.id, &mut value);
                put_long(place.total_order, &mut value);
                put_long(place.data_collection_order, &mut value);
            }
        }
        Ok(Encoded {
            key,
            value,
            image_at,
        })
    }

    /// The texts of the change's key; nothing if one is null or was not logged.
    pub(crate) fn key_texts<'a>(&self, change: Change<'a>) -> Option<Vec<&'a str>> {
        let texts = self.key.iter().map(|place| {
            let value = match change.keyed().get(*place)? {
                Value::Unchanged => change.whole_before?.get(*place)?,
                value => value,
            };
            match value {
                Value::Text(text) => std::str::from_utf8(text).ok(),
                _ => None,
            }
        });
        texts.collect()
    }

    /// Whether an update changed the key. An old row that was not logged has the same key.
    pub(crate) fn key_differs(&self, before: &[Value<'_>], after: &[Value<'_>]) -> bool {
        self.key.iter().any(|place| match after.get(*place) {
            Some(Value::Unchanged) => false,
            value => value != before.get(*place),
        })
    }

    /// The key for people.
    pub(crate) fn describe_key(&self, row: &[Value<'_>]) -> String {
        let columns = self.key.iter().filter_map(|place| {
            let name = &self.columns.get(*place)?.name;
            let text = match row.get(*place)? {
                Value::Text(text) => String::from_utf8_lossy(text),
                _ => "null".into(),
            };
            Some(format!("{name} = {text:.60}"))
        });
        columns.collect::<Vec<_>>().join(", ")
    }

    fn put_image(
        &self,
        row: Option<&[Value<'_>]>,
        before: Option<&[Value<'_>]>,
        out: &mut Vec<u8>,
    ) -> Result<(), RowError> {
        let Some(row) = row else {
            out.push(0);
            return Ok(());
        };
        out.push(2);
        if row.len() != self.columns.len() {
            return Err(RowError::Malformed(format!(
                "a row of {} values of a table of {} columns",
                row.len(),
                self.columns.len()
            )));
        }
        for (place, value) in row.iter().enumerate() {
            let before = before.and_then(|before| before.get(place).copied());
            let column = self.columns.get(place);
            if column.is_some_and(|column| !column.is_key) {
                let is_null = *value == Value::Null
                    || *value == Value::Unchanged && before == Some(Value::Null);
                out.push(if is_null { 0 } else { 2 });
                if is_null {
                    continue;
                }
            }
            self.put_column(place, Some(*value), before, out)?;
        }
        Ok(())
    }

    /// Appends a value that is not null.
    fn put_column(
        &self,
        place: usize,
        value: Option<Value<'_>>,
        before: Option<Value<'_>>,
        out: &mut Vec<u8>,
    ) -> Result<(), RowError> {
        let Some(column) = self.columns.get(place) else {
            return Err(RowError::Malformed(
                "a row is longer than its table".to_owned(),
            ));
        };
        let wrong = |why: String| RowError::Value {
            column: column.name.clone(),
            why,
        };
        let value = match value {
            Some(Value::Unchanged) => before.or(value),
            value => value,
        };
        match value {
            Some(Value::Text(text)) => {
                put(&column.column_type.kind, text, out).map_err(|error| wrong(error.to_string()))
            }
            Some(Value::Unchanged) => Err(RowError::Unlogged {
                column: column.name.clone(),
            }),
            Some(Value::Null) | None => Err(wrong("a part of the key is null".to_owned())),
        }
    }

    fn put_source(&self, origin: &Origin<'_>, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.source_head);
        put_long(origin.commit_time_us.div_euclid(1000), out);
        out.push(2);
        put_text(
            if origin.transaction.is_some() {
                "false"
            } else {
                "true"
            },
            out,
        );
        put_text(&self.database, out);
        out.push(2);
        put_text(&origin.sequence.to_string(), out);
        put_long(origin.commit_time_us, out);
        put_text(&self.settings.schema, out);
        put_text(&self.settings.name, out);
        match origin.transaction {
            None => out.push(0),
            Some(place) => {
                out.push(2);
                put_long(place.xid.into(), out);
            }
        }
        out.push(2);
        put_long(origin.lsn, out);
    }
}
