//! Periods of the calendar, in a time zone.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Datelike, NaiveDate, TimeDelta, TimeZone};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

/// How long a period is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PeriodLength {
    /// A month.
    Month,
    /// Three months, the first of which is January, April, July or October.
    Quarter,
    /// January to December.
    Year,
}

/// A period: `2026-01`, `2026-q1` or `2026`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period {
    length: PeriodLength,
    year: i32,
    /// Of its kind in the year, from 1 on.
    number: u32,
}

/// A text that names no period.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no period; write a month as 2026-01, a quarter as 2026-q1, a year as 2026")]
pub struct PeriodNameError(String);

impl PeriodLength {
    fn months(self) -> u32 {
        match self {
            Self::Month => 1,
            Self::Quarter => 3,
            Self::Year => 12,
        }
    }
}

impl Period {
    /// The last period that is over at a time, in microseconds since 1970-01-01T00:00Z.
    pub(crate) fn over_at(length: PeriodLength, time_us: i64, zone: Tz) -> Option<Self> {
        let local = DateTime::from_timestamp_micros(time_us)?.with_timezone(&zone);
        let now = Self {
            length,
            year: local.year(),
            number: local.month0() / length.months() + 1,
        };
        Some(now.previous())
    }

    fn previous(self) -> Self {
        match self.number {
            1 => Self {
                year: self.year - 1,
                number: 12 / self.length.months(),
                ..self
            },
            number => Self {
                number: number - 1,
                ..self
            },
        }
    }

    /// The period after it.
    pub(crate) fn next(self) -> Self {
        match self.number * self.length.months() {
            12 => Self {
                year: self.year + 1,
                number: 1,
                ..self
            },
            _ => Self {
                number: self.number + 1,
                ..self
            },
        }
    }

    pub(crate) fn length(self) -> PeriodLength {
        self.length
    }

    /// The moment at which it is over: the first of the next period, in microseconds since
    /// 1970-01-01T00:00Z. `None` beyond the calendar.
    pub(crate) fn end_us(self, zone: Tz) -> Option<i64> {
        let next = self.next();
        let month = (next.number - 1) * self.length.months() + 1;
        let midnight = NaiveDate::from_ymd_opt(next.year, month, 1)?.and_hms_opt(0, 0, 0)?;
        // Where clocks are put forward at midnight, the day begins later.
        let mut begins = (0..24 * 4).map(|quarters| midnight + TimeDelta::minutes(15 * quarters));
        let begin = begins.find_map(|time| zone.from_local_datetime(&time).earliest());
        Some(begin?.timestamp_micros())
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.length {
            PeriodLength::Month => write!(f, "{:04}-{:02}", self.year, self.number),
            PeriodLength::Quarter => write!(f, "{:04}-q{}", self.year, self.number),
            PeriodLength::Year => write!(f, "{:04}", self.year),
        }
    }
}

impl FromStr for Period {
    type Err = PeriodNameError;

    fn from_str(name: &str) -> Result<Self, PeriodNameError> {
        let (year, rest) = name.split_once('-').unwrap_or((name, ""));
        let (length, number) = match (rest, rest.strip_prefix('q')) {
            ("", _) => (PeriodLength::Year, "1"),
            (_, Some(quarter)) => (PeriodLength::Quarter, quarter),
            (month, None) => (PeriodLength::Month, month),
        };
        let period = match (year.parse(), number.parse()) {
            (Ok(year @ 1..=9999), Ok(number)) => Self {
                length,
                year,
                number,
            },
            _ => return Err(PeriodNameError(name.to_owned())),
        };
        let is_in_year = (1..=12 / length.months()).contains(&period.number);
        // There is one way to write it.
        match is_in_year && period.to_string() == name {
            true => Ok(period),
            false => Err(PeriodNameError(name.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn us(time: &str) -> i64 {
        DateTime::parse_from_rfc3339(time)
            .unwrap()
            .timestamp_micros()
    }

    fn end(name: &str, zone: Tz) -> i64 {
        name.parse::<Period>().unwrap().end_us(zone).unwrap()
    }

    #[test]
    fn a_period_ends_at_midnight_in_its_zone() {
        assert_eq!(end("2026-01", Tz::UTC), us("2026-02-01T00:00:00Z"));
        assert_eq!(
            end("2026-03", Tz::Europe__Stockholm),
            us("2026-04-01T00:00:00+02:00")
        );
        assert_eq!(
            end("2026-10", Tz::Europe__Stockholm),
            us("2026-11-01T00:00:00+01:00")
        );
        assert_eq!(
            end("2026-q4", Tz::Asia__Tokyo),
            us("2027-01-01T00:00:00+09:00")
        );
        assert_eq!(
            end("2026", Tz::America__New_York),
            us("2027-01-01T00:00:00-05:00")
        );
        // Clocks were put forward at midnight.
        assert_eq!(
            end("2017-09", Tz::America__Asuncion),
            us("2017-10-01T01:00:00-03:00")
        );
    }

    #[test]
    fn the_last_period_that_is_over_depends_on_the_zone() {
        let over =
            |length, time, zone| Period::over_at(length, us(time), zone).unwrap().to_string();
        let new_year = "2026-12-31T23:30:00Z";
        assert_eq!(over(PeriodLength::Month, new_year, Tz::UTC), "2026-11");
        assert_eq!(
            over(PeriodLength::Month, new_year, Tz::Europe__Stockholm),
            "2026-12"
        );
        assert_eq!(over(PeriodLength::Quarter, new_year, Tz::UTC), "2026-q3");
        assert_eq!(
            over(PeriodLength::Quarter, new_year, Tz::Europe__Stockholm),
            "2026-q4"
        );
        assert_eq!(over(PeriodLength::Year, new_year, Tz::UTC), "2025");
        assert_eq!(
            over(PeriodLength::Year, "2026-01-01T00:00:00Z", Tz::UTC),
            "2025"
        );
    }

    #[test]
    fn periods_follow_each_other_without_a_gap() {
        for length in [
            PeriodLength::Month,
            PeriodLength::Quarter,
            PeriodLength::Year,
        ] {
            let zone = Tz::Europe__Stockholm;
            let mut period = Period::over_at(length, us("2020-06-15T12:00:00Z"), zone).unwrap();
            for _ in 0..30 {
                let (end, next) = (period.end_us(zone).unwrap(), period.next());
                assert_eq!(next.previous(), period);
                assert_eq!(Period::over_at(length, end, zone), Some(period));
                assert_eq!(
                    Period::over_at(length, end - 1, zone),
                    Some(period.previous())
                );
                assert_eq!(period.to_string().parse(), Ok(period));
                period = next;
            }
        }
    }

    #[test]
    fn other_names_are_refused() {
        for name in [
            "",
            "26",
            "2026-1",
            "2026-13",
            "2026-00",
            "2026-q0",
            "2026-q5",
            "2026-Q1",
            "2026-01-01",
            "x-01",
            "-2026",
        ] {
            assert!(name.parse::<Period>().is_err(), "{name}");
        }
    }
}
