//! Files at a snapshot's place that nothing refers to, nor ever will: of a process that was killed, or
//! whose store failed.
//!
//! A snapshot has one entry, so whatever that does not name is garbage as soon as it is there: nobody
//! else's entry can land. Where there is none yet somebody may be on the way to it; there they go by
//! their age, as in a vacuum.

use std::collections::BTreeSet;

use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStoreExt};
use tracing::{info, warn};

use crate::data_file;
use crate::delta_log::DeltaLog;
use crate::maintenance::error::FoldError;
use crate::maintenance::vacuum::UNREFERENCED_AGE;

/// Deletes them. What cannot be deleted stays until the next look.
pub(super) async fn sweep(log: &DeltaLog, now_us: i64) {
    match try_sweep(log, now_us).await {
        Ok(0) => {}
        Ok(files) => info!(
            files,
            "deleted what a snapshot that was not finished had left"
        ),
        Err(error) => warn!(%error, "what a snapshot that was not finished had left stays"),
    }
}

async fn try_sweep(log: &DeltaLog, now_us: i64) -> Result<usize, FoldError> {
    let age_us = i64::try_from(UNREFERENCED_AGE.as_micros()).unwrap_or(i64::MAX);
    let oldest_us = now_us.saturating_sub(age_us);
    let named: Option<BTreeSet<Path>> = match log.entry(0).await? {
        // Another program goes on with it.
        Some(_) if log.entry(1).await?.is_some() => return Ok(0),
        Some(actions) => {
            let adds = actions.into_iter().filter_map(|action| action.add);
            Some(adds.map(|add| Path::from(add.path)).collect())
        }
        None => None,
    };
    let is_garbage = |object: &ObjectMeta| {
        data_file::name_of(&object.location).is_some()
            && match &named {
                Some(named) => !named.contains(&object.location),
                None => object.last_modified.timestamp_micros() < oldest_us,
            }
    };
    let objects: Vec<ObjectMeta> = log.store().list(None).try_collect().await?;
    let is_of_log = |object: &ObjectMeta| object.location.as_ref().starts_with("_delta_log");
    if named.is_none() && objects.iter().any(is_of_log) {
        return Ok(0);
    }
    let garbage: Vec<ObjectMeta> = objects.into_iter().filter(is_garbage).collect();
    for object in &garbage {
        match log.store().delete(&object.location).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(garbage.len())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use object_store::ObjectStore;
    use object_store::memory::InMemory;

    use super::*;

    const DAY_US: i64 = 86_400_000_000;

    fn part(number: u32) -> Path {
        let name = uuid::Uuid::from_u128(number.into());
        Path::from(format!("_bucket=0/part-{name}.zstd.parquet"))
    }

    async fn left(store: &InMemory) -> Vec<Path> {
        let objects: Vec<ObjectMeta> = store.list(None).try_collect().await.unwrap();
        let mut paths: Vec<Path> = objects.into_iter().map(|object| object.location).collect();
        paths.sort();
        paths
    }

    #[tokio::test]
    async fn what_the_one_entry_does_not_name_goes_and_before_it_what_is_old() {
        let store = Arc::new(InMemory::new());
        let log = DeltaLog::new(Arc::clone(&store) as Arc<dyn ObjectStore>);
        let other = Path::from("notes.txt");
        for path in [&part(1), &part(2), &other] {
            store.put(path, "x".into()).await.unwrap();
        }
        let now_us = chrono::Utc::now().timestamp_micros();
        sweep(&log, now_us + 6 * DAY_US).await;
        assert_eq!(left(&store).await.len(), 3, "somebody may be at it");
        let add = format!(
            r#"{{"add":{{"path":"{}","partitionValues":{{}},"size":1,"modificationTime":0,"dataChange":true}}}}"#,
            part(1)
        );
        let entry = crate::delta_log::entry_path(0);
        store.put(&entry, add.into()).await.unwrap();
        sweep(&log, now_us).await;
        assert_eq!(left(&store).await, [part(1), entry.clone(), other.clone()]);
        store.delete(&entry).await.unwrap();
        let checkpoint = Path::from("_delta_log/_last_checkpoint");
        store.put(&checkpoint, "{}".into()).await.unwrap();
        sweep(&log, now_us + 8 * DAY_US).await;
        assert_eq!(left(&store).await.len(), 3, "it has another log");
        store.delete(&checkpoint).await.unwrap();
        sweep(&log, now_us + 8 * DAY_US).await;
        assert_eq!(left(&store).await, [other]);
    }
}
