//! "Did you mean": names that are nearly the one that was asked for.

use datafusion::common::utils::datafusion_strsim::normalized_levenshtein;

/// How alike two names must be, from 0 (nothing in common) to 1 (equal).
const LIKENESS_MIN: f64 = 0.6;

/// Names given at most.
const NAMES_MAX: usize = 3;

/// The names among `known` that are most like `asked`, the most like first.
///
/// A name without a schema also matches the same name in any schema.
pub(crate) fn nearest(asked: &str, known: impl IntoIterator<Item = String>) -> Vec<String> {
    let asked = asked.to_lowercase();
    let mut ranked: Vec<(f64, String)> = known
        .into_iter()
        .map(|name| (likeness(&asked, &name), name))
        .filter(|(likeness, _)| *likeness >= LIKENESS_MIN)
        .collect();
    ranked.sort_by(|(a, first), (b, second)| b.total_cmp(a).then_with(|| first.cmp(second)));
    ranked
        .into_iter()
        .take(NAMES_MAX)
        .map(|(_, name)| name)
        .collect()
}

fn likeness(asked: &str, known: &str) -> f64 {
    let whole = normalized_levenshtein(asked, known);
    match known.split_once('.') {
        Some((_, table)) if !asked.contains('.') => whole.max(normalized_levenshtein(asked, table)),
        _ => whole,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_and_a_missing_schema_are_understood() {
        let known =
            || ["flights.flight", "flights.flight_changes", "crew.pilot"].map(str::to_owned);
        assert_eq!(nearest("flights.flihgt", known())[0], "flights.flight");
        assert_eq!(nearest("pilot", known()), ["crew.pilot"]);
        assert!(nearest("zzz", known()).is_empty());
    }
}
