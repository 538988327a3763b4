//! The key of a table, which does not evolve.

use std::collections::HashSet;

use super::incompatible::Incompatible;
use super::matching::{matching, names_of};
use super::merge::Merge;

impl Merge<'_> {
    /// The key must be there, and its columns as they are.
    pub(super) fn check_key(&self) -> Result<(), Incompatible> {
        let (key, table) = (self.table.key(), self.table.fields());
        let own: Vec<(&str, &[String])> = names_of(self.writer.fields());
        let places = matching(table, &own).unwrap_or_default();
        let column = |place: &Option<usize>| Some(table.get((*place)?)?.name.as_str());
        let present: HashSet<&str> = places.iter().filter_map(column).collect();
        if let Some(gone) = key.iter().find(|name| !present.contains(name.as_str())) {
            let why = "a row without its key has no place; keep the field, or send the records to a new topic and table";
            return Err(self.refused(gone, "a key field", "nothing", why.to_owned()));
        }
        let writers: HashSet<&str> = self
            .writer
            .key()
            .iter()
            .filter_map(|name| {
                let place = own.iter().position(|(own, _)| own == name)?;
                column(places.get(place)?)
            })
            .collect();
        let own_key: HashSet<&str> = key.iter().map(String::as_str).collect();
        if !self.writer.key().is_empty() && !key.is_empty() && writers != own_key {
            let why = "the key of a table cannot change; send the records to a new topic and table";
            let told = |key: &[String]| format!("{key:?}");
            return Err(self.refused("", &told(key), &told(self.writer.key()), why.to_owned()));
        }
        let widened = self.changes.widened.iter();
        if let Some(widened) = widened
            .clone()
            .find(|widened| key.contains(&widened.column))
        {
            let why =
                "the type of a key field cannot change; send the records to a new topic and table";
            let (from, to) = (widened.from.to_string(), widened.to.to_string());
            return Err(self.refused(&widened.column, &from, &to, why.to_owned()));
        }
        Ok(())
    }
}
