//! Hash buckets of keys: which files of a current table a key can be in.
//!
//! Every column's hash is that of Iceberg's bucket transform (Apache Iceberg, "Table Spec",
//! appendix B: Murmur3, x86, 32 bit, seed 0, over a value's single bytes), so that a column hashes
//! the same whatever width its numbers have. A key of several columns hashes to `31 · h + x` over
//! its columns in order, a null to 0.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Decimal128Type, Float64Type, Int64Type};
use arrow::error::ArrowError;

/// The partition column of current tables.
pub const BUCKET: &str = "_bucket";

/// The table property that says how many buckets a current table has.
pub const BUCKETS_PROPERTY: &str = "lakehead.buckets";

/// The bucket of a key with this hash: Iceberg's `bucket[buckets]`.
pub fn bucket_of(hash: u32, buckets: u32) -> u32 {
    (hash & 0x7fff_ffff) % buckets.max(1)
}

/// The hash of every row's key; the key's columns in order, all of the same length.
///
/// # Errors
/// A column of a type that no key has.
pub fn key_hashes(key: &[ArrayRef]) -> Result<Vec<u32>, ArrowError> {
    let rows = key.first().map_or(0, |column| column.len());
    let mut hashes = vec![0_u32; rows];
    for column in key {
        add_column(column, &mut hashes)?;
    }
    Ok(hashes)
}

fn add_column(column: &ArrayRef, hashes: &mut [u32]) -> Result<(), ArrowError> {
    let mut add = |row: usize, hash: u32| {
        if let Some(sum) = hashes.get_mut(row) {
            let hash = if column.is_null(row) { 0 } else { hash };
            *sum = sum.wrapping_mul(31).wrapping_add(hash);
        }
    };
    match column.data_type() {
        DataType::Int64 => {
            let values = column.as_primitive::<Int64Type>().values();
            values
                .iter()
                .enumerate()
                .for_each(|(row, value)| add(row, of_long(*value)));
        }
        DataType::Boolean | DataType::Int32 | DataType::Date32 | DataType::Timestamp(..) => {
            let whole = match column.data_type() {
                DataType::Date32 => cast(column, &DataType::Int32)?,
                _ => ArrayRef::clone(column),
            };
            let whole = cast(&whole, &DataType::Int64)?;
            let values = whole.as_primitive::<Int64Type>().values();
            values
                .iter()
                .enumerate()
                .for_each(|(row, value)| add(row, of_long(*value)));
        }
        DataType::Float32 | DataType::Float64 => {
            let wide = cast(column, &DataType::Float64)?;
            let values = wide.as_primitive::<Float64Type>().values();
            values
                .iter()
                .enumerate()
                .for_each(|(row, value)| add(row, of_double(*value)));
        }
        DataType::Utf8 => {
            let values = column.as_string::<i32>();
            (0..values.len()).for_each(|row| add(row, murmur3(values.value(row).as_bytes())));
        }
        DataType::Binary => {
            let values = column.as_binary::<i32>();
            (0..values.len()).for_each(|row| add(row, murmur3(values.value(row))));
        }
        DataType::Decimal128(..) => {
            let values = column.as_primitive::<Decimal128Type>().values();
            values
                .iter()
                .enumerate()
                .for_each(|(row, value)| add(row, of_decimal(*value)));
        }
        other => {
            let why = format!("a key column of type {other} has no hash bucket");
            return Err(ArrowError::SchemaError(why));
        }
    }
    Ok(())
}

fn of_long(value: i64) -> u32 {
    murmur3(&value.to_le_bytes())
}

/// One zero and one NaN, as Java's `doubleToLongBits` has them.
fn of_double(value: f64) -> u32 {
    let bits = match value {
        0.0 => 0,
        value if value.is_nan() => 0x7ff8_0000_0000_0000,
        value => value.to_bits(),
    };
    murmur3(&bits.to_le_bytes())
}

/// The unscaled value in as few bytes as hold it, the most significant first.
fn of_decimal(value: i128) -> u32 {
    let bytes = value.to_be_bytes();
    let sign = if value < 0 { 0xff } else { 0 };
    let spare = |pair: &[u8]| match pair {
        [first, second] => *first == sign && (second ^ sign) & 0x80 == 0,
        _ => false,
    };
    let spared = bytes.windows(2).take_while(|pair| spare(pair)).count();
    murmur3(bytes.get(spared..).unwrap_or(&bytes))
}

