//! What a type's values mean, beyond what they are.

use serde_json::Value;

use crate::avro::{AvroSchema, Kind, Node, NodeId};

/// What the numbers, texts and bytes of a field stand for, as its Avro type says it: by logical
/// type, or by the name that Debezium or Kafka Connect gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Meaning {
    /// What the type itself says; of numbers, 64 bits.
    Plain,
    /// A whole number of 32 bits.
    Int,
    /// A floating-point number of 32 bits.
    Float,
    /// One of several names.
    Enum,
    /// Bytes of one length.
    Fixed(usize),
    /// The 16 bytes of a UUID.
    UuidBytes,
    /// Days since 1970-01-01.
    Date,
    /// A time of day, counted from midnight.
    Time(Unit),
    /// An instant, counted from 1970-01-01 UTC.
    Instant(Unit),
    /// An instant as text with its offset from UTC.
    InstantText,
    /// A date and time on some clock, counted as if the clock showed UTC.
    WallClock(Unit),
    /// A decimal number of so many digits, of which `scale` follow the point: the bytes are the
    /// digits as a whole number, big endian.
    Decimal {
        /// Digits in all.
        precision: u32,
        /// Digits after the point.
        scale: u32,
        /// Kafka Connect's: in JSON its text is Base64 of the bytes.
        connect: bool,
    },
    /// Debezium's record of a decimal's bytes and its scale.
    VariableDecimal,
    /// Avro's bytes of a decimal's bytes and its scale.
    BigDecimal,
    /// Months, days and milliseconds, 4 bytes each.
    Duration,
    /// One of several types: the record has a field for each.
    Union,
}

/// What times are counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unit {
    /// Thousandths of a second.
    Millis,
    /// Millionths of a second.
    Micros,
    /// Thousand-millionths of a second.
    Nanos,
}

impl Unit {
    /// A count of the unit in microseconds; nothing if they are not whole, or too many.
    pub fn micros(self, count: i64) -> Option<i64> {
        match self {
            Self::Millis => count.checked_mul(1000),
            Self::Micros => Some(count),
            Self::Nanos => (count % 1000 == 0).then_some(count / 1000),
        }
    }
}

/// Most digits of a decimal that a table can hold.
pub(crate) const DIGITS_MAX: u32 = 38;

/// Names of decimals.
const CONNECT_DECIMAL: &str = "org.apache.kafka.connect.data.Decimal";
const VARIABLE_DECIMAL: &str = "io.debezium.data.VariableScaleDecimal";

impl Meaning {
    /// What a type's values mean. A logical type that does not go with its type says nothing, as
    /// Avro has it; a decimal must tell its digits.
    ///
    /// # Errors
    /// What is wrong with a decimal.
    pub fn of(schema: &AvroSchema, id: NodeId) -> Result<Self, String> {
        let node = schema.node(id);
        if is_variable_decimal(schema, node) {
            return Ok(Self::VariableDecimal);
        }
        for name in [node.text("connect.name"), node.text("logicalType")] {
            if let Some(meaning) = name.and_then(|name| named(name, node)) {
                return meaning;
            }
        }
        Ok(match &node.kind {
            Kind::Int => Self::Int,
            Kind::Float => Self::Float,
            Kind::Enum { .. } => Self::Enum,
            Kind::Fixed { size, .. } => Self::Fixed(*size),
            Kind::Union(_) => Self::Union,
            _ => Self::Plain,
        })
    }

    /// Whether the values are numbers of a unit, a date, or a text of an instant: what a contract
    /// may ask to be held as it is written.
    pub(crate) fn is_counted(self) -> bool {
        matches!(
            self,
            Self::Date | Self::Time(_) | Self::Instant(_) | Self::WallClock(_)
        )
    }
}

/// Whether it is Debezium's record of a scale and a decimal's bytes, in this order.
fn is_variable_decimal(schema: &AvroSchema, node: &Node) -> bool {
    let Kind::Record { name, fields } = &node.kind else {
        return false;
    };
    let kind = |id| &schema.node(id).kind;
    let [scale, value] = &fields[..] else {
        return false;
    };
    (name == VARIABLE_DECIMAL || node.text("connect.name") == Some(VARIABLE_DECIMAL))
        && (scale.name.as_str(), value.name.as_str()) == ("scale", "value")
        && matches!(
            (kind(scale.node), kind(value.node)),
            (Kind::Int, Kind::Bytes)
        )
}

