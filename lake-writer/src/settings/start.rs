//! Where the first reading of a partition starts.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, SecondsFormat};
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Where a partition is read from that the table has never seen. Afterwards the table decides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// The first record that Kafka still keeps.
    #[default]
    Earliest,
    /// The first record written after the writer saw the partition.
    Latest,
    /// The first record whose timestamp is not before this time.
    At {
        /// Milliseconds since 1970-01-01T00:00Z.
        unix_ms: i64,
    },
}

/// A text that names no start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no start: write \"earliest\", \"latest\" or a time with its zone, such as \
     \"2026-01-31T00:00:00Z\""
)]
pub struct UnknownStart(String);

impl FromStr for Start {
    type Err = UnknownStart;

    fn from_str(text: &str) -> Result<Self, UnknownStart> {
        match text {
            "earliest" => Ok(Self::Earliest),
            "latest" => Ok(Self::Latest),
            _ => match DateTime::parse_from_rfc3339(text) {
                Ok(time) if time.timestamp_millis() >= 0 => Ok(Self::At {
                    unix_ms: time.timestamp_millis(),
                }),
                _ => Err(UnknownStart(text.to_owned())),
            },
        }
    }
}

impl fmt::Display for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Earliest => f.write_str("earliest"),
            Self::Latest => f.write_str("latest"),
            Self::At { unix_ms } => match DateTime::from_timestamp_millis(*unix_ms) {
                Some(time) => f.write_str(&time.to_rfc3339_opts(SecondsFormat::AutoSi, true)),
                None => write!(f, "{unix_ms} ms"),
            },
        }
    }
}

impl Serialize for Start {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Start {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Words)
    }
}

/// Takes a text, and TOML's own time, which serde shows as a map of one text.
struct Words;

impl<'de> Visitor<'de> for Words {
    type Value = Start;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"earliest\", \"latest\" or a time with its zone")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Start, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Start, A::Error> {
        match map.next_entry::<String, String>()? {
            Some((_, text)) => text.parse().map_err(de::Error::custom),
            None => Err(de::Error::custom("an empty table is no start")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_times_round_trip() {
        for text in ["earliest", "latest", "2026-01-31T12:00:00Z"] {
            let start: Start = text.parse().unwrap();
            assert_eq!(start.to_string(), text);
        }
        let shifted: Start = "2026-01-31T13:00:00.5+01:00".parse().unwrap();
        assert_eq!(shifted.to_string(), "2026-01-31T12:00:00.500Z");
    }

    #[test]
    fn a_time_without_its_zone_is_refused() {
        for text in [
            "2026-01-31T12:00:00",
            "2026-01-31",
            "now",
            "",
            "1960-01-01T00:00:00Z",
        ] {
            assert!(text.parse::<Start>().is_err(), "{text}");
        }
    }
}
