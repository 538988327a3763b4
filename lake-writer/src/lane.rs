//! One topic's way from record bytes to column buffers.

use std::sync::Arc;

use columnar::{ChangeDecoder, ChangeSchema, KeyDecoder, UnknownFields};
use schemas::{Contract, Evolution, KeyFormat, SchemaId, Shape, TableName};

use crate::dead_letter::Reason;
use crate::error::WriterError;
use crate::lake_writer::Opening;
use crate::route::Route;
use crate::settings;

mod inferring;
mod known;
mod learning;
mod outlet;
mod reading;
mod samples;
mod stopped;
mod writer_schema;

use known::Known;
pub(crate) use outlet::Outlet;
use samples::Samples;
pub(crate) use stopped::Stopped;
use writer_schema::{WriterSchema, WriterSchemas};

/// What became of one record.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// It is a row of the buffer.
    Row,
    /// It says nothing new.
    Passed,
    /// It cannot be read before this has come; the buffer is as it was.
    Waits(Wait),
    /// It can never be read.
    Dead(Option<SchemaId>, Reason),
}

/// What a record cannot be read without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// This schema.
    Schema(SchemaId),
    /// The lane's next contract.
    Contract,
}

/// A topic, its table and its decoders.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) topic: Arc<str>,
    pub(crate) table: TableName,
    pub(crate) shape: Shape,
    pub(crate) route: Route,
    pub(crate) schema: Option<Arc<ChangeSchema>>,
    /// The way to the table's writer.
    pub(crate) outlet: Outlet,
    /// Where to go on was asked and is not answered yet.
    pub(crate) opening: Option<Opening>,
    /// Why it is not read, if it is not.
    pub(crate) stopped: Option<Stopped>,
    /// Why it was not read before it was tried again.
    pub(crate) stopped_before: Option<Stopped>,
    /// The contract that a record waits for: what was read under the present one goes first.
    pub(crate) next_contract: Option<Contract>,
    samples: Samples,
    writers: WriterSchemas,
    values: Known<ChangeDecoder>,
    keys: Known<KeyDecoder>,
    plain: Option<Plain>,
}

/// Decoders that need no writer's schema: of JSON, and of values that are null in any format.
#[derive(Debug)]
struct Plain {
    values: ChangeDecoder,
    /// `None` where keys are Avro.
    keys: Option<Result<KeyDecoder, Reason>>,
}

impl Lane {
    pub(crate) fn new(route: Route, outlet: Outlet) -> Result<Self, WriterError> {
        let mut lane = Self {
            topic: Arc::clone(&route.topic),
            table: route.table.clone(),
            shape: route.shape,
            schema: None,
            outlet,
            opening: None,
            stopped: None,
            stopped_before: None,
            next_contract: None,
            samples: Samples::default(),
            writers: WriterSchemas::of(&route),
            values: Known::new(),
            keys: Known::new(),
            plain: None,
            route,
        };
        if let Some(contract) = lane.route.contract.clone() {
            lane.set_contract(contract)?;
        }
        Ok(lane)
    }

    /// The contract that fits a table that exists: the table's own, grown by the configured one if
    /// there is one. It counts once [`Self::set_contract`] is told.
    pub(crate) fn contract_for(
        &self,
        table: Contract,
        shape: Shape,
    ) -> Result<Contract, WriterError> {
        if shape != self.shape {
            let configured = self.shape;
            return Err(self.refuse(format!(
                "it holds changes of shape {shape}, the topic is configured as {configured}"
            )));
        }
        let of_contract = self.route.contract.as_ref().map(Contract::key);
        let key = self.route.key.as_deref().or(of_contract);
        if let Some(key) = key.filter(|key| !key.is_empty() && *key != table.key()) {
            return Err(self.refuse(format!(
                "its key is {:?}, not {key:?}; use another table for the topic, or the table's key",
                table.key()
            )));
        }
        let Some(configured) = &self.route.contract else {
            return Ok(self.with_inferred(table));
        };
        match table.evolve(configured) {
            Ok(Evolution::Same) => Ok(table),
            Ok(Evolution::Changes(changes)) => Ok(changes.contract),
            Err(incompatible) => Err(self.refuse(format!(
                "it cannot follow the topic's contract: {incompatible}"
            ))),
        }
    }

    /// The table's contract with what this lane inferred before it knew the table, which another
    /// writer may have made of other records: its columns must hold these, too. A lane that was
    /// stopped, perhaps for that, reads by the table's.
    fn with_inferred(&self, table: Contract) -> Contract {
        let ours = self.schema.as_ref().filter(|_| self.route.infer);
        let ours = ours.filter(|_| self.stopped.is_none());
        match ours.map(|ours| table.evolve_inferred(ours.contract())) {
            Some(Ok(Evolution::Changes(changes))) => changes.contract,
            Some(Ok(Evolution::Same) | Err(_)) | None => table,
        }
    }

    /// Whether this contract is another than the one that records are read by.
    pub(crate) fn differs_from(&self, contract: &Contract) -> bool {
        let ours = self.schema.as_ref().map(|schema| schema.contract());
        ours.is_none_or(|ours| ours.difference(contract).is_some())
    }

    /// Reads records by this contract from now on. No buffer of the one before may be open.
    pub(crate) fn set_contract(&mut self, contract: Contract) -> Result<(), WriterError> {
        let contract = match &self.route.key {
            Some(key) => contract
                .with_key(key.clone())
                .map_err(|error| self.refuse(error.to_string()))?,
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
        let keys = match self.route.key_format {
            KeyFormat::Avro => None,
            format => Some(KeyDecoder::plain(format, &schema).map_err(|error| mismatch(&error))),
        };
        self.plain = Some(Plain {
            values: ChangeDecoder::json_with(self.shape, &schema, self.unknown_fields()),
            keys,
        });
        self.schema = Some(schema);
        self.next_contract = None;
        Ok(())
    }

    /// What becomes of rows of JSON with fields that the table lacks. A table whose columns are
    /// inferred takes those with values as new columns ([`Self::infer_more`]).
    fn unknown_fields(&self) -> UnknownFields {
        match (self.route.unknown_fields, self.route.infer) {
            (settings::UnknownFields::Ignore, _) => UnknownFields::Ignore,
            (settings::UnknownFields::DeadLetter, true) => UnknownFields::RefuseValues,
            (settings::UnknownFields::DeadLetter, false) => UnknownFields::Refuse,
        }
    }

    fn lacks_key(&self, contract: &Contract) -> bool {
        let configured = self.route.key.as_ref().is_some_and(|key| !key.is_empty());
        contract.key().is_empty() && !configured && self.shape != Shape::Append
    }

    fn refuse(&self, why: String) -> WriterError {
        WriterError::Table {
            table: self.table.to_string(),
            why,
        }
    }

    fn no_contract(&self) -> WriterError {
        WriterError::Internal(format!("topic {} is read without a contract", self.topic))
    }
}

fn mismatch(error: &columnar::SchemaMismatch) -> Reason {
    Reason::new("schema_mismatch", error.to_string())
}
