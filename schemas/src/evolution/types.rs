//! Whether a column of one type holds the values of another.

use serde_json::{Value, json};

use crate::field::{Field, FieldType};
use crate::meaning::{DIGITS_MAX, Meaning};

/// How a writer's values fit in a table's field.
pub(super) enum Fit {
    /// As they are.
    Same,
    /// As they are, and the contract takes this Avro type.
    Retype(Value, Meaning),
    /// In a column of this wider type, of this Avro type.
    Widen(FieldType, Value, Meaning),
    /// It depends on what lies in them.
    Inside,
    /// Not at all.
    Never(&'static str),
}

const LOSES_DIGITS: &str =
    "a double holds whole numbers up to 2^53 only, so digits of a long would be lost";
const OTHER_TYPE: &str = "no column holds the values of both";
const OTHER_ASK: &str = "a column that exists cannot be held otherwise";

/// Whether a column of the table's field holds the writer's single values as they are.
pub(crate) fn fits(table: &Field, writer: &Field) -> bool {
    matches!(fit(table, writer), Fit::Same)
}

/// The same where the types were inferred from values: a column is `long` because none of them had
/// a fraction yet, and one of a `double` may well be whole.
pub(super) fn fit_inferred(table: &Field, writer: &Field) -> Fit {
    match (number(table), number(writer)) {
        (Some(Number::Long), Some(Number::Double)) => {
            Fit::Widen(FieldType::Double, json!("double"), Meaning::Plain)
        }
        (Some(Number::Double), Some(Number::Long)) => Fit::Same,
        _ => fit(table, writer),
    }
}

/// How the writer's values fit in the table's field.
pub(super) fn fit(table: &Field, writer: &Field) -> Fit {
    if asks_otherwise(table, writer) {
        return Fit::Never(OTHER_ASK);
    }
    if let (Some(own), Some(other)) = (number(table), number(writer)) {
        return numbers(own, other, table, writer);
    }
    use FieldType as Type;
    use Meaning as Mean;
    match (&table.field_type, table.meaning, writer.meaning) {
        (Type::Boolean, ..) if writer.field_type == Type::Boolean => Fit::Same,
        (Type::String, ..) => texts(table, writer),
        (Type::Bytes, own, other) => bytes(own, other, writer),
        (_, Mean::Date, Mean::Date) => Fit::Same,
        (_, Mean::Time(own), Mean::Time(other))
        | (_, Mean::Instant(own), Mean::Instant(other))
        | (_, Mean::WallClock(own), Mean::WallClock(other)) => {
            if table.as_written() && own != other {
                return Fit::Never("the column holds counts of another unit");
            }
            Fit::Same
        }
        (
            Type::Timestamp,
            Mean::Instant(_) | Mean::InstantText,
            Mean::Instant(_) | Mean::InstantText,
        ) => Fit::Same,
        (Type::Decimal { .. }, _, Mean::Decimal { .. }) => decimals(table, writer),
        (_, Mean::Duration, Mean::Duration) => Fit::Same,
        (_, Mean::Union, _) => Fit::Inside,
        (Type::Record(_), Mean::Plain, Mean::Plain) if is_record(writer) => Fit::Inside,
        (Type::Array(_), ..) if matches!(writer.field_type, Type::Array(_)) => Fit::Inside,
        (Type::Map(_), ..) if matches!(writer.field_type, Type::Map(_)) => Fit::Inside,
        _ => Fit::Never(OTHER_TYPE),
    }
}

/// A new contract may not ask for a column to be held otherwise; of numbers, the wider holds.
fn asks_otherwise(table: &Field, writer: &Field) -> bool {
    writer.asked.is_some()
        && number(table).is_none()
        && (writer.field_type != table.field_type || writer.as_written() != table.as_written())
}

fn is_record(field: &Field) -> bool {
    matches!(field.field_type, FieldType::Record(_))
}

/// The kinds of numbers, by what was ever written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Number {
    Int,
    Long,
    Float,
    Double,
}

fn number(field: &Field) -> Option<Number> {
    Some(match (field.meaning, &field.field_type) {
        (Meaning::Int, _) => Number::Int,
        (Meaning::Float, _) => Number::Float,
        (Meaning::Plain, FieldType::Long) => Number::Long,
        (Meaning::Plain, FieldType::Double) => Number::Double,
        _ => return None,
    })
}

fn numbers(own: Number, other: Number, table: &Field, writer: &Field) -> Fit {
    let retype = || Fit::Retype(inner_type(&writer.json).clone(), writer.meaning);
    let widen = |to, avro: &str| Fit::Widen(to, json!(avro), Meaning::Plain);
    match (own, other) {
        (Number::Int, Number::Int) | (Number::Long, Number::Int | Number::Long) => Fit::Same,
        (Number::Int, Number::Long) if table.field_type == FieldType::Int => {
            widen(FieldType::Long, "long")
        }
        (Number::Float, Number::Double | Number::Int) if table.field_type == FieldType::Float => {
            widen(FieldType::Double, "double")
        }
        (Number::Int, Number::Long) | (Number::Float, Number::Double) => retype(),
        (Number::Int, Number::Float | Number::Double) => widen(FieldType::Double, "double"),
        (Number::Long, Number::Float | Number::Double)
        | (Number::Float | Number::Double, Number::Long) => Fit::Never(LOSES_DIGITS),
        (Number::Float, Number::Float | Number::Int) | (Number::Double, _) => Fit::Same,
    }
}

