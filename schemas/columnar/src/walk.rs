//! What walking over an envelope finds, in either format.

use schemas::Op;

use crate::source::SourceFields;

/// An envelope's parts. The row after, if there is one, is already in the open row.
#[derive(Debug, Default)]
pub(crate) struct Walk<'a> {
    pub(crate) letter: Option<Letter>,
    /// The bytes of the row before, to be decoded for deletes only.
    pub(crate) before: Option<&'a [u8]>,
    pub(crate) after: bool,
    pub(crate) source: SourceFields<'a>,
    /// The envelope's payload is null: a tombstone in its wrapper.
    pub(crate) empty: bool,
}

/// What an envelope's `op` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Letter {
    Change(Op),
    /// `m`: a logical message, which is no change of a row.
    Message,
    /// `t`: the owner emptied the table, which no row can say.
    Truncate,
    Other(String),
}

impl Letter {
    pub(crate) fn of(letter: &str) -> Self {
        match letter {
            "m" => Self::Message,
            "t" => Self::Truncate,
            _ => Op::from_letter(letter).map_or_else(
                || Self::Other(letter.chars().take(20).collect()),
                Self::Change,
            ),
        }
    }
}
