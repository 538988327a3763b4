//! One topic's way from record bytes to column buffers.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use crate::dead_letter::Reason;
use crate::error::WriterError;
use crate::record_log::Record;
use crate::schema_cache::SchemaCache;
use crate::settings::Format;
use columnar::{
    ChangeBuffer, ChangeDecoder, ChangeSchema, DecodeError, Decoded, KeyBody, KeyDecoder,
    RecordMeta,
};
use schemas::{Contract, SchemaId, Shape, TableName, TopicPartition, wire};

mod outlet;
mod stopped;

pub(crate) use outlet::Outlet;
pub(crate) use stopped::Stopped;

/// What became of one record.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// It is a row of the buffer.
    Row,
    /// It says nothing new.
    Passed,
    /// It cannot be read before this schema is known; the buffer is as it was.
    Waits(SchemaId),
    /// It can never be read.
    Dead(Option<SchemaId>, Reason),
}

/// A topic, its table and its decoders.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) topic: Arc<str>,
    pub(crate) table: TableName,
    pub(crate) shape: Shape,
    pub(crate) schema: Option<Arc<ChangeSchema>>,
    /// The way to the table's writer.
    pub(crate) outlet: Outlet,
    /// Why it is not read, if it is not.
    pub(crate) stopped: Option<Stopped>,
    /// Why it was not read before it was tried again.
    pub(crate) stopped_before: Option<Stopped>,
    format: Format,
    key: Option<Vec<String>>,
    /// The contract was learned from a record, so a table that exists knows better.
    learned: bool,
    values: HashMap<SchemaId, Result<ChangeDecoder, Reason>>,
    keys: HashMap<SchemaId, Result<KeyDecoder, Reason>>,
    plain: Option<Plain>,
}

/// Decoders that need no writer's schema: of JSON, and of values that are null in any format.
#[derive(Debug)]
struct Plain {
    values: ChangeDecoder,
    keys: KeyDecoder,
}

impl Lane {
    pub(crate) fn new(
        topic: Arc<str>,
        table: TableName,
        format: Format,
        shape: Shape,
        key: Option<Vec<String>>,
        outlet: Outlet,
    ) -> Self {
        Self {
            topic,
            table,
            shape,
            schema: None,
            outlet,
            stopped: None,
            stopped_before: None,
            format,
            key,
            learned: false,
            values: HashMap::new(),
            keys: HashMap::new(),
            plain: None,
        }
    }

    /// Takes the contract of a table that exists, unless the configuration gave one.
    pub(crate) fn set_table_contract(&mut self, contract: Contract) -> Result<(), WriterError> {
        if self.schema.is_none() || std::mem::take(&mut self.learned) {
            return self.set_contract(contract);
        }
        Ok(())
    }

    /// Takes a contract, from the configuration, the table or the first record's schema.
    pub(crate) fn set_contract(&mut self, contract: Contract) -> Result<(), WriterError> {
        let contract = match &self.key {
            Some(key) => contract
                .with_key(key.clone())
                .map_err(|error| WriterError::Table {
                    table: self.table.to_string(),
                    why: error.to_string(),
                })?,
            None => contract,
        };
        if self.lacks_key(&contract) {
            return Err(WriterError::KeyUnknown {
                table: self.table.clone(),
                shape: self.shape,
            });
        }
        let schema = ChangeSchema::new(&contract);
        self.values.clear();
        self.keys.clear();
        self.plain = Some(Plain {
            values: ChangeDecoder::json(self.shape, &schema),
            keys: KeyDecoder::json(&schema),
        });
        self.schema = Some(schema);
        Ok(())
    }

