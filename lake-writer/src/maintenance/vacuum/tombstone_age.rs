//! How long a table's log keeps the tombstones of files: the table property
//! `delta.deletedFileRetentionDuration`, which whoever writes a checkpoint keeps to.

use std::collections::BTreeMap;
use std::time::Duration;

/// The property's name.
pub(super) const TOMBSTONES_KEPT: &str = "delta.deletedFileRetentionDuration";

/// Delta's default.
const DEFAULT: Duration = Duration::from_secs(7 * 24 * 3600);

/// How long a table with these properties keeps tombstones.
pub(super) fn kept_for(properties: &BTreeMap<String, String>) -> Result<Duration, String> {
    let Some(text) = properties.get(TOMBSTONES_KEPT) else {
        return Ok(DEFAULT);
    };
    parse(text).ok_or_else(|| {
        format!(
            "its table property {TOMBSTONES_KEPT} is {text:?}; write it like \"interval 7 days\""
        )
    })
}

/// The properties of a table that keeps tombstones for so long, in full seconds.
pub(super) fn with_kept_for(
    properties: &BTreeMap<String, String>,
    kept: Duration,
) -> BTreeMap<String, String> {
    let mut properties = properties.clone();
    let seconds = kept.as_secs() + u64::from(kept.subsec_nanos() > 0);
    properties.insert(
        TOMBSTONES_KEPT.to_owned(),
        format!("interval {seconds} seconds"),
    );
    properties
}

/// Reads `interval 2 weeks` and the like.
fn parse(text: &str) -> Option<Duration> {
    let text = text.trim().to_ascii_lowercase();
    let mut words = text.strip_prefix("interval")?.split_ascii_whitespace();
    let (count, unit) = (words.next()?.parse::<u64>().ok()?, words.next()?);
    let seconds = match unit.strip_suffix('s').unwrap_or(unit) {
        "week" => 7 * 24 * 3600,
        "day" => 24 * 3600,
        "hour" => 3600,
        "minute" => 60,
        "second" => 1,
        _ => return None,
    };
    let is_whole = words.next().is_none();
    is_whole.then(|| count.checked_mul(seconds).map(Duration::from_secs))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_property_is_read_as_delta_writes_it() {
        let kept = |text: &str| kept_for(&[(TOMBSTONES_KEPT.to_owned(), text.to_owned())].into());
        let hours = |hours: u64| Ok(Duration::from_secs(3600 * hours));
        assert_eq!(kept("interval 2 weeks"), hours(2 * 7 * 24));
        assert_eq!(kept("INTERVAL 1 hour"), hours(1));
        assert_eq!(kept_for(&BTreeMap::new()), hours(7 * 24));
        for odd in [
            "7 days",
            "interval -1 day",
            "interval 1 month",
            "interval 1 day 2 hours",
        ] {
            assert!(kept(odd).unwrap_err().contains(odd));
        }
        let set = with_kept_for(&BTreeMap::new(), Duration::from_secs(30 * 24 * 3600));
        assert_eq!(kept_for(&set), hours(30 * 24));
    }
}
