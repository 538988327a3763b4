use std::collections::HashMap;

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::Contract;

const VECTORS: &str = include_str!("../../vectors/canonical_v1.json");

fn vectors() -> Value {
    serde_json::from_str(VECTORS).unwrap()
}

fn list<'a>(vectors: &'a Value, name: &str) -> &'a [Value] {
    vectors[name].as_array().unwrap()
}

fn written(write: impl FnOnce(&mut RowWriter)) -> String {
    let mut out = RowWriter::default();
    write(&mut out);
    String::from_utf8(out.bytes().to_vec()).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn contract(fields: &str) -> Contract {
    let json = format!(r#"{{"type":"record","name":"Row","fields":[{fields}]}}"#);
    json.parse().unwrap()
}

#[test]
fn the_rows_of_the_vectors_have_their_bytes_and_hashes() {
    let vectors = vectors();
    assert_eq!(vectors["version"], VERSION);
    for vector in list(&vectors, "rows") {
        let contract: Contract = vector["schema"].to_string().parse().unwrap();
        let mut out = RowWriter::default();
        match vector["row"].as_str() {
            Some(json) => JsonRow::new(&contract).write(json, &mut out).unwrap(),
            None => out.null(),
        }
        assert_eq!(hex(out.bytes()), vector["bytes"], "{}", vector["name"]);
        let hash = format!("{:032x}", out.hash());
        assert_eq!(hash, vector["hash"], "{}", vector["name"]);
    }
}

#[test]
fn the_doubles_of_the_vectors_have_their_bytes() {
    for vector in list(&vectors(), "doubles") {
        let bits = u64::from_str_radix(vector["bits"].as_str().unwrap(), 16).unwrap();
        let bytes = written(|out| out.double(f64::from_bits(bits)));
        assert_eq!(bytes, vector["bytes"], "{}", vector["bits"]);
    }
}

#[test]
fn the_sums_of_the_vectors_are_those_of_their_events_in_any_order() {
    let vectors = vectors();
    let hash_of = |row: &Value| u128::from_str_radix(row["hash"].as_str().unwrap(), 16).unwrap();
    let rows = list(&vectors, "rows").iter();
    let hashes: HashMap<&str, u128> = rows
        .map(|row| (row["name"].as_str().unwrap(), hash_of(row)))
        .collect();
    for vector in list(&vectors, "sums") {
        let expected = EventSums {
            count: vector["count"].as_u64().unwrap(),
            ids: vector["ids"].as_str().unwrap().parse().unwrap(),
            rows: vector["rows"].as_str().unwrap().parse().unwrap(),
        };
        let events = vector["events"].as_array().unwrap();
        let mut sums = EventSums::default();
        for event in events.iter().rev() {
            let row = hashes[event["row"].as_str().unwrap()];
            sums.add(event["id"].as_str().unwrap(), row);
        }
        assert_eq!(sums, expected);
        for event in events {
            let row = hashes[event["row"].as_str().unwrap()];
            sums.subtract(event["id"].as_str().unwrap(), row);
        }
        assert_eq!(sums, EventSums::default());
    }
}

#[test]
fn what_is_not_as_the_contract_says_is_told_by_its_place() {
    let contract = contract(
        r#"{"name":"id","type":"long"},
           {"name":"in","type":{"type":"record","name":"In","fields":[
             {"name":"day","type":{"type":"int","logicalType":"date"}}]}},
           {"name":"at","type":["null",{"type":"long","logicalType":"timestamp-nanos"}]}"#,
    );
    let rows = JsonRow::new(&contract);
    let cases = [
        (r#"{"id":"3"}"#, "id"),
        (r#"{"id":3.5}"#, "id"),
        (r#"{"id":1e19}"#, "id"),
        (r#"{"in":{"day":"2013-02-29"}}"#, "in.day"),
        (r#"{"at":1}"#, "at"),
        (r#"{"id":1,"id":2}"#, ""),
        (r#"{"id":1}x"#, ""),
        ("[]", ""),
        ("", ""),
    ];
    for (json, field) in cases {
        let error = rows.write(json, &mut RowWriter::default()).unwrap_err();
        assert_eq!(error.field, field, "{json}: {error}");
    }
}

#[test]
fn times_are_exact_to_the_microsecond_or_not_at_all() {
    assert_eq!(day_of_text("1970-01-01"), Some(0));
    assert_eq!(day_of_text("2000-02-29"), Some(11_016));
    assert_eq!(day_of_text("0001-01-01"), Some(-719_162));
    assert_eq!(day_of_text("9999-12-31"), Some(2_932_896));
    for text in ["1900-02-29", "2013-13-01", "2013-1-1", "2013-01-01Z", ""] {
        assert_eq!(day_of_text(text), None, "{text}");
    }
    assert_eq!(time_of_text("01:02:03.5"), Some(3_723_500_000));
    assert_eq!(time_of_text("01:02"), Some(3_720_000_000));
    assert_eq!(time_of_text("00:00:00.000001000"), Some(1));
    assert_eq!(time_of_text("00:00:00.0000001"), None);
    assert_eq!(time_of_text("24:00:00"), None);
    let texts = [
        "2013-01-01T05:02:03.004Z",
        "2013-01-01 05:02:03.004+00",
        "2013-01-01 00:02:03.004-05",
        "2013-01-01T10:32:03.004+05:30",
        "2013-01-01T10:32:03.004+0530",
    ];
    for text in texts {
        assert_eq!(instant_of_text(text), Some(1_357_016_523_004_000), "{text}");
    }
    assert_eq!(instant_of_text("2013-01-01 05:02:03"), None);
    assert_eq!(wall_clock_of_text("1969-12-31 23:59:59.999999"), Some(-1));
    assert_eq!(wall_clock_of_text("1969-12-31 23:59:59Z"), None);
}

#[test]
fn a_sum_as_text_is_32_digits_and_nothing_else() {
    let mut sum = Sum::default();
    sum.add(u128::MAX);
    sum.add(3);
    assert_eq!(sum.to_string(), "00000000000000000000000000000002");
    assert_eq!(sum.to_string().parse(), Ok(sum));
    for text in [
        "",
        "2",
        "+0000000000000000000000000000002",
        "0000000000000000000000000000000g",
    ] {
        assert!(text.parse::<Sum>().is_err(), "{text}");
    }
}

proptest! {
    #[test]
    fn a_double_is_written_as_its_shortest_text(value in any::<f64>()) {
        let shown = written(|out| out.double(value));
        prop_assert_eq!(&shown, &written(|out| assert!(out.number_text(&format!("{value:?}")))));
        if value.is_finite() {
            let digits = shown.trim_matches(['#', ';']);
            prop_assert_eq!(digits.parse::<f64>().unwrap(), value);
        }
    }

    #[test]
    fn a_whole_number_is_the_same_in_every_type(value in any::<i32>()) {
        let shown = written(|out| out.whole(value.into()));
        prop_assert_eq!(&shown, &written(|out| out.double(value.into())));
        prop_assert_eq!(&shown, &written(|out| out.decimal(i128::from(value) * 1000, 3)));
        prop_assert_eq!(&shown, &written(|out| assert!(out.number_text(&format!("{value}.0")))));
    }

    #[test]
    fn a_decimal_is_the_same_as_its_text(digits in any::<i128>(), scale in 0_i32..39) {
        let text = format!("{digits}e-{scale}");
        prop_assert_eq!(
            written(|out| out.decimal(digits, scale)),
            written(|out| assert!(out.number_text(&text)))
        );
    }

    #[test]
    fn what_is_no_number_leaves_nothing(text in "[-+0-9eE.x ]{0,6}") {
        let mut out = RowWriter::default();
        let is_number = out.number_text(&text);
        prop_assert_eq!(is_number, !out.is_empty());
        prop_assert_eq!(is_number, text.parse::<f64>().is_ok(), "{}", text);
    }
}
