//! The two texts that scrapers read: OpenMetrics, and Prometheus's older one for all that do not
//! ask for it.

use std::borrow::Cow;
use std::collections::HashSet;

use axum::http::HeaderMap;
use axum::http::header::ACCEPT;

const OPEN_METRICS: &str = "application/openmetrics-text";

/// What ends the name of a counter's samples, and in the older text of its family, too.
const TOTAL: &str = "_total";

/// How metrics are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exposition {
    OpenMetrics,
    Plain,
}

impl Exposition {
    /// OpenMetrics for whoever names it.
    pub(super) fn asked_for(headers: &HeaderMap) -> Self {
        let mut accepted = headers.get_all(ACCEPT).iter();
        match accepted.any(|value| {
            value
                .to_str()
                .is_ok_and(|value| value.contains(OPEN_METRICS))
        }) {
            true => Self::OpenMetrics,
            false => Self::Plain,
        }
    }

    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Plain => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    /// The text for a scraper, made from OpenMetrics text.
    pub(super) fn of(self, text: String) -> String {
        match self {
            Self::OpenMetrics => text,
            Self::Plain => plain(&text),
        }
    }
}

/// Samples are written alike in both. A counter's family is named as its samples, units are in the
/// names, and the text just ends.
fn plain(text: &str) -> String {
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let counters: HashSet<&str> = types
        .filter_map(|line| line.strip_suffix(" counter"))
        .collect();
    let mut plain = String::with_capacity(text.len());
    for line in text.lines() {
        if line == "# EOF" || line.starts_with("# UNIT ") {
            continue;
        }
        plain.push_str(&family(line, &counters));
        plain.push('\n');
    }
    plain
}

/// A line about a counter's family with the name of its samples; any other line as it is.
fn family<'a>(line: &'a str, counters: &HashSet<&str>) -> Cow<'a, str> {
    for word in ["# HELP ", "# TYPE "] {
        if let Some((name, rest)) = line
            .strip_prefix(word)
            .and_then(|line| line.split_once(' '))
            && counters.contains(name)
        {
            return format!("{word}{name}{TOTAL} {rest}").into();
        }
    }
    line.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_older_text_names_counters_by_their_samples() {
        let text = "# HELP a_rows Rows # TYPE a_rows.\n# TYPE a_rows counter\na_rows_total{t=\"# EOF\"} 7\n\
                    # HELP a_lag_seconds Lag.\n# TYPE a_lag_seconds gauge\n# UNIT a_lag_seconds seconds\n\
                    a_lag_seconds 1.5\n# EOF\n";
        let expected = "# HELP a_rows_total Rows # TYPE a_rows.\n# TYPE a_rows_total counter\n\
                        a_rows_total{t=\"# EOF\"} 7\n# HELP a_lag_seconds Lag.\n# TYPE a_lag_seconds gauge\n\
                        a_lag_seconds 1.5\n";
        assert_eq!(Exposition::Plain.of(text.to_owned()), expected);
        assert_eq!(Exposition::OpenMetrics.of(text.to_owned()), text);
    }

    #[test]
    fn open_metrics_is_for_who_asks() {
        let asked = |accept: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, accept.parse().unwrap());
            Exposition::asked_for(&headers)
        };
        let prometheus =
            "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3";
        assert_eq!(asked(prometheus), Exposition::OpenMetrics);
        assert_eq!(asked("*/*"), Exposition::Plain);
        assert_eq!(Exposition::asked_for(&HeaderMap::new()), Exposition::Plain);
    }
}
