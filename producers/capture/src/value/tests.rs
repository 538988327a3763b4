use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value as Avro;
use proptest::prelude::*;

use super::*;

fn encoded(kind: &Kind, text: &str) -> Result<Vec<u8>, ValueError> {
    let mut out = Vec::new();
    put(kind, text.as_bytes(), &mut out)?;
    Ok(out)
}

fn decoded(kind: &Kind, schema: &str, text: &str) -> Avro {
    let bytes = encoded(kind, text).unwrap();
    let schema = Schema::parse_str(schema).unwrap();
    GenericDatumReader::builder(&schema)
        .build()
        .unwrap()
        .read_value(&mut bytes.as_slice())
        .unwrap()
}

fn text_of(kind: &Kind, text: &str) -> String {
    match decoded(kind, r#""string""#, text) {
        Avro::String(text) => text,
        other => panic!("{other:?}"),
    }
}

#[test]
fn numbers_keep_every_digit() {
    assert_eq!(decoded(&Kind::Int, r#""int""#, "-32768"), Avro::Int(-32768));
    let least = "-9223372036854775808";
    assert_eq!(
        decoded(&Kind::Long, r#""long""#, least),
        Avro::Long(i64::MIN)
    );
    assert_eq!(
        decoded(&Kind::Double, r#""double""#, "1e-320"),
        Avro::Double(1e-320)
    );
    assert_eq!(
        decoded(&Kind::Float, r#""float""#, "-Infinity"),
        Avro::Float(f32::NEG_INFINITY)
    );
    assert!(encoded(&Kind::Int, "2147483648").is_err());
    assert!(encoded(&Kind::Boolean, "true").is_err());
}

#[test]
fn a_decimal_is_its_digits_or_nothing() {
    let bytes = |scale, text| encoded(&Kind::Decimal { scale }, text);
    for (scale, text, expected) in [
        (2, "-12.34", &[4_u8, 0xFB, 0x2E] as &[u8]),
        (2, "12", &[4, 0x04, 0xB0]),
        (0, "0", &[2, 0]),
        (0, "-1", &[2, 0xFF]),
        (0, "127", &[2, 0x7F]),
        (0, "128", &[4, 0, 0x80]),
        (0, "-128", &[2, 0x80]),
        (0, "-129", &[4, 0xFF, 0x7F]),
    ] {
        assert_eq!(bytes(scale, text).unwrap(), expected, "{text}");
    }
    let most = "9".repeat(38);
    assert_eq!(bytes(0, &most).unwrap().len(), 17);
    for text in ["NaN", "Infinity", "1.234", "", "-", "1.2.3", "1e3"] {
        assert!(bytes(2, text).is_err(), "{text}");
    }
}

#[test]
fn dates_and_times_are_counted() {
    for (text, days) in [
        ("1970-01-01", 0),
        ("1969-12-31", -1),
        ("2000-02-29", 11_016),
        ("0001-01-01 BC", -719_528),
        ("4714-11-24 BC", -2_440_588),
        ("5874897-12-31", 2_145_042_905),
    ] {
        assert_eq!(temporal::date(text.as_bytes()).unwrap(), days, "{text}");
    }
    assert_eq!(temporal::time(b"24:00:00").unwrap(), 86_400_000_000);
    assert_eq!(temporal::time(b"01:02:03.00004").unwrap(), 3_723_000_040);
    assert_eq!(
        temporal::wall_clock(b"1970-01-02 00:00:00.5").unwrap(),
        86_400_500_000
    );
    assert_eq!(
        temporal::wall_clock(b"1969-12-31 23:59:59.999999").unwrap(),
        -1
    );
    for text in ["infinity", "-infinity", "", "1970-01-01 25", "70-01-01"] {
        assert!(temporal::date(text.as_bytes()).is_err(), "{text}");
        assert!(temporal::wall_clock(text.as_bytes()).is_err(), "{text}");
        assert!(encoded(&Kind::Instant, text).is_err(), "{text}");
    }
}

#[test]
fn instants_are_texts_in_utc() {
    for (text, expected) in [
        ("2013-01-01 05:02:03+00", "2013-01-01T05:02:03Z"),
        (
            "2013-01-01 05:02:03.000004+00",
            "2013-01-01T05:02:03.000004Z",
        ),
        (
            "294276-12-31 23:59:59.999999+00",
            "+294276-12-31T23:59:59.999999Z",
        ),
        ("0001-01-01 00:00:00+00 BC", "0000-01-01T00:00:00Z"),
        ("0044-03-15 00:00:00+00 BC", "-0043-03-15T00:00:00Z"),
    ] {
        assert_eq!(text_of(&Kind::Instant, text), expected);
    }
    for (text, expected) in [
        ("01:02:03+00", "01:02:03Z"),
        ("01:02:03.5-08", "01:02:03.5-08:00"),
        ("01:02:03+05:30", "01:02:03+05:30"),
    ] {
        assert_eq!(text_of(&Kind::TimeWithZone, text), expected);
    }
}

#[test]
fn bytes_are_read_off_their_digits() {
    assert_eq!(encoded(&Kind::Bytes, "\\x01fF").unwrap_err().kind, "bytes");
    assert_eq!(encoded(&Kind::Bytes, "\\x01ff").unwrap(), [4, 1, 0xFF]);
    assert_eq!(encoded(&Kind::Bytes, "\\x").unwrap(), [0]);
    assert!(encoded(&Kind::Bytes, "\\x0").is_err());
}

#[test]
fn arrays_have_one_dimension() {
    let texts = Kind::Array(Box::new(Kind::Text));
    let schema = r#"{"type":"array","items":["null","string"]}"#;
    let text = |text: &str| Avro::Union(1, Box::new(Avro::String(text.into())));
    let null = || Avro::Union(0, Box::new(Avro::Null));
    let read = |text| decoded(&texts, schema, text);
    assert_eq!(read("{}"), Avro::Array(vec![]));
    assert_eq!(
        read("{a,NULL,\"NULL\"}"),
        Avro::Array(vec![text("a"), null(), text("NULL")])
    );
    assert_eq!(
        read(r#"{"a \"b\" \\ {c},d",""}"#),
        Avro::Array(vec![text(r#"a "b" \ {c},d"#), text("")])
    );
    for wrong in [
        "{{1},{2}}",
        "[0:1]={1,2}",
        "{a",
        "{a,}",
        "{\"a}",
        "",
        "{,a}",
        "{\"a\"b}",
    ] {
        assert!(encoded(&texts, wrong).is_err(), "{wrong}");
    }
    assert!(encoded(&Kind::Array(Box::new(Kind::Int)), "{1,x}").is_err());
}

proptest! {
    #[test]
    fn any_decimal_comes_back(unscaled in -(10_i128.pow(38) - 1)..10_i128.pow(38), scale in 0_u32..30) {
        let digits = format!("{:0>1$}", unscaled.unsigned_abs(), scale as usize + 1);
        let (whole, fraction) = digits.split_at(digits.len() - scale as usize);
        let sign = if unscaled < 0 { "-" } else { "" };
        let point = if scale > 0 { "." } else { "" };
        let bytes = encoded(&Kind::Decimal { scale }, &format!("{sign}{whole}{point}{fraction}")).unwrap();
        let mut wide = [if unscaled < 0 { 0xFF } else { 0 }; 16];
        let number = &bytes[1..];
        prop_assert_eq!(usize::from(bytes[0]), number.len() * 2);
        wide[16 - number.len()..].copy_from_slice(number);
        prop_assert_eq!(i128::from_be_bytes(wide), unscaled);
    }

    #[test]
    fn any_day_comes_back(days in -719_162_i32..2_932_896) {
        let date = chrono::NaiveDate::from_num_days_from_ce_opt(days + 719_163).unwrap();
        prop_assert_eq!(temporal::date(date.to_string().as_bytes()).unwrap(), days);
    }

    #[test]
    fn any_bytes_are_a_value_or_refused(text in prop::collection::vec(any::<u8>(), 0..40)) {
        for kind in [
            Kind::Boolean, Kind::Int, Kind::Double, Kind::Decimal { scale: 3 }, Kind::Bytes, Kind::Date, Kind::Time,
            Kind::TimeWithZone, Kind::WallClock, Kind::Instant, Kind::Text, Kind::Array(Box::new(Kind::Text)),
        ] {
            put(&kind, &text, &mut Vec::new()).ok();
        }
    }
}
