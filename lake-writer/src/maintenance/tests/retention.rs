//! What a current table keeps when all changes are read again, of which some have passed their
//! retention or came late.

use schemas::Shape;

use super::changes::read;
use super::refresh::{ROOMY, begun, meddle};
use super::*;
use crate::commit::Rework;

/// A change of one key.
fn change(id: i64, (partition, generation, offset): (i32, i32, i64), op: &'static str) -> Change {
    Change {
        partition,
        generation,
        offset,
        op,
        id,
        region: "north".to_owned(),
        day: 19_002,
        ..Change::default()
    }
}

/// The same, of a day that passes its retention.
fn old(change: Change) -> Change {
    Change {
        day: 19_000,
        ..change
    }
}

/// Of key 7 only the creation is left, its deletion has passed its retention; then the topic got a
/// second partition. Key 8 is there, key 9 was deleted after that.
async fn retired(stand: &Stand) -> (Changes, Maintainer) {
    let mut changes = Changes::create(&stand.lake, Shape::Upsert).await;
    let mut maintainer = stand.maintainer(ROOMY, ROOMY);
    let first = vec![
        change(7, (0, 0, 0), "c"),
        old(change(7, (0, 0, 1), "d")),
        old(change(8, (0, 0, 2), "c")),
        change(9, (0, 0, 3), "c"),
    ];
    changes.append(first).await;
    refresh(&mut maintainer).await.unwrap();
    changes.retire("2022-01-10").await;
    let second = vec![change(9, (1, 1, 0), "d"), change(10, (1, 1, 1), "c")];
    changes.flush(second, &[(0, 1), (1, 1)]).await;
    refresh(&mut maintainer).await.unwrap();
    assert_eq!(read(&stand.lake, None).await, changes.fold());
    (changes, maintainer)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delete_that_passed_its_retention_stays_done_in_later_generations() {
    let stand = Stand::new();
    let (mut changes, mut maintainer) = retired(&stand).await;
    assert!(maintainer.rebuild(&table()).await.unwrap().from_all);
    assert_eq!(read(&stand.lake, None).await, changes.fold());
    // A change comes late that counts, one that does not, and one in time.
    let late = vec![
        change(7, (0, 0, 4), "c"),
        change(9, (0, 0, 5), "u"),
        change(8, (0, 1, 6), "u"),
    ];
    changes.append(late).await;
    let done = refresh(&mut maintainer).await.unwrap();
    assert!(done.from_all && done.changes == 3, "{done:?}");
    assert_eq!(read(&stand.lake, None).await, changes.fold());
    maintainer.rebuild(&table()).await.unwrap();
    assert_eq!(read(&stand.lake, None).await, changes.fold());
}

/// What is covered and what is not were made one file of.
#[tokio::test(flavor = "multi_thread")]
async fn changes_that_were_compacted_with_covered_ones_are_told_from_them() {
    for is_first_form_gone in [false, true] {
        let stand = Stand::new();
        let (mut changes, mut maintainer) = retired(&stand).await;
        changes.append(vec![change(8, (0, 1, 4), "u")]).await;
        if !is_first_form_gone {
            // Late, and found in its first form.
            changes.append(vec![change(9, (0, 0, 5), "u")]).await;
            changes.append(vec![change(11, (0, 0, 6), "c")]).await;
        }
        changes.compact().await;
        if is_first_form_gone {
            changes.vacuum().await;
            let done = refresh(&mut maintainer).await.unwrap();
            assert!(done.from_all && done.changes == 1, "{done:?}");
        } else {
            maintainer.rebuild(&table()).await.unwrap();
        }
        assert_eq!(read(&stand.lake, None).await, changes.fold());
    }
}

/// The log does not tell which files are new.
#[tokio::test(flavor = "multi_thread")]
async fn a_cleaned_log_undoes_no_delete() {
    let stand = Stand::new();
    let (mut changes, mut maintainer) = retired(&stand).await;
    changes.append(vec![change(8, (0, 1, 4), "u")]).await;
    changes.append(vec![change(10, (1, 1, 2), "d")]).await;
    changes.compact().await;
    changes.clean_log().await;
    let done = refresh(&mut maintainer).await.unwrap();
    assert!(done.from_all && done.changes == 2, "{done:?}");
    assert_eq!(read(&stand.lake, None).await, changes.fold());
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_whose_changes_passed_their_retention_stay() {
    let stand = Stand::new();
    let (mut changes, mut maintainer) = begun(&stand).await;
    // Days 19,000 to 19,002 are 2022-01-08 to 2022-01-10.
    changes.retire("2022-01-10").await;
    assert_eq!(refresh(&mut maintainer).await, None);
    let done = maintainer.rebuild(&table()).await.unwrap();
    assert!(done.from_all && done.changes < 300, "{done:?}");
    assert_eq!(read(&stand.lake, None).await, changes.fold());
    changes.append_some(2, 600, 50).await;
    refresh(&mut maintainer).await.unwrap();
    assert_eq!(read(&stand.lake, None).await, changes.fold());
    // There is no way back to a table whose changes are gone.
    meddle(&stand, |draft, state| {
        let mut metadata = state.metadata.clone();
        metadata.configuration.remove("lakehead.buckets");
        draft.rework = Some(Rework {
            operation: "SET TBLPROPERTIES",
            metadata,
            removed: Vec::new(),
            after: None,
        });
    })
    .await;
    let error = maintainer.rebuild(&table()).await.unwrap_err().to_string();
    assert!(
        error.contains("2022-01-10") && error.contains("restore"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_change_does_not_bring_a_deleted_row_back() {
    let stand = Stand::new();
    let mut changes = Changes::create(&stand.lake, Shape::Upsert).await;
    let change = |partition, generation, offset, op| Change {
        partition,
        generation,
        offset,
        op,
        id: 7,
        region: "north".to_owned(),
        day: 19_000,
        ..Change::default()
    };
    changes.append(vec![change(0, 0, 0, "c")]).await;
    // The topic gets a second partition, to which the key moves; there it is deleted.
    let second = vec![change(1, 1, 0, "d")];
    changes.flush(second, &[(0, 1), (1, 1)]).await;
    let mut maintainer = stand.maintainer(ROOMY, ROOMY);
    refresh(&mut maintainer).await.unwrap();
    assert_eq!(read(&stand.lake, None).await, []);
    changes.append(vec![change(0, 0, 1, "u")]).await;
    let done = refresh(&mut maintainer).await.unwrap();
    assert!(done.from_all, "{done:?}");
    assert_eq!(read(&stand.lake, None).await, []);
    changes.append(vec![change(1, 1, 1, "c")]).await;
    assert!(!refresh(&mut maintainer).await.unwrap().from_all);
    assert_eq!(read(&stand.lake, None).await, changes.fold());
    assert_eq!(changes.fold().len(), 1);
}
