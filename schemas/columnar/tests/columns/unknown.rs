//! Rows of JSON with fields that the table lacks, and the columns that are inferred of them.

use columnar::{ChangeDecoder, ChangeSchema, DecodeError, Decoded, UnknownFields, infer_more};
use schemas::{Contract, Evolution, Shape};

use crate::table::{Cell, buffer, cell, contract, finish, meta};

const TABLE: &str = r#"{"type":"record","name":"R","lakehead.key":["id"],"fields":[
    {"name":"id","type":"long"},
    {"name":"size","type":["null","double"],"default":null,"aliases":["length"]},
    {"name":"place","type":["null",{"type":"record","name":"Place","fields":[
        {"name":"x","type":["null","long"],"default":null}]}],"default":null},
    {"name":"items","type":["null",{"type":"array","items":["null",{"type":"record","name":"Item","fields":[
        {"name":"n","type":["null","long"],"default":null}]}]}],"default":null},
    {"name":"by","type":["null",{"type":"map","values":{"type":"record","name":"Value","fields":[
        {"name":"v","type":["null","long"],"default":null}]}}],"default":null}]}"#;

fn decode(unknown: UnknownFields, shape: Shape, body: &str) -> Result<Decoded, DecodeError> {
    let schema = ChangeSchema::new(&contract(TABLE));
    let mut decoder = ChangeDecoder::json_with(shape, &schema, unknown);
    let mut rows = buffer(&schema);
    let good = br#"{"id":0}"#;
    if shape != Shape::Debezium {
        let decoded = decoder.decode(&meta(0), Some(good), None, &mut rows);
        assert_eq!(decoded, Ok(Decoded::Row));
    }
    let before = rows.rows();
    let decoded = decoder.decode(&meta(1), Some(body.as_bytes()), None, &mut rows);
    assert_eq!(
        rows.rows(),
        before + usize::from(decoded == Ok(Decoded::Row))
    );
    decoded
}

fn unknown(unknown: UnknownFields, body: &str) -> Option<String> {
    match decode(unknown, Shape::Upsert, body) {
        Ok(Decoded::Row) => None,
        Err(DecodeError::UnknownField { field }) => Some(field),
        other => panic!("{body}: {other:?}"),
    }
}

