//! Names of fields.

use std::collections::HashSet;

use super::Field;
use crate::contract::ContractError;

/// A field's name with the records that it lies in.
pub(crate) fn joined(path: &str, name: &str) -> String {
    if path.is_empty() {
        return name.to_owned();
    }
    format!("{path}.{name}")
}

/// A type that a field cannot have.
pub(super) fn refused(path: &str, found: String) -> ContractError {
    ContractError::FieldType {
        field: path.to_owned(),
        found,
    }
}

/// Two names that differ only by case are one column to many readers; `_` is ours; some
/// characters no table takes.
pub(super) fn check_names(path: &str, fields: &[Field]) -> Result<(), ContractError> {
    let mut seen = HashSet::new();
    for field in fields {
        let is_odd = |c: char| " ,;{}()=".contains(c) || c.is_control();
        let why = if path.is_empty() && field.name.starts_with('_') {
            "names starting with _ are Lakehead's own columns"
        } else if field.name.is_empty() || field.name.contains(is_odd) {
            "column names must not be empty, nor have blanks or any of ,;{}()="
        } else if !seen.insert(field.name.to_lowercase()) {
            "another field has the same name but for case"
        } else {
            continue;
        };
        return Err(ContractError::FieldName {
            field: joined(path, &field.name),
            why,
        });
    }
    Ok(())
}
