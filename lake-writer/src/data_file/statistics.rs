//! A data file's statistics in Delta's words, taken from the Parquet footer.

use chrono::{DateTime, Datelike, Utc};
use parquet::basic::{ConvertedType, LogicalType, TimeUnit};
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};
use parquet::file::statistics::Statistics;
use parquet::schema::types::ColumnDescriptor;
use serde_json::{Map, Value, json};

/// Delta looks at the statistics of the first 32 leaf columns.
const COLUMNS_MAX: usize = 32;

/// Longest text that is told whole. A longer minimum could be cut, but a cut maximum would be too
/// small, so neither is told.
const TEXT_BYTES_MAX: usize = 64;

/// Digits of a decimal that a number in JSON holds exactly, whoever reads it.
const DECIMAL_DIGITS_MAX: i32 = 15;

/// `{"numRecords":…,"minValues":{…},"maxValues":{…},"nullCount":{…}}`.
pub(crate) fn of(file: &ParquetMetaData) -> String {
    let (mut minima, mut maxima, mut nulls) = (Map::new(), Map::new(), Map::new());
    let columns = file
        .file_metadata()
        .schema_descr()
        .num_columns()
        .min(COLUMNS_MAX);
    for index in 0..columns {
        // Delta keeps no statistics of what lies in arrays and maps.
        if file
            .file_metadata()
            .schema_descr()
            .column(index)
            .max_rep_level()
            > 0
        {
            continue;
        }
        let chunks: Vec<&ColumnChunkMetaData> = file
            .row_groups()
            .iter()
            .map(|group| group.column(index))
            .collect();
        let path = file
            .file_metadata()
            .schema_descr()
            .column(index)
            .path()
            .parts()
            .to_vec();
        if let Some(count) = null_count(&chunks) {
            insert(&mut nulls, &path, json!(count));
        }
        if let Some((minimum, maximum)) = range(&chunks) {
            insert(&mut minima, &path, minimum);
            insert(&mut maxima, &path, maximum);
        }
    }
    let rows = file.file_metadata().num_rows();
    json!({"numRecords": rows, "minValues": minima, "maxValues": maxima, "nullCount": nulls})
        .to_string()
}

fn null_count(chunks: &[&ColumnChunkMetaData]) -> Option<u64> {
    chunks
        .iter()
        .map(|chunk| chunk.statistics()?.null_count_opt())
        .sum()
}

/// Smallest and largest value over all row groups; `None` if any group cannot tell.
fn range(chunks: &[&ColumnChunkMetaData]) -> Option<(Value, Value)> {
    let mut all: Option<(Bound, Bound)> = None;
    for chunk in chunks {
        let statistics = chunk.statistics()?;
        if statistics.null_count_opt() == Some(u64::try_from(chunk.num_values()).ok()?) {
            continue;
        }
        let (low, high) = bounds(statistics)?;
        all = Some(match all {
            None => (low, high),
            Some((min, max)) => (min.min(low)?, max.max(high)?),
        });
    }
    let (low, high) = all?;
    let column = chunks.first()?.column_descr();
    Some((value(low, column, false)?, value(high, column, true)?))
}

#[derive(Clone, Debug, PartialEq, PartialOrd)]
enum Bound {
    Boolean(bool),
    Whole(i64),
    Float(f64),
    Bytes(Vec<u8>),
}

impl Bound {
    fn min(self, other: Self) -> Option<Self> {
        Some(if self.partial_cmp(&other)?.is_le() {
            self
        } else {
            other
        })
    }

    fn max(self, other: Self) -> Option<Self> {
        Some(if self.partial_cmp(&other)?.is_ge() {
            self
        } else {
            other
        })
    }
}

fn bounds(statistics: &Statistics) -> Option<(Bound, Bound)> {
    Some(match statistics {
        Statistics::Boolean(found) => (
            Bound::Boolean(*found.min_opt()?),
            Bound::Boolean(*found.max_opt()?),
        ),
        Statistics::Int32(found) => (
            Bound::Whole((*found.min_opt()?).into()),
            Bound::Whole((*found.max_opt()?).into()),
        ),
        Statistics::Int64(found) => (
            Bound::Whole(*found.min_opt()?),
            Bound::Whole(*found.max_opt()?),
        ),
        Statistics::Float(found) => (
            Bound::Float((*found.min_opt()?).into()),
            Bound::Float((*found.max_opt()?).into()),
        ),
        Statistics::Double(found) => (
            Bound::Float(*found.min_opt()?),
            Bound::Float(*found.max_opt()?),
        ),
        Statistics::ByteArray(found) if found.min_is_exact() && found.max_is_exact() => (
            Bound::Bytes(found.min_opt()?.data().to_vec()),
            Bound::Bytes(found.max_opt()?.data().to_vec()),
        ),
        _ => return None,
    })
}