/// Murmur3, x86, 32 bit, seed 0 (Austin Appleby, public domain).
fn murmur3(bytes: &[u8]) -> u32 {
    let mix = |block: u32| {
        block
            .wrapping_mul(0xcc9e_2d51)
            .rotate_left(15)
            .wrapping_mul(0x1b87_3593)
    };
    let (blocks, tail) = bytes.as_chunks::<4>();
    let mut hash = 0_u32;
    for block in blocks {
        hash ^= mix(u32::from_le_bytes(*block));
        hash = hash
            .rotate_left(13)
            .wrapping_mul(5)
            .wrapping_add(0xe654_6b64);
    }
    let mut last = [0; 4];
    for (to, from) in last.iter_mut().zip(tail) {
        *to = *from;
    }
    hash ^= mix(u32::from_le_bytes(last));
    // The length of what came in, in 32 bits.
    hash ^= bytes.len() as u32;
    hash ^= hash >> 16;
    hash = hash.wrapping_mul(0x85eb_ca6b);
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(0xc2b2_ae35);
    hash ^ (hash >> 16)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        BinaryArray, Date32Array, Decimal128Array, Float64Array, Int32Array, Int64Array,
        StringArray, TimestampMicrosecondArray,
    };

    use super::*;

    fn hash(column: impl Array + 'static) -> u32 {
        key_hashes(&[Arc::new(column)]).unwrap()[0]
    }

    /// The values of the specification's appendix B.
    #[test]
    fn hashes_are_icebergs() {
        assert_eq!(hash(Int32Array::from(vec![34])), 2_017_239_379);
        assert_eq!(hash(Int64Array::from(vec![34])), 2_017_239_379);
        let decimal = Decimal128Array::from(vec![1420]).with_precision_and_scale(9, 2);
        assert_eq!(hash(decimal.unwrap()), (-500_754_589_i32).cast_unsigned());
        // 2017-11-16, and 22:31:08 of that day.
        assert_eq!(
            hash(Date32Array::from(vec![17486])),
            (-653_330_422_i32).cast_unsigned()
        );
        let time = TimestampMicrosecondArray::from(vec![1_510_871_468_000_000]);
        assert_eq!(
            hash(time.with_timezone("UTC")),
            (-2_047_944_441_i32).cast_unsigned()
        );
        assert_eq!(hash(StringArray::from(vec!["iceberg"])), 1_210_000_089);
        let bytes = BinaryArray::from(vec![&[0_u8, 1, 2, 3][..]]);
        assert_eq!(hash(bytes), (-188_683_207_i32).cast_unsigned());
        assert_eq!(
            hash(Float64Array::from(vec![1.0])),
            (-142_385_009_i32).cast_unsigned()
        );
        assert_eq!(hash(Float64Array::from(vec![-0.0])), 1_669_671_676);
    }

    #[test]
    fn every_column_of_a_key_counts_and_so_does_its_place() {
        let column = |values: [i64; 2]| -> ArrayRef { Arc::new(Int64Array::from(values.to_vec())) };
        let (a, b) = (column([1, 2]), column([2, 1]));
        let there = key_hashes(&[Arc::clone(&a), Arc::clone(&b)]).unwrap();
        assert_ne!(there, key_hashes(&[b, a]).unwrap());
        let none: ArrayRef = Arc::new(Int64Array::from(vec![None]));
        assert_eq!(key_hashes(&[none]).unwrap(), [0]);
        assert_eq!((bucket_of(u32::MAX, 16), bucket_of(7, 0)), (15, 0));
    }

    #[test]
    fn small_and_large_decimals_take_as_few_bytes_as_they_need() {
        let short = |value: i128, bytes: &[u8]| assert_eq!(of_decimal(value), murmur3(bytes));
        short(0, &[0]);
        short(-1, &[0xff]);
        short(128, &[0, 0x80]);
        short(-128, &[0x80]);
        short(-129, &[0xff, 0x7f]);
    }
}
