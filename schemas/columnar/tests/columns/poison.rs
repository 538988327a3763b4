//! A bad record never costs its neighbours, and leaves no trace.

use std::sync::Arc;

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use columnar::{ChangeBuffer, ChangeDecoder, ChangeSchema, DecodeError, Decoded};
use proptest::prelude::*;
use proptest::sample::Index;
use schemas::{Op, Shape};

use crate::agreement::{change, envelope_schema};
use crate::entity::{Sample, samples};
use crate::table::{buffer, finish, lenient, meta};

/// A table whose decoders are tried with poison.
struct Trial {
    schema: Arc<ChangeSchema>,
    decoder: ChangeDecoder,
    fresh: ChangeDecoder,
    good: Vec<u8>,
    is_json: bool,
}

fn trials(sample: &Sample) -> Vec<Trial> {
    let entity = &sample.entity;
    let schema = ChangeSchema::new(&entity.contract());
    let (row, envelope) = (entity.schema(), envelope_schema(entity));
    let change = change(sample, Op::Update, Some(0), Some(1));
    let trial = |is_json, good: Vec<u8>, decoder: &dyn Fn() -> ChangeDecoder| Trial {
        is_json,
        schema: Arc::clone(&schema),
        decoder: decoder(),
        fresh: decoder(),
        good,
    };
    let avro = |writer: &Schema, shape| ChangeDecoder::avro(writer, shape, &schema).unwrap();
    vec![
        trial(false, entity.avro(&sample.rows[0]), &|| {
            avro(&row, Shape::Append)
        }),
        trial(false, change.avro, &|| avro(&envelope, Shape::Debezium)),
        trial(
            true,
            entity.json(&sample.rows[0], &sample.style).into_bytes(),
            &|| lenient(Shape::Upsert, &schema),
        ),
        trial(true, change.json.into_bytes(), &|| {
            lenient(Shape::Debezium, &schema)
        }),
    ]
}

impl Trial {
    fn decode(&mut self, body: &[u8], buffer: &mut ChangeBuffer) -> Result<Decoded, DecodeError> {
        let rows = buffer.rows();
        let decoded = self.decoder.decode(&meta(7), Some(body), None, buffer);
        let expected = rows + usize::from(decoded == Ok(Decoded::Row));
        assert_eq!(buffer.rows(), expected);
        decoded
    }

    /// Decodes poison between two good records; the buffer must hold what the good records and
    /// those of the poison that turned out to be records make by themselves.
    fn run(&mut self, poison: &[Vec<u8>]) -> Vec<Result<Decoded, DecodeError>> {
        let (mut mixed, mut clean) = (buffer(&self.schema), buffer(&self.schema));
        let good = self.good.clone();
        self.decode(&good, &mut mixed).unwrap();
        let outcomes: Vec<_> = poison
            .iter()
            .map(|body| self.decode(body, &mut mixed))
            .collect();
        self.decode(&good, &mut mixed).unwrap();
        let landed = poison.iter().zip(&outcomes);
        let landed = landed.filter(|(_, outcome)| **outcome == Ok(Decoded::Row));
        for body in [&good]
            .into_iter()
            .chain(landed.map(|(body, _)| body))
            .chain([&good])
        {
            self.fresh
                .decode(&meta(7), Some(body), None, &mut clean)
                .unwrap();
        }
        let (mixed, clean) = (mixed.finish(0).unwrap(), clean.finish(0).unwrap());
        assert_eq!(mixed, clean);
        outcomes
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn a_record_cut_anywhere_is_truncated(sample in samples(2..3)) {
        for mut trial in trials(&sample) {
            // JSON may end in blanks, and Avro in a byte that looks like one.
            let whole = if trial.is_json { trial.good.trim_ascii_end().len() } else { trial.good.len() };
            let cut: Vec<Vec<u8>> = (0..whole).map(|end| trial.good[..end].to_vec()).collect();
            for (end, outcome) in trial.run(&cut).into_iter().enumerate() {
                prop_assert_eq!(outcome.unwrap_err().code(), "truncated", "at {}", end);
            }
        }
    }

    #[test]
    fn a_record_with_more_behind_it_has_trailing_bytes(sample in samples(2..3), tail in any::<Vec<u8>>()) {
        for mut trial in trials(&sample) {
            let good = trial.good.clone();
            let mut longer = good.clone();
            longer.push(b'x');
            let doubled = [good.as_slice(), good.as_slice()].concat();
            let any = [good.as_slice(), b"\0", tail.as_slice()].concat();
            let outcomes = trial.run(&[longer, doubled, any]);
            prop_assert_eq!(outcomes[0].as_ref().unwrap_err().code(), "trailing_bytes");
            prop_assert_eq!(outcomes[1].as_ref().unwrap_err().code(), "trailing_bytes");
            prop_assert!(outcomes[2].is_err());
        }
    }

    #[test]
    fn flipped_bytes_land_whole_or_not_at_all(
        sample in samples(2..3),
        flips in prop::collection::vec(prop::collection::vec((any::<Index>(), any::<u8>()), 1..4), 30),
    ) {
        for mut trial in trials(&sample) {
            let flipped: Vec<Vec<u8>> = flips
                .iter()
                .map(|flips| {
                    let mut body = trial.good.clone();
                    flips.iter().for_each(|(at, byte)| *at.get_mut(&mut body) = *byte);
                    body
                })
                .collect();
            trial.run(&flipped);
        }
    }

    #[test]
    fn avro_that_is_taken_reads_the_same_by_apache_avro(
        sample in samples(1..2),
        flips in prop::collection::vec((any::<Index>(), any::<u8>()), 40),
    ) {
        let entity = &sample.entity;
        let writer = entity.schema();
        let schema = ChangeSchema::new(&entity.contract());
        let mut decoder = ChangeDecoder::avro(&writer, Shape::Append, &schema).unwrap();
        let reader = GenericDatumReader::builder(&writer).build().unwrap();
        for (at, byte) in flips {
            let mut body = entity.avro(&sample.rows[0]);
            *at.get_mut(&mut body) = byte;
            let mut buffer = buffer(&schema);
            if decoder.decode(&meta(0), Some(&body), None, &mut buffer).is_err() {
                continue;
            }
            let row = crate::agreement::cells(entity, &finish(buffer), 0);
            let mut rest = body.as_slice();
            let value = reader.read_value(&mut rest).unwrap();
            prop_assert!(rest.is_empty());
            // Debug text, because NaN is not equal to itself.
            prop_assert_eq!(format!("{value:?}"), format!("{:?}", entity.value(&row)));
        }
    }

    #[test]
    fn any_bytes_are_met_calmly(sample in samples(2..3), bytes in prop::collection::vec(any::<Vec<u8>>(), 20)) {
        for mut trial in trials(&sample) {
            trial.run(&bytes);
        }
    }
}
