//! Two producers on two versions of a schema write at once: each record lands as apache-avro's own
//! schema resolution reads it under the table's evolved contract.

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value;
use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use columnar::{ChangeDecoder, ChangeSchema, Decoded, contract_of_writer};
use proptest::prelude::*;
use schemas::{AvroSchema, Evolution, Shape};
use serde_json::{Value as Json, json};

use crate::table::{buffer, encode, finish, meta};

/// The type of a field in one version.
#[derive(Clone, Debug)]
enum Kind {
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Text,
    Bytes,
    Nullable(Box<Kind>),
    Array(Box<Kind>),
    Map(Box<Kind>),
    Record(Vec<(String, Kind)>),
}

impl Kind {
    /// The Avro type; records are named by where they are.
    fn avro(&self, path: &str) -> Json {
        match self {
            Self::Boolean => json!("boolean"),
            Self::Int => json!("int"),
            Self::Long => json!("long"),
            Self::Float => json!("float"),
            Self::Double => json!("double"),
            Self::Text => json!("string"),
            Self::Bytes => json!("bytes"),
            Self::Nullable(inner) => json!(["null", inner.avro(path)]),
            Self::Array(item) => json!({"type": "array", "items": item.avro(&format!("{path}_i"))}),
            Self::Map(value) => json!({"type": "map", "values": value.avro(&format!("{path}_v"))}),
            Self::Record(fields) => {
                let fields: Vec<Json> = fields
                    .iter()
                    .map(|(name, kind)| field(name, kind, &format!("{path}_{name}")))
                    .collect();
                json!({"type": "record", "name": format!("R{path}"), "fields": fields})
            }
        }
    }

    fn values(&self) -> BoxedStrategy<Value> {
        match self {
            Self::Boolean => any::<bool>().prop_map(Value::Boolean).boxed(),
            Self::Int => any::<i32>().prop_map(Value::Int).boxed(),
            Self::Long => any::<i64>().prop_map(Value::Long).boxed(),
            Self::Float => prop::num::f32::NORMAL.prop_map(Value::Float).boxed(),
            Self::Double => prop::num::f64::NORMAL.prop_map(Value::Double).boxed(),
            Self::Text => "[a-zé]{0,5}".prop_map(Value::String).boxed(),
            Self::Bytes => any::<Vec<u8>>().prop_map(Value::Bytes).boxed(),
            Self::Nullable(inner) => {
                let null = Just(Value::Union(0, Box::new(Value::Null)));
                let some = inner
                    .values()
                    .prop_map(|value| Value::Union(1, Box::new(value)));
                prop_oneof![1 => null, 3 => some].boxed()
            }
            Self::Array(item) => prop::collection::vec(item.values(), 0..4)
                .prop_map(Value::Array)
                .boxed(),
            Self::Map(value) => prop::collection::hash_map("[a-z]{0,3}", value.values(), 0..4)
                .prop_map(Value::Map)
                .boxed(),
            Self::Record(fields) => fields
                .iter()
                .map(|(name, kind)| {
                    let name = name.clone();
                    kind.values()
                        .prop_map(move |value| (name.clone(), value))
                        .boxed()
                })
                .collect::<Vec<_>>()
                .prop_map(Value::Record)
                .boxed(),
        }
    }

    /// A next version of the type, which evolution takes.
    fn next(&self) -> BoxedStrategy<Kind> {
        let same = Just(self.clone()).boxed();
        match self {
            Self::Int => prop_oneof![
                2 => same,
                1 => Just(Self::Long),
                1 => Just(Self::Double),
                1 => Just(Self::Nullable(Box::new(Self::Int))),
            ]
            .boxed(),
            Self::Float => prop_oneof![same, Just(Self::Double)].boxed(),
            Self::Nullable(inner) => inner
                .next()
                .prop_map(|next| match next {
                    Self::Nullable(inner) => Self::Nullable(inner),
                    other => Self::Nullable(Box::new(other)),
                })
                .boxed(),
            Self::Array(item) => item
                .next()
                .prop_map(|item| Self::Array(Box::new(item)))
                .boxed(),
            Self::Map(value) => value
                .next()
                .prop_map(|value| Self::Map(Box::new(value)))
                .boxed(),
            Self::Record(fields) => versions(fields).prop_map(Self::Record).boxed(),
            _ => same,
        }
    }
}

fn field(name: &str, kind: &Kind, path: &str) -> Json {
    let mut field = json!({"name": name, "type": kind.avro(path)});
    if let Kind::Nullable(_) = kind {
        field["default"] = Json::Null;
    }
    field
}

