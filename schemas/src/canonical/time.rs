//! Dates and times as databases and JSON write them, exact to the microsecond or not at all.

/// Microseconds of a day.
const DAY_US: i64 = 86_400_000_000;

/// The day of a text `YYYY-MM-DD`, counted from 1970-01-01; years 1 to 9999.
pub fn day_of_text(text: &str) -> Option<i32> {
    let (days, rest) = split_day(text.as_bytes())?;
    (rest.is_empty()).then(|| i32::try_from(days).ok())?
}

/// Microseconds since midnight of a text `HH:MM[:SS[.digits]]`.
pub fn time_of_text(text: &str) -> Option<i64> {
    let (micros, rest) = split_time(text.as_bytes())?;
    rest.is_empty().then_some(micros)
}

/// Microseconds since 1970-01-01 on the clock that a text `YYYY-MM-DD HH:MM[:SS[.digits]]` shows;
/// `T` may stand for the blank.
pub fn wall_clock_of_text(text: &str) -> Option<i64> {
    let (micros, rest) = split_wall_clock(text.as_bytes())?;
    rest.is_empty().then_some(micros)
}

/// Microseconds since 1970-01-01 UTC of a text that ends with `Z` or its offset: `+02`, `+02:00`,
/// `+0200`.
pub fn instant_of_text(text: &str) -> Option<i64> {
    let (micros, rest) = split_wall_clock(text.as_bytes())?;
    let (sign, offset) = match rest {
        [b'Z' | b'z'] => return Some(micros),
        [b'+', offset @ ..] => (1, offset),
        [b'-', offset @ ..] => (-1, offset),
        _ => return None,
    };
    let (hours, minutes, seconds) = match offset {
        [h1, h2] => ([*h1, *h2], *b"00", *b"00"),
        [h1, h2, b':', m1, m2] | [h1, h2, m1, m2] => ([*h1, *h2], [*m1, *m2], *b"00"),
        // Postgres shows the seconds of old local mean times.
        [h1, h2, b':', m1, m2, b':', s1, s2] => ([*h1, *h2], [*m1, *m2], [*s1, *s2]),
        _ => return None,
    };
    let seconds = (two(hours)? * 60 + two(minutes)?) * 60 + two(seconds)?;
    micros.checked_sub(sign * seconds * 1_000_000)
}

fn split_wall_clock(text: &[u8]) -> Option<(i64, &[u8])> {
    let (days, rest) = split_day(text)?;
    let (separator, rest) = rest.split_first()?;
    if !matches!(separator, b'T' | b't' | b' ') {
        return None;
    }
    let (micros, rest) = split_time(rest)?;
    Some((days.checked_mul(DAY_US)?.checked_add(micros)?, rest))
}

fn split_day(text: &[u8]) -> Option<(i64, &[u8])> {
    let ([y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2], rest) = text.split_first_chunk()? else {
        return None;
    };
    let year = two([*y1, *y2])? * 100 + two([*y3, *y4])?;
    let (month, day) = (two([*m1, *m2])?, two([*d1, *d2])?);
    let is_day =
        year >= 1 && (1..=12).contains(&month) && (1..=days_of(year, month)).contains(&day);
    is_day.then(|| (days_from_civil(year, month, day), rest))
}

fn split_time(text: &[u8]) -> Option<(i64, &[u8])> {
    let ([h1, h2, b':', m1, m2], rest) = text.split_first_chunk()? else {
        return None;
    };
    let (hour, minute) = (two([*h1, *h2])?, two([*m1, *m2])?);
    let (second, rest) = match rest {
        [b':', s1, s2, rest @ ..] => (two([*s1, *s2])?, rest),
        _ => (0, rest),
    };
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let (micros, rest) = match rest {
        [b'.', rest @ ..] => split_fraction(rest)?,
        _ => (0, rest),
    };
    Some((
        (hour * 3600 + minute * 60 + second) * 1_000_000 + micros,
        rest,
    ))
}

/// Digits after the point in microseconds; further ones must be zeros.
fn split_fraction(text: &[u8]) -> Option<(i64, &[u8])> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (fraction, rest) = text.split_at(digits);
    let exact = fraction.iter().skip(6).all(|digit| *digit == b'0');
    let micros = (0..6).fold(0, |sum, place| {
        sum * 10
            + fraction
                .get(place)
                .map_or(0, |digit| i64::from(digit - b'0'))
    });
    (digits > 0 && exact).then_some((micros, rest))
}

fn two([tens, ones]: [u8; 2]) -> Option<i64> {
    let digits = tens.is_ascii_digit() && ones.is_ascii_digit();
    digits.then(|| i64::from(tens - b'0') * 10 + i64::from(ones - b'0'))
}

fn days_of(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Days since 1970-01-01 of the Gregorian calendar, years counted from March.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}
