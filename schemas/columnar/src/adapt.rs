//! Rows of an older version of a table in the columns of a newer one.

use std::sync::Arc;

use arrow::array::new_null_array;
use arrow::array::{Array, ArrayRef, AsArray, ListArray, MapArray, RecordBatch, StructArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, FieldRef, Fields, SchemaRef};
use arrow::error::ArrowError;

/// The same rows in the columns of `to`: columns that the rows lack are null, widened ones are
/// cast, fields within records likewise. Columns are found by name.
///
/// # Errors
/// A column of the rows that `to` lacks, or a value that the new type does not hold exactly: no
/// step of a table's evolution makes such.
pub fn adapt(batch: &RecordBatch, to: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let from = batch.schema();
    let columns = fields(
        from.fields(),
        batch.columns(),
        to.fields(),
        batch.num_rows(),
    )?;
    RecordBatch::try_new(Arc::clone(to), columns)
}

fn fields(
    from: &Fields,
    columns: &[ArrayRef],
    to: &Fields,
    rows: usize,
) -> Result<Vec<ArrayRef>, ArrowError> {
    if let Some(gone) = from.iter().find(|field| to.find(field.name()).is_none()) {
        let why = format!("column {:?} is not in the newer table", gone.name());
        return Err(ArrowError::SchemaError(why));
    }
    let column = |field: &FieldRef| match from.find(field.name()) {
        Some((place, _)) => {
            let column = columns.get(place).ok_or_else(|| {
                ArrowError::SchemaError(format!("column {:?} has no values", field.name()))
            })?;
            array(column, field.data_type())
        }
        None => Ok(new_null_array(field.data_type(), rows)),
    };
    to.iter().map(column).collect()
}

fn array(column: &ArrayRef, to: &DataType) -> Result<ArrayRef, ArrowError> {
    if column.data_type() == to {
        return Ok(Arc::clone(column));
    }
    Ok(match (column.data_type(), to) {
        (DataType::Struct(from), DataType::Struct(to)) => {
            let record = column.as_struct();
            let columns = fields(from, record.columns(), to, record.len())?;
            let nulls = record.nulls().cloned();
            Arc::new(StructArray::try_new(to.clone(), columns, nulls)?)
        }
        (DataType::List(_), DataType::List(item)) => {
            let list = column.as_list::<i32>();
            let items = array(list.values(), item.data_type())?;
            let (offsets, nulls) = (list.offsets().clone(), list.nulls().cloned());
            Arc::new(ListArray::try_new(Arc::clone(item), offsets, items, nulls)?)
        }
        (DataType::Map(..), DataType::Map(field, sorted)) => {
            let map = column.as_map();
            let entries: ArrayRef = Arc::new(map.entries().clone());
            let entries = array(&entries, field.data_type())?.as_struct().clone();
            let (offsets, nulls) = (map.offsets().clone(), map.nulls().cloned());
            let map = MapArray::try_new(Arc::clone(field), offsets, entries, nulls, *sorted)?;
            Arc::new(map)
        }
        (from, to) => single(column, from, to)?,
    })
}

/// Widens single values, exactly.
fn single(column: &ArrayRef, from: &DataType, to: &DataType) -> Result<ArrayRef, ArrowError> {
    let exact = CastOptions {
        safe: false,
        ..CastOptions::default()
    };
    let widened = cast_with_options(column, to, &exact)?;
    // A cast to a double rounds without a word.
    if to == &DataType::Float64 && from == &DataType::Int64 {
        let back = cast_with_options(&widened, from, &exact)?;
        if &back != column {
            let why = "a long above 2^53 would lose digits as a double";
            return Err(ArrowError::CastError(why.to_owned()));
        }
    }
    Ok(widened)
}
