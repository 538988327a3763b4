//! Dates and times, as Postgres writes them with `datestyle = ISO` in the time zone UTC.

use super::{ValueError, put_length};

const DAY_US: i64 = 86_400_000_000;

/// Days since 1970-01-01.
pub(super) fn date(text: &[u8]) -> Result<i32, ValueError> {
    let wrong = || ValueError::new(text, "a date");
    let (date, rest) = split_date(text).ok_or_else(wrong)?;
    let days = match rest {
        b"" => date.days(false),
        b" BC" => date.days(true),
        _ => return Err(wrong()),
    };
    i32::try_from(days).map_err(|_| wrong())
}

/// Microseconds since midnight; 24:00:00 is the end of the day.
pub(super) fn time(text: &[u8]) -> Result<i64, ValueError> {
    match split_time(text) {
        Some((micros, b"")) => Ok(micros),
        _ => Err(ValueError::new(text, "a time of day")),
    }
}

/// Microseconds since 1970-01-01 on the clock.
pub(super) fn wall_clock(text: &[u8]) -> Result<i64, ValueError> {
    let parse = || {
        let (date, rest) = split_date(text)?;
        let (micros, rest) = split_time(rest.strip_prefix(b" ")?)?;
        let days = match rest {
            b"" => date.days(false),
            b" BC" => date.days(true),
            _ => return None,
        };
        days.checked_mul(DAY_US)?.checked_add(micros)
    };
    parse().ok_or_else(|| ValueError::new(text, "a timestamp"))
}

/// Appends `2013-01-01 05:02:03.004+00` as the text `2013-01-01T05:02:03.004Z`. Years before 1 and after
/// 9999 have a sign, as ISO 8601 asks; 1 BC is its year 0.
pub(super) fn put_instant(text: &[u8], out: &mut Vec<u8>) -> Result<(), ValueError> {
    let wrong = || ValueError::new(text, "an instant");
    let (date, rest) = split_date(text).ok_or_else(wrong)?;
    let clock = rest.strip_prefix(b" ").ok_or_else(wrong)?;
    let (clock, bc) = match clock.strip_suffix(b" BC") {
        Some(clock) => (clock, true),
        None => (clock, false),
    };
    let clock = clock.strip_suffix(b"+00").ok_or_else(wrong)?;
    split_time(clock)
        .filter(|(_, rest)| rest.is_empty())
        .ok_or_else(wrong)?;
    let year = if bc { 1 - date.year } else { date.year };
    let place = out.len();
    if (0..=9999).contains(&year) {
        put_length("YYYY-MM-DDT".len() + clock.len() + 1, out);
        if bc {
            out.extend_from_slice(format!("{year:04}").as_bytes());
        } else {
            out.extend_from_slice(text.get(..4).unwrap_or_default());
        }
    } else {
        let year = format!("{year:+05}");
        put_length(year.len() + "-MM-DDT".len() + clock.len() + 1, out);
        out.extend_from_slice(year.as_bytes());
    }
    let month_and_day = text.get(date.year_digits..date.year_digits + 6);
    let Some(month_and_day) = month_and_day else {
        out.truncate(place);
        return Err(wrong());
    };
    out.extend_from_slice(month_and_day);
    out.push(b'T');
    out.extend_from_slice(clock);
    out.push(b'Z');
    Ok(())
}

/// Appends `01:02:03.004+02` as the text `01:02:03.004+02:00`, the offset 0 as `Z`.
pub(super) fn put_time_with_zone(text: &[u8], out: &mut Vec<u8>) -> Result<(), ValueError> {
    let wrong = || ValueError::new(text, "a time of day with its offset");
    let (_, offset) = split_time(text).ok_or_else(wrong)?;
    let clock = text.get(..text.len() - offset.len()).ok_or_else(wrong)?;
    let offset: &[&[u8]] = match offset {
        b"+00" => &[b"Z"],
        [b'+' | b'-', _, _] => &[offset, b":00"],
        [b'+' | b'-', _, _, b':', _, _] | [b'+' | b'-', _, _, b':', _, _, b':', _, _] => &[offset],
        _ => return Err(wrong()),
    };
    put_length(
        clock.len() + offset.iter().map(|part| part.len()).sum::<usize>(),
        out,
    );
    out.extend_from_slice(clock);
    for part in offset {
        out.extend_from_slice(part);
    }
    Ok(())
}

/// A date as it is written; its year counts from 1 in either era.
struct WrittenDate {
    year: i64,
    year_digits: usize,
    month: i64,
    day: i64,
}

impl WrittenDate {
    /// Days since 1970-01-01 in the Gregorian calendar. Years start in March here, so that the leap
    /// day is the last of its year; 400 years are an era of 146,097 days.
    fn days(&self, bc: bool) -> i64 {
        let year = if bc { 1 - self.year } else { self.year };
        let year = if self.month <= 2 { year - 1 } else { year };
        let era = year.div_euclid(400);
        let year_of_era = year.rem_euclid(400);
        let day_of_year = (153 * ((self.month + 9) % 12) + 2) / 5 + self.day - 1;
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        era * 146_097 + day_of_era - 719_468
    }
}

/// A leading `YYYY-MM-DD`, the year of four digits or more, and what follows it.
fn split_date(text: &[u8]) -> Option<(WrittenDate, &[u8])> {
    let year_digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = text.split_at_checked(year_digits)?;
    if !(4..=7).contains(&year_digits) {
        return None;
    }
    let year = digits
        .iter()
        .fold(0, |year, digit| year * 10 + i64::from(digit - b'0'));
    let ([b'-', m1, m2, b'-', d1, d2], rest) = rest.split_first_chunk()? else {
        return None;
    };
    let date = WrittenDate {
        year,
        year_digits,
        month: two(*m1, *m2)?,
        day: two(*d1, *d2)?,
    };
    Some((date, rest))
}

/// A leading `HH:MM:SS[.digits]` in microseconds, and what follows it.
fn split_time(text: &[u8]) -> Option<(i64, &[u8])> {
    let ([h1, h2, b':', m1, m2, b':', s1, s2], mut rest) = text.split_first_chunk()? else {
        return None;
    };
    let seconds = two(*h1, *h2)? * 3600 + two(*m1, *m2)? * 60 + two(*s1, *s2)?;
    let mut micros = 0;
    if let [b'.', fraction @ ..] = rest {
        let digits = fraction.iter().take_while(|byte| byte.is_ascii_digit());
        let (digits, after) = fraction.split_at_checked(digits.count())?;
        if !(1..=6).contains(&digits.len()) {
            return None;
        }
        for place in 0..6 {
            micros = micros * 10 + digits.get(place).map_or(0, |byte| i64::from(byte - b'0'));
        }
        rest = after;
    }
    Some((seconds * 1_000_000 + micros, rest))
}

fn two(tens: u8, ones: u8) -> Option<i64> {
    (tens.is_ascii_digit() && ones.is_ascii_digit())
        .then(|| i64::from(tens - b'0') * 10 + i64::from(ones - b'0'))
}
