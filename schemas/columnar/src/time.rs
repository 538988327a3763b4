//! Dates and instants as text.

use chrono::DateTime;

/// Microseconds of a day.
pub(crate) const DAY_US: i64 = 86_400_000_000;

/// The first microsecond of year 1, and the last of year 9999: what dates in the lake can hold.
const EVENT_TIME_US: std::ops::RangeInclusive<i64> =
    -62_135_596_800_000_000..=253_402_300_799_999_999;

/// Whether an instant lies in the years 1 to 9999.
pub(crate) fn is_event_time(us: i64) -> bool {
    EVENT_TIME_US.contains(&us)
}

/// Microseconds since 1970-01-01 UTC of an RFC 3339 text; nothing if its second has digits beyond
/// microseconds that are not zero.
#[inline]
pub(crate) fn parse_instant(text: &str) -> Option<i64> {
    parse_common(text.as_bytes()).or_else(|| parse_slowly(text))
}

#[cold]
fn parse_slowly(text: &str) -> Option<i64> {
    let (_, rest) = split_clock_text(text)?;
    if let Some(fraction) = rest.strip_prefix('.') {
        let digits = fraction.bytes().take_while(u8::is_ascii_digit);
        if digits.skip(6).any(|digit| digit != b'0') {
            return None;
        }
    }
    let instant = DateTime::parse_from_rfc3339(text).ok()?;
    Some(instant.timestamp_micros())
}

/// The first 19 bytes of a date and time, and the rest.
fn split_clock_text(text: &str) -> Option<(&str, &str)> {
    text.is_char_boundary(19)
        .then(|| text.split_at_checked(19))?
}

/// Microseconds since 1970-01-01 of a text `YYYY-MM-DDTHH:MM:SS[.digits]` without an offset, as if
/// it were UTC.
pub(crate) fn parse_wall_clock(text: &str) -> Option<i64> {
    let (days, rest) = split_date(text.as_bytes())?;
    let time = rest
        .split_first()
        .filter(|(t, _)| matches!(t, b'T' | b' '))?
        .1;
    days.checked_mul(DAY_US)?.checked_add(time_of_day(time)?)
}

/// Microseconds since midnight of a text `HH:MM:SS[.digits]`.
pub(crate) fn parse_time(text: &str) -> Option<i64> {
    time_of_day(text.as_bytes())
}

fn time_of_day(text: &[u8]) -> Option<i64> {
    let ([h1, h2, b':', m1, m2, b':', s1, s2], rest) = text.split_first_chunk()? else {
        return None;
    };
    let (hour, minute, second) = (
        number([*h1, *h2])?,
        number([*m1, *m2])?,
        number([*s1, *s2])?,
    );
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let micros = match rest {
        [] => 0,
        [b'.', fraction @ ..] => {
            let (micros, rest) = split_fraction(fraction)?;
            rest.is_empty().then_some(micros)?
        }
        _ => return None,
    };
    Some((hour * 3600 + minute * 60 + second) * 1_000_000 + micros)
}

/// Days since 1970-01-01 of a text `YYYY-MM-DD`.
pub(crate) fn parse_date(text: &str) -> Option<i32> {
    let (days, rest) = split_date(text.as_bytes())?;
    if !rest.is_empty() {
        return None;
    }
    i32::try_from(days).ok()
}

/// The common forms: `YYYY-MM-DDTHH:MM:SS[.digits](Z|±HH:MM)`.
fn parse_common(text: &[u8]) -> Option<i64> {
    let (days, rest) = split_date(text)?;
    let ([b'T', h1, h2, b':', m1, m2, b':', s1, s2], mut rest) = rest.split_first_chunk()? else {
        return None;
    };
    let (hour, minute, second) = (
        number([*h1, *h2])?,
        number([*m1, *m2])?,
        number([*s1, *s2])?,
    );
    // A leap second is left to the slow road.
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let mut micros = 0;
    if let [b'.', fraction @ ..] = rest {
        (micros, rest) = split_fraction(fraction)?;
    }
    let offset_minutes = offset_minutes(rest)?;
    let seconds = days * 86_400 + hour * 3600 + (minute - offset_minutes) * 60 + second;
    Some(seconds * 1_000_000 + micros)
}

fn offset_minutes(text: &[u8]) -> Option<i64> {
    let (sign, [h1, h2, b':', m1, m2]) = (match text {
        [b'Z'] => return Some(0),
        [b'+', rest @ ..] => (1, rest),
        [b'-', rest @ ..] => (-1, rest),
        _ => return None,
    }) else {
        return None;
    };
    let (hours, minutes) = (number([*h1, *h2])?, number([*m1, *m2])?);
    (hours <= 23 && minutes <= 59).then_some(sign * (hours * 60 + minutes))
}

