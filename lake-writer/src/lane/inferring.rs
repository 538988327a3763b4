//! Columns of JSON that brings no schema.

use columnar::{DecodeError, InferError};
use schemas::{Contract, Evolution, Shape};

use super::{Lane, Verdict, Wait};
use crate::dead_letter::Reason;
use crate::error::WriterError;
use crate::record_log::Record;
use crate::settings::Format;

impl Lane {
    /// Finds a contract for JSON without one: the schema that the record brings, or its columns
    /// together with those of the records after it.
    pub(super) fn learn_json(
        &mut self,
        record: &Record<'_>,
        value: &[u8],
    ) -> Result<Option<Verdict>, WriterError> {
        let dead = |why: String| Ok(Some(Verdict::Dead(None, Reason::new("invalid", why))));
        match columnar::contract_of_json(value, record.key, self.shape, None) {
            Ok(Some(contract)) => return self.begin(contract, record.key.is_none(), None),
            Err(error) => return dead(error.to_string()),
            // Nothing has landed yet, so there is nothing that it could delete.
            Ok(None) if value.trim_ascii() == b"null" => return Ok(Some(Verdict::Passed)),
            Ok(None) if !value.trim_ascii().starts_with(b"{") => {
                return dead("the value is JSON, but no object".to_owned());
            }
            Ok(None) => {}
        }
        if !self.route.infer {
            return Err(WriterError::ContractUnknown {
                table: self.table.clone(),
                topic: self.topic.to_string(),
                partition: record.partition,
                offset: record.offset,
            });
        }
        match columnar::infer(&[value], self.shape) {
            Ok(_) | Err(InferError::Nothing) => {
                self.samples.add(value, record.key);
                Ok(Some(Verdict::Waits(Wait::Contract)))
            }
            Err(error) => dead(error.to_string()),
        }
    }

    /// Looks at a value that comes after one that waits, if columns are inferred.
    pub(super) fn sample(&mut self, value: &[u8], key: Option<&[u8]>) {
        if !self.route.infer {
            return;
        }
        if self.schema.is_none() {
            // What is wrong with a later record is told when it is read.
            if columnar::infer(&[value], self.shape).is_ok() {
                self.samples.add(value, key);
            }
        } else if let Some(next) = &self.next_contract
            && let Ok(Some(more)) = more(next, value, self.shape)
        {
            self.next_contract = Some(more);
        }
    }

    /// Makes the next contract of the samples, if there are any.
    pub(crate) fn infer(&mut self) -> Result<(), WriterError> {
        let samples = self.samples.take();
        if samples.values.is_empty() || self.route.format != Format::Json {
            return Ok(());
        }
        let values: Vec<&[u8]> = samples.values.iter().map(Vec::as_slice).collect();
        let mut contract = columnar::infer(&values, self.shape)
            .map_err(|error| self.refuse(format!("its columns cannot be inferred: {error}")))?;
        let key = samples.key.as_deref().and_then(columnar::key_of_json);
        if let (Some(key), None, true) = (key, &self.route.key, self.shape != Shape::Append) {
            contract = contract.with_key(key).map_err(|error| {
                self.refuse(format!(
                    "the key of its records is not in their values: {error}; set key for the topic"
                ))
            })?;
        }
        self.next_contract = Some(contract);
        Ok(())
    }

    /// What becomes of a record with a field that the table lacks: a table whose columns are
    /// inferred grows.
    pub(super) fn infer_more(
        &mut self,
        record: &Record<'_>,
        value: &[u8],
        refused: &DecodeError,
    ) -> Result<Verdict, WriterError> {
        let dead = |why: String| Ok(Verdict::Dead(None, Reason::new(refused.code(), why)));
        let Some(table) = self.schema.as_ref().filter(|_| self.route.infer) else {
            return dead(format!(
                "{refused}, or set unknown_fields = \"ignore\" for the topic"
            ));
        };
        match more(table.contract(), value, self.shape) {
            Ok(Some(contract)) => {
                self.next_contract = Some(contract);
                Ok(Verdict::Waits(Wait::Contract))
            }
            Ok(None) => dead(refused.to_string()),
            Err(More::Unfit(why)) => dead(format!("{refused}: {why}")),
            Err(More::Incompatible(why)) => self.cannot_follow(None, record, why),
        }
    }
}

/// Why a table does not grow by a record's fields.
enum More {
    /// No columns can be made of them.
    Unfit(String),
    /// They do not go with the table's.
    Incompatible(String),
}

/// The table's contract, grown by the fields that a record has besides; nothing if it has none.
fn more(table: &Contract, value: &[u8], shape: Shape) -> Result<Option<Contract>, More> {
    let brought = columnar::infer_more(table, value, shape);
    let Some(brought) = brought.map_err(|error| More::Unfit(error.to_string()))? else {
        return Ok(None);
    };
    match table.evolve(&brought) {
        Ok(Evolution::Same) => Ok(None),
        Ok(Evolution::Changes(changes)) => Ok(Some(changes.contract)),
        Err(why) => Err(More::Incompatible(why.to_string())),
    }
}
