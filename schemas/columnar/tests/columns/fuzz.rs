//! Bodies that chance wrote, in tables of every type: no panic, no trace of what was refused, and no
//! more memory than a record may take.

use columnar::{ChangeDecoder, ChangeSchema, Decoded};
use proptest::prelude::*;
use proptest::sample::Index;
use schemas::{AvroSchema, Shape};
use serde_json::{Value, json};

use crate::table::{buffer, contract, encode, meta};
use crate::type_rows::{ASKED, AVRO, DEBEZIUM, Row};

/// What a record may take in memory besides a multiple of its bytes: columns that it says nothing of.
const UNSAID_BYTES_MAX: usize = 128 << 20;

/// What a byte of a record may take: an item that is null has a place in its column.
const BYTES_PER_BYTE_MAX: usize = 256;

fn rows() -> Vec<&'static Row> {
    AVRO.iter().chain(DEBEZIUM).chain(ASKED).collect()
}

/// A table whose one column is an array of maps of a type, or the type itself.
fn record(row: &Row, nested: bool) -> String {
    let avro: Value = serde_json::from_str(row.avro).unwrap();
    let avro = match nested {
        true => json!({"type": "array", "items": {"type": "map", "values": avro}}),
        false => avro,
    };
    json!({"type": "record", "name": "Sample", "fields": [{"name": "a", "type": avro}]}).to_string()
}

/// A body with some of its bytes changed, cut off or doubled.
fn damaged(good: &[u8]) -> impl Strategy<Value = Vec<u8>> + use<> {
    let good = good.to_vec();
    let changes = prop::collection::vec((any::<Index>(), any::<u8>()), 0..4);
    (changes, any::<Index>(), any::<Index>(), 0_u8..4).prop_map(move |(changes, from, to, how)| {
        let mut body = good.clone();
        if body.is_empty() {
            return body;
        }
        for (at, byte) in changes {
            let at = at.index(body.len());
            body[at] = byte;
        }
        let (from, to) = (from.index(body.len()), to.index(body.len()));
        match how {
            0 => body.truncate(from),
            1 => body.extend_from_slice(&good[from.min(to)..]),
            2 => drop(body.drain(from.min(to)..from.max(to))),
            _ => {}
        }
        body
    })
}

fn body() -> impl Strategy<Value = (usize, bool, bool, Vec<u8>)> {
    (0..rows().len(), any::<bool>(), any::<bool>()).prop_flat_map(|(place, nested, is_json)| {
        let row = rows()[place];
        let codec = apache_avro::Schema::parse_str(&record(row, nested)).unwrap();
        let good = match (is_json, nested) {
            (true, true) => format!(r#"{{"a":[{{"k":{}}},{{}}]}}"#, row.json[0]).into_bytes(),
            (true, false) => format!(r#"{{"a":{}}}"#, row.json[0]).into_bytes(),
            (false, _) => {
                use apache_avro::types::Value as Avro;
                let value = (row.value)();
                let value = match nested {
                    true => Avro::Array(vec![Avro::Map([("k".to_owned(), value)].into())]),
                    false => value,
                };
                encode(&codec, Avro::Record(vec![("a".to_owned(), value)]))
            }
        };
        let bytes = prop_oneof![
            3 => damaged(&good),
            1 => prop::collection::vec(any::<u8>(), 0..64),
            // Varints that claim much.
            1 => prop::collection::vec(prop_oneof![Just(0xff_u8), Just(0xfe), Just(0x01), Just(0)], 0..40),
        ];
        bytes.prop_map(move |body| (place, nested, is_json, body))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn chance_does_no_harm((place, nested, is_json, body) in body()) {
        let text = record(rows()[place], nested);
        let schema = ChangeSchema::new(&contract(&text));
        let writer: AvroSchema = text.parse().unwrap();
        let mut decoder = match is_json {
            true => ChangeDecoder::json(Shape::Append, &schema),
            false => ChangeDecoder::of_writer(&writer, Shape::Append, &schema).unwrap(),
        };
        let mut rows = buffer(&schema);
        let decoded = decoder.decode(&meta(0), Some(&body), None, &mut rows);
        prop_assert_eq!(rows.rows(), usize::from(decoded == Ok(Decoded::Row)));
        prop_assert!(rows.bytes() <= UNSAID_BYTES_MAX + BYTES_PER_BYTE_MAX * body.len(), "{} bytes", rows.bytes());
        // What comes out is whole.
        let batch = rows.finish(0).unwrap();
        prop_assert_eq!(batch.num_rows(), usize::from(decoded == Ok(Decoded::Row)));
    }

    #[test]
    fn schemas_that_chance_wrote_are_refused_or_read(text in schema_text()) {
        if let Ok(writer) = text.parse::<AvroSchema>() {
            let _ = writer.fingerprint();
            let _ = columnar::contract_of_writer(&writer, None, Shape::Append, None);
            let _ = columnar::contract_of_writer(&writer, None, Shape::Debezium, None);
        }
        if let Ok(json) = serde_json::from_str::<Value>(&text) {
            let _ = AvroSchema::from_connect(&json);
            let value = json!({"schema": json, "payload": {}}).to_string();
            let _ = columnar::contract_of_json(value.as_bytes(), None, Shape::Append, None);
        }
    }
}

/// Texts of schemas, damaged.
fn schema_text() -> impl Strategy<Value = String> {
    (0..rows().len(), any::<bool>()).prop_flat_map(|(place, nested)| {
        let good = record(rows()[place], nested);
        damaged(good.as_bytes()).prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    })
}
