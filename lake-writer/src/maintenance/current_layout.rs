//! The columns of a current table, and how they follow those of the changes.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use columnar::ChangeSchema;
use lake_store::{BUCKETS_PROPERTY, FORMAT_PROPERTY, FORMAT_VERSION};
use schemas::{Contract, Shape};
use uuid::Uuid;

use crate::action::Metadata;
use crate::layout::{self, EVENT_ID, EVENT_TIME, GENERATION, OFFSET, PARTITION};

/// Which change a row is: what a change is found by again in the table of changes.
const LINEAGE: [&str; 5] = [EVENT_ID, EVENT_TIME, PARTITION, OFFSET, GENERATION];

pub(crate) const OP: &str = "_op";

/// Columns of a keyed entity's current table.
#[derive(Clone, Debug)]
pub(crate) struct CurrentLayout {
    contract: Contract,
    shape: Shape,
    rows: SchemaRef,
    lookup: SchemaRef,
    timed: SchemaRef,
}

/// How a table's columns stand to those that it should have; each is more work than the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fit {
    /// They are the same.
    Same,
    /// Some are missing: files without them read as null.
    Added,
    /// Some are wider: every file must be written anew.
    Widened,
    /// They cannot be led over: the table must be computed anew.
    Other,
}

impl CurrentLayout {
    /// The layout for the changes of this contract; `None` if rows have no identity, or are never
    /// updated.
    pub(crate) fn of(contract: Contract, shape: Shape) -> Option<Self> {
        if contract.key().is_empty() || shape == Shape::Append {
            return None;
        }
        let table = ChangeSchema::new(&contract).table_schema();
        let named = |names: &[&str]| -> Vec<Arc<Field>> {
            let fields = names.iter().filter_map(|name| table.fields().find(name));
            fields.map(|(_, field)| Arc::clone(field)).collect()
        };
        let entity = table.fields().iter();
        let entity = entity
            .filter(|field| !field.name().starts_with('_'))
            .cloned();
        let rows: Fields = named(&LINEAGE).into_iter().chain(entity).collect();
        let key: Vec<&str> = contract.key().iter().map(String::as_str).collect();
        let mut lookup = named(&key);
        lookup.extend(named(&[OP, PARTITION, OFFSET, GENERATION]));
        let timed: Fields = lookup.iter().cloned().chain(named(&[EVENT_TIME])).collect();
        Some(Self {
            contract,
            shape,
            rows: Arc::new(Schema::new(rows)),
            lookup: Arc::new(Schema::new(lookup)),
            timed: Arc::new(Schema::new(timed)),
        })
    }

    /// The layout that an existing current table has, and its number of buckets.
    pub(crate) fn of_table(metadata: &Metadata) -> Result<(Self, u32), String> {
        let (contract, shape) = layout::contract_of_table(metadata)?;
        let buckets = metadata.configuration.get(BUCKETS_PROPERTY);
        let buckets = buckets.and_then(|buckets| buckets.parse().ok());
        Self::of(contract, shape)
            .zip(buckets.filter(|buckets: &u32| buckets.is_power_of_two()))
            .ok_or_else(|| {
                format!(
                    "it lacks a key, or the table property {BUCKETS_PROPERTY}, a power of two; \
                     `lakehead rebuild` computes it anew"
                )
            })
    }

    /// Refuses a table whose format is none that this program or an earlier one wrote: nobody knows
    /// here what it says, and computed anew it would say that it is of this program's format.
    pub(crate) fn check_replaceable(table: &Metadata) -> Result<(), String> {
        let ours = FORMAT_VERSION.parse::<u32>().ok();
        let is_earlier = |format: &String| {
            let format = format.parse::<u32>().ok();
            format.zip(ours).is_some_and(|(format, ours)| format < ours)
        };
        match table.configuration.get(FORMAT_PROPERTY) {
            Some(format) if is_earlier(format) => Ok(()),
            _ => layout::check_format(table),
        }
    }

    /// The columns of data files: lineage, then the entity's.
    pub(crate) fn rows(&self) -> &SchemaRef {
        &self.rows
    }

    /// The columns that tell which changes are the latest: the key's, in order, then `_op`,
    /// `_partition`, `_offset`, `_generation`.
    pub(crate) fn lookup(&self) -> &SchemaRef {
        &self.lookup
    }

    /// The same and `_event_time`: which changes are the latest before some moment.
    pub(crate) fn timed_lookup(&self) -> &SchemaRef {
        &self.timed
    }

    /// The names of the key's columns.
    pub(crate) fn key(&self) -> &[String] {
        self.contract.key()
    }

    /// The table's metadata with so many buckets.
    pub(crate) fn metadata(&self, buckets: u32, id: Uuid, now_us: i64) -> Result<Metadata, String> {
        let of = (&self.contract, self.shape);
        layout::current_metadata(&self.rows, of, buckets, id, now_us)
    }

    /// The metadata of a table that is there already, with these columns and buckets.
    ///
    /// # Errors
    /// As [`Self::check_replaceable`] has it.
    pub(crate) fn grown(&self, table: &Metadata, buckets: u32) -> Result<Metadata, String> {
        Self::check_replaceable(table)?;
        let fresh = self.metadata(buckets, Uuid::nil(), 0)?;
        let mut configuration = table.configuration.clone();
        configuration.extend(fresh.configuration);
        Ok(Metadata {
            schema_string: fresh.schema_string,
            partition_columns: fresh.partition_columns,
            configuration,
            ..table.clone()
        })
    }

