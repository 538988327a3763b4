//! New schemas: what they do to the lane's contract.

use std::sync::Arc;

use columnar::{ChangeDecoder, SchemaMismatch};
use schemas::{AvroSchema, Contract, Evolution, Shape};

use super::reading::waits;
use super::{Lane, Verdict, Wait, WriterSchema, mismatch};
use crate::dead_letter::Reason;
use crate::error::WriterError;
use crate::record_log::Record;
use crate::schema_cache::SchemaCache;
use crate::settings::OnIncompatible;

impl Lane {
    /// Makes a decoder of a writer's schema; a verdict if the record must wait or is dead.
    pub(super) fn learn(
        &mut self,
        writer: WriterSchema,
        record: &Record<'_>,
        schemas: &mut SchemaCache,
    ) -> Result<Option<Verdict>, WriterError> {
        let schema = match self.writers.find(writer, schemas) {
            None => return Ok(Some(waits(writer))),
            Some(Err(reason)) => return Ok(Some(Verdict::Dead(writer.id(), reason))),
            Some(Ok(schema)) => schema,
        };
        let verdict = match self.schema.is_none() {
            true => self.learn_first(writer, &schema, record, schemas)?,
            false => self.follow(writer, &schema, record)?,
        };
        if verdict.is_some() {
            return Ok(verdict);
        }
        let Some(table) = &self.schema else {
            return Err(self.no_contract());
        };
        let decoder = ChangeDecoder::of_writer(&schema, self.shape, table);
        self.values
            .insert(writer, decoder.map_err(|error| mismatch(&error)));
        Ok(None)
    }

    /// Takes the contract of a table that does not exist yet from the first record's schema.
    fn learn_first(
        &mut self,
        writer: WriterSchema,
        schema: &AvroSchema,
        record: &Record<'_>,
        schemas: &mut SchemaCache,
    ) -> Result<Option<Verdict>, WriterError> {
        let mut key = None;
        // The key's schema names the key columns, unless the configuration does.
        let framed = record
            .key
            .and_then(|key| WriterSchema::unframe(self.route.format, key));
        if let (None, Some((writer, _)), true) =
            (&self.route.key, framed, self.shape != Shape::Append)
        {
            match self.writers.find(writer, schemas) {
                None => return Ok(Some(waits(writer))),
                Some(answer) => key = answer.ok(),
            }
        }
        match columnar::contract_of_writer(schema, key.as_deref(), self.shape, None) {
            Ok(contract) => self.begin(contract, key.is_none(), writer.id()),
            Err(error) => self
                .cannot_follow(Some(writer), record, error.to_string())
                .map(Some),
        }
    }

    /// Looks whether the lane's contract holds what a schema brings, and what must come first.
    fn follow(
        &mut self,
        writer: WriterSchema,
        schema: &AvroSchema,
        record: &Record<'_>,
    ) -> Result<Option<Verdict>, WriterError> {
        let Some(table) = self.schema.as_ref().map(Arc::clone) else {
            return Err(self.no_contract());
        };
        let brought =
            columnar::contract_of_writer(schema, None, self.shape, Some(table.contract()));
        let step = match brought {
            Ok(brought) => table
                .contract()
                .evolve(&brought)
                .map_err(|why| why.to_string()),
            Err(error) => Err(error.to_string()),
        };
        match step {
            Ok(Evolution::Same) => Ok(None),
            Ok(Evolution::Changes(changes)) => {
                self.next_contract = Some(changes.contract);
                Ok(Some(Verdict::Waits(Wait::Contract)))
            }
            Err(why) => self.cannot_follow(Some(writer), record, why).map(Some),
        }
    }

    /// The same for JSON that brings its schema.
    pub(super) fn follow_json(
        &mut self,
        record: &Record<'_>,
        value: &[u8],
        mismatch: &SchemaMismatch,
    ) -> Result<Verdict, WriterError> {
        let Some(table) = self.schema.as_ref().map(Arc::clone) else {
            return Err(self.no_contract());
        };
        let table = table.contract();
        let brought = columnar::contract_of_json(value, None, self.shape, Some(table));
        let step = match brought {
            Ok(Some(brought)) => table.evolve(&brought).map_err(|why| why.to_string()),
            Ok(None) => Ok(Evolution::Same),
            Err(error) => Err(error.to_string()),
        };
        match step {
            Ok(Evolution::Changes(changes)) => {
                self.next_contract = Some(changes.contract);
                Ok(Verdict::Waits(Wait::Contract))
            }
            Ok(Evolution::Same) => self.cannot_follow(None, record, mismatch.to_string()),
            Err(why) => self.cannot_follow(None, record, why),
        }
    }

    /// Begins a table's contract. A record without a readable key says nothing of the table's
    /// key; another may.
    pub(super) fn begin(
        &mut self,
        contract: Contract,
        keyless: bool,
        schema_id: Option<schemas::SchemaId>,
    ) -> Result<Option<Verdict>, WriterError> {
        if keyless && self.lacks_key(&contract) {
            let text = "the record has no readable key, and neither the configuration nor its \
                        schema names the table's key";
            let reason = Reason::new("missing_key", text);
            return Ok(Some(Verdict::Dead(schema_id, reason)));
        }
        self.set_contract(contract).map(|()| None)
    }

    /// What becomes of a record whose schema the table cannot follow.
    pub(super) fn cannot_follow(
        &mut self,
        writer: Option<WriterSchema>,
        record: &Record<'_>,
        why: String,
    ) -> Result<Verdict, WriterError> {
        let id = writer.and_then(WriterSchema::id);
        let why = match id {
            Some(id) => format!("schema {id}: {why}"),
            None => why,
        };
        if self.route.on_incompatible == OnIncompatible::Stop && self.schema.is_some() {
            return Err(WriterError::Incompatible {
                table: self.table.clone(),
                topic: self.topic.to_string(),
                partition: record.partition,
                offset: record.offset,
                why,
            });
        }
        let reason = Reason::new("schema_mismatch", why);
        if let Some(writer) = writer.filter(|_| self.schema.is_some()) {
            self.values.insert(writer, Err(reason.clone()));
        }
        Ok(Verdict::Dead(id, reason))
    }
}
