//! How many rows there are, and a sum over all their values that does not depend on their order.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;

/// Odd, with bits all over (the golden ratio's).
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

/// Equal for the same rows in any order, whatever files they are in; unequal for others, but for
/// one chance in 2^64. Not a defence against somebody who makes rows up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct RowSum {
    rows: u64,
    sum: u128,
}

impl RowSum {
    /// Adds a batch's rows. Column by column in their order, their names are not looked at.
    pub(super) fn add(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        let mut rows = vec![FACTOR; batch.num_rows()];
        for column in batch.columns() {
            mix_column(&mut rows, column)?;
        }
        self.rows += batch.num_rows() as u64;
        let sum: u128 = rows.into_iter().map(u128::from).sum();
        self.sum = self.sum.wrapping_add(sum);
        Ok(())
    }

    pub(super) fn rows(self) -> u64 {
        self.rows
    }
}

/// Mixes one more value into a hash: a product, folded. The hash itself stays in it where the
/// product is zero.
fn mix(hash: u64, value: u64) -> u64 {
    let product = u128::from(hash ^ value ^ FACTOR) * u128::from(FACTOR.rotate_left(31) ^ value);
    let [low, high] = [product as u64, (product >> 64) as u64];
    (low ^ hash).rotate_left(32) ^ high
}

/// Mixes a null into a hash: as no value does, for there is none that could stand for it.
fn mix_null(hash: u64) -> u64 {
    hash.rotate_left(23) ^ FACTOR
}

fn mix_bytes(hash: u64, bytes: &[u8]) -> u64 {
    let mut hash = mix(hash, bytes.len() as u64);
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        hash = mix(hash, u64::from_le_bytes(*word));
    }
    let mut last = [0; 8];
    for (to, from) in last.iter_mut().zip(rest) {
        *to = *from;
    }
    if rest.is_empty() {
        hash
    } else {
        mix(hash, u64::from_le_bytes(last))
    }
}

/// Mixes each row's value into the row's hash.
fn mix_column(rows: &mut [u64], column: &ArrayRef) -> Result<(), ArrowError> {
    if column.null_count() == column.len() {
        rows.iter_mut().for_each(|hash| *hash = mix_null(*hash));
        return Ok(());
    }
    match column.data_type() {
        DataType::Boolean => {
            let values = column.as_boolean();
            each(rows, column, |hash, row| {
                mix(hash, values.value(row).into())
            });
        }
        DataType::Utf8 => {
            let values = column.as_string::<i32>();
            each(rows, column, |hash, row| {
                mix_bytes(hash, values.value(row).as_bytes())
            });
        }
        DataType::Binary => {
            let values = column.as_binary::<i32>();
            each(rows, column, |hash, row| mix_bytes(hash, values.value(row)));
        }
        DataType::Struct(_) => {
            let mut nested = vec![FACTOR; rows.len()];
            for child in column.as_struct().columns() {
                mix_column(&mut nested, child)?;
            }
            each(rows, column, |hash, row| mix(hash, nested[row]));
        }
        DataType::List(_) => {
            let list = column.as_list::<i32>();
            let nested = nested(rows.len(), list.offsets(), list.values())?;
            each(rows, column, |hash, row| mix(hash, nested[row]));
        }
        DataType::Map(..) => {
            let map = column.as_map();
            let entries: ArrayRef = Arc::new(map.entries().clone());
            let nested = nested(rows.len(), map.offsets(), &entries)?;
            each(rows, column, |hash, row| mix(hash, nested[row]));
        }
        fixed => mix_fixed_column(rows, column, fixed)?,
    }
    Ok(())
}

fn each(rows: &mut [u64], column: &ArrayRef, value: impl Fn(u64, usize) -> u64) {
    let rows = rows.iter_mut().enumerate();
    match column.nulls().filter(|nulls| nulls.null_count() > 0) {
        None => rows.for_each(|(row, hash)| *hash = value(*hash, row)),
        Some(nulls) => rows.for_each(|(row, hash)| {
            *hash = match nulls.is_null(row) {
                true => mix_null(*hash),
                false => value(*hash, row),
            };
        }),
    }
}

