//! Generated entities: a contract, and rows of it in both formats.

use apache_avro::Schema;
use apache_avro::types::Value;
use proptest::prelude::*;
use proptest::sample::Index;
use schemas::Contract;
use serde_json::{Value as Json, json};

use crate::kind::{KINDS, Kind};
use crate::table::{Cell, contract, encode};

/// Where null is in a field's union.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nulls {
    No,
    First,
    Second,
}

/// An entity whose key is its first field.
#[derive(Clone, Debug)]
pub(crate) struct Entity {
    pub(crate) fields: Vec<(Kind, Nulls)>,
}

/// An entity and rows of it, as the cells that its columns should hold.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) entity: Entity,
    pub(crate) rows: Vec<Vec<Cell>>,
    /// Fixes the choices that a row's JSON leaves open.
    pub(crate) style: Index,
}

pub(crate) fn name(position: usize) -> String {
    format!("f{position}")
}

impl Entity {
    pub(crate) fn contract(&self) -> Contract {
        contract(&self.avro_json().to_string())
    }

    pub(crate) fn schema(&self) -> Schema {
        Schema::parse(&self.avro_json()).unwrap()
    }

    fn avro_json(&self) -> Json {
        let fields = self
            .fields
            .iter()
            .enumerate()
            .map(|(position, (kind, nulls))| {
                let inner = kind.avro_json(position);
                let avro = match nulls {
                    Nulls::No => inner,
                    Nulls::First => json!(["null", inner]),
                    Nulls::Second => json!([inner, "null"]),
                };
                json!({"name": name(position), "type": avro})
            });
        let fields: Vec<Json> = fields.collect();
        json!({"type": "record", "name": "Row", "lakehead.key": ["f0"], "fields": fields})
    }

    pub(crate) fn avro(&self, row: &[Cell]) -> Vec<u8> {
        encode(&self.schema(), self.value(row))
    }

    pub(crate) fn value(&self, row: &[Cell]) -> Value {
        let fields = self.fields.iter().zip(row).enumerate();
        let fields = fields.map(|(position, ((kind, nulls), cell))| {
            let inner = kind.value(cell);
            let is_null = u32::from(*cell == Cell::Null);
            let value = match nulls {
                Nulls::No => inner,
                Nulls::First => Value::Union(1 - is_null, Box::new(inner)),
                Nulls::Second => Value::Union(is_null, Box::new(inner)),
            };
            (name(position), value)
        });
        Value::Record(fields.collect())
    }

    /// The row as a JSON object: fields in any order, nulls written or left out, blanks or none,
    /// unknown fields between.
    pub(crate) fn json(&self, row: &[Cell], style: &Index) -> String {
        let choice = |what: usize, among: usize| {
            (style.index(usize::MAX / 2) / 7_usize.pow(what as u32 % 9)) % among
        };
        let blank = ["", " ", "\n\t"][choice(0, 3)];
        let mut fields = Vec::new();
        for (position, ((kind, _), cell)) in self.fields.iter().zip(row).enumerate() {
            if *cell == Cell::Null && choice(position, 2) == 0 {
                continue;
            }
            let value = kind.json(cell, choice(position, 3));
            fields.push(format!(
                "{blank}\"{}\"{blank}:{blank}{value}{blank}",
                name(position)
            ));
            if choice(position, 5) == 0 {
                fields.push(format!(
                    "\"x{position}\":{{\"f0\":[1,-2.5e3,\"\\u00e4\\\\\",null,true,{{}}]}}"
                ));
            }
        }
        let middle = choice(1, fields.len().max(1));
        if !fields.is_empty() {
            fields.rotate_left(middle);
        }
        format!("{blank}{{{}}}{blank}", fields.join(","))
    }
}

pub(crate) fn entities() -> impl Strategy<Value = Entity> {
    let nulls = prop_oneof![Just(Nulls::No), Just(Nulls::First), Just(Nulls::Second)];
    let kind = (0..KINDS.len()).prop_map(|i| KINDS[i]);
    let key = prop_oneof![Just(Kind::Long), Just(Kind::Text), Just(Kind::Int)];
    (key, prop::collection::vec((kind, nulls), 0..8)).prop_map(|(key, mut fields)| {
        fields.insert(0, (key, Nulls::No));
        Entity { fields }
    })
}

pub(crate) fn samples(rows: std::ops::Range<usize>) -> impl Strategy<Value = Sample> {
    entities().prop_flat_map(move |entity| {
        let cells: Vec<BoxedStrategy<Cell>> = entity
            .fields
            .iter()
            .map(|(kind, nulls)| match nulls {
                Nulls::No => kind.cells(),
                _ => prop_oneof![1 => Just(Cell::Null), 3 => kind.cells()].boxed(),
            })
            .collect();
        let rows = prop::collection::vec(cells, rows.clone());
        (Just(entity), rows, any::<Index>()).prop_map(|(entity, rows, style)| Sample {
            entity,
            rows,
            style,
        })
    })
}
