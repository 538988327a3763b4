//! Two contracts made one, field by field.

use serde_json::{Value, json};

use super::incompatible::{Incompatible, Side, WAY_ON};
use super::matching::{matching, names_of};
use super::types::{Fit, inner_type, with_type};
use super::{Changes, Widening};
use crate::contract::Contract;
use crate::field::{Field, FieldType, joined};

/// How many fields a table may have, with those in records within.
const FIELDS_MAX: usize = 4096;

/// A merge on its way.
pub(super) struct Merge<'c> {
    pub(super) table: &'c Contract,
    pub(super) writer: &'c Contract,
    pub(super) changes: Changes,
    fit: fn(&Field, &Field) -> Fit,
}

impl<'c> Merge<'c> {
    /// `fit`: how a writer's values fit in a table's field.
    pub(super) fn new(
        table: &'c Contract,
        writer: &'c Contract,
        fit: fn(&Field, &Field) -> Fit,
    ) -> Self {
        let changes = Changes {
            contract: table.clone(),
            added: Vec::new(),
            widened: Vec::new(),
            relaxed: Vec::new(),
            renamed: Vec::new(),
            retyped: Vec::new(),
        };
        Self {
            table,
            writer,
            changes,
            fit,
        }
    }

    /// The merged fields, and what changed on the way.
    pub(super) fn run(mut self) -> Result<(Vec<Field>, Changes), Incompatible> {
        let fields = self.record(self.table.fields(), self.writer.fields(), "")?;
        self.check_key()?;
        if count(&fields) > FIELDS_MAX {
            let why = format!("a table holds at most {FIELDS_MAX} fields");
            return Err(self.refused("", "", "more fields", why));
        }
        Ok((fields, self.changes))
    }

    pub(super) fn record(
        &mut self,
        table: &[Field],
        writer: &[Field],
        path: &str,
    ) -> Result<Vec<Field>, Incompatible> {
        let places = matching(table, &names_of(writer))
            .map_err(|why| self.refused(path, "one field", "two", why))?;
        let mut merged = table.to_vec();
        for (field, place) in writer.iter().zip(&places) {
            let known = place.and_then(|place| Some((table.get(place)?, merged.get_mut(place)?)));
            match known {
                Some((known, slot)) => {
                    *slot = self.field(known, field, path)?;
                    let is_other = |alias: &str| {
                        table.iter().any(|field| field.is_known_as(alias))
                            || writer.iter().any(|field| field.name == alias)
                    };
                    self.take_aliases(slot, field, is_other, path);
                }
                None => {
                    let added = self.added(field, &merged, path)?;
                    merged.push(added);
                }
            }
        }
        for (place, field) in merged.iter_mut().enumerate().take(table.len()) {
            let is_key = path.is_empty() && self.table.key().contains(&field.name);
            let is_gone = !places.contains(&Some(place));
            if is_gone && !field.nullable && field.default.is_none() && !is_key {
                self.changes.relaxed.push(joined(path, &field.name));
                make_optional(field);
            }
        }
        Ok(merged)
    }

    /// A new field: older rows have none, so it may be null.
    fn added(
        &mut self,
        field: &Field,
        beside: &[Field],
        path: &str,
    ) -> Result<Field, Incompatible> {
        let path = joined(path, &field.name);
        let name = field.name.to_lowercase();
        if let Some(twin) = beside
            .iter()
            .find(|field| field.name.to_lowercase() == name)
        {
            let why = "names that differ only by case are one column to many readers; give the field another name, or name the column among its aliases";
            let twin = format!("a field {:?}", twin.name);
            return Err(self.refused(&path, &twin, "another", why.to_owned()));
        }
        let mut field = field.clone();
        make_optional(&mut field);
        self.changes.added.push(path);
        Ok(field)
    }

