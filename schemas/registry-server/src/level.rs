//! Compatibility levels: which schemas must be able to read which.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A subject's compatibility, in Confluent's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum Level {
    None,
    Backward,
    BackwardTransitive,
    Forward,
    ForwardTransitive,
    Full,
    FullTransitive,
}

impl Level {
    /// What holds where nobody said otherwise: Confluent's own default.
    pub(crate) const DEFAULT: Self = Self::Backward;

    const ALL: [(&'static str, Self); 7] = [
        ("NONE", Self::None),
        ("BACKWARD", Self::Backward),
        ("BACKWARD_TRANSITIVE", Self::BackwardTransitive),
        ("FORWARD", Self::Forward),
        ("FORWARD_TRANSITIVE", Self::ForwardTransitive),
        ("FULL", Self::Full),
        ("FULL_TRANSITIVE", Self::FullTransitive),
    ];

    /// The level of this name, in any case.
    pub(crate) fn named(name: &str) -> Option<Self> {
        let mut all = Self::ALL.iter();
        all.find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, level)| *level)
    }

    pub(crate) fn name(self) -> &'static str {
        let mut all = Self::ALL.iter();
        all.find(|(_, level)| *level == self)
            .map_or("NONE", |(name, _)| name)
    }

    /// Whether the new schema must read what the older ones wrote.
    pub(crate) fn new_reads_old(self) -> bool {
        use Level::{Backward, BackwardTransitive, Full, FullTransitive};
        matches!(self, Backward | BackwardTransitive | Full | FullTransitive)
    }

    /// Whether the older schemas must read what the new one writes.
    pub(crate) fn old_reads_new(self) -> bool {
        use Level::{Forward, ForwardTransitive, Full, FullTransitive};
        matches!(self, Forward | ForwardTransitive | Full | FullTransitive)
    }

    /// Whether every older version counts, not only the last.
    pub(crate) fn is_transitive(self) -> bool {
        use Level::{BackwardTransitive, ForwardTransitive, FullTransitive};
        matches!(
            self,
            BackwardTransitive | ForwardTransitive | FullTransitive
        )
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_in_the_log_and_on_the_wire() {
        for (name, level) in Level::ALL {
            assert_eq!(Level::named(&name.to_lowercase()), Some(level));
            assert_eq!(serde_json::json!(level), name);
            assert_eq!(level.to_string(), name);
        }
        assert_eq!(Level::named("SIDEWAYS"), None);
    }
}
