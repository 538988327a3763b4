use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, Float64Array, Int64Array, RecordBatch, StringArray, StructArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field};

use super::{Output, OutputFormat};

fn batch() -> RecordBatch {
    let inner: ArrayRef = Arc::new(StringArray::from(vec![Some("a\"b"), None]));
    let source = StructArray::from(vec![(
        Arc::new(Field::new("name", DataType::Utf8, true)),
        inner,
    )]);
    let columns: [(&str, ArrayRef); 6] = [
        ("id", Arc::new(Int64Array::from(vec![Some(1), None]))),
        (
            "text",
            Arc::new(StringArray::from(vec![Some("x, \"y\"\nz"), None])),
        ),
        (
            "number",
            Arc::new(Float64Array::from(vec![Some(0.1), Some(f64::NAN)])),
        ),
        (
            "at",
            Arc::new(
                TimestampMicrosecondArray::from(vec![Some(1_500_000), None]).with_timezone("UTC"),
            ),
        ),
        (
            "bytes",
            Arc::new(BinaryArray::from(vec![Some(b"\x00\xff".as_slice()), None])),
        ),
        ("source", Arc::new(source)),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true)))
        .unwrap()
}

fn written(format: OutputFormat, batches: &[RecordBatch]) -> String {
    let mut output = Output::new(format, batch().schema());
    let mut text = output.begin().unwrap();
    for batch in batches {
        text.extend(output.rows(batch.clone()).unwrap());
    }
    text.extend(output.end().unwrap());
    String::from_utf8(text).unwrap()
}

#[test]
fn csv_is_quoted_where_it_must_be_and_nulls_are_empty() {
    let expected = "id,text,number,at,bytes,source\n\
        1,\"x, \"\"y\"\"\nz\",0.1,1970-01-01T00:00:01.500Z,00ff,\"{\"\"name\"\":\"\"a\\\"\"b\"\"}\"\n\
        ,,NaN,,,\"{\"\"name\"\":null}\"\n";
    assert_eq!(written(OutputFormat::Csv, &[batch()]), expected);
    assert_eq!(
        written(OutputFormat::Csv, &[]),
        "id,text,number,at,bytes,source\n"
    );
}

#[test]
fn json_is_one_array_whatever_the_batches() {
    let row = r#"{"id":1,"text":"x, \"y\"\nz","number":0.1,"at":"1970-01-01T00:00:01.500Z","bytes":"00ff","source":{"name":"a\"b"}}"#;
    let nulls =
        r#"{"id":null,"text":null,"number":null,"at":null,"bytes":null,"source":{"name":null}}"#;
    let empty = batch().slice(0, 0);
    assert_eq!(
        written(
            OutputFormat::Json,
            &[empty.clone(), batch(), empty, batch().slice(0, 1)]
        ),
        format!("[\n{row},\n{nulls},\n{row}\n]\n")
    );
    assert_eq!(written(OutputFormat::Json, &[]), "[]\n");
}

#[test]
fn a_table_of_no_rows_still_has_its_columns() {
    let text = written(OutputFormat::Table, &[]);
    assert!(text.contains("| id | text |"), "{text}");
    assert_eq!(text.lines().count(), 4, "{text}");
}

#[test]
fn a_long_answer_continues_in_another_table() {
    let long: ArrayRef = Arc::new(Int64Array::from_iter_values(0..15_000));
    let long = RecordBatch::try_from_iter([("id", long)]).unwrap();
    let mut output = Output::new(OutputFormat::Table, long.schema());
    let mut text = output.begin().unwrap();
    for start in (0..15_000).step_by(5_000) {
        text.extend(output.rows(long.slice(start, 5_000)).unwrap());
    }
    text.extend(output.end().unwrap());
    let text = String::from_utf8(text).unwrap();
    let rows = text
        .lines()
        .filter(|line| line.trim_matches(['|', ' ']).parse::<i64>().is_ok());
    assert_eq!(rows.count(), 15_000);
    assert_eq!(text.matches("| id").count(), 2);
}
