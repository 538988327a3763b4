//! The outbox in the service's own transaction.

use std::str::FromStr;

use change_events::{ChangeEvent, Outbox, OutboxRow, OutboxStore, PostgresOutbox};
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection};

use crate::postgres::Database;
use crate::service::{Kind, Service, connect, seat, table};

async fn rows(service: &Service) -> Vec<OutboxRow> {
    let mut store = service.store().await;
    store.rows_after(0, 1_000).await.unwrap().rows
}

#[tokio::test]
async fn an_event_is_committed_with_its_transaction_or_not_at_all() {
    let mut service = Service::sqlite().await;
    let Kind::Sqlite { connection, .. } = &mut service.database else {
        unreachable!()
    };
    let mut transaction = connection.begin().await.unwrap();
    let event = seat(1, &json!("Ann"));
    Outbox::append(&mut transaction, &event).await.unwrap();
    transaction.rollback().await.unwrap();
    assert!(rows(&service).await.is_empty());
    two_events(&mut service).await;
}

#[tokio::test]
async fn an_event_is_committed_with_its_transaction_or_not_at_all_in_postgres() {
    let test = "an_event_is_committed_with_its_transaction_or_not_at_all_in_postgres";
    let Some(mut service) = Service::postgres(test).await else {
        return;
    };
    let Kind::Postgres { connection, .. } = &mut service.database else {
        unreachable!()
    };
    let mut transaction = connection.begin().await.unwrap();
    let event = seat(1, &json!("Ann"));
    Outbox::append(&mut transaction, &event).await.unwrap();
    transaction.rollback().await.unwrap();
    assert!(rows(&service).await.is_empty());
    two_events(&mut service).await;
}

/// A row read is the event written, text for text.
async fn two_events(service: &mut Service) {
    let create = seat(1, &json!("Ann"));
    let delete = ChangeEvent::delete(&table(), 2, &json!({"id": 1}), &json!({})).unwrap();
    let (one, two) = (service.append(&create).await, service.append(&delete).await);
    assert!(one < two);
    let rows = rows(service).await;
    for (row, event, sequence) in [(&rows[0], create, one), (&rows[1], delete, two)] {
        let expected = OutboxRow {
            sequence,
            place: sequence,
            event_id: event.event_id.to_string(),
            entity: "cabin.seat".into(),
            op: event.op.letter().into(),
            event_type: None,
            event_time_us: event.event_time_us,
            key: event.key,
            before: event.before,
            after: event.after,
            // Its own test looks at it.
            transaction: row.transaction.clone(),
        };
        assert_eq!(*row, expected);
    }
    assert_eq!(service.end().await, two);
}

#[tokio::test]
async fn a_service_with_tokio_postgres_writes_in_its_own_transaction() {
    let test = "a_service_with_tokio_postgres_writes_in_its_own_transaction";
    let Some(database) = Database::create(test).await else {
        return;
    };
    let config = tokio_postgres::Config::from_str(&database.url).unwrap();
    let (mut client, connection) = config.connect(tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let source = Outbox::create(&mut client, "cabin").await.unwrap();
    assert!(source.starts_with("/cabin/"));
    let event = seat(1, &json!("Ann"));
    let mut transaction = client.transaction().await.unwrap();
    Outbox::append(&mut transaction, &event).await.unwrap();
    transaction.rollback().await.unwrap();
    let mut transaction = client.transaction().await.unwrap();
    let sequence = Outbox::append(&mut transaction, &event).await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(Outbox::end(&mut client).await.unwrap(), sequence);
    let mut store = PostgresOutbox::open(&database.url).await.unwrap();
    let rows = store.rows_after(0, 10).await.unwrap().rows;
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].event_id, event.event_id.to_string());
}

#[tokio::test]
async fn a_database_keeps_its_identity_and_a_new_one_has_another() {
    let mut service = Service::sqlite().await;
    let Kind::Sqlite { connection, .. } = &mut service.database else {
        unreachable!()
    };
    let again = Outbox::create(connection, "cabin").await.unwrap();
    assert_eq!(again, service.source);
    assert!(again.starts_with("/cabin/"));
    assert_ne!(Service::sqlite().await.source, again);
    let Some(mut service) = Service::postgres("a_database_keeps_its_identity").await else {
        return;
    };
    let Kind::Postgres { connection, .. } = &mut service.database else {
        unreachable!()
    };
    let again = Outbox::create(connection, "cabin").await.unwrap();
    assert_eq!(again, service.source);
}

