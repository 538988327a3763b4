//! A JSON object as a row of a contract: the way an outbox holds it.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::RowWriter;
use super::time::{day_of_text, instant_of_text, time_of_text, wall_clock_of_text};
use crate::{Contract, Field, FieldType, Meaning, Unit};

/// How a contract's rows are written canonically from JSON objects. Made once for an entity.
///
/// Members are read as the contract says they are meant: a number under a `timestamp-millis` is an
/// instant, a text under `bytes` is Base64. What each type may look like in JSON is told in
/// schemas/docs/types.md. Members that the contract lacks are passed over.
#[derive(Debug)]
pub struct JsonRow {
    fields: Vec<FieldPlan>,
}

/// What is no row of the contract.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("field {field:?} is not as the contract says: {why}")]
pub struct NotCanonical {
    /// The field, with those it is in; empty for the row as a whole.
    pub field: String,
    /// What is wrong.
    pub why: String,
}

#[derive(Debug)]
struct FieldPlan {
    name: String,
    value: Value,
}

/// How one value is read and written.
#[derive(Debug)]
enum Value {
    Boolean,
    /// A whole number.
    Whole,
    /// A count of a time of day, as microseconds.
    Time(Unit),
    /// A count on some clock, as a number of microseconds.
    WallClock(Unit),
    Float,
    Double,
    Decimal {
        connect_scale: Option<u32>,
    },
    Text,
    /// A decimal of its own scale, whose digits are held as text.
    Digits,
    /// A UUID's text.
    Uuid,
    Binary,
    Date,
    /// An instant, counted or as text.
    Instant(Unit),
    /// An instant of a clock that shows UTC.
    UtcClock(Unit),
    Record(Vec<FieldPlan>),
    Array(Box<Value>),
    Map(Box<Value>),
}

type Raw<'a> = &'a RawValue;

impl JsonRow {
    /// The rows of a contract.
    pub fn new(contract: &Contract) -> Self {
        Self {
            fields: plans(contract.fields()),
        }
    }

    /// Writes one row.
    ///
    /// # Errors
    /// The text is no JSON object, or a member is not what the contract says. What was written of
    /// it is to be cut back.
    pub fn write(&self, json: &str, out: &mut RowWriter) -> Result<(), NotCanonical> {
        put_record(&self.fields, json, out)
    }

    /// Writes the value of one field by its JSON text.
    ///
    /// # Errors
    /// As of [`Self::write`].
    pub fn write_field(field: &Field, json: &str, out: &mut RowWriter) -> Result<(), NotCanonical> {
        let plan = FieldPlan::new(field);
        put(&plan.value, json, out).map_err(|error| error.within(&plan.name))
    }

    /// The hash of one row; `writer` is cleared first.
    ///
    /// # Errors
    /// As of [`Self::write`].
    pub fn hash(&self, json: &str, writer: &mut RowWriter) -> Result<u128, NotCanonical> {
        writer.clear();
        self.write(json, writer)?;
        Ok(writer.hash())
    }
}

impl NotCanonical {
    pub(super) fn new(why: impl Into<String>) -> Self {
        Self {
            field: String::new(),
            why: why.into(),
        }
    }

    pub(super) fn within(mut self, name: &str) -> Self {
        self.field = match self.field.is_empty() {
            true => name.to_owned(),
            false => format!("{name}.{}", self.field),
        };
        self
    }
}

fn plans(fields: &[Field]) -> Vec<FieldPlan> {
    let mut plans: Vec<FieldPlan> = fields.iter().map(FieldPlan::new).collect();
    plans.sort_by(|a, b| a.name.as_bytes().cmp(b.name.as_bytes()));
    plans
}

impl FieldPlan {
    fn new(field: &Field) -> Self {
        Self {
            name: field.name.clone(),
            value: Value::of(field),
        }
    }
}

