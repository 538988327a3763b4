//! A database's values in the canonical form of the field that they belong to.

use schemas::canonical::{
    JsonRow, RowWriter, day_of_text, instant_of_text, time_of_text, wall_clock_of_text,
};
use schemas::{Field, FieldType, Meaning, Unit};

/// A value as a database hands it out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Cell<'a> {
    Null,
    Whole(i64),
    Real(f64),
    Text(&'a str),
    Blob(&'a [u8]),
    /// The items of an array, each as text or null: a JSON array.
    Items(&'a str),
}

impl Cell<'_> {
    /// Writes a value that is not null as the field holds it. One that the field cannot hold is
    /// written as what it is: it differs from whatever the lake has.
    pub(crate) fn put(self, field: &Field, out: &mut RowWriter) {
        let start = out.len();
        let done = match self {
            Self::Null => false,
            Self::Whole(number) => put_whole(number, field, out).is_some(),
            Self::Real(number) => {
                put_real(number, field, out);
                true
            }
            Self::Text(text) => put_text(text, field, out).is_some(),
            Self::Blob(bytes) => put_blob(bytes, field, out),
            Self::Items(json) => put_items(json, field, out).is_some(),
        };
        if !done {
            out.truncate(start);
            self.put_raw(out);
        }
    }

    fn put_raw(self, out: &mut RowWriter) {
        match self {
            Self::Null => out.null(),
            Self::Whole(number) => out.whole(number),
            Self::Real(number) => out.double(number),
            Self::Text(text) | Self::Items(text) => out.text(text),
            Self::Blob(bytes) => out.binary(bytes),
        }
    }
}

fn put_whole(number: i64, field: &Field, out: &mut RowWriter) -> Option<()> {
    match (&field.field_type, field.meaning) {
        (FieldType::Boolean, _) if matches!(number, 0 | 1) => out.boolean(number == 1),
        (FieldType::Date, _) => out.date(i32::try_from(number).ok()?),
        (FieldType::Timestamp, meaning) => out.timestamp(unit(meaning).micros(number)?),
        (FieldType::Long, Meaning::Time(unit) | Meaning::WallClock(unit))
            if !field.as_written() =>
        {
            out.whole(unit.micros(number)?);
        }
        (FieldType::Double, _) => out.double(number as f64),
        (FieldType::String, _) => out.text(&number.to_string()),
        _ => out.whole(number),
    }
    Some(())
}

fn put_real(number: f64, field: &Field, out: &mut RowWriter) {
    match (&field.field_type, field.meaning) {
        #[expect(clippy::cast_possible_truncation, reason = "the field holds 32 bits")]
        (FieldType::Float, _) | (FieldType::Double, Meaning::Float) => {
            out.double((number as f32).into());
        }
        _ => out.double(number),
    }
}

fn put_text(text: &str, field: &Field, out: &mut RowWriter) -> Option<()> {
    match (&field.field_type, field.meaning) {
        (FieldType::Boolean, _) => out.boolean(match text {
            "true" | "t" | "1" => true,
            "false" | "f" | "0" => false,
            _ => return None,
        }),
        (FieldType::Int | FieldType::Long, meaning) if field.as_written() => {
            out.whole(count(text, meaning)?);
        }
        (FieldType::Long, Meaning::Time(_)) => out.whole(time_of_text(text)?),
        (FieldType::Long, Meaning::WallClock(_)) => out.whole(wall_clock_of_text(text)?),
        (FieldType::Int | FieldType::Long | FieldType::Decimal { .. }, _) => {
            return out.number_text(text).then_some(());
        }
        (FieldType::Float, _) | (FieldType::Double, Meaning::Float) => {
            out.double(text.parse::<f32>().ok()?.into());
        }
        (FieldType::Double, _) => out.double(text.parse().ok()?),
        (FieldType::String, Meaning::UuidBytes) => out.text(&text.to_ascii_lowercase()),
        (FieldType::String, _) if is_zoned_time(field) => out.text(&zoned_time(text)),
        (FieldType::String, _) => out.text(text),
        (FieldType::Bytes, _) => out.binary(&hexadecimal(text.strip_prefix("\\x")?)?),
        (FieldType::Date, _) => out.date(day_of_text(text)?),
        (FieldType::Timestamp, _) => {
            let instant = instant_of_text(text).or_else(|| wall_clock_of_text(text));
            out.timestamp(instant?);
        }
        (FieldType::Record(_) | FieldType::Array(_) | FieldType::Map(_), _) => {
            return JsonRow::write_field(field, text, out).ok();
        }
    }
    Some(())
}

fn put_items(json: &str, field: &Field, out: &mut RowWriter) -> Option<()> {
    let FieldType::Array(items) = &field.field_type else {
        return None;
    };
    let texts: Vec<Option<String>> = serde_json::from_str(json).ok()?;
    out.begin_array();
    for text in texts {
        match text {
            Some(text) => put_text(&text, items, out)?,
            None => out.null(),
        }
    }
    out.end_array();
    Some(())
}

/// Whether a text is Debezium's of a time of day with its offset.
fn is_zoned_time(field: &Field) -> bool {
    let avro = &field.avro_json()["type"];
    let branches = avro
        .as_array()
        .map_or(std::slice::from_ref(avro), Vec::as_slice);
    let mut names = branches.iter().map(|branch| &branch["connect.name"]);
    names.any(|name| name == "io.debezium.time.ZonedTime")
}

/// `01:02:03+02`, as Postgres writes it, in ISO 8601: `01:02:03+02:00`, and `Z` for no offset.
fn zoned_time(text: &str) -> String {
    match text.as_bytes() {
        [.., b'+', b'0', b'0'] => format!("{}Z", text.trim_end_matches("+00")),
        [.., b'+' | b'-', _, _] => format!("{text}:00"),
        _ => text.to_owned(),
    }
}

fn put_blob(bytes: &[u8], field: &Field, out: &mut RowWriter) -> bool {
    match (
        &field.field_type,
        field.meaning,
        <[u8; 16]>::try_from(bytes),
    ) {
        (FieldType::String, Meaning::UuidBytes, Ok(id)) => {
            let digits: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
            let parts = [
                &digits[..8],
                &digits[8..12],
                &digits[12..16],
                &digits[16..20],
            ];
            out.text(&format!("{}-{}", parts.join("-"), &digits[20..]));
            true
        }
        (FieldType::Bytes, ..) => {
            out.binary(bytes);
            true
        }
        _ => false,
    }
}

/// What instants are counted in where they are written.
fn unit(meaning: Meaning) -> Unit {
    match meaning {
        Meaning::Instant(unit) | Meaning::WallClock(unit) => unit,
        _ => Unit::Micros,
    }
}

/// The count that a contract asked to be held as it is written.
fn count(text: &str, meaning: Meaning) -> Option<i64> {
    let (micros, unit) = match meaning {
        Meaning::Date => return day_of_text(text).map(i64::from),
        Meaning::Time(unit) => (time_of_text(text)?, unit),
        Meaning::WallClock(unit) => (wall_clock_of_text(text)?, unit),
        Meaning::Instant(unit) => {
            let instant = instant_of_text(text).or_else(|| wall_clock_of_text(text));
            (instant?, unit)
        }
        _ => return text.parse().ok(),
    };
    match unit {
        Unit::Millis => (micros % 1000 == 0).then_some(micros / 1000),
        Unit::Micros => Some(micros),
        Unit::Nanos => micros.checked_mul(1000),
    }
}

fn hexadecimal(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| match pair {
            [high, low] => u8::try_from(digit(*high)? * 16 + digit(*low)?).ok(),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use schemas::Contract;

    use super::*;

    fn bytes(cell: Cell<'_>, avro: &str) -> String {
        let json =
            format!(r#"{{"type":"record","name":"R","fields":[{{"name":"a","type":{avro}}}]}}"#);
        let contract: Contract = json.parse().unwrap();
        let mut out = RowWriter::default();
        cell.put(&contract.fields()[0], &mut out);
        String::from_utf8_lossy(out.bytes()).into_owned()
    }

    #[test]
    fn both_databases_values_are_those_of_the_field() {
        use Cell::{Blob, Items, Real, Text, Whole};
        let logical = |kind: &str, logical: &str| {
            format!(r#"{{"type":"{kind}","logicalType":"{logical}","precision":9,"scale":2}}"#)
        };
        let instant = "i1357016523004000;";
        let cases: &[(&str, &[Cell<'_>], &str)] = &[
            (r#""boolean""#, &[Whole(1), Text("true"), Text("t")], "t"),
            (
                r#""long""#,
                &[Whole(-1200), Real(-1200.0), Text("-1200")],
                "#-12e2;",
            ),
            (r#""double""#, &[Real(0.1), Text("0.1")], "#1e-1;"),
            (r#""double""#, &[Text("NaN"), Real(f64::NAN)], "#nan;"),
            (r#""double""#, &[Text("-Infinity")], "#-inf;"),
            (
                r#""float""#,
                &[Real(0.1), Text("0.1")],
                "#10000000149011612e-17;",
            ),
            (
                &logical("bytes", "decimal"),
                &[Text("3.00"), Whole(3), Real(3.0)],
                "#3e0;",
            ),
            (r#""string""#, &[Text("é")], "s\u{2}\0\0\0é"),
            (
                r#""bytes""#,
                &[Blob(&[1, 65]), Text("\\x0141")],
                "b\u{2}\0\0\0\u{1}A",
            ),
            (
                &logical("int", "date"),
                &[Whole(15_706), Text("2013-01-01")],
                "d15706;",
            ),
            (
                &logical("long", "timestamp-millis"),
                &[
                    Whole(1_357_016_523_004),
                    Text("2013-01-01 05:02:03.004+00"),
                    Text("2013-01-01 05:02:03.004"),
                ],
                instant,
            ),
            (
                &logical("int", "time-millis"),
                &[Whole(3_723_004), Text("01:02:03.004")],
                "#3723004e3;",
            ),
            (
                &logical("long", "local-timestamp-micros"),
                &[Whole(1), Text("1970-01-01 00:00:00.000001")],
                "#1e0;",
            ),
            (
                r#"{"type":"array","items":"long"}"#,
                &[Text("[1, 2.0]"), Items(r#"["1", "2.0"]"#)],
                "[#1e0;#2e0;]",
            ),
            (
                r#"{"type":"array","items":["null","string"]}"#,
                &[Items(r#"["1", null]"#)],
                "[s\u{1}\0\0\x001n]",
            ),
            (
                r#"{"type":"string","connect.name":"io.debezium.time.ZonedTime"}"#,
                &[Text("01:02:03+02"), Text("01:02:03+02:00")],
                "s\u{e}\0\0\x0001:02:03+02:00",
            ),
            (
                r#"{"type":"string","connect.name":"io.debezium.time.ZonedTime"}"#,
                &[Text("01:02:03.5+00")],
                "s\u{b}\0\0\x0001:02:03.5Z",
            ),
        ];
        for (avro, cells, expected) in cases {
            for cell in *cells {
                assert_eq!(&bytes(*cell, avro), expected, "{cell:?} of {avro}");
            }
        }
    }

    #[test]
    fn what_a_field_cannot_hold_stays_what_it_is() {
        assert_eq!(bytes(Cell::Text("x"), r#""long""#), "s\u{1}\0\0\0x");
        assert_eq!(bytes(Cell::Whole(2), r#""boolean""#), "#2e0;");
        assert_eq!(
            bytes(Cell::Text("[1, x]"), r#"{"type":"array","items":"long"}"#),
            "s\u{6}\0\0\0[1, x]"
        );
        assert_eq!(bytes(Cell::Blob(b"x"), r#""string""#), "b\u{1}\0\0\0x");
    }
}
