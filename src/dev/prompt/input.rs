//! Lines as they are typed, until they are a statement.

/// The lines since the last statement.
#[derive(Debug, Default)]
pub(super) struct Input {
    text: String,
}

/// What the lines so far come to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// A statement that has not ended.
    More,
    /// Statements.
    Ask(String),
    /// The commands are asked for.
    Help,
    /// The end is asked for.
    Leave,
}

impl Input {
    pub(super) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.text.clear();
    }

    /// Takes another line.
    pub(super) fn take(&mut self, line: &str) -> Word {
        if self.is_empty()
            && let Some(word) = command(line.trim())
        {
            return word;
        }
        if !self.is_empty() {
            self.text.push('\n');
        }
        self.text.push_str(line);
        match ends(&self.text) {
            End::Nothing => {
                self.clear();
                Word::More
            }
            End::Open => Word::More,
            End::Statement => Word::Ask(std::mem::take(&mut self.text)),
        }
    }
}

/// A line that is a command by itself.
fn command(line: &str) -> Option<Word> {
    let words: Vec<&str> = line.trim_end_matches(';').split_whitespace().collect();
    let sql = match words[..] {
        ["\\q" | "exit" | "quit"] => return Some(Word::Leave),
        ["\\?" | "help"] => return Some(Word::Help),
        ["\\d" | "\\dt"] => "SHOW TABLES".to_owned(),
        ["\\d", table] => format!("DESCRIBE {table}"),
        [first, ..] if first.starts_with('\\') => return Some(Word::Help),
        _ => return None,
    };
    Some(Word::Ask(sql))
}

#[derive(Debug, PartialEq, Eq)]
enum End {
    Nothing,
    Open,
    Statement,
}

/// Whether the last character outside of quotes and comments is a semicolon.
fn ends(text: &str) -> End {
    let mut last = None;
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let inside = &rest[first.len_utf8()..];
        let after = match first {
            '\'' | '"' => inside.split_once(first).map(|(_, after)| after),
            '-' if inside.starts_with('-') => match inside.split_once('\n') {
                Some((_, after)) => {
                    rest = after;
                    continue;
                }
                None => break,
            },
            '/' if inside.starts_with('*') => match inside[1..].split_once("*/") {
                Some((_, after)) => {
                    rest = after;
                    continue;
                }
                None => return End::Open,
            },
            _ => Some(inside),
        };
        let Some(after) = after else {
            // A quote that is not closed.
            return End::Open;
        };
        if !first.is_whitespace() {
            last = Some(first);
        }
        rest = after;
    }
    match last {
        None => End::Nothing,
        Some(';') => End::Statement,
        Some(_) => End::Open,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_ends_with_a_semicolon_of_its_own() {
        for text in [
            "select 1;",
            "select ';';",
            "select 1; -- done",
            "select 1; /* ; */ ",
            ";",
        ] {
            assert_eq!(ends(text), End::Statement, "{text}");
        }
        for text in [
            "select 1",
            "select ';",
            "select \";\"",
            "select 1 -- ;",
            "select 1 /* ;",
            "-- a\nx",
        ] {
            assert_eq!(ends(text), End::Open, "{text}");
        }
        for text in ["", "  \n ", "-- only a comment", "/* ; */"] {
            assert_eq!(ends(text), End::Nothing, "{text}");
        }
    }

    #[test]
    fn lines_are_gathered_and_commands_stand_alone() {
        let mut input = Input::default();
        assert_eq!(input.take("select"), Word::More);
        assert_eq!(input.take("\\q"), Word::More);
        let statement = "select\n\\q\n1;".to_owned();
        assert_eq!(input.take("1;"), Word::Ask(statement));
        assert!(input.is_empty());
        assert_eq!(input.take("\\q"), Word::Leave);
        assert_eq!(input.take("exit;"), Word::Leave);
        assert_eq!(input.take("\\unknown"), Word::Help);
        let described = Word::Ask("DESCRIBE shop.order".to_owned());
        assert_eq!(input.take("\\d shop.order"), described);
    }
}
