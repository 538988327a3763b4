//! What differs.

use std::fmt;

/// One key whose rows differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The key as a JSON object, or the whole row where rows have no key.
    pub key: String,
    /// The number of the range that it was found in.
    pub range: usize,
    /// How the two sides differ.
    pub kind: Kind,
    pub(crate) key_bytes: Vec<u8>,
}

/// How the rows of one key differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The owner has it, the lake does not.
    NotInLake,
    /// The lake has it, the owner does not.
    NotAtOwner,
    /// One side has it more often than the other, or both more than once and not the same.
    Doubled {
        /// Rows of this key at the owner.
        at_owner: usize,
        /// Rows of this key in the lake.
        in_lake: usize,
    },
    /// Both have it, with other values in these columns.
    Altered {
        /// The columns' names.
        columns: Vec<String>,
    },
}

impl Kind {
    /// The kind's stable word.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotInLake => "not_in_lake",
            Self::NotAtOwner => "not_at_owner",
            Self::Doubled { .. } => "doubled",
            Self::Altered { .. } => "altered",
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            key, range, kind, ..
        } = self;
        write!(f, "{} {key} (range {range}): ", kind.code())?;
        match kind {
            Kind::NotInLake => write!(f, "the owner has it, the lake does not"),
            Kind::NotAtOwner => write!(f, "the lake has it, the owner does not"),
            Kind::Doubled { at_owner, in_lake } => {
                write!(f, "{at_owner} at the owner, {in_lake} in the lake")
            }
            Kind::Altered { columns } => write!(f, "other values in {}", columns.join(", ")),
        }
    }
}
