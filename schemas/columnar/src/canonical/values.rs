//! The values of one column.

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BinaryViewArray, BooleanArray, Date32Array,
    Decimal128Array, Float32Array, Float64Array, Int32Array, Int64Array, ListArray, MapArray,
    StringArray, StringViewArray, StructArray, TimestampMicrosecondArray,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, TimeUnit};
use schemas::canonical::RowWriter;

use super::{Column, put_record, sorted};

/// The arrays are cheap to clone: their buffers are shared.
#[derive(Debug)]
pub(super) enum Values {
    Boolean(BooleanArray),
    Int(Int32Array),
    Long(Int64Array),
    Float(Float32Array),
    Double(Float64Array),
    Decimal(Decimal128Array),
    Text(StringArray),
    TextView(StringViewArray),
    Binary(BinaryArray),
    BinaryView(BinaryViewArray),
    Date(Date32Array),
    Timestamp(TimestampMicrosecondArray),
    Record(StructArray, Vec<Column>),
    List(ListArray, Box<Values>),
    Map(MapArray, StringArray, Box<Values>),
}

impl Values {
    /// # Errors
    /// The type, if no column of an entity has it.
    pub(super) fn new(array: &dyn Array) -> Result<Self, DataType> {
        let data_type = array.data_type();
        let unknown = || data_type.clone();
        Ok(match data_type {
            DataType::Boolean => Self::Boolean(array.as_boolean().clone()),
            DataType::Int32 => Self::Int(array.as_primitive().clone()),
            DataType::Int64 => Self::Long(array.as_primitive().clone()),
            DataType::Float32 => Self::Float(array.as_primitive().clone()),
            DataType::Float64 => Self::Double(array.as_primitive().clone()),
            DataType::Decimal128(_, _) => Self::Decimal(array.as_primitive().clone()),
            DataType::Utf8 => Self::Text(array.as_string().clone()),
            DataType::Utf8View => Self::TextView(array.as_string_view().clone()),
            DataType::Binary => Self::Binary(array.as_binary().clone()),
            DataType::BinaryView => Self::BinaryView(array.as_binary_view().clone()),
            DataType::Date32 => Self::Date(array.as_primitive().clone()),
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                Self::Timestamp(array.as_primitive().clone())
            }
            DataType::Struct(_) => {
                let array = array.as_struct();
                let fields = array.fields().iter().zip(array.columns());
                let columns = fields
                    .map(|(field, values)| {
                        let values = Self::new(values.as_ref())?;
                        let name = field.name().clone();
                        Ok(Column { name, values })
                    })
                    .collect::<Result<_, DataType>>()?;
                Self::Record(array.clone(), sorted(columns))
            }
            DataType::List(_) => {
                let array = array.as_list::<i32>();
                let items = Self::new(array.values().as_ref())?;
                Self::List(array.clone(), Box::new(items))
            }
            DataType::Map(_, _) => {
                let array = array.as_map();
                let keys = plain(array.keys(), &DataType::Utf8).ok_or_else(unknown)?;
                let values = Self::new(array.values().as_ref())?;
                Self::Map(array.clone(), keys.as_string().clone(), Box::new(values))
            }
            DataType::Dictionary(_, values) => {
                Self::new(&plain(array, values).ok_or_else(unknown)?)?
            }
            DataType::LargeUtf8 => Self::new(&plain(array, &DataType::Utf8).ok_or_else(unknown)?)?,
            DataType::LargeBinary => {
                Self::new(&plain(array, &DataType::Binary).ok_or_else(unknown)?)?
            }
            DataType::LargeList(items) => {
                let list = DataType::List(std::sync::Arc::clone(items));
                Self::new(&plain(array, &list).ok_or_else(unknown)?)?
            }
            _ => return Err(unknown()),
        })
    }

    pub(super) fn is_null(&self, row: usize) -> bool {
        match self {
            Self::Boolean(array) => array.is_null(row),
            Self::Int(array) => array.is_null(row),
            Self::Long(array) => array.is_null(row),
            Self::Float(array) => array.is_null(row),
            Self::Double(array) => array.is_null(row),
            Self::Decimal(array) => array.is_null(row),
            Self::Text(array) => array.is_null(row),
            Self::TextView(array) => array.is_null(row),
            Self::Binary(array) => array.is_null(row),
            Self::BinaryView(array) => array.is_null(row),
            Self::Date(array) => array.is_null(row),
            Self::Timestamp(array) => array.is_null(row),
            Self::Record(array, _) => array.is_null(row),
            Self::List(array, _) => array.is_null(row),
            Self::Map(array, ..) => array.is_null(row),
        }
    }

    /// Writes the value at a place where it is not null.
    pub(super) fn put(&self, row: usize, out: &mut RowWriter) {
        match self {
            Self::Boolean(array) => out.boolean(array.value(row)),
            Self::Int(array) => out.whole(array.value(row).into()),
            Self::Long(array) => out.whole(array.value(row)),
            Self::Float(array) => out.double(array.value(row).into()),
            Self::Double(array) => out.double(array.value(row)),
            Self::Decimal(array) => out.decimal(array.value(row), array.scale().into()),
            Self::Text(array) => out.text(array.value(row)),
            Self::TextView(array) => out.text(array.value(row)),
            Self::Binary(array) => out.binary(array.value(row)),
            Self::BinaryView(array) => out.binary(array.value(row)),
            Self::Date(array) => out.date(array.value(row)),
            Self::Timestamp(array) => out.timestamp(array.value(row)),
            Self::Record(_, columns) => put_record(columns, row, out),
            Self::List(array, items) => {
                let offsets = array.value_offsets();
                out.begin_array();
                for item in offsets[row]..offsets[row + 1] {
                    items.put_or_null(item as usize, out);
                }
                out.end_array();
            }
            Self::Map(array, keys, values) => {
                let offsets = array.value_offsets();
                let mut entries: Vec<usize> =
                    (offsets[row] as usize..offsets[row + 1] as usize).collect();
                entries.sort_by(|a, b| keys.value(*a).as_bytes().cmp(keys.value(*b).as_bytes()));
                out.begin_map();
                for entry in entries {
                    out.key(keys.value(entry));
                    values.put_or_null(entry, out);
                }
                out.end_map();
            }
        }
    }

    fn put_or_null(&self, place: usize, out: &mut RowWriter) {
        match self.is_null(place) {
            true => out.null(),
            false => self.put(place, out),
        }
    }
}

/// The same values in another layout; nothing if they do not fit it.
fn plain(array: &dyn Array, data_type: &DataType) -> Option<ArrayRef> {
    cast(&arrow::array::make_array(array.to_data()), data_type).ok()
}
