//! What a table's writer keeps in memory.

use lake_store::LakeStore;
use tokio::sync::Notify;

use super::*;
use crate::action::{self, Action, Txn};
use crate::clock::SystemClock;
use crate::delta_log::Put;
use crate::layout;

/// What the writer of a table `a.b` is made of.
pub(super) fn parts(lake: LakeStore) -> TableParts {
    let (clock, entropy) = (Arc::new(SystemClock), Arc::new(Entropy::seeded(1)));
    let letters_clock = Arc::<SystemClock>::clone(&clock);
    let letters = DeadLettersLog::new(&lake, letters_clock, Arc::clone(&entropy));
    TableParts {
        lake,
        table: "a.b".parse().unwrap(),
        shape: Shape::Append,
        pipeline: "p".to_owned(),
        checkpoint_interval: 100,
        held: Arc::new(Held::new(Arc::new(Notify::new()))),
        dead_letters: Arc::new(letters),
        rewrites: Arc::new(Semaphore::new(1)),
        clock,
        entropy,
    }
}

fn txn(app_id: String, version: i64) -> Action {
    let last_updated = None;
    let txn = Txn {
        app_id,
        version,
        last_updated,
    };
    txn.into()
}

#[tokio::test]
async fn the_sequences_of_sources_are_handed_over_and_not_kept() {
    let lake = LakeStore::open("memory:///", &[], true).unwrap();
    let mut writer = TableWriter::new(parts(lake));
    let contract = r#"{"type":"record","name":"R","fields":[{"name":"id","type":"int"}]}"#;
    let contract: Contract = contract.parse().unwrap();
    let schema = ChangeSchema::new(&contract);
    let metadata = layout::changes_metadata(&schema, Shape::Append, uuid::Uuid::nil(), 0);
    let (ids, place) = (AppIds::new("p"), TopicPartition::new("t", 0));
    let mut progress = vec![
        txn(ids.partition_count("t"), 1),
        txn(ids.progress(&place), 7),
    ];
    for source in 0..1_000 {
        let source = format!("/source/{source}");
        progress.push(txn(ids.sequence(&place, &source), 5));
        progress.push(txn(ids.ordinal(&place, &source), 6));
    }
    let creation = action::creation(metadata.unwrap(), 0).unwrap();
    let progress = action::encode(&progress).unwrap();
    for (version, entry) in [(0, creation), (1, progress.into())] {
        assert!(matches!(
            writer.changes.put(version, entry).await,
            Put::Done
        ));
    }
    for _ in 0..2 {
        let assigned = writer.assign(vec![place.clone()]).await.unwrap();
        let [resume] = &assigned.resumes[..] else {
            panic!("{assigned:?}");
        };
        assert_eq!(resume.next_offset, Some(7));
        assert_eq!(resume.sequences.len(), 1_000);
        let last = resume.sequences["/source/999"];
        assert_eq!((last.major, last.minor), (5, Some(6)));
        let kept = &writer.changes_state.as_ref().unwrap().txns;
        assert_eq!(kept.len(), 2, "{kept:?}");
    }
}