#[test]
fn a_field_that_the_table_lacks_is_named() {
    for (body, field) in [
        (r#"{"id":1,"colour":"red"}"#, "colour"),
        (r#"{"colour" : {"deep":[1]} , "id":1}"#, "colour"),
        (r#"{"id":1,"a\"\\b\u00e9":1}"#, "a\"\\bé"),
        (r#"{"id":1,"\\":true}"#, "\\"),
        (r#"{"id":1,"":0}"#, ""),
        (r#"{"id":1,"place":{"x":1,"y":2}}"#, "place.y"),
        (r#"{"id":1,"items":[{"n":1},null,{"m":1}]}"#, "element.m"),
        (r#"{"id":1,"by":{"k":{"v":1,"w":false}}}"#, "value.w"),
        (r#"{"id":1,"ID":1}"#, "ID"),
    ] {
        for mode in [UnknownFields::Refuse, UnknownFields::RefuseValues] {
            assert_eq!(unknown(mode, body).as_deref(), Some(field), "{body}");
        }
        assert_eq!(unknown(UnknownFields::Ignore, body), None, "{body}");
    }
    for body in [
        r#"{"id":1,"colour":null}"#,
        r#"{"id":1,"place":{"x":1,"y":null}}"#,
        r#"{"id":1,"length":2.5}"#,
    ] {
        assert_eq!(unknown(UnknownFields::Refuse, body), None, "{body}");
    }
    for hollow in ["[]", "{}", "[null,[]]", r#"{"a":null,"b":{"c":[]}}"#] {
        let body = format!(r#"{{"id":1,"colour":{hollow}}}"#);
        assert_eq!(
            unknown(UnknownFields::Refuse, &body).as_deref(),
            Some("colour")
        );
        assert_eq!(unknown(UnknownFields::RefuseValues, &body), None, "{body}");
    }
}

#[test]
fn what_is_no_json_is_not_a_matter_of_fields() {
    for (body, code) in [
        (r#"{"id":1,"colour":"re"#, "truncated"),
        (r#"{"id":1,"colour":"#, "truncated"),
        (r#"{"id":1,"colour":nul"#, "truncated"),
        (r#"{"id":1,"colour":[1,}"#, "invalid"),
        (r#"{"id":1,"colour":01}"#, "invalid"),
    ] {
        let error = decode(UnknownFields::Refuse, Shape::Upsert, body).unwrap_err();
        assert_eq!(error.code(), code, "{body}: {error}");
    }
}

#[test]
fn an_envelope_has_fields_of_its_own_and_its_rows_have_not() {
    let ours = r#"{"before":null,"after":{"id":1},"op":"c","ts_ms":1,"ts_us":2,"transaction":{"id":"7"},"source":{"ts_ms":5,"sequence":"[1]"}}"#;
    let decoded = decode(UnknownFields::Refuse, Shape::Debezium, ours);
    assert_eq!(decoded, Ok(Decoded::Row));
    for body in [
        r#"{"before":null,"after":{"id":1,"colour":"red"},"op":"c"}"#,
        r#"{"schema":null,"payload":{"before":{"id":1},"after":{"id":1,"colour":"red"},"op":"u"}}"#,
        r#"{"before":{"id":1,"colour":"red"},"after":null,"op":"d"}"#,
    ] {
        let error = decode(UnknownFields::Refuse, Shape::Debezium, body).unwrap_err();
        assert_eq!(error.code(), "unknown_field", "{body}: {error}");
    }
}

fn grown(table: &Contract, body: &str) -> Result<Option<Vec<String>>, String> {
    let brought = infer_more(table, body.as_bytes(), Shape::Upsert);
    let Some(brought) = brought.map_err(|error| error.to_string())? else {
        return Ok(None);
    };
    match table.evolve(&brought) {
        Ok(Evolution::Changes(changes)) => {
            assert!(!changes.needs_rewrite() && changes.relaxed.is_empty());
            assert_eq!(changes.contract.key(), table.key());
            let stored = changes.contract.avro_json().to_string();
            assert_eq!(contract(&stored).fields(), changes.contract.fields());
            Ok(Some(changes.added))
        }
        Ok(Evolution::Same) => Ok(Some(Vec::new())),
        Err(error) => Err(error.to_string()),
    }
}

#[test]
fn a_table_grows_by_what_a_record_has_besides() {
    let table = contract(TABLE);
    let added = |body: &str| grown(&table, body).unwrap().unwrap_or_default();
    assert_eq!(added(r#"{"id":1,"size":3,"colour":"red"}"#), ["colour"]);
    assert_eq!(
        added(r#"{"id":1,"place":{"y":{"z":[1.5]}},"b":true,"c":[{"d":1}]}"#),
        ["place.y", "b", "c"]
    );
    assert_eq!(
        added(r#"{"items":[null,{"m":1},{"o":"x"}]}"#),
        ["items.element.m", "items.element.o"]
    );
    for nothing in [
        r#"{"id":"another type"}"#,
        r#"{"length":1}"#,
        r#"{"new":null,"more":[],"less":{"x":[{}]}}"#,
        r#"{"by":{"k":{"w":1}}}"#,
    ] {
        assert_eq!(grown(&table, nothing), Ok(None), "{nothing}");
    }
    for (body, why) in [
        (r#"{"Size":1}"#, "but for case"),
        (r#"{"_op":"x"}"#, "\"_op\""),
        (r#"{"new":[1,"a"]}"#, "a long in one record and a string"),
        (r#"{"new":18446744073709551616}"#, "more than 64 bits"),
        ("[1]", "no row"),
    ] {
        let error = grown(&table, body).unwrap_err();
        assert!(error.contains(why), "{body}: {error}");
    }
}

#[test]
fn a_grown_table_takes_the_record_that_it_grew_by() {
    let table = contract(TABLE);
    let body = r#"{"id":1,"place":{"x":2,"y":3},"items":[{"m":"a"}],"colour":"red"}"#;
    let brought = infer_more(&table, body.as_bytes(), Shape::Upsert);
    let Ok(Evolution::Changes(changes)) = table.evolve(&brought.unwrap().unwrap()) else {
        panic!("no change");
    };
    let schema = ChangeSchema::new(&changes.contract);
    let mut decoder = ChangeDecoder::json_with(Shape::Upsert, &schema, UnknownFields::RefuseValues);
    let mut rows = buffer(&schema);
    for body in [body, r#"{"id":2}"#] {
        let decoded = decoder.decode(&meta(0), Some(body.as_bytes()), None, &mut rows);
        assert_eq!(decoded, Ok(Decoded::Row));
    }
    let batch = finish(rows);
    assert_eq!(cell(&batch, "colour", 0), Cell::text("red"));
    assert_eq!(cell(&batch, "colour", 1), Cell::Null);
    assert_eq!(cell(&batch, "place.y", 0), Cell::Long(3));
}
