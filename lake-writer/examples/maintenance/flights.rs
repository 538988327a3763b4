//! Flights as `tests/bench/workload.py` makes them: four events of each, texts of few and of many values,
//! and a note that nothing compresses.

use std::fmt::Write;

use schemas::Shape;

use crate::generated::Subject;

const CARRIERS: [&str; 16] = [
    "9E", "AA", "AS", "B6", "DL", "EV", "F9", "FL", "HA", "MQ", "OO", "UA", "US", "VX", "WN", "YV",
];
const ORIGINS: [&str; 3] = ["EWR", "JFK", "LGA"];
const STATUS: [&str; 4] = ["scheduled", "boarding", "departed", "arrived"];
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// 2013-01-01T00:00Z.
const YEAR_US: u64 = 1_356_998_400_000_000;
const MINUTES: u64 = 364 * 24 * 60;

pub(crate) const FLIGHTS: Subject = Subject {
    topic: "bench.flights",
    contract: include_str!("../../../tests/bench/flight.avsc"),
    shape: Shape::Append,
    compose,
};

/// `flights` tells how many there are.
fn compose(number: i64, flights: i64, key: &mut String, value: &mut String) {
    let (flight, step) = ((number % flights).cast_unsigned(), number / flights % 4);
    let (mixed, noise) = (mix(flight), mix(!number.cast_unsigned()));
    let scheduled = mixed % MINUTES;
    let happened = scheduled + 30 * step.cast_unsigned() + (noise >> 16 & 15);
    // Writing into a String does not fail.
    write!(key, "{mixed:016x}").ok();
    write!(
        value,
        r#"{{"flight_id":"{mixed:016x}","carrier":"{}","flight":{},"origin":"{}","dest":"D{:02}","#,
        pick(&CARRIERS, mixed >> 8),
        (mixed >> 16) % 8500 + 1,
        pick(&ORIGINS, mixed >> 32),
        (mixed >> 36) % 103,
    )
    .ok();
    write!(
        value,
        r#""sched_dep":{},"dep_delay":{}.0,"arr_delay":{}.0,"status":"{}","tailnum":"N{}","event_time":{},"note":""#,
        YEAR_US + scheduled * 60_000_000,
        (noise & 0xff).cast_signed() - 20,
        (noise >> 8 & 0xff).cast_signed() - 30,
        pick(&STATUS, step.cast_unsigned()),
        (mixed >> 40) % 90_000 + 10_000,
        YEAR_US + happened * 60_000_000,
    )
    .ok();
    for word in 0..4 {
        let bits = mix(noise + word);
        value.extend((0..10).map(|at| char::from(ALPHABET[(bits >> (6 * at) & 63) as usize])));
    }
    value.push_str("\"}");
}

fn pick<'a>(of: &[&'a str], number: u64) -> &'a str {
    of[(number % of.len() as u64) as usize]
}

/// Numbers that follow each other become others that have nothing in common (SplitMix64).
fn mix(number: u64) -> u64 {
    let mixed = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed ^ mixed >> 31
}
