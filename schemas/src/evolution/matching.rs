//! Which field of a table each of a writer's is.

use std::collections::HashSet;

use crate::field::Field;

/// The table's field that each of a writer's is, if it is one: by its name, by the aliases of the
/// table's, by its own aliases.
///
/// # Errors
/// Two fields of the writer's that are one field of the table's.
pub fn matching(
    table: &[Field],
    writer: &[(&str, &[String])],
) -> Result<Vec<Option<usize>>, String> {
    let by_name = |name: &str| table.iter().position(|field| field.name == name);
    let mut found: Vec<Option<usize>> = writer.iter().map(|(name, _)| by_name(name)).collect();
    let mut taken: HashSet<usize> = found.iter().flatten().copied().collect();
    for (place, (name, aliases)) in found.iter_mut().zip(writer) {
        if place.is_some() {
            continue;
        }
        let known = table.iter().position(|field| field.is_known_as(name));
        if let Some(known) = known {
            if !taken.insert(known) {
                let column = table.get(known).map_or("", |field| field.name.as_str());
                return Err(format!(
                    "two of the writer's fields, one of them {name:?}, are column {column:?}"
                ));
            }
            *place = Some(known);
            continue;
        }
        let own = table
            .iter()
            .position(|field| aliases.iter().any(|alias| field.is_known_as(alias)));
        *place = own.filter(|known| taken.insert(*known));
    }
    Ok(found)
}

/// The names of fields, and their aliases.
pub(super) fn names_of(fields: &[Field]) -> Vec<(&str, &[String])> {
    let names = fields.iter();
    names
        .map(|field| (field.name.as_str(), field.aliases.as_slice()))
        .collect()
}
