//! Sums of hashes: the order in which they are added up does not matter.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::hash;

/// The sum of 128-bit hashes, modulo 2^128. As text: 32 hexadecimal digits.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Sum(u128);

impl Sum {
    /// Adds one hash.
    pub fn add(&mut self, hash: u128) {
        self.0 = self.0.wrapping_add(hash);
    }

    /// Takes one hash out again.
    pub fn subtract(&mut self, hash: u128) {
        self.0 = self.0.wrapping_sub(hash);
    }

    /// Adds all that another sum holds.
    pub fn join(&mut self, other: Self) {
        self.add(other.0);
    }

    /// The sum as a number.
    pub fn number(self) -> u128 {
        self.0
    }
}

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Sum {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.bytes().all(|byte| byte.is_ascii_hexdigit());
        match u128::from_str_radix(text, 16) {
            Ok(number) if text.len() == 32 && digits => Ok(Self(number)),
            _ => Err(format!("{text:?} is not a sum: 32 hexadecimal digits")),
        }
    }
}

impl Serialize for Sum {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Sum {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Evidence of a set of events: how many there are, the sum of the hashes of their ids, and the sum
/// of the hashes of the rows that they leave. Each event counts once, however often it was
/// published.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventSums {
    /// Events.
    pub count: u64,
    /// Of the hashes of their ids' UTF-8.
    pub ids: Sum,
    /// Of the hashes of their canonical after-images; that of a delete is a null.
    pub rows: Sum,
}

impl EventSums {
    /// Adds one event by the hash of its row.
    pub fn add(&mut self, event_id: &str, row_hash: u128) {
        self.count += 1;
        self.ids.add(hash(event_id.as_bytes()));
        self.rows.add(row_hash);
    }

    /// Takes one event out again: one that became a dead letter, or was erased.
    pub fn subtract(&mut self, event_id: &str, row_hash: u128) {
        self.count = self.count.saturating_sub(1);
        self.ids.subtract(hash(event_id.as_bytes()));
        self.rows.subtract(row_hash);
    }

    /// Adds all events of another set, which has none of these.
    pub fn join(&mut self, other: &Self) {
        self.count += other.count;
        self.ids.join(other.ids);
        self.rows.join(other.rows);
    }
}
