//! Delta checkpoints: written by the Delta kernel, read here for what a commit must know.

use bytes::Bytes;
use delta_kernel::snapshot::Snapshot;
use lake_store::LakeStore;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::action::{self, Action};

/// Writes the checkpoint of one version of the table at `path`, and the hint to it.
///
/// The kernel blocks on its own I/O, so it gets a thread of the blocking pool. Must be called on a
/// multi-threaded tokio runtime. Old log entries are left alone.
pub(crate) async fn write_checkpoint(
    lake: &LakeStore,
    path: &str,
    version: u64,
) -> Result<(), String> {
    let log = lake.table_log(path);
    let url = lake.table_url(path);
    let work = move || {
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

/// Tells `each` of the actions of these kinds (`protocol`, `metaData`, `txn`, `add`) in a
/// checkpoint's bytes. A batch of them is in memory at a time.
pub(super) fn read(
    bytes: &Bytes,
    kinds: &[&str],
    mut each: impl FnMut(Action),
) -> Result<(), String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let builder =
        ParquetRecordBatchReaderBuilder::try_new(bytes.clone()).map_err(|error| text(&error))?;
    let roots = builder.schema().fields().iter().enumerate();
    let wanted: Vec<usize> = roots
        .filter(|(_, field)| kinds.contains(&field.name().as_str()))
        .map(|(index, _)| index)
        .collect();
    let mask = ProjectionMask::roots(builder.parquet_schema(), wanted);
    let reader = builder
        .with_projection(mask)
        .build()
        .map_err(|error| text(&error))?;
    for batch in reader {
        // Through JSON lines, which leave nulls out, so that a row reads like a line of the log.
        let mut lines = arrow_json::LineDelimitedWriter::new(Vec::new());
        lines
            .write(&batch.map_err(|error| text(&error))?)
            .map_err(|error| text(&error))?;
        lines.finish().map_err(|error| text(&error))?;
        let actions = action::decode(&lines.into_inner()).map_err(|error| text(&error))?;
        let actions = actions.into_iter();
        actions
            .filter(|action| *action != Action::default())
            .for_each(&mut each);
    }
    Ok(())
}