    /// Reads one record into the partition's buffer, which is made at the first row.
    pub(crate) fn read(
        &mut self,
        record: &Record<'_>,
        mut meta: RecordMeta<'_>,
        rows: &mut Option<ChangeBuffer>,
        schemas: &mut SchemaCache,
    ) -> Result<Verdict, WriterError> {
        if record.value.is_none() && self.shape == Shape::Debezium {
            return Ok(Verdict::Passed);
        }
        let (decoder, body) = match self.format {
            Format::Json => match &mut self.plain {
                Some(plain) => (&mut plain.values, record.value),
                None => return Err(self.no_contract()),
            },
            Format::Avro => match record.value.map(wire::unframe) {
                Some(None) => return Ok(Verdict::Dead(None, not_framed("value"))),
                // A tombstone has no schema of its own: any decoder of the table reads its key.
                None => return self.read_tombstone(record, &meta, rows, schemas),
                Some(Some((id, body))) => {
                    meta.schema_id = Some(id);
                    if !self.values.contains_key(&id)
                        && let Some(verdict) = self.learn(id, record, schemas)?
                    {
                        return Ok(verdict);
                    }
                    match self.values.get_mut(&id) {
                        Some(Ok(decoder)) => (decoder, Some(body)),
                        Some(Err(reason)) => return Ok(Verdict::Dead(Some(id), reason.clone())),
                        None => return Ok(Verdict::Waits(id)),
                    }
                }
            },
        };
        let Some(schema) = &self.schema else {
            return Err(self.no_contract());
        };
        let buffer = open(rows, schema, &self.topic, record);
        match decoder.decode(&meta, body, None, buffer) {
            Ok(Decoded::Row) => Ok(Verdict::Row),
            Ok(Decoded::Passed) => Ok(Verdict::Passed),
            Ok(Decoded::KeyNeeded) => self.read_with_key(record, &meta, rows, schemas),
            Err(error) => Ok(unreadable(&meta, &error)),
        }
    }

    /// Asks for the schema of a record that comes after one that waits, so that a run of unknown
    /// ids costs one wait and not one each.
    pub(crate) fn look_ahead(&self, record: &Record<'_>, schemas: &mut SchemaCache) {
        if let (Format::Avro, Some(Some((id, _)))) = (self.format, record.value.map(wire::unframe))
        {
            schemas.ask_ahead(id);
        }
    }

    fn read_tombstone(
        &mut self,
        record: &Record<'_>,
        meta: &RecordMeta<'_>,
        rows: &mut Option<ChangeBuffer>,
        schemas: &mut SchemaCache,
    ) -> Result<Verdict, WriterError> {
        if self.shape == Shape::Append {
            let reason = Reason::new(
                "invalid",
                "a null value is no fact; shape append has no deletes",
            );
            return Ok(Verdict::Dead(None, reason));
        }
        if self.schema.is_none() {
            // Nothing has landed yet, so there is nothing that this could delete.
            return Ok(Verdict::Passed);
        }
        self.read_with_key(record, meta, rows, schemas)
    }

    /// Reads a delete whose columns are only in the record's key.
    fn read_with_key(
        &mut self,
        record: &Record<'_>,
        meta: &RecordMeta<'_>,
        rows: &mut Option<ChangeBuffer>,
        schemas: &mut SchemaCache,
    ) -> Result<Verdict, WriterError> {
        let dead = |reason| Ok(Verdict::Dead(meta.schema_id, reason));
        let (Some(schema), Some(plain)) = (&self.schema, &mut self.plain) else {
            return Err(self.no_contract());
        };
        let Some(key) = record.key else {
            let text = "the change has neither a row nor a record key";
            return dead(Reason::new("missing_key", text));
        };
        let key = match self.format {
            Format::Json => KeyBody {
                decoder: &mut plain.keys,
                body: key,
            },
            Format::Avro => {
                let Some((id, body)) = wire::unframe(key) else {
                    return dead(not_framed("key"));
                };
                if let Entry::Vacant(unknown) = self.keys.entry(id) {
                    let Some(answer) = schemas.get(id) else {
                        return Ok(Verdict::Waits(id));
                    };
                    unknown.insert(answer.clone().and_then(|writer| {
                        KeyDecoder::avro(&writer, schema).map_err(|error| mismatch(&error))
                    }));
                }
                match self.keys.get_mut(&id) {
                    Some(Ok(decoder)) => KeyBody { decoder, body },
                    Some(Err(reason)) => return dead(reason.clone()),
                    None => return Ok(Verdict::Waits(id)),
                }
            }
        };
        let known = meta.schema_id.and_then(|id| self.values.get_mut(&id));
        let (decoder, body) = match (known, record.value.and_then(wire::unframe)) {
            (Some(Ok(decoder)), Some((_, body))) => (decoder, Some(body)),
            _ => (&mut plain.values, record.value),
        };
        let buffer = open(rows, schema, &self.topic, record);
        Ok(match decoder.decode(meta, body, Some(key), buffer) {
            Ok(Decoded::Row) => Verdict::Row,
            Ok(Decoded::Passed) => Verdict::Passed,
            Ok(Decoded::KeyNeeded) => {
                let reason = Reason::new("missing_key", "the record's key lacks key columns");
                Verdict::Dead(meta.schema_id, reason)
            }
            Err(error) => unreadable(meta, &error),
        })
    }