/// Microseconds of the digits of a second, and what follows them; at least one digit, and none
/// but zeros beyond microseconds.
fn split_fraction(text: &[u8]) -> Option<(i64, &[u8])> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = text.split_at_checked(digits)?;
    if digits.is_empty() || digits.iter().skip(6).any(|digit| *digit != b'0') {
        return None;
    }
    let mut micros = 0;
    for place in 0..6 {
        micros = micros * 10 + digits.get(place).map_or(0, |byte| i64::from(byte - b'0'));
    }
    Some((micros, rest))
}

/// Days since 1970-01-01 of a leading `YYYY-MM-DD`, and what follows it.
fn split_date(text: &[u8]) -> Option<(i64, &[u8])> {
    let ([y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2], rest) = text.split_first_chunk()? else {
        return None;
    };
    let year = number([*y1, *y2])? * 100 + number([*y3, *y4])?;
    let (month, day) = (number([*m1, *m2])?, number([*d1, *d2])?);
    let valid = (1..=12).contains(&month) && day >= 1 && day <= days_of_month(year, month);
    valid.then(|| (days_from_civil(year, month, day), rest))
}

fn number([tens, ones]: [u8; 2]) -> Option<i64> {
    (tens.is_ascii_digit() && ones.is_ascii_digit())
        .then(|| i64::from(tens - b'0') * 10 + i64::from(ones - b'0'))
}

fn days_of_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01 in the Gregorian calendar. Years start in March here, so that the leap
/// day is the last of its year; 400 years are an era of 146,097 days.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::{Datelike, NaiveDate};

    #[test]
    fn dates_agree_with_the_calendar() {
        let epoch = NaiveDate::from_ymd_opt(1970, 1, 1).unwrap();
        let mut date = NaiveDate::from_ymd_opt(1, 1, 1).unwrap();
        while date.year() < 10_000 {
            let days = i32::try_from((date - epoch).num_days()).unwrap();
            assert_eq!(
                parse_date(&date.format("%Y-%m-%d").to_string()),
                Some(days),
                "{date}"
            );
            date += chrono::TimeDelta::days(13);
        }
        for bad in [
            "2013-02-29",
            "2013-13-01",
            "2013-00-01",
            "2013-01-32",
            "2013-1-1",
            "2013-01-01 ",
            "",
        ] {
            assert_eq!(parse_date(bad), None, "{bad}");
        }
    }

    #[test]
    fn instants_agree_with_chrono() {
        for text in [
            "2013-01-01T00:00:00Z",
            "2013-01-01T05:17:00.5-05:00",
            "2016-02-29T23:59:59.123456789+14:00",
            "2016-02-29T23:59:59.123456000+14:00",
            "2016-12-31T23:59:60.1234567Z",
            "1969-12-31T23:59:59.999999Z",
            "0001-01-01T00:00:00Z",
            "2016-12-31T23:59:60Z",
            "2013-01-01t00:00:00z",
            "2013-01-01 00:00:00Z",
            "2013-01-01T00:00:00",
            "2013-01-01T24:00:00Z",
            "2013-01-01T00:00:00.Z",
            "2013-01-01T00:00Z",
            "2013-02-30T00:00:00Z",
            "",
            "x",
            "2013-01-01T00:00:00+0500",
            "2013-01-01T00:00:00+05:60",
        ] {
            let expected = DateTime::parse_from_rfc3339(text)
                .ok()
                .filter(|t| t.timestamp_subsec_nanos() % 1000 == 0)
                .map(|t| t.timestamp_micros());
            assert_eq!(parse_instant(text), expected, "{text}");
        }
    }

    #[test]
    fn clocks_without_an_offset_are_read_to_the_microsecond() {
        assert_eq!(parse_time("00:00:01.5"), Some(1_500_000));
        assert_eq!(parse_time("23:59:59.999999000"), Some(DAY_US - 1));
        assert_eq!(parse_wall_clock("1970-01-02T00:00:00"), Some(DAY_US));
        assert_eq!(parse_wall_clock("1969-12-31 23:59:59.999999"), Some(-1));
        for bad in [
            "24:00:00",
            "1:00:00",
            "00:00:00.",
            "00:00:00.1234567",
            "00:00:00Z",
            "",
        ] {
            assert_eq!(parse_time(bad), None, "{bad}");
            assert_eq!(
                parse_wall_clock(&format!("1970-01-01T{bad}")),
                None,
                "{bad}"
            );
        }
        assert_eq!(parse_instant("2016-02-29T23:59:59.0000000000000001Z"), None);
        assert_eq!(parse_instant("2016-12-31T23:59:60.0000000000000001Z"), None);
    }

    #[test]
    fn event_times_end_with_year_9999() {
        let edge = |text| parse_instant(text).unwrap();
        assert!(is_event_time(edge("0001-01-01T00:00:00Z")));
        assert!(is_event_time(edge("9999-12-31T23:59:59.999999Z")));
        assert!(!is_event_time(edge("0001-01-01T00:00:00Z") - 1));
        assert!(!is_event_time(edge("9999-12-31T23:59:59.999999Z") + 1));
    }
}
