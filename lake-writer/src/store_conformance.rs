//! What the commit protocol needs of an object store, tried against every store that we name.
//!
//! Azure is tried against an emulator, only when it is asked for (see `azure_conforms`). S3 runs where `LAKEHEAD_TEST_S3_ENDPOINT` names one (with `LAKEHEAD_TEST_S3_ACCESS_KEY`,
//! `LAKEHEAD_TEST_S3_SECRET_KEY` and `LAKEHEAD_TEST_S3_BUCKET`); under `CI=true` it must.

use std::sync::Arc;

use lake_store::LakeStore;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::action::{self, Action, FileFormat, Metadata, Protocol};
use crate::commit::{Draft, Refusal, Step, commit};
use crate::delta_log::{DeltaLog, Put};
use crate::{Entropy, SystemClock};

const CREATORS: usize = 16;
const WRITERS: u64 = 4;
const COMMITS: i64 = 10;

async fn conforms(lake: &LakeStore) {
    lake.check().await.unwrap();
    lake.check_exclusive_create().await.unwrap();
    one_of_many_creators_wins(&lake.table_store(&fresh())).await;
    what_was_put_is_listed(&lake.table_store(&fresh())).await;
    racing_writers_land_every_commit_once(&lake.table_store(&fresh())).await;
}

fn fresh() -> String {
    format!("conformance/{}", Uuid::new_v4())
}

async fn one_of_many_creators_wins(store: &Arc<dyn ObjectStore>) {
    let mut creators = JoinSet::new();
    for creator in 0..CREATORS {
        let log = DeltaLog::new(Arc::clone(store));
        creators.spawn(async move {
            let entry = format!("{{\"creator\":{creator}}}\n");
            matches!(log.put(0, entry.into()).await, Put::Done)
        });
    }
    let won = creators
        .join_all()
        .await
        .into_iter()
        .filter(|won| *won)
        .count();
    assert_eq!(won, 1, "create-if-absent is not atomic");
    assert!(
        DeltaLog::new(Arc::clone(store))
            .entry(0)
            .await
            .unwrap()
            .is_some()
    );
}

async fn what_was_put_is_listed(store: &Arc<dyn ObjectStore>) {
    use futures::TryStreamExt;
    for name in ["a", "b", "c"] {
        store
            .put(&Path::from(format!("_delta_log/{name}")), "x".into())
            .await
            .unwrap();
    }
    let (log, after) = (Path::from("_delta_log"), Path::from("_delta_log/a"));
    let listed: Vec<_> = store
        .list_with_offset(Some(&log), &after)
        .try_collect()
        .await
        .unwrap();
    let mut names: Vec<_> = listed
        .iter()
        .filter_map(|meta| meta.location.filename())
        .collect();
    names.sort_unstable();
    assert_eq!(names, ["b", "c"]);
}

async fn racing_writers_land_every_commit_once(store: &Arc<dyn ObjectStore>) {
    let log = DeltaLog::new(Arc::clone(store));
    let metadata = Metadata {
        id: "id".to_owned(),
        format: FileFormat::default(),
        schema_string: "{}".to_owned(),
        partition_columns: Vec::new(),
        configuration: Default::default(),
        created_time: None,
    };
    let actions: [Action; 2] = [Protocol::PLAIN.into(), metadata.clone().into()];
    let entry = action::encode(&actions).unwrap();
    assert!(matches!(log.put(0, entry.into()).await, Put::Done));
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let (log, layout) = (log.clone(), metadata.clone());
        writers.spawn(async move {
            let mut state = log.load().await.unwrap().unwrap();
            for number in 0..COMMITS {
                let from = (number > 0).then_some(number);
                let step = Step {
                    app_id: format!("w{writer}"),
                    from,
                    to: number + 1,
                };
                let draft = Draft {
                    layout: layout.clone(),
                    steps: vec![step],
                    further: Vec::new(),
                    files: Vec::new(),
                    rework: None,
                };
                let entropy = Entropy::from_os();
                let landed: Result<u64, Refusal> =
                    commit(&log, &mut state, &draft, &SystemClock, &entropy).await;
                landed.unwrap();
            }
        });
    }
    writers.join_all().await;
    let state = log.load().await.unwrap().unwrap();
    assert_eq!(state.version, WRITERS * COMMITS as u64);
    assert!((0..WRITERS).all(|writer| state.txns[&format!("w{writer}")] == COMMITS));
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_conforms() {
    conforms(&LakeStore::open("memory:///", &[], true).unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_local_directory_conforms() {
    let directory = tempfile::tempdir().unwrap();
    conforms(&LakeStore::open(directory.path().to_str().unwrap(), &[], true).unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s3_conforms() {
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let endpoint = variable("LAKEHEAD_TEST_S3_ENDPOINT");
    if endpoint.is_empty() {
        assert_ne!(
            variable("CI"),
            "true",
            "LAKEHEAD_TEST_S3_ENDPOINT must be set under CI=true"
        );
        println!("SKIPPED s3_conforms: LAKEHEAD_TEST_S3_ENDPOINT is not set");
        return;
    }
    let options = [
        ("aws_endpoint", endpoint),
        ("aws_allow_http", "true".to_owned()),
        ("aws_region", "us-east-1".to_owned()),
        ("aws_access_key_id", variable("LAKEHEAD_TEST_S3_ACCESS_KEY")),
        (
            "aws_secret_access_key",
            variable("LAKEHEAD_TEST_S3_SECRET_KEY"),
        ),
    ];
    let options = options.map(|(name, value)| (name.to_owned(), value));
    let url = format!("s3://{}/rust", variable("LAKEHEAD_TEST_S3_BUCKET"));
    conforms(&LakeStore::open(&url, &options, true).unwrap()).await;
}

/// `tests/stack/fetch azure`, then `tests/stack/parts.py run azure -- cargo test --release -p
/// lake-writer azure_conforms -- --ignored`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the Azurite emulator: tests/stack/parts.py run azure"]
async fn azure_conforms() {
    assert!(
        std::env::var("AZURITE_BLOB_STORAGE_URL").is_ok(),
        "no emulator is named"
    );
    // Account and key of every emulator are the same and public; object_store knows them.
    let emulator = ("azure_storage_use_emulator".to_owned(), "true".to_owned());
    conforms(&LakeStore::open("az://lakehead/rust", &[emulator], true).unwrap()).await;
}
