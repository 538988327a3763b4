use schemas::Watermark;

use super::*;

const CONTRACT: &str = r#"{"type":"record","name":"Seat","lakehead.key":["id"],"fields":[
    {"name":"id","type":"int"},{"name":"holder","type":["null","string"]}]}"#;

const SECOND: Duration = Duration::from_secs(1);

fn entities() -> Vec<Entity> {
    let table = "cabin.seat".parse().unwrap();
    vec![Entity::new(table, CONTRACT.parse().unwrap())]
}

fn watermarks(position: &Position) -> Watermarks {
    Watermarks::new(&entities(), "/cabin/1", SECOND, position)
}

fn row(sequence: i64, op: &str, after: Option<&str>) -> OutboxRow {
    OutboxRow {
        sequence,
        place: sequence,
        event_id: format!("event {sequence}"),
        entity: "cabin.seat".into(),
        op: op.into(),
        after: after.map(str::to_owned),
        ..OutboxRow::default()
    }
}

fn sums(events: &[(&str, &[u8])]) -> EventSums {
    let mut sums = EventSums::default();
    for (id, image) in events {
        sums.add(id, canonical::hash(image));
    }
    sums
}

fn reach(watermarks: &mut Watermarks, horizon: Horizon, acknowledged: i64) -> Option<i64> {
    let now = Instant::now();
    watermarks.go_for(Some(horizon), now);
    watermarks.read(acknowledged, horizon.drawn);
    watermarks.reached(acknowledged, now)
}

fn at(watermarks: &mut Watermarks, time_us: i64) -> Vec<Watermark> {
    let records = watermarks.at(time_us, |_, _| Some(Vec::new()));
    let marks = records.iter().map(|record| {
        assert!(watermarks.arrived(record.number));
        Watermark::from_json(&record.value).unwrap()
    });
    marks.collect()
}

#[test]
fn events_count_when_they_are_acknowledged_and_once() {
    let mut watermarks = watermarks(&Position::new(3, 3));
    watermarks.send(&row(5, "c", Some(r#"{"holder":null,"id":1.0}"#)));
    watermarks.send(&row(6, "d", None));
    watermarks.send(&row(7, "c", Some("[]")));
    watermarks.count(5);
    let first = sums(&[("event 5", b"{.\x02\0\0\0id#1e0;}")]);
    let counting = watermarks.take_changed();
    assert_eq!(counting.through, 5);
    let counted = counting.entities["cabin.seat"];
    assert_eq!((counted.after, counted.sums), (3, first));
    watermarks.count(6);
    let [mark] = &at(&mut watermarks, 10)[..] else {
        panic!("one entity, one watermark");
    };
    assert_eq!(
        (mark.through, mark.total.after, mark.total.sums.count),
        (6, 3, 2)
    );
    watermarks.count(7);
    let [mark] = &at(&mut watermarks, 20)[..] else {
        panic!("one entity, one watermark");
    };
    // What is no row of the contract counts as its text.
    assert_eq!(mark.interval.after, 6);
    assert_eq!(mark.interval.sums, sums(&[("event 7", b"[]")]));
    assert!(at(&mut watermarks, 20).is_empty(), "none stands still");

    // The next connection goes on where this one has saved, or begins anew if it cannot.
    let mut position = Position::new(7, 7);
    position.counting = Some(watermarks.take_changed());
    let mut next = self::watermarks(&position);
    let total = at(&mut next, 30)[0].total;
    assert_eq!((total.after, total.sums.count), (3, 3));
    position.confirmed = 8;
    let mut anew = self::watermarks(&position);
    assert!(
        at(&mut anew, 20).is_empty(),
        "time does not go back with it"
    );
    let total = at(&mut anew, 30)[0].total;
    assert_eq!((total.after, total.sums), (8, EventSums::default()));
}

#[test]
fn a_horizon_is_reached_when_all_below_it_is_read_and_acknowledged() {
    let mut watermarks = watermarks(&Position::new(0, 0));
    let start = Instant::now();
    assert!(!watermarks.is_due(start));
    let now = start + SECOND;
    assert!(watermarks.is_due(now));
    watermarks.go_for(None, now);
    assert!(!watermarks.is_due(now) && watermarks.is_due(now + LOOK_INTERVAL));
    let horizon = Horizon {
        time_us: 17,
        drawn: 9,
    };
    watermarks.go_for(Some(horizon), now);
    // A writer is open, or was in between: rows may still come.
    watermarks.read(8, 8);
    assert_eq!(watermarks.reached(100, now), None);
    watermarks.read(11, 8);
    assert_eq!(watermarks.reached(10, now), None);
    assert_eq!(watermarks.reached(11, now), Some(17));
    assert_eq!(watermarks.reached(11, now), None);
    assert!(!watermarks.is_due(now) && watermarks.is_due(now + SECOND));
    assert_eq!(reach(&mut watermarks, horizon, 9), Some(17));
}

#[test]
fn an_entity_whose_ends_are_not_known_has_no_watermark() {
    let mut watermarks = watermarks(&Position::new(0, 0));
    assert!(watermarks.at(10, |_, _| None).is_empty());
    assert!(!watermarks.is_in_flight());
    assert_eq!(watermarks.at(10, |_, _| Some(Vec::new())).len(), 1);
    assert!(watermarks.is_in_flight() && !watermarks.arrived(11) && watermarks.arrived(10));
    assert!(!watermarks.is_in_flight());
}
