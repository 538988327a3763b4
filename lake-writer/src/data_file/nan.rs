//! Which columns have a value that is not a number: it has no place between bounds.

use arrow::array::{Array, ArrowPrimitiveType, AsArray};
use arrow::datatypes::{DataType, Float32Type, Float64Type};

/// Marks those of a column's leaves that have a NaN. They come in Parquet's order: the fields of a
/// record, the items of a list, the keys and values of a map.
pub(super) fn mark(column: &dyn Array, leaves: &mut dyn Iterator<Item = &mut bool>) {
    match column.data_type() {
        DataType::Struct(_) => {
            for field in column.as_struct().columns() {
                mark(field, leaves);
            }
        }
        DataType::List(_) => mark(column.as_list::<i32>().values(), leaves),
        DataType::Map(..) => mark(column.as_map().entries(), leaves),
        _ => {
            if let Some(leaf) = leaves.next() {
                *leaf |= has_nan(column);
            }
        }
    }
}

fn has_nan(column: &dyn Array) -> bool {
    match column.data_type() {
        DataType::Float32 => any::<Float32Type>(column, |number| number.is_nan()),
        DataType::Float64 => any::<Float64Type>(column, |number| number.is_nan()),
        _ => false,
    }
}

fn any<T: ArrowPrimitiveType>(column: &dyn Array, is_one: impl Fn(&T::Native) -> bool) -> bool {
    column.as_primitive::<T>().values().iter().any(is_one)
}
