//! The read-only gate: an allow-list, asked three times.
//!
//! First the words: the first word of a statement and clauses that the planner would drop without
//! a word (`as_of`). Then the syntax tree: only statements and clauses listed here (`syntax`).
//! Last the logical plan: only operators listed here (`plan`). What is not listed is refused, so
//! that a new version of the parser or planner opens no door by itself: the lists match without a
//! catch-all arm wherever the types allow it.

pub(crate) mod as_of;
pub(crate) mod plan;
mod relation;
pub(crate) mod syntax;

use crate::{Position, Refusal};

/// Refuses by name what is set among clauses that the planner ignores or that write.
macro_rules! refuse_set {
    ($($is_set:expr => $refusal:expr),+ $(,)?) => {
        $(if $is_set { return Err($refusal); })+
    };
}
use refuse_set;

/// Table functions that only count; every other one could read something.
pub(crate) const TABLE_FUNCTIONS: [&str; 2] = ["generate_series", "range"];

/// First words of the statements that are accepted.
const FIRST_WORDS: [&str; 7] = [
    "SELECT", "WITH", "VALUES", "EXPLAIN", "DESCRIBE", "DESC", "SHOW",
];

/// Refuses a statement by its first word, before it is even parsed.
pub(crate) fn first_word(word: &str, position: Option<Position>) -> Result<(), Refusal> {
    let word = word.to_uppercase();
    if FIRST_WORDS.contains(&word.as_str()) {
        return Ok(());
    }
    Err(Refusal {
        position,
        ..statement(word)
    })
}

/// A statement that is not a question.
pub(crate) fn statement(what: impl Into<String>) -> Refusal {
    Refusal {
        what: what.into(),
        why: "the lake is read-only, a table is changed by the service that owns it and by nobody else",
        instead: "ask with SELECT, WITH, VALUES, EXPLAIN, DESCRIBE, SHOW TABLES or SHOW COLUMNS; \
                  to keep an answer, redirect --output csv or json to a file",
        position: None,
    }
}

/// A way to read something that is not a table of the lake.
pub(crate) fn outside(what: impl Into<String>) -> Refusal {
    Refusal {
        what: what.into(),
        why: "only the lake's own tables are read, no files, addresses or functions that open them",
        instead: "name a table as service.entity; SHOW TABLES lists them",
        position: None,
    }
}

/// A clause that would be parsed and then have no effect.
pub(crate) fn clause(what: impl Into<String>) -> Refusal {
    Refusal {
        what: what.into(),
        why: "it would have no effect here and the answer would not be what was asked for",
        instead: "leave it out",
        position: None,
    }
}