fn kinds() -> BoxedStrategy<Kind> {
    let leaf = prop_oneof![
        Just(Kind::Boolean),
        Just(Kind::Int),
        Just(Kind::Long),
        Just(Kind::Float),
        Just(Kind::Double),
        Just(Kind::Text),
        Just(Kind::Bytes),
    ];
    let nested = leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(|item| Kind::Array(Box::new(item))),
            inner.clone().prop_map(|value| Kind::Map(Box::new(value))),
            prop::collection::vec(inner, 1..4).prop_map(|kinds| Kind::Record(named(kinds))),
        ]
    });
    (nested, any::<bool>())
        .prop_map(|(kind, nullable)| {
            if nullable {
                Kind::Nullable(Box::new(kind))
            } else {
                kind
            }
        })
        .boxed()
}

fn named(kinds: Vec<Kind>) -> Vec<(String, Kind)> {
    let names = kinds.into_iter().enumerate();
    names
        .map(|(place, kind)| (format!("f{place}"), kind))
        .collect()
}

/// A next version of fields: promoted, one gone, one new, in another order.
fn versions(fields: &[(String, Kind)]) -> BoxedStrategy<Vec<(String, Kind)>> {
    let next: Vec<BoxedStrategy<(String, Kind)>> = fields
        .iter()
        .map(|(name, kind)| {
            let name = name.clone();
            kind.next()
                .prop_map(move |kind| (name.clone(), kind))
                .boxed()
        })
        .collect();
    let gone = prop::option::of(any::<prop::sample::Index>());
    let new = prop::option::of(kinds());
    (next, gone, new, any::<prop::sample::Index>())
        .prop_map(|(mut fields, gone, new, turn)| {
            // What is required may not go unless a new version says what stands for it.
            if let Some(gone) = gone
                && fields.len() > 1
                && matches!(fields[gone.index(fields.len())].1, Kind::Nullable(_))
            {
                fields.remove(gone.index(fields.len()));
            }
            if let Some(new) = new {
                let new = match new {
                    Kind::Nullable(inner) => inner,
                    other => Box::new(other),
                };
                fields.push(("new".to_owned(), Kind::Nullable(new)));
            }
            let turn = turn.index(fields.len());
            fields.rotate_left(turn);
            fields
        })
        .boxed()
}

fn schema_of(fields: &[(String, Kind)]) -> String {
    let mut fields: Vec<Json> = fields
        .iter()
        .map(|(name, kind)| field(name, kind, name))
        .collect();
    fields.insert(fields.len() / 2, json!({"name": "id", "type": "long"}));
    json!({"type": "record", "name": "Row", "lakehead.key": ["id"], "fields": fields}).to_string()
}

fn row_of(fields: &[(String, Kind)]) -> BoxedStrategy<Value> {
    let mut all: Vec<(String, Kind)> = fields.to_vec();
    all.insert(all.len() / 2, ("id".to_owned(), Kind::Long));
    Kind::Record(all).values()
}

/// Two versions, and a row of each.
fn pairs() -> impl Strategy<Value = ([String; 2], [Value; 2])> {
    prop::collection::vec(kinds(), 1..5)
        .prop_map(named)
        .prop_flat_map(|old| (Just(old.clone()), versions(&old)))
        .prop_flat_map(|(old, new)| {
            let schemas = [schema_of(&old), schema_of(&new)];
            (Just(schemas), [row_of(&old), row_of(&new)])
        })
}

/// A value as JSON, doubles by their bits.
fn of_avro(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Boolean(value) => json!(value),
        Value::Int(value) => json!(value),
        Value::Long(value) => json!(value),
        Value::Float(value) => json!(f64::from(*value).to_bits().to_string()),
        Value::Double(value) => json!(value.to_bits().to_string()),
        Value::String(value) => json!(value),
        Value::Bytes(value) => json!(value),
        Value::Union(_, inner) => of_avro(inner),
        Value::Array(items) => items.iter().map(of_avro).collect(),
        Value::Map(entries) => entries
            .iter()
            .map(|(key, value)| (key.clone(), of_avro(value)))
            .collect(),
        Value::Record(fields) => fields
            .iter()
            .map(|(name, value)| (name.clone(), of_avro(value)))
            .collect(),
        other => panic!("{other:?}"),
    }
}

