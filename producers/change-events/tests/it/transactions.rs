//! Which transaction wrote a row, and what is told of transactions.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use change_events::{Outbox, OutboxRow, Record, Relay, TransactionPlace};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use schemas::{Envelope, TransactionEvent, wire};
use serde_json::{Value, json};
use sqlx::Connection;
use sqlx::postgres::PgConnection;
use tokio_util::sync::CancellationToken;

use crate::faulty_broker::{FaultyBroker, Refusal};
use crate::relay::{fault, relay_all_as, small_limits};
use crate::service::{CONTRACT, Kind, Service, seat, table};

const TOPIC: &str = "cabin.transaction";

fn decode(schema: &str, framed: &[u8]) -> Value {
    let (_, mut body) = wire::unframe(framed).unwrap();
    let schema = Schema::parse_str(schema).unwrap();
    let reader = GenericDatumReader::builder(&schema).build().unwrap();
    let value = reader.read_value(&mut body).unwrap();
    assert!(body.is_empty());
    value.try_into().unwrap()
}

fn events(records: &[Record]) -> impl Iterator<Item = (i64, Value)> {
    let schema = Envelope::of(&table(), &CONTRACT.parse().unwrap()).value_schema;
    let events = records
        .iter()
        .filter(|record| *record.topic == *"cabin.seat");
    events.map(move |record| (record.sequence.major, decode(&schema, &record.value)))
}

fn told(records: &[Record]) -> Vec<Value> {
    let schema = TransactionEvent::of("cabin").value_schema;
    let told = records.iter().filter(|record| *record.topic == *TOPIC);
    told.map(|record| decode(&schema, &record.value)).collect()
}

async fn postgres(service: &Service) -> PgConnection {
    match &service.database {
        Kind::Postgres { database, .. } => database.connect().await,
        Kind::Sqlite { .. } => unreachable!(),
    }
}

async fn append(connection: &mut PgConnection, seat_id: i64) -> i64 {
    let event = seat(seat_id, &json!("Ann"));
    Outbox::append(connection, &event).await.unwrap()
}

async fn emit_meal(connection: &mut PgConnection) {
    let sql = "SELECT lakehead.emit('cabin.meal', 'c', '{\"id\": 1}', '{\"id\": 1}')";
    sqlx::query(sql).execute(connection).await.unwrap();
}

async fn places(service: &Service) -> Vec<(i64, Option<TransactionPlace>)> {
    let batch = service.store().await.rows_after(0, 1_000).await.unwrap();
    let place = |row: OutboxRow| (row.sequence, row.transaction);
    batch.rows.into_iter().map(place).collect()
}

#[tokio::test]
async fn a_row_says_its_place_and_the_last_one_how_many_there_are() {
    let test = "a_row_says_its_place_and_the_last_one_how_many_there_are";
    let Some(service) = Service::postgres(test).await else {
        return;
    };
    let (mut one, mut two) = (postgres(&service).await, postgres(&service).await);
    let mut first = one.begin().await.unwrap();
    append(&mut first, 1).await;
    append(&mut two, 2).await;
    emit_meal(&mut first).await;
    // What a savepoint takes back is not counted, and a name that it brought is another one then.
    let mut inner = first.begin().await.unwrap();
    append(&mut inner, 1).await;
    inner.rollback().await.unwrap();
    append(&mut first, 1).await;
    first.commit().await.unwrap();
    let mut outer = two.begin().await.unwrap();
    let mut inner = outer.begin().await.unwrap();
    append(&mut inner, 2).await;
    inner.rollback().await.unwrap();
    append(&mut outer, 2).await;
    outer.commit().await.unwrap();

    let found = places(&service).await;
    let place = |place: &TransactionPlace| {
        let (_, first) = place.id.split_once(':').unwrap();
        let first: i64 = first.parse().unwrap();
        (first, place.total_order, place.entity_order)
    };
    let orders: Vec<_> = found
        .iter()
        .map(|(sequence, found)| (*sequence, place(found.as_ref().unwrap())))
        .collect();
    assert_eq!(
        orders,
        [
            (1, (1, 1, 1)),
            (2, (2, 1, 1)),
            (3, (1, 2, 1)),
            (5, (1, 3, 2)),
            (7, (7, 1, 1)),
        ]
    );
    let ended: Vec<_> = found
        .into_iter()
        .map(|(_, place)| place.unwrap().ended)
        .collect();
    let seats = |seats: i64| BTreeMap::from([("cabin.seat".to_owned(), seats)]);
    let mut both = seats(2);
    both.insert("cabin.meal".to_owned(), 1);
    assert_eq!(
        ended,
        [None, Some(seats(1)), None, Some(both), Some(seats(1))]
    );
}

