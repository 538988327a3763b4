//! What a table's writer keeps of its partitions, asked of one that starts anew.

use lake_store::LakeStore;
use tokio::sync::Notify;

use super::*;
use crate::action::{self, Action, Txn};
use crate::clock::SystemClock;
use crate::delta_log::Put;
use crate::layout;

const CONTRACT: &str = r#"{"type":"record","name":"R","lakehead.key":["id"],
    "fields":[{"name":"id","type":"long"}]}"#;

/// One life of the table's writer, and the assignment that it gave.
struct Life {
    requests: mpsc::UnboundedSender<Request>,
    outcomes: mpsc::UnboundedReceiver<(TableName, Result<Outcome, WriterError>)>,
    assigned: Assigned,
}

fn partition(number: i32) -> TopicPartition {
    TopicPartition::new("rows", number)
}

impl Life {
    async fn begin(lake: &LakeStore) -> Self {
        Self::of(lake, 0).await
    }

    /// A writer of one of the topic's partitions.
    async fn of(lake: &LakeStore, number: i32) -> Self {
        let entropy = Arc::new(Entropy::from_os());
        let writer = TableWriter::new(TableParts {
            shape: Shape::Upsert,
            infers: true,
            entropy,
            ..parts(lake.clone())
        });
        let (requests, incoming) = mpsc::unbounded_channel();
        let (told, outcomes) = mpsc::unbounded_channel();
        tokio::spawn(writer.run(incoming, told));
        let (reply, answer) = oneshot::channel();
        let assign = Request::Assign {
            partitions: vec![partition(number)],
            partition_count: 2,
            cluster: Some(7),
            reply,
        };
        requests.send(assign).unwrap();
        Self {
            requests,
            outcomes,
            assigned: answer.await.unwrap().unwrap(),
        }
    }

    /// Commits a chunk that moves the partition, by this contract; the partitions that it moved.
    async fn commit(
        &mut self,
        next_offset: i64,
        contract: &str,
        sequence: &str,
    ) -> Vec<(TopicPartition, i64)> {
        let contract: Contract = contract.parse().unwrap();
        let chunk = Chunk {
            schema: Some(ChangeSchema::new(&contract)),
            partition: self.assigned.resumes[0].partition.clone(),
            next_offset,
            last_mark: None,
            generation: 0,
            rows: None,
            dead_letters: Vec::new(),
            sequences: vec![("/source".to_owned(), sequence.parse().unwrap())],
            repetitions: 0,
            bytes: 0,
        };
        self.requests
            .send(Request::Append(Box::new(chunk)))
            .unwrap();
        let opened_at = Instant::now();
        self.requests.send(Request::Flush { opened_at }).unwrap();
        let (_, outcome) = self.outcomes.recv().await.unwrap();
        outcome.unwrap().committed
    }

    fn sequence(&self) -> String {
        self.assigned.resumes[0].sequences["/source"].to_string()
    }
}

#[tokio::test]
async fn a_sequence_of_one_number_after_one_of_two_is_kept_as_it_is() {
    let lake = LakeStore::open("memory:///", &[], true).unwrap();
    for (next_offset, sequence) in [(1, "7/3"), (2, "8"), (3, "8/1"), (4, "9")] {
        let mut life = Life::begin(&lake).await;
        let committed = life.commit(next_offset, CONTRACT, sequence).await;
        assert_eq!(committed, [(partition(0), next_offset)]);
        let next = Life::begin(&lake).await;
        assert_eq!(next.sequence(), sequence);
        let of = (next.assigned.partition_count, next.assigned.cluster);
        assert_eq!(of, (Some(2), Some(7)));
    }
}

#[tokio::test]
async fn of_two_that_infer_at_once_the_wider_column_holds() {
    let n = |number: &str| {
        CONTRACT.replace(
            r#""long"}]"#,
            &format!(r#""long"}},{{"name":"n","type":["null","{number}"],"default":null}}]"#),
        )
    };
    for [first, second] in [["long", "double"], ["double", "long"]] {
        let lake = LakeStore::open("memory:///", &[], true).unwrap();
        // Both begin before there is a table.
        let (mut one, mut two) = (Life::of(&lake, 0).await, Life::of(&lake, 1).await);
        assert_eq!(one.commit(5, &n(first), "5").await, [(partition(0), 5)]);
        let grown = two.commit(7, &n(second), "7").await;
        let widens = second == "double";
        assert_eq!(!grown.is_empty(), widens, "else it is read again");
        if widens {
            let fenced = one.commit(9, &n(first), "9").await;
            assert_eq!(
                fenced,
                [],
                "what was read by the narrower contract is read again"
            );
        }
        let (table, _) = Life::begin(&lake).await.assigned.table.unwrap();
        assert_eq!(table.difference(&n("double").parse().unwrap()), None);
    }
}

/// What the writer of a table `a.b` is made of.
pub(super) fn parts(lake: LakeStore) -> TableParts {
    let (clock, entropy) = (Arc::new(SystemClock), Arc::new(Entropy::seeded(1)));
    let letters_clock = Arc::<SystemClock>::clone(&clock);
    let letters = DeadLettersLog::new(&lake, letters_clock, Arc::clone(&entropy));
    TableParts {
        lake,
        table: "a.b".parse().unwrap(),
        shape: Shape::Append,
        infers: false,
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
    }
    progress.push(txn(ids.ordinal(&place, "/source/999"), 6));
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
        assert_eq!(kept.len(), 3, "{kept:?}");
    }
}