impl Value {
    fn of(field: &Field) -> Self {
        match (&field.field_type, field.meaning) {
            (FieldType::Boolean, _) => Self::Boolean,
            (FieldType::Int | FieldType::Long, _) if field.as_written() => Self::Whole,
            (FieldType::Long, Meaning::Time(unit)) => Self::Time(unit),
            (FieldType::Long, Meaning::WallClock(unit)) => Self::WallClock(unit),
            (FieldType::Int | FieldType::Long, _) => Self::Whole,
            (FieldType::Float, _) | (FieldType::Double, Meaning::Float) => Self::Float,
            (FieldType::Double, _) => Self::Double,
            (FieldType::Decimal { .. }, meaning) => Self::Decimal {
                connect_scale: match meaning {
                    Meaning::Decimal {
                        scale,
                        connect: true,
                        ..
                    } => Some(scale),
                    _ => None,
                },
            },
            (
                FieldType::String,
                Meaning::VariableDecimal | Meaning::BigDecimal | Meaning::Decimal { .. },
            ) => Self::Digits,
            (FieldType::String, Meaning::UuidBytes) => Self::Uuid,
            (FieldType::String, _) => Self::Text,
            (FieldType::Bytes, _) => Self::Binary,
            (FieldType::Date, _) => Self::Date,
            (FieldType::Timestamp, Meaning::WallClock(unit)) => Self::UtcClock(unit),
            (FieldType::Timestamp, Meaning::Instant(unit)) => Self::Instant(unit),
            (FieldType::Timestamp, _) => Self::Instant(Unit::Micros),
            (FieldType::Record(fields), _) => Self::Record(plans(fields)),
            (FieldType::Array(items), _) => Self::Array(Box::new(Self::of(items))),
            (FieldType::Map(values), _) => Self::Map(Box::new(Self::of(values))),
        }
    }
}

/// Writes a value that is not null.
fn put(value: &Value, json: &str, out: &mut RowWriter) -> Result<(), NotCanonical> {
    match value {
        Value::Boolean => out.boolean(parsed(json, "true or false")?),
        Value::Whole => out.whole(whole(json)?),
        Value::Time(unit) => out.whole(counted(json, *unit, time_of_text)?),
        Value::WallClock(unit) => out.whole(counted(json, *unit, wall_clock_of_text)?),
        Value::Float => out.double(float(json)?),
        Value::Double => out.double(number(json)?),
        Value::Decimal { connect_scale } => put_decimal(json, *connect_scale, out)?,
        Value::Text => out.text(&text(json)?),
        Value::Digits => out.text(&digits(json)?),
        Value::Uuid => out.text(&text(json)?.to_ascii_lowercase()),
        Value::Binary => {
            let bytes = STANDARD.decode(&*text(json)?);
            out.binary(&bytes.map_err(|error| NotCanonical::new(error.to_string()))?);
        }
        Value::Date => out.date(day(json)?),
        Value::Instant(unit) => out.timestamp(counted(json, *unit, instant_of_text)?),
        Value::UtcClock(unit) => out.timestamp(counted(json, *unit, wall_clock_of_text)?),
        Value::Record(fields) => put_record(fields, json, out)?,
        Value::Array(items) => put_array(items, json, out)?,
        Value::Map(values) => put_map(values, json, out)?,
    }
    Ok(())
}

fn put_record(fields: &[FieldPlan], json: &str, out: &mut RowWriter) -> Result<(), NotCanonical> {
    let mut members = vec![None; fields.len()];
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let read = Members {
        fields,
        found: &mut members,
    };
    let read = deserializer.deserialize_map(read);
    let read = read.and_then(|()| deserializer.end());
    read.map_err(|error| NotCanonical::new(error.to_string()))?;
    out.begin_record();
    for (plan, member) in fields.iter().zip(members) {
        let Some(member) = member.map(RawValue::get).filter(|json| *json != "null") else {
            continue;
        };
        out.field(&plan.name);
        put(&plan.value, member, out).map_err(|error| error.within(&plan.name))?;
    }
    out.end_record();
    Ok(())
}

