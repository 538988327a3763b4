//! The outbox in the service's own transaction.

use change_events::{ChangeEvent, Outbox};
use serde_json::json;
use sqlx::Connection;

use crate::service::{Service, table};

fn event() -> ChangeEvent {
    ChangeEvent::create(&table(), 1, &json!({"id": 1}), &json!({"id": 1})).unwrap()
}

#[tokio::test]
async fn an_event_is_committed_with_its_transaction_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let mut service = Service::create(dir.path()).await;
    let mut transaction = service.connection.begin().await.unwrap();
    Outbox::append(&mut transaction, &event()).await.unwrap();
    transaction.rollback().await.unwrap();
    assert!(
        Outbox::after(&mut service.connection, 0, 10)
            .await
            .unwrap()
            .is_empty()
    );

    let (first, second) = (
        event(),
        ChangeEvent::delete(&table(), 2, &json!({"id": 1}), &json!({})).unwrap(),
    );
    let mut transaction = service.connection.begin().await.unwrap();
    let one = Outbox::append(&mut transaction, &first).await.unwrap();
    let two = Outbox::append(&mut transaction, &second).await.unwrap();
    transaction.commit().await.unwrap();
    assert!(one < two);
    let rows = Outbox::after(&mut service.connection, 0, 10).await.unwrap();
    assert_eq!(
        rows.iter().map(|row| row.sequence).collect::<Vec<_>>(),
        [one, two]
    );
    assert_eq!(rows[0].event_id, first.event_id.to_string());
    assert_eq!(rows[1].after, None);
    assert_eq!(
        Outbox::after(&mut service.connection, one, 10)
            .await
            .unwrap(),
        rows[1..]
    );
    assert_eq!(service.end().await, two);
}

#[tokio::test]
async fn a_database_keeps_its_identity_and_a_new_one_has_another() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut service = Service::create(here.path()).await;
    let again = Outbox::create(&mut service.connection, "cabin")
        .await
        .unwrap();
    assert_eq!(again, service.source);
    assert!(again.starts_with("/cabin/"));
    assert_ne!(Service::create(there.path()).await.source, again);
}

#[tokio::test]
async fn an_event_id_is_taken_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut service = Service::create(dir.path()).await;
    let event = event();
    Outbox::append(&mut service.connection, &event)
        .await
        .unwrap();
    Outbox::append(&mut service.connection, &event)
        .await
        .unwrap_err();
}
