//! Airports' clocks: from local time to instants.

use std::collections::HashMap;

use chrono::{DateTime, Days, Duration, LocalResult, NaiveDate, NaiveDateTime, TimeZone, Utc};
use chrono_tz::Tz;

use crate::DataSetError;

const AIRPORTS: &[u8] = include_bytes!("../data/airports.csv");

/// Airports of the flights that `airports.csv` lacks: all on Puerto Rico and the Virgin Islands,
/// which share one clock.
const ABSENT: [&str; 4] = ["BQN", "PSE", "SJU", "STT"];
const ABSENT_ZONE: Tz = Tz::America__Puerto_Rico;

/// A time of day as the data set prints it, HHMM; 2400 is the midnight at the day's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LocalTime(i32);

impl LocalTime {
    /// A time from 0 to 2400; `None` if hours or minutes are out of range.
    pub fn new(hhmm: i32) -> Option<Self> {
        let is_time = (0..2400).contains(&hhmm) && hhmm % 100 < 60;
        (is_time || hhmm == 2400).then_some(Self(hhmm))
    }

    /// This time on a day, by the wall clock.
    fn on(self, day: NaiveDate) -> NaiveDateTime {
        let minutes = i64::from(self.0 / 100 * 60 + self.0 % 100);
        day.and_time(chrono::NaiveTime::MIN) + Duration::minutes(minutes)
    }
}

/// The zones of airports by their FAA code.
#[derive(Debug)]
pub struct Airports {
    zones: HashMap<String, Tz>,
}

impl Airports {
    /// Reads the airports of the data set.
    pub fn load() -> Result<Self, DataSetError> {
        let mut zones: HashMap<String, Tz> = ABSENT
            .iter()
            .map(|&code| (code.to_owned(), ABSENT_ZONE))
            .collect();
        let mut reader = csv::Reader::from_reader(AIRPORTS);
        for row in reader.records() {
            let row = row?;
            // A few airports have no zone on record; no flight of the data set goes there.
            if let (Some(code), Some(zone)) = (row.get(0), row.get(7))
                && let Ok(zone) = zone.parse()
            {
                zones.insert(code.to_owned(), zone);
            }
        }
        Ok(Self { zones })
    }

    /// The zone of an airport.
    pub fn zone(&self, code: &str) -> Result<Tz, DataSetError> {
        self.zones
            .get(code)
            .copied()
            .ok_or_else(|| DataSetError::Airport(code.to_owned()))
    }
}

/// The instants at which a clock in `zone` shows `time` on `day`, earliest first.
///
/// One, or two in the hour that is repeated when the clock goes back. A time that the clock leaps
/// over is taken by the clock that had not leapt: one flight of the data set (to PBI, landing on
/// 2013-03-10) is on record with such an arrival, and its time in the air agrees.
pub(crate) fn instants(zone: Tz, day: NaiveDate, time: LocalTime) -> Vec<DateTime<Utc>> {
    let local = time.on(day);
    match zone.from_local_datetime(&local) {
        LocalResult::Single(instant) => vec![instant.to_utc()],
        LocalResult::Ambiguous(first, second) => {
            let mut both = vec![first.to_utc(), second.to_utc()];
            both.sort();
            both
        }
        LocalResult::None => {
            // Clocks leap by at most an hour here; an hour earlier none had leapt.
            let hour = Duration::hours(1);
            let earlier = zone.from_local_datetime(&(local - hour)).earliest();
            earlier
                .map(|instant| instant.to_utc() + hour)
                .into_iter()
                .collect()
        }
    }
}

/// The first instant not before `not_before` at which a clock in `zone` shows `time`.
pub(crate) fn first_instant(
    zone: Tz,
    time: LocalTime,
    not_before: DateTime<Utc>,
) -> Option<DateTime<Utc>> {
    let day = not_before.with_timezone(&zone).date_naive();
    let days = [
        day.checked_sub_days(Days::new(1)),
        Some(day),
        day.checked_add_days(Days::new(1)),
    ];
    days.into_iter()
        .flatten()
        .flat_map(|day| instants(zone, day, time))
        .filter(|instant| *instant >= not_before)
        .min()
}

#[cfg(test)]
mod tests {
    use chrono::Timelike;
    use proptest::prelude::*;

    use super::*;

    const NEW_YORK: Tz = Tz::America__New_York;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn day(year: i32, month: u32, day: u32) -> NaiveDate {
        NaiveDate::from_ymd_opt(year, month, day).unwrap()
    }

    #[test]
    fn midnight_is_the_end_of_its_day() {
        let midnight = LocalTime::new(2400).unwrap();
        assert_eq!(
            instants(NEW_YORK, day(2013, 1, 1), midnight),
            [at("2013-01-02T05:00:00Z")]
        );
        for wrong in [-1, 60, 1275, 2401, 9999] {
            assert_eq!(LocalTime::new(wrong), None);
        }
    }

    #[test]
    fn the_repeated_hour_has_two_instants_and_the_missing_one_is_the_old_clocks() {
        let half_past_one = LocalTime::new(130).unwrap();
        assert_eq!(
            instants(NEW_YORK, day(2013, 11, 3), half_past_one),
            [at("2013-11-03T05:30:00Z"), at("2013-11-03T06:30:00Z")]
        );
        let missing = LocalTime::new(203).unwrap();
        assert_eq!(
            instants(NEW_YORK, day(2013, 3, 10), missing),
            [at("2013-03-10T07:03:00Z")]
        );
    }

    #[test]
    fn airports_have_their_own_clocks() {
        let airports = Airports::load().unwrap();
        assert_eq!(airports.zone("EWR").unwrap(), NEW_YORK);
        assert_eq!(airports.zone("HNL").unwrap(), Tz::Pacific__Honolulu);
        assert_eq!(airports.zone("SJU").unwrap(), Tz::America__Puerto_Rico);
        assert!(
            airports
                .zone("XXX")
                .unwrap_err()
                .to_string()
                .contains("XXX")
        );
    }

    proptest! {
        #[test]
        fn a_clock_that_shows_an_instant_leads_back_to_it(minutes in 0_i64..525_600, ahead in 0_i64..600) {
            let instant = at("2013-01-01T05:00:00Z") + Duration::minutes(minutes);
            for zone in [NEW_YORK, Tz::America__Los_Angeles, Tz::Pacific__Honolulu, Tz::America__Phoenix] {
                let local = instant.with_timezone(&zone);
                let hhmm = i32::try_from(local.hour() * 100 + local.minute()).unwrap();
                let time = LocalTime::new(hhmm).unwrap();
                prop_assert!(instants(zone, local.date_naive(), time).contains(&instant));
                let not_before = instant - Duration::minutes(ahead);
                let first = first_instant(zone, time, not_before).unwrap();
                prop_assert!(first >= not_before && first <= instant);
                // Only the repeated hour lets the clock show the time once more in between.
                prop_assert!(first == instant || instant - first == Duration::hours(1));
            }
        }
    }
}
