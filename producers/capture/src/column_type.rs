//! What a column is published as: Debezium's types where they are exact, else Postgres' own text.

use serde_json::{Value, json};

use crate::pg_type::{PgType, Types};
use crate::value::Kind;

/// Digits that a decimal of the lake has room for.
const DIGITS_MAX: i32 = 38;

/// A column's Avro type and how its values become that.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ColumnType {
    pub(crate) avro: Value,
    pub(crate) kind: Kind,
}

impl ColumnType {
    /// The type of a column of this Postgres type; a type that nothing is known of is its text.
    pub(crate) fn of(oid: u32, modifier: i32, types: &Types) -> Self {
        let Some(found) = types.get(oid) else {
            return Self::text();
        };
        match found {
            PgType::Domain {
                base,
                base_modifier,
            } => {
                let modifier = if *base_modifier >= 0 {
                    *base_modifier
                } else {
                    modifier
                };
                Self::of(*base, modifier, types)
            }
            PgType::Enum => Self::named("string", "io.debezium.data.Enum", Kind::Text),
            PgType::Array { item } => {
                let item = Self::of(*item, modifier, types);
                if matches!(item.kind, Kind::Array(_)) {
                    return Self::text();
                }
                Self {
                    avro: json!({"type": "array", "items": ["null", item.avro]}),
                    kind: Kind::Array(Box::new(item.kind)),
                }
            }
            PgType::Base { name } => Self::base(name, modifier),
            PgType::Other => Self::text(),
        }
    }

    /// Postgres' own text.
    pub(crate) fn text() -> Self {
        Self::plain("string", Kind::Text)
    }

    fn base(name: &str, modifier: i32) -> Self {
        match name {
            "bool" => Self::plain("boolean", Kind::Boolean),
            "int2" => Self {
                avro: json!({"type": "int", "connect.type": "int16"}),
                kind: Kind::Int,
            },
            "int4" => Self::plain("int", Kind::Int),
            "int8" | "oid" => Self::plain("long", Kind::Long),
            "float4" => Self::plain("float", Kind::Float),
            "float8" => Self::plain("double", Kind::Double),
            "numeric" => Self::numeric(modifier),
            "bytea" => Self::plain("bytes", Kind::Bytes),
            "date" => Self::named("int", "io.debezium.time.Date", Kind::Date),
            "time" => Self::named("long", "io.debezium.time.MicroTime", Kind::Time),
            "timetz" => Self::named("string", "io.debezium.time.ZonedTime", Kind::TimeWithZone),
            "timestamp" => Self::named("long", "io.debezium.time.MicroTimestamp", Kind::WallClock),
            "timestamptz" => {
                Self::named("string", "io.debezium.time.ZonedTimestamp", Kind::Instant)
            }
            "interval" => Self::named("string", "io.debezium.time.Interval", Kind::Text),
            "uuid" => Self::named("string", "io.debezium.data.Uuid", Kind::Text),
            "json" | "jsonb" => Self::named("string", "io.debezium.data.Json", Kind::Text),
            "xml" => Self::named("string", "io.debezium.data.Xml", Kind::Text),
            "tsvector" => Self::named("string", "io.debezium.data.Tsvector", Kind::Text),
            _ => Self::text(),
        }
    }

    /// A decimal where precision and scale are declared and fit, else the digits as text.
    fn numeric(modifier: i32) -> Self {
        let declared = modifier - 4;
        let (precision, scale) = (declared >> 16 & 0xFFFF, declared & 0x7FF);
        // A scale of 11 bits with a sign; a negative one rounds before the point.
        let scale = (scale ^ 1024) - 1024;
        let fits = modifier >= 4 && precision <= DIGITS_MAX && (0..=precision).contains(&scale);
        let Some(scale) = u32::try_from(scale).ok().filter(|_| fits) else {
            return Self::text();
        };
        Self {
            avro: json!({
                "type": "bytes", "logicalType": "decimal",
                "precision": precision, "scale": scale,
                "connect.version": 1, "connect.name": "org.apache.kafka.connect.data.Decimal",
                "connect.parameters": {
                    "scale": scale.to_string(),
                    "connect.decimal.precision": precision.to_string(),
                },
            }),
            kind: Kind::Decimal { scale },
        }
    }

    fn plain(avro: &str, kind: Kind) -> Self {
        Self {
            avro: json!(avro),
            kind,
        }
    }

    fn named(avro: &str, name: &str, kind: Kind) -> Self {
        Self {
            avro: json!({"type": avro, "connect.version": 1, "connect.name": name}),
            kind,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numeric(precision: i32, scale: i32) -> Kind {
        ColumnType::numeric((precision << 16 | scale & 0x7FF) + 4).kind
    }

    #[test]
    fn a_numeric_is_a_decimal_where_its_digits_are_declared_and_fit() {
        assert_eq!(numeric(10, 2), Kind::Decimal { scale: 2 });
        assert_eq!(numeric(38, 38), Kind::Decimal { scale: 38 });
        for (precision, scale) in [(39, 0), (3, 5), (5, -2), (1000, 1000)] {
            assert_eq!(
                numeric(precision, scale),
                Kind::Text,
                "{precision}, {scale}"
            );
        }
        assert_eq!(ColumnType::numeric(-1).kind, Kind::Text);
    }

    #[test]
    fn domains_and_arrays_are_seen_through() {
        let types = Types::of([
            (
                1,
                PgType::Base {
                    name: "numeric".into(),
                },
            ),
            (
                2,
                PgType::Domain {
                    base: 1,
                    base_modifier: (6 << 16 | 2) + 4,
                },
            ),
            (3, PgType::Array { item: 2 }),
            (
                4,
                PgType::Domain {
                    base: 3,
                    base_modifier: -1,
                },
            ),
            (5, PgType::Enum),
        ]);
        let array = Kind::Array(Box::new(Kind::Decimal { scale: 2 }));
        assert_eq!(ColumnType::of(4, -1, &types).kind, array);
        assert_eq!(
            ColumnType::of(5, -1, &types).avro["connect.name"],
            "io.debezium.data.Enum"
        );
        assert_eq!(ColumnType::of(99, -1, &types), ColumnType::text());
    }
}