    /// A field of both.
    pub(super) fn field(
        &mut self,
        table: &Field,
        writer: &Field,
        path: &str,
    ) -> Result<Field, Incompatible> {
        let path = joined(path, &table.name);
        let mut merged = table.clone();
        if !table.is_known_as(&writer.name) {
            let renamed = (path.clone(), writer.name.clone());
            self.changes.renamed.push(renamed);
            merged.aliases.push(writer.name.clone());
            merged.json["aliases"] = json!(merged.aliases);
        }
        self.values(&mut merged, writer, &path)?;
        let is_key = self.table.key().contains(&path);
        if writer.nullable && !table.nullable && !is_key {
            self.changes.relaxed.push(path);
            relax(&mut merged);
        }
        Ok(merged)
    }

    /// Other names that the writer's schema, or a new contract, gives a field, unless another field
    /// has them.
    fn take_aliases(
        &mut self,
        merged: &mut Field,
        writer: &Field,
        is_other: impl Fn(&str) -> bool,
        path: &str,
    ) {
        for alias in &writer.aliases {
            if !merged.is_known_as(alias) && !is_other(alias) {
                let renamed = (joined(path, &merged.name), alias.clone());
                self.changes.renamed.push(renamed);
                merged.aliases.push(alias.clone());
                merged.json["aliases"] = json!(merged.aliases);
            }
        }
    }

    /// Makes `merged`, the table's field, hold the writer's values too.
    fn values(
        &mut self,
        merged: &mut Field,
        writer: &Field,
        path: &str,
    ) -> Result<(), Incompatible> {
        match (self.fit)(merged, writer) {
            Fit::Same => {}
            Fit::Retype(avro, meaning) => {
                self.changes.retyped.push(path.to_owned());
                merged.meaning = meaning;
                with_type(merged, avro);
            }
            Fit::Widen(to, avro, meaning) => {
                if matches!(to, FieldType::Decimal { .. })
                    && merged
                        .default
                        .as_ref()
                        .is_some_and(|default| !default.is_null())
                {
                    let why = format!("its default would change with its scale; {WAY_ON}");
                    return Err(self.clash(path, merged, writer, why));
                }
                self.changes.widened.push(Widening {
                    column: path.to_owned(),
                    from: merged.field_type.clone(),
                    to: to.clone(),
                });
                (merged.field_type, merged.meaning, merged.asked) = (to, meaning, None);
                if let Value::Object(json) = &mut merged.json {
                    json.remove("lakehead.type");
                }
                with_type(merged, avro);
            }
            Fit::Inside => self.inside(merged, writer, path)?,
            Fit::Never(why) => {
                return Err(self.clash(path, merged, writer, format!("{why}; {WAY_ON}")));
            }
        }
        Ok(())
    }

    pub(super) fn clash(
        &self,
        path: &str,
        table: &Field,
        writer: &Field,
        why: String,
    ) -> Incompatible {
        let told = |field: &Field| inner_type(&field.json).to_string();
        self.refused(path, &told(table), &told(writer), why)
    }

    pub(super) fn refused(
        &self,
        path: &str,
        table: &str,
        writer: &str,
        why: String,
    ) -> Incompatible {
        let name = |contract: &Contract| {
            let json = contract.avro_json();
            let name = json["name"].as_str().unwrap_or_default();
            match json["namespace"].as_str() {
                Some(space) if !space.is_empty() && !name.contains('.') => {
                    format!("{space}.{name}")
                }
                _ => name.to_owned(),
            }
        };
        let side = |contract: &Contract, says: &str| {
            Box::new(Side {
                schema: name(contract),
                says: says.to_owned(),
            })
        };
        Incompatible {
            field: path.to_owned(),
            table: side(self.table, table),
            writer: side(self.writer, writer),
            why,
        }
    }
}

/// Lets a field be null, and be left out.
fn make_optional(field: &mut Field) {
    if field.default.is_none() {
        field.default = Some(Value::Null);
        field.json["default"] = Value::Null;
    }
    relax(field);
}

/// Lets a field be null.
fn relax(field: &mut Field) {
    field.nullable = true;
    let avro = inner_type(&field.json).clone();
    with_type(field, avro);
}

fn count(fields: &[Field]) -> usize {
    let inside = |field: &Field| match &field.field_type {
        FieldType::Record(fields) => count(fields),
        FieldType::Array(inner) | FieldType::Map(inner) => count(std::slice::from_ref(inner)),
        _ => 0,
    };
    fields.iter().map(|field| 1 + inside(field)).sum()
}
