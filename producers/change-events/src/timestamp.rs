//! Times as envelopes and headers have them.

use std::time::{SystemTime, UNIX_EPOCH};

use chrono::{DateTime, SecondsFormat};

/// Our own clock, in milliseconds since 1970-01-01 UTC.
pub fn now_ms() -> i64 {
    let since_1970 = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since_1970.as_millis()).unwrap_or(i64::MAX)
}

/// Microseconds since 1970-01-01 UTC as RFC 3339 has them; `None` of a time that it does not have.
pub fn rfc3339(time_us: i64) -> Option<String> {
    let time = DateTime::from_timestamp_micros(time_us)?;
    Some(time.to_rfc3339_opts(SecondsFormat::Micros, true))
}

/// The same; a time that RFC 3339 does not have is the epoch's.
pub fn rfc3339_or_epoch(time_us: i64) -> String {
    let epoch = || DateTime::UNIX_EPOCH.to_rfc3339_opts(SecondsFormat::Micros, true);
    rfc3339(time_us).unwrap_or_else(epoch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_that_there_is_not_is_the_epoch() {
        assert_eq!(rfc3339_or_epoch(1_000_001), "1970-01-01T00:00:01.000001Z");
        assert_eq!(rfc3339(i64::MAX), None);
        assert_eq!(rfc3339_or_epoch(i64::MAX), "1970-01-01T00:00:00.000000Z");
    }
}