/// The meaning of a name, if it goes with the type.
fn named(name: &str, node: &Node) -> Option<Result<Meaning, String>> {
    use Unit::{Micros, Millis, Nanos};
    let is_int = matches!(node.kind, Kind::Int);
    let is_whole = is_int || matches!(node.kind, Kind::Long);
    let is_bytes = matches!(node.kind, Kind::Bytes | Kind::Fixed { .. });
    let meaning = match name {
        "date" | "io.debezium.time.Date" | "org.apache.kafka.connect.data.Date" if is_int => {
            Meaning::Date
        }
        "time-millis" | "io.debezium.time.Time" | "org.apache.kafka.connect.data.Time"
            if is_whole =>
        {
            Meaning::Time(Millis)
        }
        "time-micros" | "io.debezium.time.MicroTime" if is_whole => Meaning::Time(Micros),
        "time-nanos" | "io.debezium.time.NanoTime" if is_whole => Meaning::Time(Nanos),
        "timestamp-millis"
        | "io.debezium.time.Timestamp"
        | "org.apache.kafka.connect.data.Timestamp"
            if is_whole =>
        {
            Meaning::Instant(Millis)
        }
        "timestamp-micros" | "io.debezium.time.MicroTimestamp" if is_whole => {
            Meaning::Instant(Micros)
        }
        "timestamp-nanos" | "io.debezium.time.NanoTimestamp" if is_whole => Meaning::Instant(Nanos),
        "local-timestamp-millis" if is_whole => Meaning::WallClock(Millis),
        "local-timestamp-micros" if is_whole => Meaning::WallClock(Micros),
        "local-timestamp-nanos" if is_whole => Meaning::WallClock(Nanos),
        "io.debezium.time.ZonedTimestamp" if matches!(node.kind, Kind::String) => {
            Meaning::InstantText
        }
        "decimal" | CONNECT_DECIMAL if is_bytes => return Some(decimal(node)),
        "big-decimal" if matches!(node.kind, Kind::Bytes) => Meaning::BigDecimal,
        "uuid" if matches!(node.kind, Kind::Fixed { size: 16, .. }) => Meaning::UuidBytes,
        "duration" if matches!(node.kind, Kind::Fixed { size: 12, .. }) => Meaning::Duration,
        _ => return None,
    };
    Some(Ok(meaning))
}

/// A decimal with its digits. Connect writes a precision of 64 where it knows none: then as many
/// digits as a table holds are taken, and a larger number is refused when it comes.
fn decimal(node: &Node) -> Result<Meaning, String> {
    let number = |value: Option<&Value>| u32::try_from(value?.as_u64()?).ok();
    let parameter = |name: &str| {
        let parameters = node.attributes.get("connect.parameters")?;
        parameters[name].as_str()?.parse::<i64>().ok()
    };
    let connect = node.text("connect.name") == Some(CONNECT_DECIMAL);
    if connect && parameter("scale").is_some_and(|scale| scale < 0) {
        return Err("a decimal of negative scale".to_owned());
    }
    let told = parameter("connect.decimal.precision").and_then(|told| u32::try_from(told).ok());
    let scale = match node.attributes.get("scale") {
        None => 0,
        scale => number(scale).ok_or("a decimal whose scale is no whole number")?,
    };
    let precision = told.or_else(|| {
        let written = number(node.attributes.get("precision"));
        written.map(|digits| {
            if connect {
                digits.min(DIGITS_MAX)
            } else {
                digits
            }
        })
    });
    let precision = precision.filter(|digits| *digits > 0);
    let precision = precision.ok_or("a decimal that does not say its precision")?;
    if scale > precision {
        return Err(format!(
            "decimal({precision}, {scale}), which has more digits after the point than in all"
        ));
    }
    Ok(Meaning::Decimal {
        precision,
        scale,
        connect,
    })
}

#[cfg(test)]
mod tests;
