//! A row has one canonical form, whether it is hashed as it was written or as the lake holds it.

use std::sync::Arc;

use apache_avro::types::Value;
use apache_avro::{Decimal, Schema as AvroSchema};
use arrow::array::{
    Array, ArrayRef, DictionaryArray, Float64Array, Int32Array, Int64Array, ListArray, MapArray,
    RecordBatch, StringArray, StringViewArray, StructArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, Fields, Int32Type, Schema};
use columnar::{CanonicalRows, ChangeDecoder, ChangeSchema};
use proptest::prelude::*;
use schemas::Contract;
use schemas::canonical::{AvroRow, JsonRow, RowWriter};

use crate::entity::samples;
use crate::table::{buffer, encode, finish, lenient, meta};

/// The canonical bytes of one row over the contract's columns, for people.
pub(crate) fn canonical(batch: &RecordBatch, contract: &Contract, row: usize) -> String {
    let schema = batch.schema();
    let names = contract.fields().iter().map(|field| &field.name);
    let places: Vec<usize> = names.map(|name| schema.index_of(name).unwrap()).collect();
    shown(batch, &places, row)
}

/// The canonical bytes of a JSON object.
pub(crate) fn canonical_of_json(contract: &Contract, json: &str) -> String {
    let mut out = RowWriter::default();
    JsonRow::new(contract).write(json, &mut out).unwrap();
    String::from_utf8_lossy(out.bytes()).into_owned()
}

fn shown(batch: &RecordBatch, places: &[usize], row: usize) -> String {
    let rows = CanonicalRows::new(batch, places).unwrap();
    let mut out = RowWriter::default();
    rows.write(row, &mut out);
    String::from_utf8_lossy(out.bytes()).into_owned()
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, a)| (n, a, true)))
        .unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn an_outbox_and_the_lake_agree(sample in samples(1..6)) {
        let (entity, style) = (&sample.entity, &sample.style);
        let contract = entity.contract();
        let schema = columnar::ChangeSchema::new(&contract);
        let mut decoder = lenient(schemas::Shape::Append, &schema);
        let mut rows = buffer(&schema);
        let bodies: Vec<String> = sample.rows.iter().map(|row| entity.json(row, style)).collect();
        for (offset, body) in (0..).zip(&bodies) {
            decoder.decode(&meta(offset), Some(body.as_bytes()), None, &mut rows).unwrap();
        }
        let landed = finish(rows);
        for (row, body) in bodies.iter().enumerate() {
            let expected = canonical_of_json(&contract, body);
            prop_assert_eq!(canonical(&landed, &contract, row), expected, "{}", body);
        }
    }
}

/// What a capture publishes columns as, in an order that is not that of their names.
const CAPTURED: &str = r#"{"type":"record","name":"Row","fields":[
    {"name":"text","type":["null","string"]},
    {"name":"id","type":"long"},
    {"name":"small","type":["null",{"type":"int","connect.type":"int16"}]},
    {"name":"flag","type":["boolean","null"]},
    {"name":"single","type":["null","float"]},
    {"name":"double","type":["null","double"]},
    {"name":"price","type":["null",{"type":"bytes","logicalType":"decimal","precision":20,"scale":2,
        "connect.name":"org.apache.kafka.connect.data.Decimal"}]},
    {"name":"raw","type":["null","bytes"]},
    {"name":"day","type":["null",{"type":"int","connect.name":"io.debezium.time.Date"}]},
    {"name":"clock","type":["null",{"type":"long","connect.name":"io.debezium.time.MicroTime"}]},
    {"name":"wall","type":["null",{"type":"long","connect.name":"io.debezium.time.MicroTimestamp"}]},
    {"name":"at","type":["null",{"type":"string","connect.name":"io.debezium.time.ZonedTimestamp"}]},
    {"name":"list","type":["null",{"type":"array","items":["null","int"]}]}]}"#;

