//! How the program ends when it does not end well.

use std::process::ExitCode;

use lake_store::LakeStoreError;

/// An error with the exit code it ends the program with.
///
/// 1 failed · 2 usage or configuration · 3 cannot connect · 4 an invariant is violated · 5 partly
/// done · 130 interrupted.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    error: anyhow::Error,
}

/// For those who go on.
impl From<Failure> for Box<dyn std::error::Error + Send + Sync> {
    fn from(failure: Failure) -> Self {
        failure.error.into()
    }
}

impl Failure {
    /// The work could not be done.
    pub(crate) fn failed(error: impl Into<anyhow::Error>) -> Self {
        Self {
            code: 1,
            error: error.into(),
        }
    }

    /// The command line or the configuration is wrong.
    pub(crate) fn usage(error: impl std::fmt::Display) -> Self {
        Self {
            code: 2,
            error: anyhow::anyhow!("{error}"),
        }
    }

    /// Something that is needed cannot be reached.
    pub(crate) fn unreachable(error: impl Into<anyhow::Error>) -> Self {
        Self {
            code: 3,
            error: error.into(),
        }
    }

    /// What was checked is not as it must be.
    pub(crate) fn violated(error: impl std::fmt::Display) -> Self {
        Self {
            code: 4,
            error: anyhow::anyhow!("{error}"),
        }
    }

    /// Everything is done but a part of it.
    pub(crate) fn partly(error: impl std::fmt::Display) -> Self {
        Self {
            code: 5,
            error: anyhow::anyhow!("{error}"),
        }
    }

    /// A signal came before the work was done.
    pub(crate) fn interrupted() -> Self {
        Self {
            code: 130,
            error: anyhow::anyhow!("interrupted; run it again to go on"),
        }
    }

    /// Says what went wrong, with all its causes, and gives the exit code.
    pub(crate) fn report(self) -> ExitCode {
        let text = self.text();
        if !text.is_empty() {
            eprintln!("error: {text}");
        }
        ExitCode::from(self.code)
    }

    /// What went wrong, with all its causes.
    pub(crate) fn text(&self) -> String {
        let mut told = self.error.to_string();
        let mut text = told.clone();
        for cause in self.error.chain().skip(1) {
            let cause = cause.to_string();
            // Many libraries repeat their cause in their own words.
            if !told.contains(&cause) {
                text.push_str(&format!("\n  because: {cause}"));
            }
            told = cause;
        }
        text
    }
}

impl From<LakeStoreError> for Failure {
    fn from(error: LakeStoreError) -> Self {
        Self::unreachable(error)
    }
}

impl From<crate::sql::SqlError> for Failure {
    fn from(error: crate::sql::SqlError) -> Self {
        Self {
            code: error.exit_code(),
            error: error.into(),
        }
    }
}

impl From<lake_writer::StandError> for Failure {
    fn from(error: lake_writer::StandError) -> Self {
        use lake_writer::StandError;
        match error {
            StandError::Kafka(_) | StandError::Store { .. } => Self::unreachable(error),
            StandError::Table { .. }
            | StandError::Moved { .. }
            | StandError::TopicForbidden { .. } => Self::failed(error),
        }
    }
}

impl From<lake_writer::WriterError> for Failure {
    fn from(error: lake_writer::WriterError) -> Self {
        use lake_writer::WriterError;
        match error {
            WriterError::Settings(_) | WriterError::KeyUnknown { .. } => Self::usage(error),
            WriterError::Store(error) => error.into(),
            stopped @ WriterError::TablesStopped(_) => Self::partly(stopped),
            other => Self::failed(other),
        }
    }
}

impl From<lake_writer::MaintenanceError> for Failure {
    fn from(error: lake_writer::MaintenanceError) -> Self {
        use lake_writer::MaintenanceError;
        match error {
            MaintenanceError::Store { .. } => Self::unreachable(error),
            MaintenanceError::Lake(error) => error.into(),
            MaintenanceError::NotDerived { .. } => Self::usage(error),
            other => Self::failed(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use lake_writer::WriterError;

    use super::*;

    #[test]
    fn a_table_that_is_stopped_is_no_failure_of_the_rest() {
        let code = |error: WriterError| Failure::from(error).code;
        assert_eq!(code(WriterError::TablesStopped(vec!["a".to_owned()])), 5);
        assert_eq!(code(WriterError::Internal(String::new())), 1);
        assert_eq!(code(WriterError::Settings(String::new())), 2);
    }
}