/// A bound as Delta writes it. Timestamps have millisecond precision there: the upper bound is
/// rounded up, so that no reader prunes a file it should read.
fn value(bound: Bound, column: &ColumnDescriptor, upper: bool) -> Option<Value> {
    Some(match bound {
        Bound::Boolean(value) => json!(value),
        Bound::Float(value) if value.is_finite() => json!(value),
        Bound::Float(_) => return None,
        Bound::Whole(value) => match column.logical_type_ref() {
            Some(LogicalType::Date) => {
                let date = chrono::DateTime::from_timestamp(value.checked_mul(86_400)?, 0)?;
                json!(plain_year(date)?.format("%Y-%m-%d").to_string())
            }
            Some(LogicalType::Timestamp(time)) if time.unit == TimeUnit::MICROS => {
                timestamp(value, upper)?
            }
            Some(LogicalType::Decimal(decimal)) if decimal.precision <= DECIMAL_DIGITS_MAX => {
                number(value, decimal.scale)?
            }
            // Of more digits, which readers of numbers in JSON round.
            Some(LogicalType::Timestamp(_) | LogicalType::Decimal(_)) => return None,
            _ => json!(value),
        },
        Bound::Bytes(value) if is_text(column) && value.len() < TEXT_BYTES_MAX => {
            json!(String::from_utf8(value).ok()?)
        }
        Bound::Bytes(_) => return None,
    })
}

/// A decimal, as the number that is written with its digits. Not everybody reads an exponent.
fn number(digits: i64, scale: i32) -> Option<Value> {
    let number = match scale {
        0 => json!(digits),
        _ => json!(digits as f64 / 10_f64.powi(scale)),
    };
    (!number.to_string().contains('e')).then_some(number)
}

fn timestamp(micros: i64, upper: bool) -> Option<Value> {
    let millis = micros.div_euclid(1000) + i64::from(upper && micros.rem_euclid(1000) != 0);
    let time = chrono::DateTime::from_timestamp_millis(millis)?;
    let time = plain_year(time)?;
    Some(json!(time.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()))
}

/// Only years of four digits are read alike by everybody.
fn plain_year(time: DateTime<Utc>) -> Option<DateTime<Utc>> {
    (0..=9999).contains(&time.year()).then_some(time)
}

fn is_text(column: &ColumnDescriptor) -> bool {
    column.logical_type_ref() == Some(&LogicalType::String)
        || column.converted_type() == ConvertedType::UTF8
}

