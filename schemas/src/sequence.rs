//! An event's place in its source.

use std::fmt;
use std::str::FromStr;

/// The value of the header [`crate::header::SEQUENCE`]: one decimal number (an outbox position), or two with a
/// slash between them (a transaction's commit LSN and the change's ordinal in it).
///
/// Numbers are not negative. Sequences of one source are compared as they are ordered here: by `major`, then by
/// `minor`, none of which is before every one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sequence {
    /// The position, or the transaction's.
    pub major: i64,
    /// The place within the transaction.
    pub minor: Option<i64>,
}

/// A text that is no sequence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a sequence: one number from 0 to 2^63 - 1, or two with a slash between them")]
pub struct NotASequence(String);

impl From<i64> for Sequence {
    fn from(position: i64) -> Self {
        Self {
            major: position,
            minor: None,
        }
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.minor {
            None => write!(f, "{}", self.major),
            Some(minor) => write!(f, "{}/{minor}", self.major),
        }
    }
}

impl FromStr for Sequence {
    type Err = NotASequence;

    fn from_str(text: &str) -> Result<Self, NotASequence> {
        let number = |digits: &str| {
            let number = digits.parse().ok();
            number.filter(|number| *number >= 0)
        };
        let (major, minor) = match text.split_once('/') {
            None => (number(text), Some(None)),
            Some((major, minor)) => (number(major), number(minor).map(Some)),
        };
        let sequence = major.zip(minor).map(|(major, minor)| Self { major, minor });
        sequence.ok_or_else(|| NotASequence(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sequence_is_one_number_or_two() {
        for text in ["0", "9223372036854775807", "26843545600/0", "1/2"] {
            assert_eq!(text.parse::<Sequence>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "x",
            "-1",
            "1/",
            "/1",
            "1/-1",
            "1/2/3",
            "9223372036854775808",
        ] {
            assert_eq!(text.parse::<Sequence>(), Err(NotASequence(text.to_owned())));
        }
    }

    #[test]
    fn the_transaction_counts_before_the_ordinal() {
        let sorted = ["1", "1/0", "1/7", "2", "2/3", "10/1"];
        let mut sequences: Vec<Sequence> =
            sorted.iter().map(|text| text.parse().unwrap()).collect();
        sequences.reverse();
        sequences.sort();
        let texts: Vec<String> = sequences.iter().map(Sequence::to_string).collect();
        assert_eq!(texts, sorted);
    }
}
