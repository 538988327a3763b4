use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value as Avro;
use base64::Engine;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::RecordEncoder;

const SCHEMA: &str = r#"{"type":"record","name":"R","fields":[
    {"name":"flag","type":"boolean"},
    {"name":"count","type":"int"},
    {"name":"total","type":["null","long"]},
    {"name":"ratio","type":["double","null"]},
    {"name":"small","type":"float"},
    {"name":"name","type":["null","string"],"default":null},
    {"name":"status","type":{"type":"enum","name":"S","symbols":["a","b","c"]}},
    {"name":"raw","type":"bytes"},
    {"name":"four","type":{"type":"fixed","name":"F","size":4}},
    {"name":"at","type":{"type":"long","logicalType":"timestamp-micros"}},
    {"name":"day","type":["null",{"type":"int","logicalType":"date"}]},
    {"name":"level","type":"int","default":7}
]}"#;

fn schema() -> Schema {
    Schema::parse_str(SCHEMA).unwrap()
}

fn encode(json: &str) -> Result<Vec<u8>, super::EncodeError> {
    let mut out = Vec::new();
    RecordEncoder::new(&schema())
        .unwrap()
        .encode(json, &mut out)
        .map(|()| out)
}

fn row() -> Value {
    json!({"flag": true, "count": -3, "total": 1_i64 << 40, "ratio": 0.1, "small": 1.5,
        "name": "Zoë \"x\"\n", "status": "b", "raw": "AAEC", "four": "AAECAw==",
        "at": 1_357_034_400_000_000_i64, "day": null, "level": 1})
}

fn read(schema: &Schema, bytes: &mut &[u8]) -> Avro {
    GenericDatumReader::builder(schema)
        .build()
        .unwrap()
        .read_value(bytes)
        .unwrap()
}

/// Decodes with apache-avro, an independent reader, and takes every byte.
fn decode(bytes: &[u8]) -> Vec<(String, Avro)> {
    let mut rest = bytes;
    let Avro::Record(fields) = read(&schema(), &mut rest) else {
        panic!("not a record")
    };
    assert!(rest.is_empty(), "{} bytes too many", rest.len());
    fields
}

fn without_union(value: Avro) -> Avro {
    match value {
        Avro::Union(_, inner) => *inner,
        other => other,
    }
}

#[test]
fn members_may_come_in_any_order_and_may_be_left_out() {
    let mut members: Vec<(String, Value)> =
        row().as_object().unwrap().clone().into_iter().collect();
    let straight = encode(&row().to_string()).unwrap();
    members.reverse();
    let text: Vec<String> = members
        .iter()
        .map(|(name, value)| format!("{}:{value}", json!(name)))
        .collect();
    assert_eq!(
        encode(&format!("{{{}}}", text.join(","))).unwrap(),
        straight
    );

    let mut short = row();
    for name in ["total", "name", "day", "level"] {
        short.as_object_mut().unwrap().remove(name);
    }
    let fields = decode(&encode(&short.to_string()).unwrap());
    assert_eq!(fields[2].1, Avro::Union(0, Box::new(Avro::Null)));
    assert_eq!(fields[11].1, Avro::Int(7));
}

#[test]
fn what_is_not_of_the_contract_is_refused_by_name() {
    let cases = [
        ("flag", json!(1)),
        ("count", json!(1_i64 << 31)),
        ("count", json!(1.0)),
        ("total", json!("1")),
        ("total", json!(u64::MAX)),
        ("ratio", json!("0.1")),
        ("name", json!(5)),
        ("status", json!("d")),
        ("raw", json!("???")),
        ("four", json!("AAEC")),
        ("at", json!("2013-01-01")),
        ("flag", Value::Null),
    ];
    for (name, value) in cases {
        let mut bad = row();
        bad[name] = value.clone();
        let error = encode(&bad.to_string()).expect_err(&format!("{name} = {value}"));
        assert_eq!(error.field.as_deref(), Some(name), "{error}");
    }
    let error = encode(&row().to_string().replace("0.1", "1e999")).unwrap_err();
    assert_eq!(error.field.as_deref(), Some("ratio"));
}

#[test]
fn unknown_doubled_and_missing_members_are_errors_and_leave_the_output_alone() {
    let text = row().to_string();
    let open = text.trim_end_matches('}');
    for (bad, words) in [
        (format!("{open},\"extra\":1}}"), "extra"),
        (format!("{open},\"flag\":true}}"), "twice"),
        (text.replace("\"flag\":true,", ""), "missing"),
        (open.to_owned(), "EOF"),
        (format!("{text}{text}"), "trailing"),
        ("[]".to_owned(), "object"),
    ] {
        let mut out = b"kept".to_vec();
        let error = RecordEncoder::new(&schema())
            .unwrap()
            .encode(&bad, &mut out)
            .expect_err(&bad);
        assert!(error.to_string().contains(words), "{error} lacks {words}");
        assert_eq!(out, b"kept");
    }
}

#[test]
fn an_encoder_is_whole_again_after_an_error() {
    let mut encoder = RecordEncoder::new(&schema()).unwrap();
    let mut out = Vec::new();
    encoder
        .encode("{\"flag\":true,\"count\":\"x\"}", &mut out)
        .unwrap_err();
    encoder.encode(&row().to_string(), &mut out).unwrap();
    assert_eq!(out, encode(&row().to_string()).unwrap());
}

proptest! {
    #[test]
    fn apache_avro_reads_what_was_written(
        flag: bool, count: i32, total in proptest::option::of(any::<i64>()),
        ratio in proptest::option::of(proptest::num::f64::NORMAL | proptest::num::f64::SUBNORMAL),
        small in proptest::num::f32::NORMAL, name in proptest::option::of(".*"),
        status in 0_u32..3, raw: Vec<u8>, four: [u8; 4], at: i64,
        day in proptest::option::of(any::<i32>()),
    ) {
        let base64 = base64::engine::general_purpose::STANDARD;
        let mut row = Map::new();
        row.insert("flag".into(), json!(flag));
        row.insert("count".into(), json!(count));
        row.insert("total".into(), json!(total));
        row.insert("ratio".into(), json!(ratio));
        row.insert("small".into(), json!(small));
        row.insert("name".into(), json!(name));
        row.insert("status".into(), json!(["a", "b", "c"][status as usize]));
        row.insert("raw".into(), json!(base64.encode(&raw)));
        row.insert("four".into(), json!(base64.encode(four)));
        row.insert("at".into(), json!(at));
        row.insert("day".into(), json!(day));
        row.insert("level".into(), json!(count));
        let fields = decode(&encode(&Value::Object(row).to_string()).unwrap());
        let values: Vec<Avro> = fields.into_iter().map(|(_, value)| without_union(value)).collect();
        let or_null = |value: Option<Avro>| value.unwrap_or(Avro::Null);
        prop_assert_eq!(values, vec![
            Avro::Boolean(flag), Avro::Int(count), or_null(total.map(Avro::Long)),
            or_null(ratio.map(Avro::Double)), Avro::Float(small),
            or_null(name.map(Avro::String)),
            Avro::Enum(status, ["a", "b", "c"][status as usize].into()),
            Avro::Bytes(raw), Avro::Fixed(4, four.to_vec()), Avro::TimestampMicros(at),
            or_null(day.map(Avro::Date)), Avro::Int(count),
        ]);
    }
}
