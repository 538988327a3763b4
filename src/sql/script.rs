//! Where the statements come from.

use std::io::{self, IsTerminal, Read, Write};
use std::path::PathBuf;

use query_engine::{Position, QueryError, Statement, statements};

use super::{SqlArgs, SqlError};

/// One `-c`, file or standard input, with its statements checked.
#[derive(Debug)]
pub(crate) struct Script {
    name: String,
    statements: Vec<Statement>,
}

impl Script {
    /// Reads and checks every statement that the arguments name.
    pub(crate) fn read(args: &SqlArgs) -> Result<Vec<Self>, SqlError> {
        let commands = args.commands.iter().enumerate();
        let mut scripts = commands
            .map(|(at, text)| match args.commands.len() {
                1 => Self::checked("-c".to_owned(), text),
                _ => Self::checked(format!("-c number {}", at + 1), text),
            })
            .collect::<Result<Vec<_>, _>>()?;
        if let Some(path) = &args.file {
            let text = std::fs::read_to_string(path);
            let text = text.map_err(|source| SqlError::Input {
                path: path.clone(),
                source,
            })?;
            // Editors of some systems begin a file with a byte order mark.
            let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
            scripts.push(Self::checked(path.display().to_string(), text)?);
        } else if scripts.is_empty() {
            let text = standard_input();
            let text = text.map_err(|source| SqlError::Input {
                path: PathBuf::from("-"),
                source,
            })?;
            scripts.push(Self::checked("standard input".to_owned(), &text)?);
        }
        Ok(scripts)
    }

    /// Checks a text of statements; `name` says where it is from.
    pub(crate) fn checked(name: String, text: &str) -> Result<Self, SqlError> {
        match statements(text) {
            Ok(statements) => Ok(Self { name, statements }),
            Err(source) => {
                let place = place(&name, source.position());
                Err(SqlError::Statement { place, source })
            }
        }
    }

    /// The statements in order.
    pub(crate) fn statements(&self) -> &[Statement] {
        &self.statements
    }

    /// The error of one of this script's statements.
    pub(crate) fn failed(&self, statement: &Statement, source: QueryError) -> SqlError {
        if source.is_unavailable() {
            return SqlError::Lake(source);
        }
        let position = source.position().unwrap_or(statement.position());
        SqlError::Statement {
            place: place(&self.name, Some(position)),
            source,
        }
    }
}

fn place(name: &str, position: Option<Position>) -> String {
    position.map_or_else(|| name.to_owned(), |position| format!("{name}, {position}"))
}

fn standard_input() -> io::Result<String> {
    if io::stdin().is_terminal() {
        // Nobody to tell if standard error is gone.
        let _ = writeln!(
            io::stderr(),
            "reading SQL from standard input; Ctrl-D ends it"
        );
    }
    let mut text = String::new();
    io::stdin().read_to_string(&mut text)?;
    Ok(text)
}
