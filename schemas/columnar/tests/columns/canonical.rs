//! A row has one canonical form, whether it is hashed as it was written or as the lake holds it.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, DictionaryArray, Float64Array, Int32Array, Int64Array, ListArray, MapArray,
    RecordBatch, StringArray, StringViewArray, StructArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, Fields, Int32Type, Schema};
use columnar::CanonicalRows;
use proptest::prelude::*;
use schemas::Contract;
use schemas::canonical::{JsonRow, RowWriter};

use crate::entity::samples;
use crate::table::{buffer, finish, lenient, meta};

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