/// A column whose values are all of the same few bytes.
fn mix_fixed_column(
    rows: &mut [u64],
    column: &ArrayRef,
    data_type: &DataType,
) -> Result<(), ArrowError> {
    let data = column.to_data();
    let values = data.buffers().first().map(|buffer| buffer.as_slice());
    let (Some(width), Some(values)) = (data_type.primitive_width(), values) else {
        let why = format!("rows with {data_type} cannot be summed up");
        return Err(ArrowError::NotYetImplemented(why));
    };
    let values = &values[data.offset() * width..];
    match width {
        4 => {
            let (values, _) = values.as_chunks::<4>();
            each(rows, column, |hash, row| {
                mix(hash, u32::from_le_bytes(values[row]).into())
            });
        }
        8 => {
            let (values, _) = values.as_chunks::<8>();
            each(rows, column, |hash, row| {
                mix(hash, u64::from_le_bytes(values[row]))
            });
        }
        width => each(rows, column, |hash, row| {
            mix_bytes(hash, &values[row * width..(row + 1) * width])
        }),
    }
    Ok(())
}

/// One hash for the items of each of `rows` lists.
fn nested(rows: usize, offsets: &[i32], items: &ArrayRef) -> Result<Vec<u64>, ArrowError> {
    let place = |index: usize| usize::try_from(offsets[index]).unwrap_or(0);
    let first = place(0);
    let items = items.slice(first, place(rows) - first);
    let mut hashes = vec![FACTOR; items.len()];
    mix_column(&mut hashes, &items)?;
    let of_row = |row: usize| {
        let items = &hashes[place(row) - first..place(row + 1) - first];
        let seed = mix(FACTOR, items.len() as u64);
        items.iter().fold(seed, |hash, item| mix(hash, *item))
    };
    Ok((0..rows).map(of_row).collect())
}

#[cfg(test)]
mod tests {
    use arrow::array::{
        BooleanArray, Decimal128Array, Float64Array, Int32Array, Int64Array, Int64Builder,
        ListArray, MapBuilder, StringArray, StringBuilder, StructArray,
    };
    use arrow::compute::{concat_batches, take_record_batch};
    use arrow::datatypes::{Field, Int64Type};
    use proptest::prelude::*;

    use super::*;

    type Row = (
        Option<i64>,
        Option<String>,
        Option<bool>,
        Option<Vec<Option<i64>>>,
        Option<(String, i64)>,
    );

    fn batch(rows: &[Row]) -> RecordBatch {
        let longs: Int64Array = rows.iter().map(|row| row.0).collect();
        let ints: Int32Array = rows.iter().map(|row| row.0.map(|n| n as i32)).collect();
        let texts: StringArray = rows.iter().map(|row| row.1.as_deref()).collect();
        let flags: BooleanArray = rows.iter().map(|row| row.2).collect();
        let doubles: Float64Array = rows.iter().map(|row| row.0.map(|n| n as f64)).collect();
        let lists = rows.iter().map(|row| row.3.clone());
        let lists = ListArray::from_iter_primitive::<Int64Type, _, _>(lists);
        let decimals: Decimal128Array = rows.iter().map(|row| row.0.map(i128::from)).collect();
        let mut maps = MapBuilder::new(None, StringBuilder::new(), Int64Builder::new());
        for row in rows {
            if let Some((key, value)) = &row.4 {
                maps.keys().append_value(key);
                maps.values().append_value(*value);
            }
            maps.append(row.4.is_some()).unwrap();
        }
        let nested = StructArray::from(vec![
            (
                Arc::new(Field::new("n", DataType::Int64, true)),
                Arc::new(longs.clone()) as ArrayRef,
            ),
            (
                Arc::new(Field::new("s", DataType::Utf8, true)),
                Arc::new(texts.clone()) as ArrayRef,
            ),
        ]);
        let columns: [ArrayRef; 9] = [
            Arc::new(longs),
            Arc::new(ints),
            Arc::new(texts),
            Arc::new(flags),
            Arc::new(doubles),
            Arc::new(lists),
            Arc::new(decimals),
            Arc::new(maps.finish()),
            Arc::new(nested),
        ];
        let named = columns.into_iter().enumerate();
        RecordBatch::try_from_iter(named.map(|(index, column)| (format!("c{index}"), column)))
            .unwrap()
    }

