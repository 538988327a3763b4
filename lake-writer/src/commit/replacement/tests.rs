//! What a replacement refuses, and the ambiguous answers.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use object_store::ObjectStore;
use object_store::memory::InMemory;

use super::*;
use crate::action::{self, Add, FileFormat, Metadata, Protocol, Remove};
use crate::commit::{Rework, Step, UPLOAD_AGE_MAX, commit};
use crate::delta_log::Put;
use crate::fault_store::{Fault, FaultStore};

const FENCE: &str = "lakehead/maintain/t";

/// Noon of a day in 1970.
#[derive(Debug)]
struct Noon(i64);

impl Clock for Noon {
    fn now_us(&self) -> i64 {
        (self.0 * 24 + 12) * 3_600_000_000
    }
}

fn metadata(schema: &str) -> Metadata {
    Metadata {
        id: "id".to_owned(),
        format: FileFormat::default(),
        schema_string: schema.to_owned(),
        partition_columns: Vec::new(),
        configuration: BTreeMap::new(),
        created_time: None,
    }
}

fn add(path: &str) -> Add {
    Add {
        path: path.to_owned(),
        partition_values: BTreeMap::new(),
        size: 1,
        modification_time: 0,
        data_change: true,
        stats: None,
    }
}

fn replacement(base: &Base, removed: &[&str], added: &[&str]) -> Draft {
    let from = base.state.txns.get(FENCE).copied();
    let removed = removed.iter().map(|path| Remove {
        path: (*path).to_owned(),
        ..Remove::default()
    });
    Draft {
        layout: metadata("one"),
        steps: vec![Step {
            app_id: FENCE.to_owned(),
            from,
            to: from.unwrap_or(0) + 1,
        }],
        further: Vec::new(),
        files: added.iter().map(|path| add(path)).collect(),
        rework: Some(Rework {
            operation: "OPTIMIZE",
            metadata: metadata("one"),
            removed: removed.collect(),
            after: None,
        }),
    }
}

/// The draft with these properties for the table, which has those of `layout`.
fn with_properties(mut draft: Draft, layout: Metadata, properties: &[(&str, &str)]) -> Draft {
    let properties = properties.iter();
    let properties = properties.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    if let Some(rework) = &mut draft.rework {
        rework.metadata = layout.clone();
        rework.metadata.configuration = properties.collect();
    }
    Draft { layout, ..draft }
}

/// A table of the files `a` and `b`: its log, and the same behind a store that meets the next puts
/// with these faults.
async fn table(faults: &[Fault]) -> (DeltaLog, DeltaLog, Base) {
    let inner: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let plain = DeltaLog::new(Arc::clone(&inner));
    let actions: [Action; 4] = [
        Protocol::PLAIN.into(),
        metadata("one").into(),
        add("a").into(),
        add("b").into(),
    ];
    let entry = action::encode(&actions).unwrap();
    assert!(matches!(plain.put(0, entry.into()).await, Put::Done));
    let waiting = Mutex::new(VecDeque::from(faults.to_vec()));
    let faulty = FaultStore::new(inner, move |_| {
        waiting.lock().unwrap().pop_front().unwrap_or(Fault::None)
    });
    let state = plain.load().await.unwrap().unwrap();
    (DeltaLog::new(Arc::new(faulty)), plain, Base::new(state))
}

async fn files(log: &DeltaLog) -> Vec<String> {
    let files = log.files(|_| true).await.unwrap();
    files.into_iter().map(|file| file.path).collect()
}

async fn run(log: &DeltaLog, base: &mut Base, what: &Draft) -> Result<u64, Refusal> {
    replace(log, base, what, &Noon(1), &Entropy::from_os()).await
}

fn append(path: &str) -> Draft {
    Draft {
        layout: metadata("one"),
        steps: Vec::new(),
        further: Vec::new(),
        files: vec![add(path)],
        rework: None,
    }
}

