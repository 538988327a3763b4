//! Time travel clauses, found among the words of a script.
//!
//! The planner ignores them where the parser knows them. They are refused by name until they are
//! there; a word list is used because the parser's own support takes names like `changes` and
//! `before` for clauses, which people use as aliases.

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use crate::{Position, Refusal};

/// Refuses `FOR SYSTEM_TIME AS OF` and its kin anywhere in a script.
pub(crate) fn check(tokens: &[TokenWithSpan]) -> Result<(), Refusal> {
    let words: Vec<&TokenWithSpan> = tokens
        .iter()
        .filter(|token| !matches!(token.token, Token::Whitespace(_)))
        .collect();
    for (at, window) in words.windows(3).enumerate() {
        let Some(axis) = word(window[0]) else {
            continue;
        };
        if !is_axis(&axis) || !is_word(window[1], "AS") || !is_word(window[2], "OF") {
            continue;
        }
        let introduced = at > 0 && is_word(words[at - 1], "FOR");
        // `version AS of` followed by the end of an expression only names a column "of".
        if introduced
            || words
                .get(at + 3)
                .is_some_and(|next| starts_value(&next.token))
        {
            return Err(refusal(&axis, introduced, window[0]));
        }
    }
    Ok(())
}

fn refusal(axis: &str, introduced: bool, token: &TokenWithSpan) -> Refusal {
    let introduction = if introduced { "FOR " } else { "" };
    Refusal {
        what: format!("{introduction}{axis} AS OF"),
        why: "this version does not answer for another time, and leaving the clause out would answer \
              for now",
        instead: "ask the changes: <service>.<entity>_changes has _event_time and _offset",
        position: Position::of(token.span.start),
    }
}

fn is_axis(word: &str) -> bool {
    matches!(
        word,
        "SYSTEM_TIME" | "SYSTEM_VERSION" | "VALID_TIME" | "BUSINESS_TIME" | "VERSION" | "TIMESTAMP"
    )
}

fn starts_value(token: &Token) -> bool {
    match token {
        Token::Number(..)
        | Token::SingleQuotedString(_)
        | Token::LParen
        | Token::Placeholder(_) => true,
        Token::Word(word) => {
            let value = word.value.to_uppercase();
            !matches!(
                value.as_str(),
                "FROM" | "WHERE" | "GROUP" | "ORDER" | "LIMIT" | "UNION" | "INTO"
            )
        }
        _ => false,
    }
}

fn word(token: &TokenWithSpan) -> Option<String> {
    match &token.token {
        Token::Word(word) if word.quote_style.is_none() => Some(word.value.to_uppercase()),
        _ => None,
    }
}

fn is_word(token: &TokenWithSpan, expected: &str) -> bool {
    word(token).is_some_and(|word| word == expected)
}
