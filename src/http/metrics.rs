//! The writer's metrics, read off its progress whenever somebody asks.
//!
//! Names start with `lakehead_`, units are seconds and bytes. The only labels that grow are `table`
//! and `topic`, and they are bounded. docs/operations.md lists them all.

use std::fmt::{Debug, Error};
use std::sync::Arc;

use lake_writer::{Lag, TableProgress};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use super::{Watched, cared};

/// Tables that have series of their own, the first ones met. All later ones are one series.
const TABLES_MAX: usize = 1000;

/// The label of all tables beyond [`TABLES_MAX`].
const OTHER: &str = "other";

type Result = std::result::Result<(), Error>;

/// The registry that is scraped.
pub(super) fn registry(watched: Arc<Watched>) -> Registry {
    let mut registry = Registry::with_prefix("lakehead");
    registry.register_collector(Box::new(Metrics(watched)));
    registry
}

#[derive(Debug)]
struct Metrics(Arc<Watched>);

impl Collector for Metrics {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result {
        let mut page = Page(encoder);
        self.process(&mut page)?;
        let tables = self.0.progress.tables();
        let now = now_ms();
        let rows: Vec<Row> = tables.iter().map(|table| Row::of(table, now)).collect();
        tables_page(&mut page, &bounded(rows))?;
        let refused = self.0.progress.refused_topics();
        refused_page(&mut page, refused.into_keys())?;
        match &self.0.care {
            Some(care) => cared::page(&mut page, care),
            None => Ok(()),
        }
    }
}

impl Metrics {
    fn process(&self, page: &mut Page<'_>) -> Result {
        let Watched {
            progress,
            store,
            registry,
            ..
        } = self.0.as_ref();
        page.info()?;
        let counters = [
            (
                "records_read",
                "Records taken from Kafka",
                progress.records_read(),
            ),
            (
                "store_requests",
                "Requests to the lake's store",
                store.requests(),
            ),
            (
                "store_retries",
                "Requests to the lake's store that failed and are tried again",
                store.failures(),
            ),
            (
                "store_conflicts",
                "Commits and other writes to the lake's store that came second and are tried again",
                store.conflicts(),
            ),
            (
                "registry_requests",
                "Requests to the schema registry",
                registry.requests(),
            ),
            (
                "registry_retries",
                "Requests to the schema registry that failed and are tried again",
                registry.failures(),
            ),
        ];
        for (name, help, value) in counters {
            page.metric(name, help, None, &ConstCounter::new(value))?;
        }
        let bytes = |value| ConstGauge::new(value);
        let held = bytes(progress.buffered_bytes());
        let help = "Memory held by records that are not committed";
        page.metric("buffered", help, Some(&Unit::Bytes), &held)?;
        let help = "The most that records may hold, writer.buffer_bytes_max";
        let most = bytes(self.0.buffer_bytes_max);
        page.metric("buffer_limit", help, Some(&Unit::Bytes), &most)?;
        let help = "Partitions that this process reads";
        let partitions = ConstGauge::new(progress.partitions().unwrap_or(0));
        page.metric("partitions_assigned", help, None, &partitions)?;
        let help = "Time since the reading loop last began a turn";
        let turn = ConstGauge::new(seconds(progress.turn_age_ms()));
        page.metric("loop_turn_age", help, Some(&Unit::Seconds), &turn)
    }
}

/// What is told of one table.
#[derive(Clone, Debug, Default, PartialEq)]
struct Row {
    table: String,
    rows: u64,
    dead_letters: u64,
    repetitions: u64,
    commits: u64,
    fences: u64,
    stopped: u64,
    lag: Option<Lag>,
    commit_age_ms: Option<u64>,
}

impl Row {
    fn of(table: &TableProgress, now_ms: i64) -> Self {
        let age = |at: i64| u64::try_from(now_ms.saturating_sub(at)).unwrap_or(0);
        Self {
            table: table.name().to_string(),
            rows: table.rows(),
            dead_letters: table.dead_letters(),
            repetitions: table.repetitions(),
            commits: table.commits(),
            fences: table.fences(),
            stopped: u64::from(table.why_stopped().is_some()),
            lag: table.lag(now_ms),
            commit_age_ms: table.committed_at_ms().map(age),
        }
    }

    /// Takes another table in: sums, and of ages and lags in time the greatest.
    fn add(&mut self, other: &Self) {
        self.rows += other.rows;
        self.dead_letters += other.dead_letters;
        self.repetitions += other.repetitions;
        self.commits += other.commits;
        self.fences += other.fences;
        self.stopped += other.stopped;
        self.lag = match (self.lag, other.lag) {
            (Some(a), Some(b)) => Some(Lag {
                records: a.records + b.records,
                millis: a.millis.max(b.millis),
            }),
            (a, b) => a.or(b),
        };
        self.commit_age_ms = self.commit_age_ms.max(other.commit_age_ms);
    }
}

/// The rows with those beyond the bound as one.
fn bounded(mut rows: Vec<Row>) -> Vec<Row> {
    if rows.len() <= TABLES_MAX {
        return rows;
    }
    let mut other = Row {
        table: OTHER.to_owned(),
        ..Row::default()
    };
    for row in rows.drain(TABLES_MAX..) {
        other.add(&row);
    }
    rows.push(other);
    rows
}