fn put_array(items: &Value, json: &str, out: &mut RowWriter) -> Result<(), NotCanonical> {
    let found: Vec<Raw<'_>> = parsed(json, "an array")?;
    out.begin_array();
    for item in found {
        put_or_null(items, item.get(), out)?;
    }
    out.end_array();
    Ok(())
}

fn put_map(values: &Value, json: &str, out: &mut RowWriter) -> Result<(), NotCanonical> {
    // Rust orders texts by their bytes.
    let found: std::collections::BTreeMap<String, Raw<'_>> = parsed(json, "an object")?;
    out.begin_map();
    for (key, value) in &found {
        out.key(key);
        put_or_null(values, value.get(), out).map_err(|error| error.within(key))?;
    }
    out.end_map();
    Ok(())
}

fn put_or_null(value: &Value, json: &str, out: &mut RowWriter) -> Result<(), NotCanonical> {
    if json == "null" {
        out.null();
        return Ok(());
    }
    put(value, json, out)
}

/// A number, its digits as text, or Kafka Connect's Base64 of them.
fn put_decimal(
    json: &str,
    connect_scale: Option<u32>,
    out: &mut RowWriter,
) -> Result<(), NotCanonical> {
    if !json.starts_with('"') {
        return match out.number_text(json) {
            true => Ok(()),
            false => Err(refused(json, "a number")),
        };
    }
    let digits = text(json)?;
    match connect_scale {
        None if out.number_text(&digits) => Ok(()),
        None => Err(refused(json, "a decimal number")),
        Some(scale) => {
            let unscaled = STANDARD.decode(&*digits).ok();
            let unscaled = unscaled.and_then(|bytes| big_endian(&bytes));
            let unscaled = unscaled.ok_or_else(|| refused(json, "Base64 of a decimal"))?;
            let scale = i32::try_from(scale).map_err(|_| refused(json, "a decimal"))?;
            out.decimal(unscaled, scale);
            Ok(())
        }
    }
}

/// A whole number of any length that fits 128 bits.
pub(super) fn big_endian(bytes: &[u8]) -> Option<i128> {
    let (first, rest) = bytes.split_first()?;
    let mut number = i128::from(first.cast_signed());
    for byte in rest {
        number = number.checked_mul(256)?.checked_add(i128::from(*byte))?;
    }
    Some(number)
}

fn parsed<'a, T: serde::Deserialize<'a>>(json: &'a str, what: &str) -> Result<T, NotCanonical> {
    serde_json::from_str(json).map_err(|_| refused(json, what))
}

fn text(json: &str) -> Result<String, NotCanonical> {
    parsed(json, "a text")
}

/// The digits of a decimal of its own scale, as they are written; Debezium writes a record of the
/// scale and the Base64 of the digits.
fn digits(json: &str) -> Result<String, NotCanonical> {
    if json.starts_with('{') {
        let of_record = || {
            let VariableDecimal { scale, value } = serde_json::from_str(json).ok()?;
            with_point(big_endian(&STANDARD.decode(value).ok()?)?, scale)
        };
        return of_record().ok_or_else(|| refused(json, "Debezium's record of a decimal"));
    }
    let digits = match json.starts_with('"') {
        true => text(json)?,
        false => json.to_owned(),
    };
    let plain = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
    match RowWriter::default().number_text(&digits) && digits.bytes().all(plain) {
        true => Ok(digits),
        false => Err(refused(json, "the digits of a decimal")),
    }
}

#[derive(serde::Deserialize)]
struct VariableDecimal<'a> {
    scale: usize,
    value: &'a str,
}