#[tokio::test]
async fn an_event_id_is_taken_once() {
    let service = Service::sqlite().await;
    let Kind::Sqlite { path, .. } = &service.database else {
        unreachable!()
    };
    let mut connection = connect(path).await;
    let event = seat(1, &json!("Ann"));
    Outbox::append(&mut connection, &event).await.unwrap();
    Outbox::append(&mut connection, &event).await.unwrap_err();
    let Some(mut service) = Service::postgres("an_event_id_is_taken_once").await else {
        return;
    };
    service.append(&event).await;
    let Kind::Postgres { connection, .. } = &mut service.database else {
        unreachable!()
    };
    Outbox::append(connection, &event).await.unwrap_err();
}

#[tokio::test]
async fn plain_sql_writes_the_same_row_and_is_told_what_is_wrong() {
    let test = "plain_sql_writes_the_same_row_and_is_told_what_is_wrong";
    let Some(mut service) = Service::postgres(test).await else {
        return;
    };
    service
        .run(
            "SELECT {}emit('cabin.seat', 'u', key => '{\"id\": 1}', \
             before => '{\"id\": 1}', after => '{\"id\": 1, \"holder\": \"Ann\"}', \
             event_time => '2013-01-01T10:00:00.000789Z')",
        )
        .await;
    service
        .run("SELECT {}emit('cabin.seat', 'd', '{\"id\": 1}')")
        .await;
    let rows = rows(&service).await;
    assert_eq!((&*rows[0].op, &*rows[0].key), ("u", "{\"id\": 1}"));
    assert_eq!(rows[0].event_time_us, 1_357_034_400_000_789);
    assert_eq!(rows[0].before.as_deref(), Some("{\"id\": 1}"));
    assert_eq!((&*rows[1].op, &rows[1].after), ("d", &None));
    let Kind::Postgres { connection, .. } = &mut service.database else {
        unreachable!()
    };
    for (arguments, words) in [
        ("'cabin.seat', 'x', '{}'", "'x', not one of c, u, d, r"),
        ("'cabin.seat', 'd', '7'", "not a JSON object"),
        ("'cabin.seat', 'c', '{}'", "needs the row after it"),
        ("'cabin.seat', 'd', '{}', '{}'", "needs no row after it"),
    ] {
        let sql = AssertSqlSafe(format!("SELECT lakehead.emit({arguments})"));
        let error = sqlx::query(sql).execute(&mut *connection).await;
        let error = error.unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
}

#[tokio::test]
async fn debeziums_columns_are_taken_and_a_row_deleted_at_once_is_not_lost() {
    let test = "debeziums_columns_are_taken_and_a_row_deleted_at_once_is_not_lost";
    let Some(mut service) = Service::postgres(test).await else {
        return;
    };
    service
        .run("SELECT {}create_debezium_view('public.outboxevent')")
        .await;
    let insert = "INSERT INTO outboxevent (id, aggregatetype, aggregateid, type, payload) VALUES ";
    for row in [
        "('a8ed6f2d-5e4c-4f3c-9f4e-3c0c4d1f0001', 'cabin.seat', '7', 'SeatTaken', '{\"id\": 7}'::jsonb)",
        "('a8ed6f2d-5e4c-4f3c-9f4e-3c0c4d1f0002', 'cabin.seat', '7', 'SeatRemoved', NULL)",
    ] {
        assert_eq!(service.run(&format!("{insert}{row}")).await, 1);
    }
    assert_eq!(service.run("DELETE FROM outboxevent").await, 2);
    assert_eq!(service.run("DELETE FROM {}outbox").await, 0);
    let rows = rows(&service).await;
    let of = |row: &OutboxRow| (row.op.clone(), row.event_type.clone().unwrap());
    assert_eq!(of(&rows[0]), ("c".into(), "SeatTaken".into()));
    assert_eq!(of(&rows[1]), ("d".into(), "SeatRemoved".into()));
    assert_eq!(rows[0].after.as_deref(), Some("{\"id\": 7}"));
    assert_eq!(rows[0].key, "7");
    let Kind::Postgres { connection, .. } = &mut service.database else {
        unreachable!()
    };
    for sql in [
        "UPDATE lakehead.outbox SET type = 'x'",
        "TRUNCATE lakehead.outbox",
    ] {
        let error = sqlx::query(sql).execute(&mut *connection).await;
        let error = error.unwrap_err().to_string();
        assert!(error.contains("are not changed"), "{error}");
    }
}
