//! Reading the rows that Postgres answers.

use std::str::FromStr;

use bytes::Bytes;

use crate::session::SessionError;

/// One row of an answer to a question of ours.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer<'a> {
    row: &'a [Option<Bytes>],
    what: &'static str,
}

impl<'a> Answer<'a> {
    pub(crate) fn new(row: &'a [Option<Bytes>], what: &'static str) -> Self {
        Self { row, what }
    }

    /// A text that is there.
    pub(crate) fn text(self, column: usize) -> Result<&'a str, SessionError> {
        text(self.row, column).ok_or_else(|| self.unexpected(column))
    }

    /// A number, an LSN: what its text stands for.
    pub(crate) fn number<N: FromStr>(self, column: usize) -> Result<N, SessionError> {
        let text = self.text(column)?;
        text.parse().map_err(|_| self.unexpected(column))
    }

    /// The same where it may be null.
    pub(crate) fn option<N: FromStr>(self, column: usize) -> Result<Option<N>, SessionError> {
        match self.row.get(column) {
            Some(Some(_)) => self.number(column).map(Some),
            _ => Ok(None),
        }
    }

    fn unexpected(self, column: usize) -> SessionError {
        let (what, found) = (self.what, self.row.get(column));
        SessionError::Refused(format!(
            "{what}: column {column} is {found:?}, which no known version of Postgres answers"
        ))
    }
}

/// A column's text; nothing if it is null.
pub(crate) fn text(row: &[Option<Bytes>], column: usize) -> Option<&str> {
    let bytes = row.get(column)?.as_deref()?;
    std::str::from_utf8(bytes).ok()
}

/// A name as SQL writes it.
pub(crate) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text as SQL writes it.
pub(crate) fn literal(text: &str) -> String {
    // With a backslash in it, what it means would hang on a setting.
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_texts_are_quoted() {
        assert_eq!(identifier("a\"b"), "\"a\"\"b\"");
        assert_eq!(literal("it's \\n"), "E'it''s \\\\n'");
    }
}