type Captured = (
    (Option<String>, i64, Option<i32>, Option<bool>, Option<f32>),
    (Option<f64>, Option<i64>, Option<Vec<u8>>),
    (Option<i32>, Option<i64>, Option<i64>, Option<i64>),
    Option<Vec<Option<i32>>>,
);

fn captured(row: &Captured) -> Value {
    let ((text, id, small, flag, single), (double, price, raw), (day, clock, wall, at), list) = row;
    let null = |at: u32| Value::Union(at, Box::new(Value::Null));
    let or_null = |value: Option<Value>| match value {
        None => null(0),
        Some(value) => Value::Union(1, Box::new(value)),
    };
    let instant = |micros: i64| {
        let time = chrono::DateTime::from_timestamp_micros(micros).unwrap();
        Value::String(time.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true))
    };
    let items = |items: &Vec<Option<i32>>| {
        let items = items.iter().map(|item| or_null(item.map(Value::Int)));
        Value::Array(items.collect())
    };
    let decimal = |price: i64| Value::Decimal(Decimal::from(price.to_be_bytes().to_vec()));
    let fields = [
        ("text", or_null(text.clone().map(Value::String))),
        ("id", Value::Long(*id)),
        ("small", or_null(small.map(Value::Int))),
        (
            "flag",
            flag.map_or(null(1), |flag| {
                Value::Union(0, Box::new(Value::Boolean(flag)))
            }),
        ),
        ("single", or_null(single.map(Value::Float))),
        ("double", or_null(double.map(Value::Double))),
        ("price", or_null(price.map(decimal))),
        ("raw", or_null(raw.clone().map(Value::Bytes))),
        ("day", or_null(day.map(Value::Int))),
        ("clock", or_null(clock.map(Value::Long))),
        ("wall", or_null(wall.map(Value::Long))),
        ("at", or_null(at.map(instant))),
        ("list", or_null(list.as_ref().map(items))),
    ];
    let fields = fields.map(|(name, value)| (name.to_owned(), value));
    Value::Record(fields.to_vec())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_capture_and_the_lake_agree(
        texts in any::<(Option<String>, i64, Option<i32>, Option<bool>, Option<f32>)>(),
        numbers in any::<(Option<f64>, Option<i64>, Option<Vec<u8>>)>(),
        times in (
            proptest::option::of(-700_000..2_900_000_i32),
            any::<Option<i64>>(),
            proptest::option::of(-62_135_596_800_000_000..253_402_300_799_999_999_i64),
            proptest::option::of(-62_135_596_800_000_000..253_402_300_799_999_999_i64),
        ),
        list in any::<Option<Vec<Option<i32>>>>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let schema = AvroSchema::parse_str(CAPTURED).unwrap();
        let body = encode(&schema, captured(&(texts, numbers, times, list)));
        let contract: Contract = CAPTURED.parse().unwrap();
        let writer: schemas::AvroSchema = CAPTURED.parse().unwrap();
        let changes = ChangeSchema::new(&contract);
        let mut decoder =
            ChangeDecoder::of_writer(&writer, schemas::Shape::Append, &changes).unwrap();
        let mut rows = buffer(&changes);
        decoder.decode(&meta(0), Some(&body), None, &mut rows).unwrap();
        let landed = canonical(&finish(rows), &contract, 0);
        let row = AvroRow::new(&contract).unwrap();
        let mut writer = RowWriter::default();
        // In an envelope, more follows.
        let followed = [body.as_slice(), b"more"].concat();
        let published = row.row(&followed, &mut writer).unwrap();
        prop_assert_eq!(String::from_utf8_lossy(published), landed);
        let cut = cut.index(body.len());
        prop_assert!(row.row(&body[..cut], &mut writer).is_err());
    }
}