    fn sum(batches: &[RecordBatch]) -> RowSum {
        let mut sum = RowSum::default();
        for batch in batches {
            sum.add(batch).unwrap();
        }
        sum
    }

    fn rows() -> impl Strategy<Value = Vec<Row>> {
        let text = proptest::option::of("[a-c]{0,12}");
        let list = proptest::option::of(proptest::collection::vec(
            proptest::option::of(0..4i64),
            0..4,
        ));
        let entry = proptest::option::of(("[a-b]", 0..3i64));
        let long = proptest::option::of(any::<i64>());
        proptest::collection::vec((long, text, any::<Option<bool>>(), list, entry), 1..20)
    }

    proptest! {
        #[test]
        fn order_and_cuts_make_no_difference(rows in rows(), cut in 0..20usize, turn in 0..20u64) {
            let whole = batch(&rows);
            let count = whole.num_rows();
            let cut = cut.min(count);
            let parts = [whole.slice(cut, count - cut), whole.slice(0, cut)];
            prop_assert_eq!(sum(&parts), sum(std::slice::from_ref(&whole)));
            let turned = (0..count as u64).map(|row| (row + turn) % count as u64);
            let turned: arrow::array::UInt64Array = turned.collect();
            let turned = take_record_batch(&whole, &turned).unwrap();
            prop_assert_eq!(sum(&[turned]), sum(&[whole]));
        }

        #[test]
        fn other_rows_have_another_sum(a in rows(), b in rows()) {
            let key = |rows: &[Row]| {
                let mut keys: Vec<String> = rows.iter().map(|row| format!("{row:?}")).collect();
                keys.sort();
                keys
            };
            prop_assert_eq!(sum(&[batch(&a)]) == sum(&[batch(&b)]), key(&a) == key(&b));
        }
    }

    /// A word that stood for a null would be some number.
    #[test]
    fn no_number_is_taken_for_a_null() {
        let of = |n: Option<i64>, m: Option<i32>| {
            let (n, m): (ArrayRef, ArrayRef) = (
                Arc::new(Int64Array::from(vec![n])),
                Arc::new(Int32Array::from(vec![m])),
            );
            sum(&[RecordBatch::try_from_iter([("n", n), ("m", m)]).unwrap()])
        };
        for n in [0, 0x6e75_6c6c, -1, i32::MIN] {
            let none = of(None, None);
            assert_ne!(of(Some(n.into()), None), none, "{n}");
            assert_ne!(of(None, Some(n)), none, "{n}");
            assert_ne!(of(Some(n.into()), None), of(None, Some(n)), "{n}");
        }
    }

    #[test]
    fn a_row_twice_or_values_of_two_rows_mixed_up_show() {
        let row = |n: i64, s: &str| (Some(n), Some(s.to_owned()), None, None, None);
        let whole = batch(&[row(1, "a"), row(2, "b")]);
        let twice = concat_batches(&whole.schema(), [&whole, &whole]).unwrap();
        assert_ne!(sum(&[twice]), sum(std::slice::from_ref(&whole)));
        assert_ne!(sum(&[batch(&[row(1, "b"), row(2, "a")])]), sum(&[whole]));
    }
}
