//! Why `lakehead sql` ends with another exit code than 0.

use std::io;
use std::path::PathBuf;

use query_engine::QueryError;

/// Why the questions were not all answered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SqlError {
    /// The statements cannot be read.
    #[error("statements cannot be read from {}: {source}", path.display())]
    Input {
        /// The file, or `-` for standard input.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A statement was refused or failed.
    #[error("{place}: {source}")]
    Statement {
        /// Which statement, and where in it.
        place: String,
        /// What happened.
        source: QueryError,
    },
    /// The lake cannot be opened or reached.
    #[error(transparent)]
    Lake(QueryError),
    /// An answer cannot be written.
    #[error("the answer cannot be written: {0}")]
    Output(#[from] io::Error),
    /// Somebody pressed Ctrl-C.
    #[error("interrupted")]
    Interrupted,
}

impl SqlError {
    /// The program's exit code.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Statement { .. } | Self::Output(_) => 1,
            Self::Input { .. } => 2,
            Self::Lake(_) => 3,
            Self::Interrupted => 130,
        }
    }

    /// Whether the reader of standard output went away.
    pub(crate) fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}