/// The digits with `scale` of them after the point.
fn with_point(unscaled: i128, scale: usize) -> Option<String> {
    let digits = format!("{:0>1$}", unscaled.unsigned_abs(), scale + 1);
    let (whole, fraction) = digits.split_at_checked(digits.len() - scale)?;
    let sign = if unscaled < 0 { "-" } else { "" };
    Some(match fraction {
        "" => format!("{sign}{whole}"),
        _ => format!("{sign}{whole}.{fraction}"),
    })
}

/// 3, 3.0 and 3e0 are the same whole number.
fn whole(json: &str) -> Result<i64, NotCanonical> {
    if let Ok(number) = json.parse() {
        return Ok(number);
    }
    let refused = || refused(json, "a whole number of 64 bits");
    let mut canonical = RowWriter::default();
    if json.starts_with('"') || !canonical.number_text(json) {
        return Err(refused());
    }
    let shown = std::str::from_utf8(canonical.bytes()).unwrap_or_default();
    let parts = shown.trim_matches(['#', ';']).split_once('e');
    let (digits, power) = parts.ok_or_else(refused)?;
    let power = power.parse::<u32>().ok().filter(|power| *power < 19);
    let number = digits.parse::<i64>().ok();
    let scaled = number
        .zip(power)
        .and_then(|(number, power)| number.checked_mul(10_i64.checked_pow(power)?));
    scaled.ok_or_else(refused)
}

/// Rust reads a number to the nearest double; serde_json may be off in the last digit.
fn number(json: &str) -> Result<f64, NotCanonical> {
    let is_number = json.starts_with(|first: char| first == '-' || first.is_ascii_digit());
    let number = json.parse::<f64>().ok().filter(|number| number.is_finite());
    number
        .filter(|_| is_number)
        .ok_or_else(|| refused(json, "a number in a double's range"))
}

/// The double that equals the nearest number of 32 bits.
fn float(json: &str) -> Result<f64, NotCanonical> {
    number(json)?;
    let number = json.parse::<f32>().ok().filter(|number| number.is_finite());
    number
        .map(f64::from)
        .ok_or_else(|| refused(json, "a number in a float's range"))
}

/// A count in its unit or a text, in microseconds.
fn counted(json: &str, unit: Unit, of_text: fn(&str) -> Option<i64>) -> Result<i64, NotCanonical> {
    let refused = || refused(json, "a time in whole microseconds");
    if json.starts_with('"') {
        return of_text(&text(json)?).ok_or_else(refused);
    }
    unit.micros(whole(json)?).ok_or_else(refused)
}

fn day(json: &str) -> Result<i32, NotCanonical> {
    let refused = || refused(json, "a date");
    if json.starts_with('"') {
        return day_of_text(&text(json)?).ok_or_else(refused);
    }
    i32::try_from(whole(json)?).map_err(|_| refused())
}

/// Says what was expected; of the value only what it begins with.
fn refused(json: &str, what: &str) -> NotCanonical {
    NotCanonical::new(format!("{json:.40} is not {what}"))
}

/// The members of an object that the contract knows, as they are written.
struct Members<'m, 'p, 'a> {
    fields: &'p [FieldPlan],
    found: &'m mut [Option<Raw<'a>>],
}

impl<'a> Visitor<'a> for Members<'_, '_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut members: A) -> Result<(), A::Error> {
        while let Some(place) = members.next_key_seed(Place(self.fields))? {
            let member: Raw<'a> = members.next_value()?;
            let Some(place) = place else {
                continue;
            };
            if self.found[place].replace(member).is_some() {
                let name = &self.fields[place].name;
                let twice = format!("it has the member {name:?} twice");
                return Err(serde::de::Error::custom(twice));
            }
        }
        Ok(())
    }
}

/// The place of a member's name among the fields.
struct Place<'p>(&'p [FieldPlan]);

impl<'a> DeserializeSeed<'a> for Place<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Place<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member's name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        let found = self.0.binary_search_by(|plan| plan.name.as_str().cmp(name));
        Ok(found.ok())
    }
}