fn tables_page(page: &mut Page<'_>, rows: &[Row]) -> Result {
    type Count = fn(&Row) -> u64;
    let counters: [(&str, &str, Count); 5] = [
        ("table_rows", "Rows committed", |row| row.rows),
        (
            "table_dead_letters",
            "Records committed as dead letters",
            |row| row.dead_letters,
        ),
        (
            "table_repetitions",
            "Records dropped because their source had published them before",
            |row| row.repetitions,
        ),
        ("table_commits", "Versions committed", |row| row.commits),
        (
            "table_fences",
            "Partitions whose rows were dropped and read again because another writer was first",
            |row| row.fences,
        ),
    ];
    for (name, help, value) in counters {
        page.family(name, help, None, rows, |row| {
            Some(ConstCounter::new(value(row)))
        })?;
    }
    let help = "Whether the table is stopped (of `other`: how many are); /readyz says why";
    page.family("table_stopped", help, None, rows, |row| {
        Some(ConstGauge::new(row.stopped))
    })?;
    let help = "Offsets between what is committed and the end, over this process's partitions";
    page.family("table_lag_records", help, None, rows, |row| {
        Some(ConstGauge::new(row.lag?.records))
    })?;
    let help = "Upper bound of the age of the oldest record that is not committed; 0 if all are";
    page.family("table_lag", help, Some(&Unit::Seconds), rows, |row| {
        Some(ConstGauge::new(seconds(row.lag?.millis)))
    })?;
    let help = "Age of the last commit of this process";
    page.family(
        "table_last_commit_age",
        help,
        Some(&Unit::Seconds),
        rows,
        |row| Some(ConstGauge::new(seconds(row.commit_age_ms?))),
    )
}

/// Topics that are not read, those beyond the bound as one.
fn refused_page(page: &mut Page<'_>, mut topics: impl ExactSizeIterator<Item = String>) -> Result {
    let one = |topic| (topic, 1);
    let mut series: Vec<(String, u64)> = topics.by_ref().take(TABLES_MAX).map(one).collect();
    let rest = topics.len() as u64;
    if rest > 0 {
        series.push((OTHER.to_owned(), rest));
    }
    let series = series.iter();
    let series = series.map(|(topic, count)| (topic.as_str(), ConstGauge::new(*count)));
    let series: Vec<(&str, ConstGauge<u64>)> = series.collect();
    let help = "A topic that is to be read and cannot be (of `other`: how many); /readyz says why";
    page.labelled("topic_refused", help, None, "topic", &series)
}

/// The text being made.
pub(super) struct Page<'a>(pub(super) DescriptorEncoder<'a>);

impl Page<'_> {
    pub(super) fn info(&mut self) -> Result {
        let labels = [("version", env!("CARGO_PKG_VERSION"))];
        let one = ConstGauge::new(1_u64);
        let help = "The program's version";
        let kind = one.metric_type();
        let mut encoder = self.0.encode_descriptor("build_info", help, None, kind)?;
        one.encode(encoder.encode_family(&labels)?)
    }

    pub(super) fn metric(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        metric: &impl EncodeMetric,
    ) -> Result {
        let encoder = self
            .0
            .encode_descriptor(name, help, unit, metric.metric_type())?;
        metric.encode(encoder)
    }

    fn family<M: EncodeMetric>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        rows: &[Row],
        metric: impl Fn(&Row) -> Option<M>,
    ) -> Result {
        let series = rows
            .iter()
            .filter_map(|row| Some((row.table.as_str(), metric(row)?)));
        let series: Vec<(&str, M)> = series.collect();
        self.labelled(name, help, unit, "table", &series)
    }

    /// A series for each value of a label. Where there is none, the metric is not told.
    pub(super) fn labelled<M: EncodeMetric>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        label: &str,
        series: &[(&str, M)],
    ) -> Result {
        let Some((_, first)) = series.first() else {
            return Ok(());
        };
        let kind = first.metric_type();
        let mut encoder = self.0.encode_descriptor(name, help, unit, kind)?;
        for (value, metric) in series {
            let labels = [(label, *value)];
            metric.encode(encoder.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

pub(super) fn seconds(millis: u64) -> f64 {
    millis as f64 / 1000.0
}

fn now_ms() -> i64 {
    use lake_writer::{Clock, SystemClock};
    SystemClock.now_us() / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_beyond_the_bound_are_one_series() {
        let row = |number: usize| Row {
            table: format!("a.t{number}"),
            rows: 2,
            stopped: u64::from(number.is_multiple_of(2)),
            lag: Some(Lag {
                records: 3,
                millis: number as u64,
            }),
            ..Row::default()
        };
        let rows = bounded((0..TABLES_MAX + 10).map(row).collect());
        assert_eq!(rows.len(), TABLES_MAX + 1);
        let other = rows.last().unwrap();
        assert_eq!(
            (other.table.as_str(), other.rows, other.stopped),
            (OTHER, 20, 5)
        );
        let lag = other.lag.unwrap();
        assert_eq!((lag.records, lag.millis), (30, 1009));
        assert_eq!(bounded(vec![row(1)]), [row(1)]);
    }

    #[test]
    fn the_page_is_what_scrapers_read() {
        let mut registry = Registry::with_prefix("lakehead");
        registry.register_collector(Box::new(Sample));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            "# TYPE lakehead_table_rows counter",
            "lakehead_table_rows_total{table=\"a.b\"} 7",
            "lakehead_table_stopped{table=\"a.b\"} 1",
            "# UNIT lakehead_table_lag_seconds seconds",
            "lakehead_table_lag_seconds{table=\"a.b\"} 1.5",
            "lakehead_table_lag_records{table=\"a.b\"} 4",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        // What is not known has no series.
        assert!(!text.contains("last_commit_age"), "{text}");
    }

    #[derive(Debug)]
    struct Sample;

    impl Collector for Sample {
        fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result {
            let row = Row {
                table: "a.b".to_owned(),
                rows: 7,
                stopped: 1,
                lag: Some(Lag {
                    records: 4,
                    millis: 1500,
                }),
                ..Row::default()
            };
            tables_page(&mut Page(encoder), &[row])
        }
    }
}