#[test]
fn a_type_that_no_capture_publishes_is_refused_by_name() {
    let contract: Contract = r#"{"type":"record","name":"Row","fields":[
        {"name":"a","type":{"type":"map","values":"int"}}]}"#
        .parse()
        .unwrap();
    let error = AvroRow::new(&contract).unwrap_err().to_string();
    assert!(error.contains("\"a\"") && error.contains("map"), "{error}");
}

#[test]
fn neither_width_nor_order_nor_layout_of_columns_counts() {
    let narrow = batch(vec![
        ("n", Arc::new(Int32Array::from(vec![3, -1200]))),
        ("s", Arc::new(StringArray::from(vec!["a", "b"]))),
    ]);
    let texts = StringArray::from(vec!["b", "a"]);
    let dictionary: DictionaryArray<Int32Type> =
        DictionaryArray::new(Int32Array::from(vec![1, 0]), Arc::new(texts));
    let wide = batch(vec![
        ("s", Arc::new(dictionary)),
        ("added", Arc::new(Int64Array::from(vec![None, None]))),
        ("n", Arc::new(Float64Array::from(vec![3.0, -1200.0]))),
    ]);
    let views = batch(vec![
        ("s", Arc::new(StringViewArray::from(vec!["a", "b"]))),
        ("n", Arc::new(Int64Array::from(vec![3, -1200]))),
    ]);
    for row in 0..2 {
        let expected = shown(&narrow, &[0, 1], row);
        assert_eq!(shown(&wide, &[0, 1, 2], row), expected);
        assert_eq!(shown(&views, &[0, 1], row), expected);
    }
    assert_ne!(shown(&narrow, &[0, 1], 0), shown(&narrow, &[0, 1], 1));
}

#[test]
fn nested_values_are_read_where_their_slices_begin() {
    let numbers: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, Some(3), Some(4)]));
    let item = Arc::new(Field::new("element", DataType::Int64, true));
    let offsets = OffsetBuffer::new(vec![0, 1, 3, 3, 4].into());
    let valid = NullBuffer::from(vec![true, true, false, true]);
    let list = ListArray::new(item, offsets.clone(), Arc::clone(&numbers), Some(valid));
    let entries = Fields::from(vec![
        Field::new("key", DataType::Utf8, false),
        Field::new("value", DataType::Int64, true),
    ]);
    let keys: ArrayRef = Arc::new(StringArray::from(vec!["k", "z", "a", "k"]));
    let inner = StructArray::new(entries.clone(), vec![keys, numbers], None);
    let entry = Arc::new(Field::new("key_value", DataType::Struct(entries), false));
    let map = MapArray::new(entry, offsets, inner, None, false);
    let all = batch(vec![("l", Arc::new(list)), ("m", Arc::new(map))]);
    let cut = all.slice(1, 3);
    let field = |name: &str, value: &str| format!(".\u{1}\0\0\0{name}{value}");
    let (a, z) = (field("a", "#3e0;"), field("z", "n"));
    let expected = [
        format!(
            "{{{}{}}}",
            field("l", "[n#3e0;]"),
            field("m", &format!("<{a}{z}>"))
        ),
        format!("{{{}}}", field("m", "<>")),
        format!(
            "{{{}{}}}",
            field("l", "[#4e0;]"),
            field("m", &format!("<{}>", field("k", "#4e0;")))
        ),
    ];
    for (row, expected) in expected.iter().enumerate() {
        assert_eq!(&shown(&cut, &[0, 1], row), expected);
    }
}

#[test]
fn a_type_that_no_entity_has_is_refused_by_name() {
    let column: ArrayRef = Arc::new(arrow::array::DurationSecondArray::from(vec![1]));
    let schema = Schema::new(vec![Field::new("d", column.data_type().clone(), true)]);
    let batch = RecordBatch::try_new(Arc::new(schema), vec![column]).unwrap();
    let error = CanonicalRows::new(&batch, &[0]).unwrap_err().to_string();
    assert!(
        error.contains("\"d\"") && error.contains("Duration"),
        "{error}"
    );
}
