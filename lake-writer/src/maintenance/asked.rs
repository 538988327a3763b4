//! What a table itself asks of whoever deletes: Delta's table properties.
//!
//! Other programs set them, and so does a vacuum that is to keep files for longer ([`super::tombstones`]). A
//! setting of this process never makes less of them: somebody else reads by what the table promises.

use std::collections::BTreeMap;
use std::time::Duration;

/// A table's properties.
type Properties = BTreeMap<String, String>;

/// For how long a table asks by a property; `None` if it does not say.
///
/// # Errors
/// It is no interval that is known here. It may be a long one, so nothing may be deleted.
pub(crate) fn interval(
    properties: &Properties,
    property: &str,
) -> Result<Option<Duration>, String> {
    let Some(text) = properties.get(property) else {
        return Ok(None);
    };
    let interval = parse(text).ok_or_else(|| odd(property, text, "interval 30 days"))?;
    Ok(Some(interval))
}

/// Whether a table says yes or no by a property; `None` if it does not say.
///
/// # Errors
/// It says something else, which may be no.
pub(crate) fn yes_or_no(properties: &Properties, property: &str) -> Result<Option<bool>, String> {
    let Some(text) = properties.get(property) else {
        return Ok(None);
    };
    match text.trim().to_ascii_lowercase().as_str() {
        "true" => Ok(Some(true)),
        "false" => Ok(Some(false)),
        _ => Err(odd(property, text, "true")),
    }
}

/// What is wrong with a property, and what to do.
pub(super) fn odd(property: &str, text: &str, example: &str) -> String {
    format!(
        "its table property {property} is {text:?}, which is not known here; nothing that it may be about \
         is deleted; set it to the like of {example:?} (Spark: ALTER TABLE … SET TBLPROPERTIES)"
    )
}

/// Reads `interval 2 weeks` and the like. Spark also takes texts without the first word, or of several
/// units; the Delta kernel, which writes the checkpoints, knows none of these and forgets tombstones by its
/// default then.
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
    fn what_is_not_known_is_told_by_its_name() {
        let said = |text: &str| Properties::from([("delta.x".to_owned(), text.to_owned())]);
        let nothing = Properties::new();
        assert_eq!(interval(&nothing, "delta.x"), Ok(None));
        assert_eq!(yes_or_no(&nothing, "delta.x"), Ok(None));
        let day = Duration::from_secs(24 * 3600);
        assert_eq!(
            interval(&said("interval 30 days"), "delta.x"),
            Ok(Some(30 * day))
        );
        assert_eq!(yes_or_no(&said(" False"), "delta.x"), Ok(Some(false)));
        assert_eq!(yes_or_no(&said("true"), "delta.x"), Ok(Some(true)));
        for odd in [
            interval(&said("for ever"), "delta.x").unwrap_err(),
            yes_or_no(&said("for ever"), "delta.x").unwrap_err(),
        ] {
            assert!(odd.contains("delta.x") && odd.contains("for ever"), "{odd}");
        }
    }
}