#[tokio::test]
async fn a_transaction_of_too_many_entities_has_no_end() {
    let test = "a_transaction_of_too_many_entities_has_no_end";
    let Some(mut service) = Service::postgres(test).await else {
        return;
    };
    service
        .run(
            "INSERT INTO {}outbox (aggregatetype, aggregateid, type) \
             SELECT 'cabin.' || repeat('x', 90) || i, '1', 'd' FROM generate_series(1, 200) AS i",
        )
        .await;
    let found = places(&service).await;
    let with_place = found.iter().filter(|(_, place)| place.is_some()).count();
    assert!((50..150).contains(&with_place), "{with_place}");
    let mut ended = found.iter().filter_map(|(_, place)| place.as_ref());
    assert!(ended.all(|place| place.ended.is_none()));
}

/// Transactions of three connections, interleaved: which sequences each of those has that were
/// committed.
async fn interleaved(service: &Service, seed: u64) -> Vec<Vec<i64>> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut committed = Vec::new();
    let mut connections = Vec::new();
    for _ in 0..3 {
        connections.push(postgres(service).await);
    }
    let mut open: Vec<Vec<i64>> = vec![Vec::new(); 3];
    for _ in 0..60 {
        let at = random.random_range(0..3);
        let (connection, drawn) = (&mut connections[at], &mut open[at]);
        match random.random_range(0..10) {
            0..7 => {
                if drawn.is_empty() {
                    run(connection, "BEGIN").await;
                }
                drawn.push(append(connection, random.random_range(0..7)).await);
            }
            7 if !drawn.is_empty() => {
                run(connection, "ROLLBACK").await;
                drawn.clear();
            }
            _ if !drawn.is_empty() => {
                run(connection, "COMMIT").await;
                committed.push(std::mem::take(drawn));
            }
            _ => {}
        }
    }
    for (connection, drawn) in connections.iter_mut().zip(open) {
        if !drawn.is_empty() {
            run(connection, "COMMIT").await;
            committed.push(drawn);
        }
    }
    committed
}

async fn run(connection: &mut PgConnection, sql: &'static str) {
    sqlx::raw_sql(sql).execute(connection).await.unwrap();
}

fn check(broker: &FaultyBroker, committed: &[Vec<i64>]) {
    let records = broker.landed_records();
    let mut found: BTreeMap<String, Vec<(i64, i64)>> = BTreeMap::new();
    for (sequence, event) in events(&records) {
        let place = &event["transaction"];
        let id = place["id"].as_str().unwrap().to_owned();
        assert_eq!(event["source"]["txId"], place["id"]);
        assert_eq!(place["data_collection_order"], place["total_order"]);
        let order = place["total_order"].as_i64().unwrap();
        found.entry(id).or_default().push((order, sequence));
    }
    let mut of_transactions: Vec<Vec<i64>> = Vec::new();
    for events in found.values_mut() {
        events.sort_unstable();
        assert!(
            events
                .iter()
                .zip(1..)
                .all(|((order, _), place)| *order == place)
        );
        of_transactions.push(events.iter().map(|(_, sequence)| *sequence).collect());
    }
    let mut committed = committed.to_vec();
    committed.sort();
    of_transactions.sort();
    assert_eq!(of_transactions, committed);
    let told = told(&records);
    assert_eq!(told.len(), 2 * found.len());
    for (id, events) in found {
        let told: Vec<&Value> = told.iter().filter(|told| told["id"] == *id).collect();
        let [begin, end] = &told[..] else {
            panic!("{id}: {told:?}");
        };
        assert_eq!(
            (&begin["status"], &begin["event_count"]),
            (&json!("BEGIN"), &Value::Null)
        );
        let count = events.len();
        assert_eq!(
            (&end["status"], &end["event_count"]),
            (&json!("END"), &json!(count))
        );
        let collections = json!([{"data_collection": "cabin.seat", "event_count": count}]);
        assert_eq!(end["data_collections"], collections);
    }
}

