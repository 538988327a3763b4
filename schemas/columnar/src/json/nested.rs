//! Records, arrays and maps within a row of JSON.

use schemas::{Field, FieldType, Meaning, matching};

use super::fields::{FieldNames, for_each_field};
use super::reader::Reader;
use super::unknown::UnknownFields;
use super::value::{ValueRead, null_of, twice};
use crate::budget::width;
use crate::column::Column;
use crate::default::Filler;
use crate::error::{Fault, type_mismatch};

/// A record within a row.
#[derive(Debug)]
pub(super) struct Record {
    names: FieldNames<usize>,
    parts: Vec<Part>,
    name: Box<str>,
    /// It stands for a union: exactly one field has a value.
    is_union: bool,
    unknown: UnknownFields,
}

#[derive(Debug)]
struct Part {
    value: ValueRead,
    default: Filler,
}

/// The items of an array.
#[derive(Debug)]
pub(super) struct Items {
    item: ValueRead,
    /// How many columns an item fills.
    width: usize,
}

/// The entries of a map.
#[derive(Debug)]
pub(super) struct Entries {
    value: ValueRead,
    /// How many columns a value fills.
    width: usize,
    key: String,
}

/// The names under which a writer's fields, or the contract's own, are written.
pub(super) fn names_of(writer: &[Field], table: &[Field]) -> FieldNames<usize> {
    let own: Vec<_> = writer
        .iter()
        .map(|field| (field.name.as_str(), field.aliases.as_slice()))
        .collect();
    let places = matching(table, &own).unwrap_or_default();
    let named = own.iter().zip(&places);
    let named = named.filter_map(|((name, _), place)| Some((*name, (*place)?)));
    let aliases = table.iter().enumerate().flat_map(|(place, field)| {
        let aliases = field.aliases.iter();
        let free = aliases.filter(|alias| !own.iter().any(|(name, _)| name == alias));
        free.map(move |alias| (alias.as_str(), place))
    });
    FieldNames::new(named.chain(aliases))
}

/// The writer's field for each of the table's: the table's own where the writer has none.
pub(super) fn pairs<'f>(
    writer: &'f [Field],
    table: &'f [Field],
) -> impl Iterator<Item = (&'f Field, &'f Field)> {
    let own: Vec<_> = writer
        .iter()
        .map(|field| (field.name.as_str(), field.aliases.as_slice()))
        .collect();
    let places = matching(table, &own).unwrap_or_default();
    table.iter().enumerate().map(move |(place, field)| {
        let known = places.iter().position(|found| *found == Some(place));
        let known = known.and_then(|known| writer.get(known));
        (known.unwrap_or(field), field)
    })
}

impl Record {
    pub(super) fn new(writer: &Field, table: &Field) -> Self {
        let FieldType::Record(columns) = &table.field_type else {
            return Self::of(&[], &[], table);
        };
        match &writer.field_type {
            FieldType::Record(own) => Self::of(own, columns, table),
            _ => Self::of(columns, columns, table),
        }
    }

    fn of(own: &[Field], columns: &[Field], table: &Field) -> Self {
        let parts = pairs(own, columns).map(|(writer, column)| Part {
            value: ValueRead::new(writer, column, !column.nullable),
            default: Filler::new(column),
        });
        Self {
            parts: parts.collect(),
            names: names_of(own, columns),
            name: table.name.as_str().into(),
            is_union: table.meaning == Meaning::Union,
            unknown: UnknownFields::default(),
        }
    }

    /// Says what becomes of fields that the table lacks. (Of a union they are no type.)
    pub(super) fn set_unknown(&mut self, unknown: UnknownFields) {
        self.unknown = match self.is_union {
            true => UnknownFields::Ignore,
            false => unknown,
        };
        for part in &mut self.parts {
            part.value.set_unknown(unknown);
        }
    }

    pub(super) fn run(
        &mut self,
        reader: &mut Reader<'_>,
        column: &mut Column,
        scratch: &mut String,
    ) -> Result<(), Fault> {
        let (rows, parts, unknown, name) =
            (column.len(), &mut self.parts, self.unknown, &*self.name);
        let columns = column.record()?;
        let mut values = 0;
        for_each_field(
            reader,
            &mut self.names,
            scratch,
            |reader, place, scratch| {
                let part =
                    place.and_then(|place| Some((parts.get_mut(place)?, columns.get_mut(place)?)));
                let Some((part, column)) = part else {
                    return unknown.pass(reader, name);
                };
                if column.len() > rows {
                    return Err(twice(&part.value.name));
                }
                if part.value.run(reader, column, scratch)? {
                    return Err(null_of(&part.value));
                }
                values += usize::from(!column.is_null(rows));
                Ok(())
            },
        )?;
        for (part, column) in self.parts.iter().zip(columns) {
            if column.len() == rows {
                part.default.fill(column)?;
                if part.value.required && column.is_null(rows) {
                    return Err(part.value.mismatch("nothing"));
                }
            }
        }
        if self.is_union && values != 1 {
            let found = format!("an object that names {values}");
            return Err(type_mismatch(&self.name, "one of the union's types", found));
        }
        column.close_nested()
    }
}

impl Items {
    pub(super) fn set_unknown(&mut self, unknown: UnknownFields) {
        self.item.set_unknown(unknown);
    }

    pub(super) fn new(writer: &Field, items: &Field) -> Self {
        let own = match &writer.field_type {
            FieldType::Array(own) => own,
            _ => items,
        };
        Self {
            item: ValueRead::new(own, items, !items.nullable),
            width: width(items),
        }
    }

    pub(super) fn run(
        &mut self,
        reader: &mut Reader<'_>,
        column: &mut Column,
        scratch: &mut String,
    ) -> Result<(), Fault> {
        let items = column.items()?;
        let mut more = reader.open(b'[', b']')?;
        while more {
            let start = reader.place();
            if self.item.run(reader, items, scratch)? {
                return Err(null_of(&self.item));
            }
            reader.spend(self.width, start)?;
            more = reader.more(b']')?;
        }
        column.close_nested()
    }
}

impl Entries {
    pub(super) fn set_unknown(&mut self, unknown: UnknownFields) {
        self.value.set_unknown(unknown);
    }

    pub(super) fn new(writer: &Field, values: &Field) -> Self {
        let own = match &writer.field_type {
            FieldType::Map(own) => own,
            _ => values,
        };
        Self {
            value: ValueRead::new(own, values, !values.nullable),
            width: width(values),
            key: String::new(),
        }
    }

    pub(super) fn run(
        &mut self,
        reader: &mut Reader<'_>,
        column: &mut Column,
        scratch: &mut String,
    ) -> Result<(), Fault> {
        let (keys, values) = column.entries()?;
        let mut more = reader.open(b'{', b'}')?;
        while more {
            let start = reader.place();
            keys.push_text(reader.text(&mut self.key)?)?;
            reader.expect(b':')?;
            if self.value.run(reader, values, scratch)? {
                return Err(null_of(&self.value));
            }
            reader.spend(self.width, start)?;
            more = reader.more(b'}')?;
        }
        column.close_nested()
    }
}
