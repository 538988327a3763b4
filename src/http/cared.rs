//! The metrics of the lake's care inside a writer.

use std::fmt::Error;

use lake_writer::{CareProgress, LoopProgress};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

use super::metrics::{Page, seconds};

/// The label that says which loop it is. It has three values.
const LOOP: &str = "loop";

/// Tells how each loop of the care stands.
pub(super) fn page(page: &mut Page<'_>, care: &CareProgress) -> Result<(), Error> {
    type Count = fn(&LoopProgress) -> u64;
    let counters: [(&str, &str, Count); 2] = [
        (
            "care_rounds",
            "Rounds over the tables that are over",
            LoopProgress::rounds,
        ),
        (
            "care_failures",
            "What failed in the rounds that are over; the log says what",
            LoopProgress::failures,
        ),
    ];
    for (name, help, count) in counters {
        let series = care.loops();
        let series = series.map(|(of, progress)| (of, ConstCounter::new(count(progress))));
        page.labelled(name, help, None, LOOP, &series)?;
    }
    let gauges: [(&str, &str, Count); 2] = [
        (
            "care_round_failures",
            "What failed in the last round that is over",
            LoopProgress::round_failures,
        ),
        (
            "care_tables",
            "Entities that the last round was over; 0 if the lake could not be listed",
            LoopProgress::tables,
        ),
    ];
    for (name, help, count) in gauges {
        let series = care.loops();
        let series = series.map(|(of, progress)| (of, ConstGauge::new(count(progress))));
        page.labelled(name, help, None, LOOP, &series)?;
    }
    let age = |progress: &LoopProgress| ConstGauge::new(seconds(progress.round_age_ms()));
    let series = care.loops().map(|(of, progress)| (of, age(progress)));
    let help = "Time since the last round was over, or since the start before the first was";
    page.labelled("care_round_age", help, Some(&Unit::Seconds), LOOP, &series)
}

#[cfg(test)]
mod tests {
    use prometheus_client::collector::Collector;
    use prometheus_client::encoding::DescriptorEncoder;
    use prometheus_client::registry::Registry;

    use super::*;

    #[derive(Debug, Default)]
    struct Sample(CareProgress);

    impl Collector for Sample {
        fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
            page(&mut Page(encoder), &self.0)
        }
    }

    #[test]
    fn the_page_is_what_scrapers_read() {
        let mut registry = Registry::with_prefix("lakehead");
        registry.register_collector(Box::new(Sample::default()));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            "lakehead_care_rounds_total{loop=\"refresh\"} 0",
            "lakehead_care_failures_total{loop=\"periods\"} 0",
            "lakehead_care_round_failures{loop=\"houses\"} 0",
            "lakehead_care_tables{loop=\"refresh\"} 0",
            "# UNIT lakehead_care_round_age_seconds seconds",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        let age = "lakehead_care_round_age_seconds{loop=\"houses\"} ";
        assert!(text.lines().any(|found| found.starts_with(age)), "{text}");
    }
}
