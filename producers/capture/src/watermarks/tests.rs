use schemas::Watermark;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn tables() -> Vec<CapturedTable> {
    let entity = "shop.seat".parse().unwrap();
    vec![CapturedTable::new("public", "seat", entity)]
}

fn progress(confirmed: u64) -> Progress {
    Progress {
        source: "postgres://1/shop".to_owned(),
        confirmed: Lsn(confirmed),
        ..Progress::default()
    }
}

fn watermarks(progress: &Progress) -> Watermarks {
    Watermarks::new(SECOND, &tables(), progress)
}

fn sums(ids: &[&str]) -> EventSums {
    let mut sums = EventSums::default();
    for id in ids {
        sums.add(id, canonical::hash(id.as_bytes()));
    }
    sums
}

fn transaction(watermarks: &mut Watermarks, end: u64, ids: &[&str]) {
    watermarks.open.insert("shop.seat".into(), sums(ids));
    watermarks.end_transaction(Lsn(end));
}

/// Those of the changes and of the copy.
fn at(watermarks: &mut Watermarks, time_us: i64, confirmed: u64) -> Vec<Watermark> {
    let records = watermarks.at(time_us, Lsn(confirmed), |_| Some(Vec::new()));
    let marks = records.iter();
    marks
        .map(|record| Watermark::from_json(&record.value).unwrap())
        .collect()
}

#[test]
fn transactions_count_when_they_are_confirmed_and_once() {
    let mut marks = watermarks(&progress(10));
    transaction(&mut marks, 20, &["a", "b"]);
    transaction(&mut marks, 30, &["c"]);
    marks.count(Lsn(19));
    assert_eq!(at(&mut marks, 1, 19)[0].total.sums, EventSums::default());
    let saved = marks.count(Lsn(20));
    let [changes, copied] = &at(&mut marks, 2, 20)[..] else {
        panic!("one of the changes, one of the copy");
    };
    assert_eq!((changes.total.after, changes.through), (9, 19));
    assert_eq!(changes.total.sums, sums(&["a", "b"]));
    assert_eq!(copied.source, "postgres://1/shop#copy");
    assert_eq!(copied.total.sums, EventSums::default());
    assert!(at(&mut marks, 2, 20).is_empty(), "none stands still");

    // Whoever comes after a crash gets the second transaction again, and the first no more.
    let mut known = progress(20);
    known.counted = Some(saved);
    let mut next = watermarks(&known);
    transaction(&mut next, 30, &["c"]);
    next.count(Lsn(30));
    let [changes, _] = &at(&mut next, 3, 30)[..] else {
        panic!("one of the changes, one of the copy");
    };
    assert_eq!(changes.total.sums, sums(&["a", "b", "c"]));
    assert_eq!(
        (changes.interval.after, changes.interval.sums.count),
        (19, 1)
    );
}

#[test]
fn what_may_have_been_published_uncounted_is_not_counted() {
    let mut known = progress(20);
    known.reserved = Lsn(50);
    let mut marks = watermarks(&known);
    let row = |major| Sequence {
        major,
        minor: Some(1),
    };
    marks.count_copied("shop.seat", row(50), &sums(&["a"]));
    marks.count_copied("shop.seat", row(51), &sums(&["b"]));
    let copied = at(&mut marks, 1, 60).remove(1);
    assert_eq!((copied.total.after, copied.total.sums), (50, sums(&["b"])));
}

#[test]
fn a_horizon_is_reached_when_the_log_is_confirmed_up_to_it() {
    let mut marks = watermarks(&progress(0));
    let now = Instant::now() + SECOND;
    assert!(marks.is_due(now) && !marks.rests(now));
    marks.go_for(None, now);
    assert!(!marks.is_due(now) && marks.is_due(now + LOOK_INTERVAL));
    let horizon = Horizon {
        time_us: 17,
        end: Lsn(9),
    };
    marks.go_for(Some(horizon), now);
    assert!(!marks.is_due(now + LOOK_INTERVAL) && !marks.rests(now));
    assert_eq!(marks.reached(Lsn(8), now), None);
    assert_eq!(marks.reached(Lsn(9), now), Some(17));
    assert!(marks.rests(now) && marks.is_due(now + SECOND));
    marks.hurry(now);
    assert!(marks.is_due(now));
}
