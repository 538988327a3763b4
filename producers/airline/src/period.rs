//! Which part of the data set is replayed.

use std::fmt;
use std::str::FromStr;

/// A part of 2013.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Period {
    /// The flights scheduled in January.
    January,
    /// All of them.
    Year,
}

impl Period {
    /// The period's name in the service's database.
    pub fn name(self) -> &'static str {
        match self {
            Self::January => "2013-01",
            Self::Year => "2013",
        }
    }

    /// How many flights were scheduled in it.
    pub fn flights(self) -> u64 {
        match self {
            Self::January => 27_004,
            Self::Year => 336_776,
        }
    }

    /// How many changes they went through.
    pub fn changes(self) -> u64 {
        match self {
            Self::January => 80_406,
            Self::Year => 1_000_898,
        }
    }

    /// Whether a flight that was scheduled in this month of 2013 is in the period.
    pub(crate) fn contains(self, month: i32) -> bool {
        match self {
            Self::January => month == 1,
            Self::Year => true,
        }
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::January => "January 2013",
            Self::Year => "2013",
        })
    }
}

impl FromStr for Period {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        [Self::January, Self::Year]
            .into_iter()
            .find(|period| period.name() == name)
            .ok_or(())
    }
}
