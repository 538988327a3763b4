//! Messages of Postgres' output plugin `pgoutput`, protocol version 1, decoded into borrowed values.
//!
//! Begin, commit and logical messages are told by the replication connection itself; these are the
//! rest. Every length is checked against the bytes that are there; a message that is cut off, has an
//! unknown kind or bytes left over is an error that names what was being read.

mod reader;

use self::reader::Reader;

/// A message that is not of the protocol.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a message of pgoutput is not as it should be: {0}")]
pub(crate) struct Malformed(pub(crate) String);

/// What a message says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Message<'a> {
    /// How the rows that follow are made; comes before the first of them and after every change.
    Relation(Relation<'a>),
    Insert {
        relation: u32,
        new: Tuple<'a>,
    },
    Update {
        relation: u32,
        old: Option<OldRow<'a>>,
        new: Tuple<'a>,
    },
    Delete {
        relation: u32,
        old: OldRow<'a>,
    },
    Truncate {
        relations: Vec<u32>,
    },
    /// The name of a type, or of another database that a transaction comes from: not needed.
    Other,
}

/// A table as the rows that follow have it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Relation<'a> {
    pub(crate) id: u32,
    pub(crate) schema: &'a str,
    pub(crate) name: &'a str,
    /// `d` default, `n` nothing, `f` full, `i` an index.
    pub(crate) identity: u8,
    pub(crate) columns: Vec<RelationColumn<'a>>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RelationColumn<'a> {
    /// Whether it is part of the replica identity.
    pub(crate) in_identity: bool,
    pub(crate) name: &'a str,
    pub(crate) type_oid: u32,
    pub(crate) type_modifier: i32,
}

/// A row before its change.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct OldRow<'a> {
    /// Every value was logged; else those of the replica identity, and the others are null here.
    pub(crate) is_whole: bool,
    pub(crate) values: Tuple<'a>,
}

/// A row's values in the order of its relation's columns.
pub(crate) type Tuple<'a> = Vec<Value<'a>>;

/// One value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    Null,
    /// Stored beside the row and not touched by the update: it was not sent.
    Unchanged,
    /// As the type's output function writes it.
    Text(&'a [u8]),
}

/// Decodes one message.
pub(crate) fn decode(bytes: &[u8]) -> Result<Message<'_>, Malformed> {
    let mut reader = Reader::new(bytes);
    let message = match reader.u8("the kind of message")? {
        b'R' => Message::Relation(relation(&mut reader)?),
        b'I' => {
            let relation = reader.u32("the relation of an insert")?;
            expect(&mut reader, b'N', "an insert")?;
            let new = tuple(&mut reader)?;
            Message::Insert { relation, new }
        }
        b'U' => update(&mut reader)?,
        b'D' => {
            let relation = reader.u32("the relation of a delete")?;
            let kind = reader.u8("the kind of a delete's row")?;
            let old = old_row(kind, "a delete's row", &mut reader)?;
            Message::Delete { relation, old }
        }
        b'T' => truncate(&mut reader)?,
        b'Y' | b'O' => return Ok(Message::Other),
        other => return Err(unknown(other, "a message")),
    };
    reader.end()?;
    Ok(message)
}

fn relation<'a>(reader: &mut Reader<'a>) -> Result<Relation<'a>, Malformed> {
    let id = reader.u32("a relation's id")?;
    let schema = reader.text("a relation's schema")?;
    // The system's own schema is sent as no name.
    let schema = if schema.is_empty() {
        "pg_catalog"
    } else {
        schema
    };
    let name = reader.text("a relation's name")?;
    let identity = reader.u8("a replica identity")?;
    let count = reader.u16("a count of columns")?;
    let mut columns = Vec::with_capacity(usize::from(count).min(reader.left()));
    for _ in 0..count {
        columns.push(RelationColumn {
            in_identity: reader.u8("a column's flags")? & 1 != 0,
            name: reader.text("a column's name")?,
            type_oid: reader.u32("a column's type")?,
            type_modifier: reader.i32("a column's type modifier")?,
        });
    }
    Ok(Relation {
        id,
        schema,
        name,
        identity,
        columns,
    })
}

fn update<'a>(reader: &mut Reader<'a>) -> Result<Message<'a>, Malformed> {
    let relation = reader.u32("the relation of an update")?;
    let old = match reader.u8("the kind of an update's row")? {
        b'N' => None,
        kind => {
            let old = old_row(kind, "an update's row", reader)?;
            expect(reader, b'N', "an update")?;
            Some(old)
        }
    };
    let new = tuple(reader)?;
    Ok(Message::Update { relation, old, new })
}

fn old_row<'a>(kind: u8, what: &str, reader: &mut Reader<'a>) -> Result<OldRow<'a>, Malformed> {
    let is_whole = match kind {
        b'O' => true,
        b'K' => false,
        other => return Err(unknown(other, what)),
    };
    let values = tuple(reader)?;
    Ok(OldRow { is_whole, values })
}

fn truncate<'a>(reader: &mut Reader<'a>) -> Result<Message<'a>, Malformed> {
    let count = reader.u32("a count of truncated relations")?;
    reader.u8("the options of a truncate")?;
    let mut relations = Vec::new();
    for _ in 0..count {
        relations.push(reader.u32("a truncated relation")?);
    }
    Ok(Message::Truncate { relations })
}

fn tuple<'a>(reader: &mut Reader<'a>) -> Result<Tuple<'a>, Malformed> {
    let count = reader.u16("a count of values")?;
    // Every value has a byte at least: a count that promises more is found out below.
    let mut values = Vec::with_capacity(usize::from(count).min(reader.left()));
    for _ in 0..count {
        values.push(match reader.u8("the kind of a value")? {
            b'n' => Value::Null,
            b'u' => Value::Unchanged,
            b't' => {
                let length = reader.u32("the length of a value")?;
                Value::Text(reader.bytes(length, "a value")?)
            }
            other => return Err(unknown(other, "a value")),
        });
    }
    Ok(values)
}

fn expect(reader: &mut Reader<'_>, kind: u8, what: &str) -> Result<(), Malformed> {
    match reader.u8("the kind of a row")? {
        found if found == kind => Ok(()),
        other => Err(unknown(other, what)),
    }
}

fn unknown(kind: u8, what: &str) -> Malformed {
    Malformed(format!("{:?} is no known kind of {what}", char::from(kind)))
}

#[cfg(test)]
mod tests;