fn insert(into: &mut Map<String, Value>, path: &[String], value: Value) {
    match path {
        [] => {}
        [name] => {
            into.insert(name.clone(), value);
        }
        [name, rest @ ..] => {
            let nested = into.entry(name.clone()).or_insert_with(|| json!({}));
            if let Value::Object(nested) = nested {
                insert(nested, rest, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use arrow::array::{
        ArrayRef, Decimal128Array, Float32Array, Float64Array, Int64Array, RecordBatch,
        StringArray, StructArray, TimestampMicrosecondArray,
    };
    use parquet::file::reader::FileReader;
    use parquet::file::serialized_reader::SerializedFileReader;

    use super::*;
    use crate::data_file::DataFileWriter;

    fn statistics_of(columns: Vec<(&str, ArrayRef)>) -> Value {
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let file = crate::data_file::encode(uuid::Uuid::nil(), None, &[batch]).unwrap();
        let bytes = bytes::Bytes::from(file.payload);
        let reader = SerializedFileReader::new(bytes).unwrap();
        assert_eq!(of(reader.metadata()), file.statistics);
        serde_json::from_str(&file.statistics).unwrap()
    }

    #[test]
    fn bounds_and_nulls_are_told_for_what_can_be_told_exactly() {
        let told = statistics_of(vec![
            (
                "n",
                Arc::new(Int64Array::from(vec![Some(3), None, Some(-2)])),
            ),
            ("s", Arc::new(StringArray::from(vec!["b", "a", "c"]))),
            (
                "long",
                Arc::new(StringArray::from(vec!["x".repeat(100); 3])),
            ),
            ("none", Arc::new(Float64Array::from(vec![None, None, None]))),
        ]);
        assert_eq!(told["numRecords"], 3);
        assert_eq!(told["minValues"], json!({"n": -2, "s": "a"}));
        assert_eq!(told["maxValues"], json!({"n": 3, "s": "c"}));
        assert_eq!(
            told["nullCount"],
            json!({"n": 1, "s": 0, "long": 0, "none": 3})
        );
    }

    /// Parquet passes over NaN, which is above all numbers for those who read.
    #[test]
    fn a_column_with_a_value_that_is_not_a_number_has_no_bounds() {
        let doubles =
            |numbers: [f64; 3]| -> ArrayRef { Arc::new(Float64Array::from(numbers.to_vec())) };
        let floats: ArrayRef = Arc::new(Float32Array::from(vec![Some(1.0), None, Some(f32::NAN)]));
        let nested = StructArray::try_from(vec![
            ("n", doubles([1.0, 2.0, 3.0])),
            ("d", doubles([1.0, f64::NAN, 50.0])),
        ]);
        let told = statistics_of(vec![
            ("r", Arc::new(nested.unwrap()) as ArrayRef),
            ("d", doubles([1.0, f64::NAN, 50.0])),
            ("f", floats),
            ("e", doubles([1.0, -0.5, 50.0])),
        ]);
        assert_eq!(told["minValues"], json!({"r": {"n": 1.0}, "e": -0.5}));
        assert_eq!(told["maxValues"], json!({"r": {"n": 3.0}, "e": 50.0}));
        let none = json!({"r": {"n": 0, "d": 0}, "d": 0, "f": 1, "e": 0});
        assert_eq!(told["nullCount"], none);
    }

    #[test]
    fn row_groups_of_a_column_with_a_value_that_is_not_a_number_have_no_bounds() {
        let numbers: ArrayRef = Arc::new(Float64Array::from(vec![Some(1.0), Some(f64::NAN), None]));
        let batch = RecordBatch::try_from_iter_with_nullable([("d", numbers, true)]).unwrap();
        let by = ["d".to_owned()];
        for writer in [
            DataFileWriter::new(uuid::Uuid::nil(), None, batch.schema()),
            DataFileWriter::sorted(uuid::Uuid::nil(), BTreeMap::new(), &batch.schema(), &by),
        ] {
            let mut writer = writer.unwrap();
            writer.write(&batch).unwrap();
            let reader = SerializedFileReader::new(writer.finish().unwrap().to_bytes()).unwrap();
            let chunk = reader.metadata().row_group(0).column(0);
            let told = chunk.statistics().unwrap();
            assert_eq!((told.min_bytes_opt(), told.max_bytes_opt()), (None, None));
            assert_eq!(told.null_count_opt(), Some(1));
            assert_eq!(chunk.column_index_offset(), None);
        }
    }

    #[test]
    fn a_time_that_others_cannot_read_is_not_told() {
        let far = 253_402_300_800_000_000;
        let times = TimestampMicrosecondArray::from(vec![0, far]).with_timezone("UTC");
        let told = statistics_of(vec![("t", Arc::new(times))]);
        assert_eq!(told["maxValues"], json!({}));
    }

    #[test]
    fn decimals_that_json_holds_and_floats_have_bounds() {
        let decimals = |values: [i128; 2], precision, scale| -> ArrayRef {
            let values = Decimal128Array::from(values.to_vec());
            Arc::new(values.with_precision_and_scale(precision, scale).unwrap())
        };
        let told = statistics_of(vec![
            ("small", decimals([-1_234, 5], 9, 2)),
            (
                "large",
                decimals([-999_999_999_999_999, 100_000_000_000_001], 15, 3),
            ),
            ("whole", decimals([7, 8], 10, 0)),
            ("tiny", decimals([1, 2], 12, 12)),
            ("long", decimals([1, 2], 16, 2)),
            ("longer", decimals([1, 2], 38, 2)),
            ("float", Arc::new(Float32Array::from(vec![0.1, -0.5]))),
        ]);
        let text = |of: &str| told[of].to_string();
        assert_eq!(
            text("minValues"),
            r#"{"float":-0.5,"large":-999999999999.999,"small":-12.34,"whole":7}"#
        );
        assert_eq!(
            text("maxValues"),
            r#"{"float":0.10000000149011612,"large":100000000000.001,"small":0.05,"whole":8}"#
        );
    }

    #[test]
    fn what_lies_in_arrays_has_no_bounds() {
        let list = arrow::array::ListArray::from_iter_primitive::<arrow::datatypes::Int64Type, _, _>(
            vec![Some(vec![Some(1)]), None],
        );
        let told = statistics_of(vec![("l", Arc::new(list))]);
        assert_eq!(
            (&told["minValues"], &told["nullCount"]),
            (&json!({}), &json!({}))
        );
    }

    #[test]
    fn an_upper_time_is_rounded_up_to_the_millisecond() {
        let times = TimestampMicrosecondArray::from(vec![1_500, 2_500]).with_timezone("UTC");
        let told = statistics_of(vec![("t", Arc::new(times))]);
        assert_eq!(told["minValues"]["t"], "1970-01-01T00:00:00.001Z");
        assert_eq!(told["maxValues"]["t"], "1970-01-01T00:00:00.003Z");
    }
}