#[tokio::test(start_paused = true)]
async fn every_ambiguous_answer_ends_in_one_replacement() {
    use Fault::{ExistsFalsely, FailBefore, LandsLate, OkThenError, OkThenExists};
    let cases: [&[Fault]; 8] = [
        &[],
        &[FailBefore],
        &[OkThenError],
        &[OkThenExists],
        &[ExistsFalsely],
        &[LandsLate],
        &[LandsLate, LandsLate, ExistsFalsely],
        &[ExistsFalsely, FailBefore, OkThenExists],
    ];
    for faults in cases {
        let (log, plain, mut base) = table(faults).await;
        let what = replacement(&base, &["a"], &["c"]);
        assert_eq!(run(&log, &mut base, &what).await, Ok(1), "{faults:?}");
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(files(&plain).await, ["b", "c"], "{faults:?}");
        assert_eq!(base.state.txns[FENCE], 1, "{faults:?}");
        // The next one of the same run goes on from there, and knows what is gone.
        let again = replacement(&base, &["a"], &["d"]);
        assert_eq!(run(&log, &mut base, &again).await, Err(Refusal::Overtaken));
        let next = replacement(&base, &["b"], &["d"]);
        assert_eq!(run(&log, &mut base, &next).await, Ok(2), "{faults:?}");
        assert_eq!(files(&plain).await, ["c", "d"], "{faults:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn appends_in_between_do_not_matter_and_another_s_replacement_does() {
    let (log, plain, mut base) = table(&[]).await;
    let (mut other, mut writer) = (base.clone(), base.state.clone());
    let entropy = Entropy::from_os();
    let appended = commit(&plain, &mut writer, &append("x"), &Noon(1), &entropy).await;
    assert_eq!(appended, Ok(1));
    let what = replacement(&base, &["a"], &["c"]);
    assert_eq!(run(&log, &mut base, &what).await, Ok(2));
    let late = replacement(&other, &["b"], &["d"]);
    let refused = run(&log, &mut other, &late).await;
    assert_eq!(refused, Err(Refusal::Fenced(vec![FENCE.to_owned()])));
    // A remove of the same file counts whatever the fence says.
    let late = replacement(&other, &["a"], &["d"]);
    assert_eq!(run(&log, &mut other, &late).await, Err(Refusal::Overtaken));
    assert_eq!(files(&plain).await, ["b", "c", "x"]);
}

#[tokio::test(start_paused = true)]
async fn another_layout_is_refused_and_properties_follow_the_ones_they_were_read_with() {
    let (log, plain, mut base) = table(&[]).await;
    let what = replacement(&base, &[], &[]);
    let what = with_properties(what, metadata("one"), &[("k", "v")]);
    assert_eq!(run(&log, &mut base, &what).await, Ok(1));
    let state = plain.load().await.unwrap().unwrap();
    assert_eq!(state.metadata.configuration["k"], "v");
    assert_eq!(base.state.metadata, state.metadata);
    // Another program sets one too: files still fit, properties that were read before do not.
    let mut other = state.metadata.clone();
    other.configuration.insert("k".to_owned(), "w".to_owned());
    let change = action::encode(&[other.into()]).unwrap();
    assert!(matches!(plain.put(2, change.into()).await, Put::Done));
    let late = with_properties(replacement(&base, &[], &[]), state.metadata, &[]);
    assert_eq!(
        run(&log, &mut base, &late).await,
        Err(Refusal::LayoutChanged)
    );
    let fits = replacement(&base, &["a"], &["c"]);
    assert_eq!(run(&log, &mut base, &fits).await, Ok(3));
    let change = action::encode(&[metadata("two").into()]).unwrap();
    assert!(matches!(plain.put(4, change.into()).await, Put::Done));
    let late = replacement(&base, &["b"], &["d"]);
    assert_eq!(
        run(&log, &mut base, &late).await,
        Err(Refusal::LayoutChanged)
    );
}

#[tokio::test(start_paused = true)]
async fn files_that_a_vacuum_could_take_are_refused() {
    let days = i64::try_from(UPLOAD_AGE_MAX.as_secs() / 86_400).unwrap();
    let (log, plain, mut base) = table(&[]).await;
    let (entropy, what) = (Entropy::from_os(), replacement(&base, &["a"], &["c"]));
    let late = replace(&log, &mut base, &what, &Noon(days), &entropy).await;
    assert_eq!(late, Err(Refusal::Overtaken));
    let mut state = base.state.clone();
    let late = commit(&log, &mut state, &append("x"), &Noon(days), &entropy).await;
    assert_eq!(late, Err(Refusal::Overtaken));
    let in_time = commit(&log, &mut state, &append("x"), &Noon(days - 1), &entropy).await;
    assert_eq!(in_time, Ok(1));
    assert_eq!(files(&plain).await, ["a", "b", "x"]);
}
