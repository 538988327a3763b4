//! Why a statement has no answer.

use std::fmt;

use datafusion::common::{DataFusionError, Diagnostic, Span};
use datafusion::sql::sqlparser::tokenizer::Location;
use lake_store::LakeStoreError;

/// A place in a script, both numbers counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line.
    pub line: u64,
    /// The column, in characters.
    pub column: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

impl Position {
    /// The parser's location; 0 stands for an unknown one.
    pub(crate) fn of(location: Location) -> Option<Self> {
        (location.line > 0).then_some(Self {
            line: location.line,
            column: location.column,
        })
    }
}

/// What the read-only gate did not let through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What was refused, in SQL's words.
    pub what: String,
    /// Why.
    pub why: &'static str,
    /// What to do instead.
    pub instead: &'static str,
    /// Where it stands, if known.
    pub position: Option<Position>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} is refused: {}; {}",
            self.what, self.why, self.instead
        )
    }
}

/// Why a statement was not run, or failed.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// It would write, or read outside the lake, or holds a clause that would be ignored.
    #[error("{0}")]
    Refused(Refusal),
    /// It is not SQL.
    #[error("{message}")]
    Syntax {
        /// The parser's words.
        message: String,
        /// Where it stopped.
        position: Option<Position>,
    },
    /// It names a table that the lake does not have.
    #[error("there is no table {name}{}", suggested(.suggestions))]
    UnknownTable {
        /// The name as SQL resolves it.
        name: String,
        /// Names that are nearly the same.
        suggestions: Vec<String>,
        /// Where it is named.
        position: Option<Position>,
    },
    /// A table of the lake cannot be read.
    #[error("table {table} cannot be read: {why}")]
    Table {
        /// The table's path below the lake's root.
        table: String,
        /// What is wrong with it.
        why: String,
    },
    /// Planning or running it failed.
    #[error("{message}")]
    Failed {
        /// What happened.
        message: String,
        /// The place that it is about, if known.
        position: Option<Position>,
    },
    /// The lake does not answer.
    #[error(transparent)]
    Lake(#[from] LakeStoreError),
}

impl QueryError {
    /// The place in the script that the error is about, if known.
    pub fn position(&self) -> Option<Position> {
        match self {
            Self::Refused(refusal) => refusal.position,
            Self::Syntax { position, .. }
            | Self::UnknownTable { position, .. }
            | Self::Failed { position, .. } => *position,
            Self::Table { .. } | Self::Lake(_) => None,
        }
    }

    /// Whether the lake could not be reached, so that trying again later may help.
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Lake(_))
    }

    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self::Failed {
            message: message.into(),
            position: None,
        }
    }
}

fn suggested(names: &[String]) -> String {
    match names {
        [] => "; SHOW TABLES lists what is there".to_owned(),
        names => format!("; did you mean {}?", names.join(" or ")),
    }
}

/// Our own errors pass through DataFusion unharmed.
impl From<QueryError> for DataFusionError {
    fn from(error: QueryError) -> Self {
        Self::External(Box::new(error))
    }
}

impl From<DataFusionError> for QueryError {
    fn from(error: DataFusionError) -> Self {
        if let DataFusionError::ResourcesExhausted(what) = error.find_root() {
            return Self::failed(format!(
                "out of memory: {what}\nallow more memory, or ask for fewer rows or columns at once"
            ));
        }
        let position = error.diagnostic().and_then(position_of);
        let helps = error.diagnostic().map(helps_of).unwrap_or_default();
        match innermost(error) {
            DataFusionError::External(inner) => match inner.downcast::<Self>() {
                Ok(own) => *own,
                Err(other) => Self::Failed {
                    message: other.to_string(),
                    position,
                },
            },
            DataFusionError::SQL(inner, _) => Self::Syntax {
                message: inner.to_string(),
                position,
            },
            inner => {
                let message = plain(inner.strip_backtrace());
                let message = if helps.is_empty() || message.contains("Did you mean") {
                    message
                } else {
                    format!("{message}; {helps}")
                };
                Self::Failed { message, position }
            }
        }
    }
}

/// Takes off the wrappers that only add context.
fn innermost(error: DataFusionError) -> DataFusionError {
    match error {
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => {
            innermost(*inner)
        }
        DataFusionError::Collection(mut errors) if !errors.is_empty() => {
            innermost(errors.swap_remove(0))
        }
        DataFusionError::Shared(shared) => match std::sync::Arc::try_unwrap(shared) {
            Ok(inner) => innermost(inner),
            Err(shared) => DataFusionError::Shared(shared),
        },
        other => other,
    }
}

/// The message without the name of the part of the planner that it comes from.
fn plain(message: String) -> String {
    let parts = [
        "Schema error: ",
        "Error during planning: ",
        "Execution error: ",
    ];
    let plain = parts.iter().find_map(|part| message.strip_prefix(part));
    plain.map(str::to_owned).unwrap_or(message)
}

fn position_of(diagnostic: &Diagnostic) -> Option<Position> {
    let Span { start, .. } = diagnostic.span?;
    (start.line > 0).then_some(Position {
        line: start.line,
        column: start.column,
    })
}

fn helps_of(diagnostic: &Diagnostic) -> String {
    let helps: Vec<&str> = diagnostic
        .helps
        .iter()
        .map(|help| help.message.as_str())
        .collect();
    helps.join("; ")
}
