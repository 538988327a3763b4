//! What an envelope says of where its change came from.

use std::borrow::Cow;

use crate::error::{Fault, invalid};

/// The fields of Debezium's `source` that a row keeps.
#[derive(Debug, Default)]
pub(crate) struct SourceFields<'a> {
    /// The envelope has a source.
    pub(crate) present: bool,
    pub(crate) name: Option<Cow<'a, str>>,
    pub(crate) ts_us: Option<i64>,
    pub(crate) ts_ns: Option<i64>,
    pub(crate) ts_ms: Option<i64>,
    pub(crate) lsn: Option<i64>,
    pub(crate) transaction: Option<Transaction<'a>>,
}

/// A database's own number or name of a transaction.
#[derive(Debug)]
pub(crate) enum Transaction<'a> {
    Number(i64),
    Name(Cow<'a, str>),
}

/// Which field of the source a plan or a key stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SourceField {
    Name,
    TsUs,
    TsNs,
    TsMs,
    Lsn,
    Transaction,
}

impl SourceField {
    pub(crate) const ALL: [(&'static str, Self); 6] = [
        ("name", Self::Name),
        ("ts_us", Self::TsUs),
        ("ts_ns", Self::TsNs),
        ("ts_ms", Self::TsMs),
        ("lsn", Self::Lsn),
        ("txId", Self::Transaction),
    ];

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, field)| *field)
    }
}

impl<'a> SourceFields<'a> {
    /// When the owner committed the change, in microseconds, by the finest clock that is given.
    pub(crate) fn event_time_us(&self) -> Result<Option<i64>, Fault> {
        if self.ts_us.is_some() {
            return Ok(self.ts_us);
        }
        if let Some(nanos) = self.ts_ns {
            return Ok(Some(nanos.div_euclid(1000)));
        }
        let Some(millis) = self.ts_ms else {
            return Ok(None);
        };
        let micros = millis.checked_mul(1000);
        micros
            .map(Some)
            .ok_or_else(|| invalid("source.ts_ms is out of range"))
    }

    pub(crate) fn set_long(&mut self, field: SourceField, value: i64) {
        match field {
            SourceField::TsUs => self.ts_us = Some(value),
            SourceField::TsNs => self.ts_ns = Some(value),
            SourceField::TsMs => self.ts_ms = Some(value),
            SourceField::Lsn => self.lsn = Some(value),
            SourceField::Transaction => self.transaction = Some(Transaction::Number(value)),
            SourceField::Name => {}
        }
    }

    pub(crate) fn set_text(&mut self, field: SourceField, value: Cow<'a, str>) {
        match field {
            SourceField::Name => self.name = Some(value),
            SourceField::Transaction => self.transaction = Some(Transaction::Name(value)),
            _ => {}
        }
    }
}
