//! A script as statements, every one of them checked before the first is handed out.

use datafusion::sql::parser::{DFParser, DFParserBuilder, Statement as DFStatement};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::ParserError;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

use crate::gate::{self, as_of, syntax};
use crate::{Position, QueryError, Refusal};

/// How deeply expressions and queries may be nested.
const NESTING_MAX: usize = 100;

/// A statement that only asks, ready for [`Engine::run`](crate::Engine::run).
#[derive(Clone, Debug)]
pub struct Statement {
    ast: DFStatement,
    position: Position,
}

impl Statement {
    /// Where the statement begins in its script.
    pub fn position(&self) -> Position {
        self.position
    }

    pub(crate) fn ast(&self) -> &DFStatement {
        &self.ast
    }
}

/// Takes a script apart at its semicolons, by PostgreSQL's rules.
///
/// Fails if any statement is not SQL or not one that only asks: then none of them has run.
pub fn statements(script: &str) -> Result<Vec<Statement>, QueryError> {
    let dialect = PostgreSqlDialect {};
    let tokens = Tokenizer::new(&dialect, script)
        .tokenize_with_location()
        .map_err(|error| QueryError::Syntax {
            message: error.message.clone(),
            position: Position::of(error.location),
        })?;
    as_of::check(&tokens).map_err(QueryError::Refused)?;
    let mut parser = DFParserBuilder::new(tokens)
        .with_dialect(&dialect)
        .with_recursion_limit(NESTING_MAX)
        .build()?;
    let mut statements = Vec::new();
    while let Some(statement) = next_statement(&mut parser)? {
        statements.push(statement);
    }
    Ok(statements)
}

fn next_statement(parser: &mut DFParser<'_>) -> Result<Option<Statement>, QueryError> {
    while parser.parser.consume_token(&Token::SemiColon) {}
    let first = parser.parser.peek_token();
    if first.token == Token::EOF {
        return Ok(None);
    }
    let position = Position::of(first.span.start).unwrap_or(Position { line: 1, column: 1 });
    check_first(&first.token, position)?;
    let ast = parser
        .parse_statement()
        .map_err(|error| syntax_error(error.into(), position))?;
    let next = parser.parser.peek_token();
    if !matches!(next.token, Token::EOF | Token::SemiColon) {
        return Err(QueryError::Syntax {
            message: format!(
                "expected the end of the statement or a semicolon, found {}",
                next.token
            ),
            position: Position::of(next.span.start),
        });
    }
    syntax::check(&ast).map_err(|refusal| {
        let position = refusal.position.or(Some(position));
        QueryError::Refused(Refusal {
            position,
            ..refusal
        })
    })?;
    Ok(Some(Statement { ast, position }))
}

/// A verb that is not on the list is refused by name, a misspelt one is a mistake.
fn check_first(token: &Token, position: Position) -> Result<(), QueryError> {
    let Token::Word(word) = token else {
        return Ok(());
    };
    match gate::first_word(&word.value, Some(position)) {
        Err(_) if word.keyword == Keyword::NoKeyword => Err(QueryError::Syntax {
            message: format!("expected a statement such as SELECT, found {}", word.value),
            position: Some(position),
        }),
        other => other.map_err(QueryError::Refused),
    }
}

/// The parser writes the place into its message: it is taken out there and told once.
fn syntax_error(error: QueryError, statement: Position) -> QueryError {
    let QueryError::Syntax { message, position } = error else {
        return error;
    };
    let message = message
        .strip_prefix("sql parser error: ")
        .unwrap_or(&message)
        .to_owned();
    let Some((words, place)) = message.rsplit_once(" at Line: ") else {
        return QueryError::Syntax {
            message,
            position: position.or(Some(statement)),
        };
    };
    let found = place.split_once(", Column: ").and_then(|(line, column)| {
        Some(Position {
            line: line.trim().parse().ok()?,
            column: column.trim().parse().ok()?,
        })
    });
    QueryError::Syntax {
        message: words.to_owned(),
        position: found.or(position).or(Some(statement)),
    }
}

/// Kept so that a parser's error is one of ours wherever it comes from.
impl From<ParserError> for QueryError {
    fn from(error: ParserError) -> Self {
        Self::Syntax {
            message: error.to_string(),
            position: None,
        }
    }
}
