//! Delta checkpoints: written by the Delta kernel, read here for what a commit must know.

use bytes::Bytes;
use delta_kernel::snapshot::Snapshot;
use lake_store::LakeStore;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::action::{self, Action};

/// Writes the checkpoint of one version of the table at `path`, and the hint to it.
///
/// The kernel blocks on its own I/O, so it gets a thread of the blocking pool, in turn. Must be called
/// on a multi-threaded tokio runtime. Old log entries are left alone.
pub(crate) async fn write_checkpoint(
    lake: &LakeStore,
    path: &str,
    version: u64,
) -> Result<(), String> {
    let log = lake.table_log(path);
    let url = lake.table_url(path);
    let turn = lake.kernel_turn().await;
    let work = move || {
        let _turn = turn;
        let engine = log.engine(None);
        let snapshot = Snapshot::builder_for(url)
            .at_version(version)
            .build(engine.as_ref())
            .map_err(|error| error.to_string())?;
        snapshot
            .checkpoint(engine.as_ref(), None)
            .map_err(|error| error.to_string())?;
        Ok(())
    };
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| error.to_string())?
}

/// Tells `each` of the actions of these kinds (`protocol`, `metaData`, `txn`, `add`, `remove`) in a
/// checkpoint's bytes. A batch of them is in memory at a time.
pub(super) fn read(bytes: &Bytes, kinds: &[&str], each: impl FnMut(Action)) -> Result<(), String> {
    each_of(bytes, kinds, &[], each)
}

/// Columns of an action that are most of a checkpoint, and that who counts files does not need.
const BULK: [&str; 4] = ["stats", "stats_parsed", "partitionValues_parsed", "tags"];

/// The same without statistics.
pub(super) fn read_in_short(
    bytes: &Bytes,
    kinds: &[&str],
    each: impl FnMut(Action),
) -> Result<(), String> {
    each_of(bytes, kinds, &BULK, each)
}

fn each_of(
    bytes: &Bytes,
    kinds: &[&str],
    without: &[&str],
    mut each: impl FnMut(Action),
) -> Result<(), String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let builder =
        ParquetRecordBatchReaderBuilder::try_new(bytes.clone()).map_err(|error| text(&error))?;
    let columns = builder.parquet_schema().columns().iter().enumerate();
    let wanted = columns.filter(|(_, column)| match column.path().parts() {
        [kind, field, ..] => kinds.contains(&kind.as_str()) && !without.contains(&field.as_str()),
        _ => false,
    });
    let wanted: Vec<usize> = wanted.map(|(index, _)| index).collect();
    let mask = ProjectionMask::leaves(builder.parquet_schema(), wanted);
    let reader = builder
        .with_projection(mask)
        .build()
        .map_err(|error| text(&error))?;
    for batch in reader {
        // Through JSON lines, which leave nulls out, so that a row reads like a line of the log.
        let mut lines = arrow_json::LineDelimitedWriter::new(Vec::new());
        let batch = batch.map_err(|error| text(&error))?;
        lines.write(&batch).map_err(|error| text(&error))?;
        lines.finish().map_err(|error| text(&error))?;
        let actions = action::decode(&lines.into_inner()).map_err(|error| text(&error))?;
        let actions = actions.into_iter();
        actions
            .filter(|action| *action != Action::default())
            .for_each(&mut each);
    }
    Ok(())
}

/// Bytes of a checkpoint that one interval's work is worth.
const CHECKPOINT_BYTES: u64 = 4 << 20;

/// How many intervals apart the checkpoints of a large table are at most: so many entries more are
/// read by whoever opens it.
const INTERVALS_MAX: u64 = 10;

/// Whether a checkpoint is due at `version`, given the last one's version and size in bytes.
///
/// A checkpoint lists every data file, so what it costs grows with the table; what it saves grows
/// with the entries since the last. Large ones are made less often.
pub(crate) fn checkpoint_is_due(version: u64, interval: u64, last: Option<(u64, u64)>) -> bool {
    let (last, bytes) = last.unwrap_or((0, 0));
    let intervals = (bytes / CHECKPOINT_BYTES).clamp(1, INTERVALS_MAX);
    let interval = interval.max(1);
    (version / interval).saturating_sub(last / interval) >= intervals
}

/// Whether a table has passed a multiple of the interval since it was at version `before`; without
/// that, whether `version` is one. Others put versions too, so a writer's own versions may never be
/// multiples.
pub(crate) fn has_passed_interval(before: Option<u64>, version: u64, interval: u64) -> bool {
    let interval = interval.max(1);
    let before = before.unwrap_or(version.saturating_sub(1));
    before / interval < version / interval
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn multiples_are_passed_whoever_puts_them() {
        assert!(has_passed_interval(None, 200, 100));
        assert!(!has_passed_interval(None, 201, 100));
        assert!(!has_passed_interval(None, 0, 100));
        assert!(has_passed_interval(Some(198), 201, 100));
        assert!(!has_passed_interval(Some(201), 299, 100));
        assert!(has_passed_interval(Some(5), 6, 0));
    }

    #[test]
    fn checkpoints_of_large_tables_are_further_apart() {
        assert!(!checkpoint_is_due(99, 100, None));
        assert!(checkpoint_is_due(100, 100, None));
        assert!(checkpoint_is_due(205, 100, Some((105, 1 << 20))));
        assert!(!checkpoint_is_due(305, 100, Some((105, 12 << 20))));
        assert!(checkpoint_is_due(405, 100, Some((105, 12 << 20))));
        assert!(checkpoint_is_due(1105, 100, Some((105, 1 << 40))));
        assert!(!checkpoint_is_due(10, u64::MAX, Some((0, 1 << 40))));
    }
}
