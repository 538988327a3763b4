//! Dates and instants as text.

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
