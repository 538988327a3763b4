//! What lands is what was written, for generated entities and rows.

use apache_avro::Schema;
use apache_avro::types::Value;
use arrow::array::RecordBatch;
use columnar::{ChangeDecoder, ChangeSchema, Decoded, contract_of};
use proptest::prelude::*;
use schemas::{Envelope, Op, Shape};

use crate::entity::{Entity, Sample, name, samples};
use crate::table::{Cell, buffer, cell, encode, finish, lenient, meta};

/// The entity's cells of a row.
pub(crate) fn cells(entity: &Entity, batch: &RecordBatch, row: usize) -> Vec<Cell> {
    (0..entity.fields.len())
        .map(|position| cell(batch, &name(position), row))
        .collect()
}

/// An envelope of the generated entity in both formats.
pub(crate) struct Change {
    pub(crate) avro: Vec<u8>,
    pub(crate) json: String,
}

pub(crate) fn envelope_schema(entity: &Entity) -> Schema {
    let envelope = Envelope::of(&"a.b".parse().unwrap(), &entity.contract());
    Schema::parse_str(&envelope.value_schema).unwrap()
}

pub(crate) fn change(
    sample: &Sample,
    op: Op,
    before: Option<usize>,
    after: Option<usize>,
) -> Change {
    let Sample {
        entity,
        rows,
        style,
    } = sample;
    let union = |row: Option<usize>| match row {
        None => Value::Union(0, Box::new(Value::Null)),
        Some(row) => Value::Union(1, Box::new(entity.value(&rows[row]))),
    };
    let text = |text: &str| Value::String(text.to_owned());
    let source = [
        ("version", text("1")),
        ("connector", text("lakehead")),
        ("name", text("ö")),
        ("ts_ms", Value::Long(1_000)),
        ("ts_us", Value::Long(1_000_123)),
        ("db", text("d")),
        ("table", text("t")),
        ("sequence", Value::Union(0, Box::new(Value::Null))),
        ("txId", Value::Union(1, Box::new(text("734:17")))),
    ];
    let record = |fields: Vec<(&str, Value)>| {
        Value::Record(
            fields
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
        )
    };
    let value = record(vec![
        ("before", union(before)),
        ("after", union(after)),
        ("source", record(source.to_vec())),
        ("op", text(op.letter())),
        ("ts_ms", Value::Union(1, Box::new(Value::Long(5)))),
        ("transaction", Value::Union(0, Box::new(Value::Null))),
    ]);
    let json =
        |row: Option<usize>| row.map_or("null".to_owned(), |row| entity.json(&rows[row], style));
    let mut parts = [
        format!(r#""before":{}"#, json(before)),
        format!(r#""after":{}"#, json(after)),
        r#""source":{"version":"1","name":"\u00f6","ts_ms":1000,"ts_us":1000123,"x":[]}"#
            .to_owned(),
        format!(r#""op":"{}""#, op.letter()),
        r#""ts_ms":5"#.to_owned(),
    ];
    parts.rotate_left(style.index(5));
    let mut json = format!("{{{}}}", parts.join(","));
    if style.index(3) == 0 {
        json = format!(r#"{{"schema":null,"payload":{json}}}"#);
    }
    Change {
        avro: encode(&envelope_schema(entity), value),
        json,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn rows_land_as_they_were_written(sample in samples(1..6)) {
        let Sample { entity, rows, style } = &sample;
        let writer = entity.schema();
        let contract = contract_of(&writer, None, Shape::Append).unwrap();
        let declared = entity.contract();
        prop_assert_eq!(contract.fields(), declared.fields());
        prop_assert_eq!(contract.key(), ["f0"]);
        let schema = ChangeSchema::new(&contract);
        let mut avro = ChangeDecoder::avro(&writer, Shape::Append, &schema).unwrap();
        let mut json = lenient(Shape::Append, &schema);
        let mut buffer = buffer(&schema);
        for (offset, row) in (0..).zip(rows) {
            let body = entity.avro(row);
            prop_assert_eq!(avro.decode(&meta(2 * offset), Some(&body), None, &mut buffer), Ok(Decoded::Row));
            let body = entity.json(row, style);
            let decoded = json.decode(&meta(2 * offset + 1), Some(body.as_bytes()), None, &mut buffer);
            prop_assert_eq!(decoded, Ok(Decoded::Row), "{}", body);
        }
        prop_assert!(buffer.bytes() > 0);
        let batch = finish(buffer);
        prop_assert_eq!(batch.num_rows(), 2 * rows.len());
        for (number, row) in rows.iter().enumerate() {
            prop_assert_eq!(&cells(entity, &batch, 2 * number), row);
            prop_assert_eq!(&cells(entity, &batch, 2 * number + 1), row);
        }
    }

    #[test]
    fn changes_land_with_the_image_of_their_op(
        sample in samples(2..3),
        op in prop_oneof![Just(Op::Create), Just(Op::Update), Just(Op::Delete), Just(Op::Read)],
        with_before in any::<bool>(),
    ) {
        let entity = &sample.entity;
        let writer = envelope_schema(entity);
        let schema = ChangeSchema::new(&contract_of(&writer, None, Shape::Debezium).unwrap());
        let declared = entity.contract();
        prop_assert_eq!(schema.contract().fields(), declared.fields());
        let mut avro = ChangeDecoder::avro(&writer, Shape::Debezium, &schema).unwrap();
        let mut json = lenient(Shape::Debezium, &schema);
        let is_delete = op == Op::Delete;
        let before = (with_before || is_delete).then_some(0);
        let change = change(&sample, op, before, (!is_delete).then_some(1));
        let mut buffer = buffer(&schema);
        let decoded = avro.decode(&meta(0), Some(&change.avro), None, &mut buffer);
        prop_assert_eq!(decoded, Ok(Decoded::Row));
        let decoded = json.decode(&meta(1), Some(change.json.as_bytes()), None, &mut buffer);
        prop_assert_eq!(decoded, Ok(Decoded::Row), "{}", change.json);
        let batch = finish(buffer);
        let image = &sample.rows[usize::from(!is_delete)];
        for row in 0..2 {
            prop_assert_eq!(&cells(entity, &batch, row), image);
            prop_assert_eq!(cell(&batch, "_op", row), Cell::text(op.letter()));
            prop_assert_eq!(cell(&batch, "_event_time", row), Cell::Long(1_000_123));
            prop_assert_eq!(cell(&batch, "_source.name", row), Cell::text("ö"));
        }
    }
}
