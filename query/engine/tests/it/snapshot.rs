//! Several questions to one state of the lake.

use arrow::compute::concat_batches;
use arrow::util::pretty::pretty_format_batches;
use query_engine::{Answer, QueryError};

use crate::lake::{Change, Lake, row, usual_properties};

const CONTRACT: &str = r#"{"type":"record","name":"Pilot","fields":[
    {"name":"base","type":"string"},{"name":"number","type":"long"},
    {"name":"name","type":["null","string"]}]}"#;

async fn shown(answer: Result<Answer, QueryError>) -> String {
    let answer = answer.unwrap();
    let schema = answer.schema();
    let batches = answer.collect().await.unwrap();
    let batch = concat_batches(&schema, &batches).unwrap();
    pretty_format_batches(&[batch]).unwrap().to_string()
}

#[tokio::test]
async fn a_state_is_that_of_the_changes_which_fulfil_the_condition() {
    let lake = Lake::new();
    let contract = [("lakehead.contract", CONTRACT)];
    let properties = [&usual_properties()[..], &contract].concat();
    lake.create_with("crew", "pilot", &properties).await;
    let name = &"crew.pilot".parse().unwrap();
    lake.append(&[
        Change::new("c", 0, row("NCE", 1, Some("Ada"))),
        Change::new("d", 1, row("NCE", 1, Some("Ada"))),
        Change::new("c", 2, row("NCE", 2, Some("Bob"))),
    ])
    .await;
    let snapshot = lake.engine.snapshot();
    let entity = snapshot.entity(name).await.unwrap().unwrap();
    assert_eq!(entity.contract.key(), ["base", "number"]);
    assert_eq!(entity.contract.fields().len(), 3);
    lake.append(&[Change::new("u", 3, row("NCE", 2, Some("Eve")))])
        .await;

    // What came after the snapshot is not seen, and a delete that does not fulfil it does not count.
    let state = snapshot.state(name, &["name"], "true").await;
    let expected = "\
+------+
| name |
+------+
| Bob  |
+------+";
    assert_eq!(shown(state).await, expected);
    let seen = "_source['sequence'] <= 0 AND _op IN ('c', 'd')";
    let state = snapshot.state(name, &["name", "number"], seen).await;
    let expected = "\
+------+--------+
| name | number |
+------+--------+
| Ada  | 1      |
+------+--------+";
    assert_eq!(shown(state).await, expected);
    let changes = snapshot.changes(name, &["_offset"], "_op = 'd'").await;
    let expected = "\
+---------+
| _offset |
+---------+
| 1       |
+---------+";
    assert_eq!(shown(changes).await, expected);
    let newest = lake.engine.snapshot();
    let changed = newest.entity(name).await.unwrap().unwrap();
    assert_eq!(changed.version, entity.version + 1);

    let none = &"crew.nobody".parse().unwrap();
    assert!(newest.entity(none).await.unwrap().is_none());
    let refused = newest.state(none, &["name"], "true").await;
    assert!(matches!(refused, Err(QueryError::UnknownTable { .. })));
    assert!(
        newest
            .changes(name, &["_offset"], "none = 1")
            .await
            .is_err()
    );
}