fn telling(relay: Relay) -> Relay {
    relay.with_limits(small_limits()).with_transactions("cabin")
}

#[tokio::test]
async fn whatever_the_broker_does_a_begin_and_an_end_land_once_with_the_counts() {
    let test = "whatever_the_broker_does_a_begin_and_an_end_land_once";
    let scripts = proptest::collection::vec(fault(), 0..30);
    let mut runner = TestRunner::deterministic();
    for seed in 0..8 {
        let Some(mut service) = Service::postgres(test).await else {
            return;
        };
        let committed = interleaved(&service, seed).await;
        let script = scripts.new_tree(&mut runner).unwrap().current();
        let broker = Arc::new(FaultyBroker::new(script));
        relay_all_as(&mut service, &broker, telling).await;
        check(&broker, &committed);
    }
}

/// A topic of transactions may take less than one of events. No event is given up for it.
#[tokio::test]
async fn a_mark_that_kafka_never_takes_ends_the_relay_by_name() {
    let test = "a_mark_that_kafka_never_takes_ends_the_relay_by_name";
    let Some(mut service) = Service::postgres(test).await else {
        return;
    };
    service.change(9, 3).await;
    let broker = Arc::new(FaultyBroker::refusing("BEGIN", Refusal::InCompany));
    let relay = service.relay(Arc::clone(&broker) as _, "cabin.seat").await;
    let ended = telling(relay.unwrap()).run(CancellationToken::new());
    let ended = tokio::time::timeout(Duration::from_secs(60), ended).await;
    let error = ended.unwrap().unwrap_err().to_string();
    assert!(error.contains("transactions = false"), "{error}");
    let parked = "SELECT count(*) FROM {}outbox_parked";
    assert_eq!(service.numbers(parked).await, [0]);
}

const COLUMNS_OF_BEFORE: &str = "ALTER TABLE lakehead.outbox DROP COLUMN transaction_id, \
    DROP COLUMN transaction_first, DROP COLUMN transaction_order, DROP COLUMN transaction_counts";
const TRIGGER_OF_BEFORE: &str = "CREATE OR REPLACE FUNCTION lakehead.outbox_insert() RETURNS trigger \
    LANGUAGE plpgsql AS $$ BEGIN \
    PERFORM pg_advisory_xact_lock_shared(26728::bigint << 48 | lakehead.outbox_drawn()); \
    NEW.sequence := nextval('lakehead.outbox_sequence'); RETURN NEW; END $$";

#[tokio::test]
async fn an_outbox_of_before_is_relayed_and_tells_of_transactions_once_it_can() {
    let test = "an_outbox_of_before_is_relayed_and_tells_of_transactions_once_it_can";
    let Some(mut service) = Service::postgres(test).await else {
        return;
    };
    service.run(COLUMNS_OF_BEFORE).await;
    service.run(TRIGGER_OF_BEFORE).await;
    service.change(3, 3).await;
    let broker = Arc::new(FaultyBroker::new([]));
    relay_all_as(&mut service, &broker, telling).await;
    service.change(1, 1).await;
    let Kind::Postgres { connection, .. } = &mut service.database else {
        unreachable!()
    };
    Outbox::create(connection, "cabin").await.unwrap();
    service.change(1, 1).await;
    relay_all_as(&mut service, &broker, telling).await;
    let records = broker.landed_records();
    let known: BTreeMap<i64, bool> = events(&records)
        .map(|(sequence, event)| (sequence, event["transaction"].is_object()))
        .collect();
    let expected = [(1, false), (2, false), (3, false), (4, false), (5, true)];
    assert_eq!(known, BTreeMap::from(expected));
    assert_eq!(told(&records).len(), 2);
}