    /// How a table of this layout stands to one that should have the layout `to`.
    pub(crate) fn fit(&self, to: &Self) -> Fit {
        let keys = |layout: &Self| -> Vec<Option<DataType>> {
            let field = |name: &String| layout.rows.field_with_name(name).ok();
            let types = layout.key().iter().map(field);
            types
                .map(|field| Some(field?.data_type().clone()))
                .collect()
        };
        if self.key() != to.key() || keys(self) != keys(to) {
            return Fit::Other;
        }
        fields(self.rows.fields(), to.rows.fields())
    }
}

fn fields(from: &Fields, to: &Fields) -> Fit {
    let added = if to.len() > from.len() {
        Fit::Added
    } else {
        Fit::Same
    };
    let each = from.iter().map(|field| match to.find(field.name()) {
        Some((_, found)) => types(field.data_type(), found.data_type()),
        None => Fit::Other,
    });
    each.fold(added, Fit::max)
}

fn types(from: &DataType, to: &DataType) -> Fit {
    match (from, to) {
        (from, to) if from == to => Fit::Same,
        (DataType::Struct(from), DataType::Struct(to)) => fields(from, to),
        (DataType::List(from), DataType::List(to))
        | (DataType::Map(from, _), DataType::Map(to, _)) => types(from.data_type(), to.data_type()),
        _ => Fit::Widened,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(key: &str, fields: &str) -> CurrentLayout {
        let contract = format!(
            r#"{{"type":"record","name":"R","lakehead.key":["{key}"],"fields":[{fields}]}}"#
        );
        CurrentLayout::of(contract.parse().unwrap(), Shape::Upsert).unwrap()
    }

    const ID: &str = r#"{"name":"id","type":"long"}"#;

    #[test]
    fn rows_say_which_change_they_are() {
        let layout = layout("id", ID);
        let names = |schema: &SchemaRef| -> Vec<String> {
            schema
                .fields()
                .iter()
                .map(|field| field.name().clone())
                .collect()
        };
        assert_eq!(
            names(layout.rows()),
            [
                "_event_id",
                "_event_time",
                "_partition",
                "_offset",
                "_generation",
                "id"
            ]
        );
        assert_eq!(
            names(layout.lookup()),
            ["id", "_op", "_partition", "_offset", "_generation"]
        );
        let metadata = layout.metadata(8, Uuid::nil(), 0).unwrap();
        assert_eq!(metadata.partition_columns, ["_bucket"]);
        let (found, buckets) = CurrentLayout::of_table(&metadata).unwrap();
        assert_eq!((found.fit(&layout), buckets), (Fit::Same, 8));
    }

    #[test]
    fn a_later_format_is_not_taken_back() {
        let layout = layout("id", ID);
        let mut metadata = layout.metadata(8, Uuid::nil(), 0).unwrap();
        let mut grown = |format: &str| {
            let properties = &mut metadata.configuration;
            properties.insert(FORMAT_PROPERTY.to_owned(), format.to_owned());
            layout.grown(&metadata, 8)
        };
        for format in ["0", FORMAT_VERSION] {
            let metadata = grown(format).unwrap();
            assert_eq!(metadata.configuration[FORMAT_PROPERTY], FORMAT_VERSION);
        }
        for format in ["2", "10", "1.1", ""] {
            let error = grown(format).unwrap_err();
            assert!(error.contains(&format!("format is {format},")), "{error}");
        }
    }

    #[test]
    fn facts_have_no_current_table() {
        let contract: Contract = r#"{"type":"record","name":"R","lakehead.key":["id"],
            "fields":[{"name":"id","type":"long"}]}"#
            .parse()
            .unwrap();
        assert!(CurrentLayout::of(contract.clone(), Shape::Append).is_none());
        let keyless = contract.with_key(Vec::new()).unwrap();
        assert!(CurrentLayout::of(keyless, Shape::Upsert).is_none());
    }

    #[test]
    fn every_step_of_evolution_is_told() {
        let of = |type_: &str| format!(r#"{ID},{{"name":"n","type":{type_}}}"#);
        let record = |inner: &str| {
            of(&format!(
                r#"{{"type":"record","name":"P","fields":[{inner}]}}"#
            ))
        };
        let long = layout("id", &of("\"long\""));
        let fit = |to: &str| long.fit(&layout("id", to));
        assert_eq!(fit(&of("\"long\"")), Fit::Same);
        assert_eq!(fit(&of("\"double\"")), Fit::Widened);
        assert_eq!(
            fit(&(of("\"long\"") + r#",{"name":"m","type":"long"}"#)),
            Fit::Added
        );
        assert_eq!(fit(ID), Fit::Other);
        assert_eq!(long.fit(&layout("n", &of("\"long\""))), Fit::Other);
        let narrow = layout("id", &record(ID));
        let nested = |inner: &str| narrow.fit(&layout("id", &record(inner)));
        assert_eq!(
            nested(&format!(r#"{ID},{{"name":"m","type":"long"}}"#)),
            Fit::Added
        );
        assert_eq!(nested(r#"{"name":"id","type":"double"}"#), Fit::Widened);
    }
}
