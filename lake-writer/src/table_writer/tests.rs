//! What a table's writer keeps of its partitions, asked of one that starts anew.

use tokio::sync::Notify;

use super::*;
use crate::clock::SystemClock;

const CONTRACT: &str = r#"{"type":"record","name":"R","lakehead.key":["id"],
    "fields":[{"name":"id","type":"long"}]}"#;

/// One life of the table's writer, and the assignment that it gave.
struct Life {
    requests: mpsc::UnboundedSender<Request>,
    outcomes: mpsc::UnboundedReceiver<(TableName, Result<Outcome, WriterError>)>,
    assigned: Assigned,
}

fn partition() -> TopicPartition {
    TopicPartition::new("rows", 0)
}

impl Life {
    async fn begin(lake: &LakeStore) -> Self {
        let writer = TableWriter::new(TableParts {
            lake: lake.clone(),
            table: "a.row".parse().unwrap(),
            shape: Shape::Upsert,
            pipeline: "p".to_owned(),
            checkpoint_interval: 100,
            held: Arc::new(Held::new(Arc::new(Notify::new()))),
            clock: Arc::new(SystemClock),
            entropy: Arc::new(Entropy::from_os()),
        });
        let (requests, incoming) = mpsc::unbounded_channel();
        let (told, outcomes) = mpsc::unbounded_channel();
        tokio::spawn(writer.run(incoming, told));
        let (reply, answer) = oneshot::channel();
        let assign = Request::Assign {
            partitions: vec![partition()],
            partition_count: 1,
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

    /// Commits a chunk that moves the partition by one record of a source.
    async fn commit(&mut self, next_offset: i64, sequence: &str) {
        let contract: Contract = CONTRACT.parse().unwrap();
        let chunk = Chunk {
            schema: Some(ChangeSchema::new(&contract)),
            partition: partition(),
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
        assert_eq!(outcome.unwrap().committed, [(partition(), next_offset)]);
    }

    fn sequence(&self) -> String {
        self.assigned.resumes[0].sequences["/source"].to_string()
    }
}

#[tokio::test]
async fn a_sequence_of_one_number_after_one_of_two_is_kept_as_it_is() {
    let lake = LakeStore::open("memory:///", &[], true).unwrap();
    for (next_offset, sequence) in [(1, "7/3"), (2, "8"), (3, "8/1"), (4, "9")] {
        Life::begin(&lake).await.commit(next_offset, sequence).await;
        let next = Life::begin(&lake).await;
        assert_eq!(next.sequence(), sequence);
        let of = (next.assigned.partition_count, next.assigned.cluster);
        assert_eq!(of, (Some(1), Some(7)));
    }
}
