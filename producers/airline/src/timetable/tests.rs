use chrono::Timelike;
use chrono_tz::Tz;

use super::*;

// The expected figures were computed once by a Python program of its own over the same CSV.

fn count(timetable: &Timetable, status: Status) -> usize {
    timetable
        .changes()
        .iter()
        .filter(|change| change.status == status)
        .count()
}

fn time_sum(timetable: &Timetable) -> i128 {
    timetable
        .changes()
        .iter()
        .map(|change| i128::from(change.time_us))
        .sum()
}

/// Depends on every change's time, flight and step, and on their order.
fn order_sum(timetable: &Timetable) -> i128 {
    timetable.changes().iter().fold(0, |sum, change| {
        let seconds = i128::from(change.time_us / 1_000_000);
        let flight = i128::from(timetable.flights()[change.flight].key.flight);
        (sum * 31 + seconds * 7 + flight * 3 + change.status as i128) % ((1 << 61) - 1)
    })
}

fn check(
    period: Period,
    counts: [usize; 4],
    expected_time_sum: i128,
    expected_order_sum: i128,
) -> Timetable {
    let timetable = Timetable::load(period).unwrap();
    assert_eq!(timetable.flights().len() as u64, period.flights());
    assert_eq!(timetable.changes().len() as u64, period.changes());
    let statuses = [
        Status::Scheduled,
        Status::Departed,
        Status::Arrived,
        Status::Cancelled,
    ];
    assert_eq!(statuses.map(|status| count(&timetable, status)), counts);
    assert_eq!(time_sum(&timetable), expected_time_sum);
    assert_eq!(order_sum(&timetable), expected_order_sum);
    timetable
}

#[test]
fn january_is_80_406_changes() {
    let timetable = check(
        Period::January,
        [27_004, 26_483, 26_398, 521],
        109_217_995_485_540_000_000,
        393_545_532_059_656_686,
    );
    let without_arrival = count(&timetable, Status::Departed) - count(&timetable, Status::Arrived);
    assert_eq!(without_arrival, 85);
}

#[test]
fn the_year_is_1_000_898_changes_by_the_airports_clocks() {
    let timetable = check(
        Period::Year,
        [336_776, 328_521, 327_346, 8_255],
        1_374_067_541_304_600_000_000,
        236_369_475_719_687_851,
    );
    let airports = Airports::load().unwrap();
    let mut leapt_over = Vec::new();
    let mut lives = vec![Vec::new(); timetable.flights().len()];
    for change in timetable.changes() {
        lives[change.flight].push(*change);
    }
    for (flight, life) in timetable.flights().iter().zip(&lives) {
        assert!(
            life.windows(2)
                .all(|pair| pair[0].time_us < pair[1].time_us),
            "{flight:?}"
        );
        assert_eq!(life[0].status, Status::Scheduled);
        let departed = life.iter().find(|change| change.status == Status::Departed);
        let Some(departed) = departed else {
            assert_eq!(flight.dep_time, None);
            continue;
        };
        let clock = shown(airports.zone(&flight.key.origin).unwrap(), departed);
        assert_eq!(
            Some(clock),
            flight.dep_time.map(|time| time % 2400),
            "{flight:?}"
        );
        let Some(arrived) = life.get(2) else { continue };
        let minutes = (arrived.time_us - departed.time_us) / 60_000_000;
        let on_the_ground = minutes - i64::from(flight.air_time.unwrap());
        assert!(
            (0..=240).contains(&on_the_ground),
            "{on_the_ground} minutes: {flight:?}"
        );
        let clock = shown(airports.zone(&flight.dest).unwrap(), arrived);
        if Some(clock) != flight.arr_time.map(|time| time % 2400) {
            leapt_over.push((flight.key.month, flight.key.day, flight.arr_time, clock));
        }
    }
    // The one arrival in the hour that the clocks leapt over.
    assert_eq!(leapt_over, [(3, 9, Some(203), 303)]);
}

/// What a clock in the zone shows at a change, HHMM.
fn shown(zone: Tz, change: &Change) -> i32 {
    let instant = DateTime::from_timestamp_micros(change.time_us).unwrap();
    let local = instant.with_timezone(&zone);
    i32::try_from(local.hour() * 100 + local.minute()).unwrap()
}

#[test]
fn the_scheduled_hour_is_that_of_the_data_set() {
    let timetable = Timetable::load(Period::January).unwrap();
    for change in timetable.changes() {
        if change.status == Status::Scheduled {
            let departure = change.time_us + SCHEDULED_AHEAD.num_seconds() * 1_000_000;
            let hour = departure - departure.rem_euclid(3_600_000_000);
            assert_eq!(hour, timetable.flights()[change.flight].time_hour_us);
        }
    }
}