    /// Makes a decoder of a schema id; a verdict if the record must wait or is dead.
    fn learn(
        &mut self,
        id: SchemaId,
        record: &Record<'_>,
        schemas: &mut SchemaCache,
    ) -> Result<Option<Verdict>, WriterError> {
        let writer = match schemas.get(id) {
            None => return Ok(Some(Verdict::Waits(id))),
            Some(Err(reason)) => return Ok(Some(Verdict::Dead(Some(id), reason.clone()))),
            Some(Ok(writer)) => Arc::clone(writer),
        };
        if self.schema.is_none() {
            let mut key_schema = None;
            // The key's schema names the key columns, unless the configuration does.
            let key_id = record.key.and_then(wire::unframe).map(|(id, _)| id);
            if let (None, Some(key_id), true) = (&self.key, key_id, self.shape != Shape::Append) {
                match schemas.get(key_id) {
                    None => return Ok(Some(Verdict::Waits(key_id))),
                    Some(answer) => key_schema = answer.as_ref().ok().map(Arc::clone),
                }
            }
            match columnar::contract_of(&writer, key_schema.as_deref(), self.shape) {
                // A record without a readable key says nothing of the table's key; another may.
                Ok(contract) if self.lacks_key(&contract) && key_schema.is_none() => {
                    let text = "the record has no key in the Confluent wire format, and neither the \
                                configuration nor its schema names the table's key";
                    return Ok(Some(Verdict::Dead(
                        Some(id),
                        Reason::new("missing_key", text),
                    )));
                }
                Ok(contract) => {
                    self.set_contract(contract)?;
                    self.learned = true;
                }
                Err(error) => {
                    let reason = Reason::new("schema_mismatch", format!("schema {id}: {error}"));
                    return Ok(Some(Verdict::Dead(Some(id), reason)));
                }
            }
        }
        let Some(schema) = &self.schema else {
            return Err(self.no_contract());
        };
        let decoder =
            ChangeDecoder::avro(&writer, self.shape, schema).map_err(|error| mismatch(&error));
        self.values.insert(id, decoder);
        Ok(None)
    }

    fn lacks_key(&self, contract: &Contract) -> bool {
        let configured = self.key.as_ref().is_some_and(|key| !key.is_empty());
        contract.key().is_empty() && !configured && self.shape != Shape::Append
    }

    fn no_contract(&self) -> WriterError {
        WriterError::Internal(format!("topic {} is read without a contract", self.topic))
    }
}

/// The partition's buffer, made at its first row.
fn open<'b>(
    rows: &'b mut Option<ChangeBuffer>,
    schema: &Arc<ChangeSchema>,
    topic: &Arc<str>,
    record: &Record<'_>,
) -> &'b mut ChangeBuffer {
    rows.get_or_insert_with(|| {
        let partition = TopicPartition::new(Arc::clone(topic), record.partition);
        ChangeBuffer::new(Arc::clone(schema), partition)
    })
}

fn unreadable(meta: &RecordMeta<'_>, error: &DecodeError) -> Verdict {
    Verdict::Dead(meta.schema_id, Reason::new(error.code(), error.to_string()))
}

fn not_framed(part: &str) -> Reason {
    let text =
        format!("the {part} is not in the Confluent wire format (byte 0, 4-byte schema id, Avro)");
    Reason::new("not_framed", text)
}

fn mismatch(error: &columnar::SchemaMismatch) -> Reason {
    Reason::new("schema_mismatch", error.to_string())
}