pub(crate) fn of_arrow(array: &ArrayRef, row: usize) -> Json {
    if array.is_null(row) {
        return Json::Null;
    }
    match array.data_type() {
        DataType::Boolean => json!(array.as_boolean().value(row)),
        DataType::Int64 => json!(array.as_primitive::<Int64Type>().value(row)),
        DataType::Float64 => {
            json!(
                array
                    .as_primitive::<Float64Type>()
                    .value(row)
                    .to_bits()
                    .to_string()
            )
        }
        DataType::Utf8 => json!(array.as_string::<i32>().value(row)),
        DataType::Binary => json!(array.as_binary::<i32>().value(row)),
        DataType::List(_) => {
            let items = array.as_list::<i32>().value(row);
            (0..items.len())
                .map(|item| of_arrow(&items, item))
                .collect()
        }
        DataType::Map(..) => {
            let entries = array.as_map().value(row);
            let (keys, values) = (entries.column(0), entries.column(1));
            let keys = keys.as_string::<i32>();
            (0..entries.len())
                .map(|entry| (keys.value(entry).to_owned(), of_arrow(values, entry)))
                .collect()
        }
        DataType::Struct(fields) => {
            let record = array.as_struct();
            let columns = fields.iter().zip(record.columns());
            columns
                .map(|(field, column)| (field.name().clone(), of_arrow(column, row)))
                .collect()
        }
        other => panic!("{other}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn each_version_lands_as_avro_resolves_it((texts, rows) in pairs()) {
        let writers: Vec<AvroSchema> = texts.iter().map(|text| text.parse().unwrap()).collect();
        let old = contract_of_writer(&writers[0], None, Shape::Append, None).unwrap();
        let new = contract_of_writer(&writers[1], None, Shape::Append, Some(&old)).unwrap();
        let contract = match old.evolve(&new) {
            Ok(Evolution::Same) => old,
            Ok(Evolution::Changes(changes)) => changes.contract,
            Err(refused) => return Err(TestCaseError::fail(refused.to_string())),
        };
        let reader = Schema::parse(contract.avro_json()).unwrap();
        let schema = ChangeSchema::new(&contract);
        let mut buffer = buffer(&schema);
        let mut expected = Vec::new();
        for round in 0..4 {
            let version = round % 2;
            let codec = Schema::parse_str(&texts[version]).unwrap();
            let body = encode(&codec, rows[version].clone());
            let mut decoder = ChangeDecoder::of_writer(&writers[version], Shape::Append, &schema).unwrap();
            let decoded = decoder.decode(&meta(0), Some(&body), None, &mut buffer);
            prop_assert_eq!(decoded, Ok(Decoded::Row));
            // A record cut short leaves no trace in the columns.
            let cut = decoder.decode(&meta(0), Some(&body[..body.len() - 1]), None, &mut buffer);
            prop_assert_eq!(cut.unwrap_err().code(), "truncated");
            let resolved = GenericDatumReader::builder(&codec).reader_schema(&reader).build().unwrap();
            expected.push(of_avro(&resolved.read_value(&mut body.as_slice()).unwrap()));
        }
        let batch = finish(buffer);
        for (row, expected) in expected.iter().enumerate() {
            for field in contract.fields() {
                let found = of_arrow(batch.column_by_name(&field.name).unwrap(), row);
                prop_assert_eq!(&found, &expected[&field.name], "{} of {}", field.name, contract.avro_json());
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever bytes come, a record lands whole or leaves no trace, in records within records too.
    #[test]
    fn poison_leaves_no_trace_in_nested_columns(
        (texts, rows) in pairs(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 40),
    ) {
        let writer: AvroSchema = texts[0].parse().unwrap();
        let contract = contract_of_writer(&writer, None, Shape::Append, None).unwrap();
        let schema = ChangeSchema::new(&contract);
        let mut decoder = ChangeDecoder::of_writer(&writer, Shape::Append, &schema).unwrap();
        let good = encode(&Schema::parse_str(&texts[0]).unwrap(), rows[0].clone());
        let flipped = flips.iter().map(|(at, byte)| {
            let mut body = good.clone();
            *at.get_mut(&mut body) = *byte;
            body
        });
        let cut = (0..good.len()).map(|end| good[..end].to_vec());
        let (mut mixed, mut clean) = (buffer(&schema), buffer(&schema));
        for body in cut.chain(flipped).chain([good.clone()]) {
            let before = mixed.rows();
            match decoder.decode(&meta(0), Some(&body), None, &mut mixed) {
                Ok(decoded) => {
                    prop_assert_eq!(decoded, Decoded::Row);
                    decoder.decode(&meta(0), Some(&body), None, &mut clean).unwrap();
                }
                Err(_) => prop_assert_eq!(mixed.rows(), before),
            }
        }
        prop_assert_eq!(finish(mixed), finish(clean));
    }
}
