//! Generated records in a lake, as the product's own writer copies them.

use std::sync::Arc;

use lake_store::LakeStore;
use lake_writer::{
    Entropy, Format, LakeWriter, Parts, Route, Routes, SystemClock, Until, WriterProgress,
    WriterSettings,
};
use schemas::KeyFormat;
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::Failure;
use crate::generated::{Generated, Subject};

/// Runs a writer until the first `changes` records are in the lake.
pub(crate) async fn copy(
    lake: &LakeStore,
    subject: Subject,
    (changes, keys): (i64, i64),
    settings: WriterSettings,
) -> Result<(), Failure> {
    let route = Route {
        format: Format::Json,
        key_format: KeyFormat::Json,
        shape: subject.shape,
        contract: Some(subject.contract.parse()?),
        ..Route::new(subject.topic, subject.topic.parse()?)
    };
    let routes = Routes::of(vec![route]).map_err(|problems| format!("{problems:?}"))?;
    let parts = Parts {
        lake: lake.clone(),
        registry: None,
        clock: Arc::new(SystemClock),
        entropy: Arc::new(Entropy::from_os()),
        runtime: Handle::current(),
        progress: Arc::new(WriterProgress::default()),
    };
    let log = Generated::new(subject, changes, keys);
    let mut writer = LakeWriter::new(log, settings, routes, Until::CaughtUp, parts);
    let (_stop, following) = watch::channel(false);
    Ok(writer.run(following).await?)
}
