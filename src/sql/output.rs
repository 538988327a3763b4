//! Answers as text.

use std::io;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use clap::ValueEnum;
use query_engine::{QueryError, Statement};

use super::SqlError;
use super::csv::CsvOutput;
use super::json::JsonOutput;
use super::script::Script;
use super::table::TableOutput;

/// How answers are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputFormat {
    /// Boxes, for reading
    #[default]
    Table,
    /// Comma-separated values with a header
    Csv,
    /// An array of objects
    Json,
}

/// Why an answer was not written to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WriteError {
    #[error(transparent)]
    Query(#[from] QueryError),
    #[error("a value cannot be written as text: {0}")]
    Value(#[from] ArrowError),
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl WriteError {
    /// The error as one of a statement's.
    pub(crate) fn in_script(self, script: &Script, statement: &Statement) -> SqlError {
        let failed = match self {
            Self::Io(error) => return SqlError::Output(error),
            Self::Query(error) => error,
            Self::Value(error) => QueryError::Failed {
                message: error.to_string(),
                position: None,
            },
        };
        script.failed(statement, failed)
    }
}

/// One answer becoming text, batch by batch: `begin`, `rows` any number of times, `end`.
#[derive(Debug)]
pub(crate) enum Output {
    Table(TableOutput),
    Csv(CsvOutput),
    Json(JsonOutput),
}

impl Output {
    pub(crate) fn new(format: OutputFormat, schema: SchemaRef) -> Self {
        match format {
            OutputFormat::Table => Self::Table(TableOutput::new(schema)),
            OutputFormat::Csv => Self::Csv(CsvOutput::new(schema)),
            OutputFormat::Json => Self::Json(JsonOutput::default()),
        }
    }

    /// What stands before the first row.
    pub(crate) fn begin(&mut self) -> Result<Vec<u8>, ArrowError> {
        match self {
            Self::Table(_) => Ok(Vec::new()),
            Self::Csv(csv) => csv.header(),
            Self::Json(_) => Ok(JsonOutput::begin()),
        }
    }

    /// The text that these rows complete.
    pub(crate) fn rows(&mut self, batch: RecordBatch) -> Result<Vec<u8>, ArrowError> {
        match self {
            Self::Table(table) => table.rows(batch),
            Self::Csv(csv) => csv.rows(&batch),
            Self::Json(json) => json.rows(&batch),
        }
    }

    /// What stands after the last row.
    pub(crate) fn end(&mut self) -> Result<Vec<u8>, ArrowError> {
        match self {
            Self::Table(table) => table.end(),
            Self::Csv(_) => Ok(Vec::new()),
            Self::Json(json) => Ok(json.end()),
        }
    }
}

#[cfg(test)]
mod tests;
