//! Columns by themselves.

use super::*;
use arrow::array::{Array, AsArray};

#[test]
fn a_column_cut_back_forgets_values_and_nulls() {
    let mut column = Column::new(&FieldType::String);
    column.push_text("a").unwrap();
    column.push_null();
    column.push_text("long enough to move").unwrap();
    column.truncate(2);
    column.truncate(5);
    assert_eq!(column.len(), 2);
    column.push_text("b").unwrap();
    let array = column.finish().unwrap();
    let texts: Vec<Option<&str>> = array.as_string::<i32>().iter().collect();
    assert_eq!(texts, [Some("a"), None, Some("b")]);
}

#[test]
fn nulls_that_were_cut_off_leave_no_mask() {
    let mut column = Column::new(&FieldType::Boolean);
    column.push_boolean(true).unwrap();
    column.push_null();
    column.truncate(1);
    let array = column.finish().unwrap();
    assert!(array.nulls().is_none() && array.len() == 1);
}

#[test]
fn nulls_take_no_memory_until_a_value_comes() {
    let mut column = Column::new(&FieldType::Long);
    for _ in 0..5 {
        column.push_null();
    }
    column.truncate(3);
    assert!(column.len() == 3 && column.is_null(2) && column.bytes() == 0);
    column.push_long(7).unwrap();
    assert!(column.is_null(2) && !column.is_null(3));
    column.truncate(2);
    column.push_null();
    let array = column.finish().unwrap();
    assert_eq!((array.len(), array.null_count()), (3, 3));
}

#[test]
fn a_value_of_another_type_is_refused() {
    let mut column = Column::new(&FieldType::Date);
    assert!(column.push_long(1).is_err() && column.push_double(1.0).is_err());
    assert_eq!(column.len(), 0);
}
