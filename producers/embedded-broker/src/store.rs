//! SlateDB as this broker uses it: one writer, local files, no cloud.

use std::sync::Arc;
use std::time::Duration;

use slatedb::Db;
use slatedb::config::{
    CompactorOptions, GarbageCollectorDirectoryOptions, GarbageCollectorOptions, Settings,
    SstBlockSize,
};
use slatedb::object_store::local::LocalFileSystem;

use crate::Error;
use crate::directory::Directory;

/// How often SlateDB flushes by itself. Appended records do not wait for it ([`crate::durability`]
/// asks for a flush); topics and groups, which tansu writes, do.
const FLUSH_INTERVAL: Duration = Duration::from_millis(20);
/// What a restart may have to replay from the write-ahead log, and the size of the first tables.
const TABLE_BYTES: usize = 16 * 1024 * 1024;
/// Tables waiting for compaction before writers are held back.
const TABLES_MAX: usize = 32;
/// Bytes not yet flushed before writers are held back.
const UNFLUSHED_BYTES_MAX: usize = 128 * 1024 * 1024;
const COMPACTION_INTERVAL: Duration = Duration::from_secs(2);
/// Every flush is a file of the write-ahead log, so they are collected soon after they are in a
/// table; SlateDB's own default is never.
const WAL_COLLECTION_INTERVAL: Duration = Duration::from_secs(10);
const WAL_AGE_MIN: Duration = Duration::from_secs(20);
const COLLECTION_INTERVAL: Duration = Duration::from_secs(60);
/// Longer than any compaction takes: its output is not referenced until it is finished.
const TABLE_AGE_MIN: Duration = Duration::from_secs(15 * 60);

/// Opens the records under `directory`, replaying what a kill left in the write-ahead log.
pub(crate) async fn open(directory: &Directory) -> Result<Arc<Db>, Error> {
    let files = LocalFileSystem::new_with_prefix(directory.records()?)
        .map_err(|error| failed("open", directory, error))?;
    let db = Db::builder("log", Arc::new(files))
        .with_settings(settings())
        .with_sst_block_size(SstBlockSize::Block64Kib)
        .build();
    match Box::pin(db).await {
        Ok(db) => Ok(Arc::new(db)),
        Err(error) => Err(failed("open", directory, error)),
    }
}

/// Flushes and closes; without it (a kill) the next start replays the write-ahead log.
pub(crate) async fn close(db: &Db, directory: &Directory) -> Result<(), Error> {
    Box::pin(db.close())
        .await
        .map_err(|error| failed("close", directory, error))
}

fn failed<E>(action: &'static str, directory: &Directory, source: E) -> Error
where
    E: std::error::Error + Send + Sync + 'static,
{
    Error::Store {
        action,
        directory: directory.path().to_owned(),
        source: Box::new(source),
    }
}

fn settings() -> Settings {
    let collected = |interval, min_age| {
        Some(GarbageCollectorDirectoryOptions {
            interval: Some(interval),
            min_age,
        })
    };
    Settings {
        flush_interval: Some(FLUSH_INTERVAL),
        l0_sst_size_bytes: TABLE_BYTES,
        l0_max_ssts: TABLES_MAX,
        max_unflushed_bytes: UNFLUSHED_BYTES_MAX,
        compactor_options: Some(CompactorOptions {
            poll_interval: COMPACTION_INTERVAL,
            max_concurrent_compactions: 1,
            ..CompactorOptions::default()
        }),
        garbage_collector_options: Some(GarbageCollectorOptions {
            manifest_options: collected(COLLECTION_INTERVAL, TABLE_AGE_MIN),
            wal_options: collected(WAL_COLLECTION_INTERVAL, WAL_AGE_MIN),
            compacted_options: collected(COLLECTION_INTERVAL, TABLE_AGE_MIN),
            compactions_options: collected(COLLECTION_INTERVAL, TABLE_AGE_MIN),
        }),
        ..Settings::default()
    }
}