fn texts(table: &Field, writer: &Field) -> Fit {
    let (own, other) = (table.meaning, writer.meaning);
    let is_decimal = |meaning| {
        matches!(
            meaning,
            Meaning::VariableDecimal | Meaning::BigDecimal | Meaning::Decimal { .. }
        )
    };
    let is_text = matches!(
        other,
        Meaning::Enum | Meaning::UuidBytes | Meaning::InstantText
    ) || other == Meaning::Plain && writer.field_type == FieldType::String;
    match (is_decimal(own), is_decimal(other), is_text) {
        (true, true, _) => Fit::Same,
        (false, false, true) if own == Meaning::Enum && other == Meaning::Plain => {
            Fit::Retype(inner_type(&writer.json).clone(), other)
        }
        (false, false, true) if own == Meaning::Enum && other == own => symbols(table, writer),
        (false, false, true) => Fit::Same,
        _ => Fit::Never(OTHER_TYPE),
    }
}

/// An enum of the symbols of both.
fn symbols(table: &Field, writer: &Field) -> Fit {
    let mut symbols = table.symbols();
    let count = symbols.len();
    let new = writer.symbols().into_iter();
    let new: Vec<String> = new.filter(|symbol| !symbols.contains(symbol)).collect();
    symbols.extend(new);
    if symbols.len() == count {
        return Fit::Same;
    }
    let mut avro = inner_type(&table.json).clone();
    avro["symbols"] = json!(symbols);
    Fit::Retype(avro, Meaning::Enum)
}

fn bytes(own: Meaning, other: Meaning, writer: &Field) -> Fit {
    match (own, other) {
        _ if writer.field_type != FieldType::Bytes => Fit::Never(OTHER_TYPE),
        (Meaning::Fixed(own), Meaning::Fixed(other)) if own == other => Fit::Same,
        (Meaning::Fixed(_), _) => Fit::Retype(json!("bytes"), Meaning::Plain),
        _ => Fit::Same,
    }
}

/// A decimal that holds both.
fn decimals(table: &Field, writer: &Field) -> Fit {
    let (
        FieldType::Decimal { precision, scale },
        Meaning::Decimal {
            precision: other_precision,
            scale: other_scale,
            ..
        },
        Meaning::Decimal { connect, .. },
    ) = (&table.field_type, writer.meaning, table.meaning)
    else {
        return Fit::Never(OTHER_TYPE);
    };
    let (own_precision, own_scale) = (u32::from(*precision), u32::from(*scale));
    let scale = own_scale.max(other_scale);
    let whole = (own_precision - own_scale).max(other_precision - other_scale);
    let precision = whole + scale;
    if (precision, scale) == (own_precision, own_scale) {
        return Fit::Same;
    }
    let (true, Ok(precision), Ok(scale)) = (
        precision <= DIGITS_MAX,
        u8::try_from(precision),
        u8::try_from(scale),
    ) else {
        return Fit::Never("a decimal that holds both would have more than 38 digits");
    };
    let mut avro = json!({
        "type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale,
    });
    if connect {
        avro["connect.name"] = json!("org.apache.kafka.connect.data.Decimal");
    }
    let meaning = Meaning::Decimal {
        precision: precision.into(),
        scale: scale.into(),
        connect,
    };
    Fit::Widen(FieldType::Decimal { precision, scale }, avro, meaning)
}

/// The Avro type of a field's JSON, without its null: a union of several types without its null is
/// an array.
pub(crate) fn inner_type(field: &Value) -> &Value {
    let avro = &field["type"];
    let Value::Array(branches) = avro else {
        return avro;
    };
    match &branches[..] {
        [null, other] if null == "null" => other,
        [other, null] if null == "null" => other,
        [only] => only,
        _ => avro,
    }
}

/// Gives a field this Avro type; null comes where the default needs it.
pub(super) fn with_type(field: &mut Field, avro: Value) {
    let branches = match avro {
        Value::Array(mut branches) => {
            branches.retain(|branch| branch != "null");
            branches
        }
        only if !field.nullable => {
            field.json["type"] = only;
            return;
        }
        only => vec![only],
    };
    let mut branches = branches;
    if field.nullable {
        match &field.default {
            Some(default) if !default.is_null() => branches.push(json!("null")),
            _ => branches.insert(0, json!("null")),
        }
    }
    field.json["type"] = Value::Array(branches);
}

/// What a union calls a branch of this field's type.
pub(super) fn branch_of(field: &Value) -> String {
    let avro = inner_type(field);
    let name = match avro {
        Value::Object(object) => object.get("name").or_else(|| object.get("type")),
        other => Some(other),
    };
    let name = name.and_then(Value::as_str).unwrap_or_default();
    name.rsplit_once('.')
        .map_or(name, |(_, name)| name)
        .to_owned()
}
