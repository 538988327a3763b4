//! A schema as resolution sees it: logical types are the types under them.

use apache_avro::Schema;
use apache_avro::schema::{
    DecimalSchema, EnumSchema, FixedSchema, InnerDecimalSchema, Name, RecordSchema, UuidSchema,
};

/// An Avro type without what resolution does not look at.
#[derive(Clone, Copy, Debug)]
pub(super) enum Shape<'s> {
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    String,
    Array(&'s Schema),
    Map(&'s Schema),
    Union(&'s [Schema]),
    Record(&'s RecordSchema),
    Enum(&'s EnumSchema),
    Fixed(&'s FixedSchema),
    /// A reference to nothing, which no parsed schema has.
    Unknown,
}

impl<'s> Shape<'s> {
    /// The shape of a schema that is not a reference.
    pub(super) fn of(schema: &'s Schema) -> Self {
        match schema {
            Schema::Null => Self::Null,
            Schema::Boolean => Self::Boolean,
            Schema::Int | Schema::Date | Schema::TimeMillis => Self::Int,
            Schema::Long
            | Schema::TimeMicros
            | Schema::TimestampMillis
            | Schema::TimestampMicros
            | Schema::TimestampNanos
            | Schema::LocalTimestampMillis
            | Schema::LocalTimestampMicros
            | Schema::LocalTimestampNanos => Self::Long,
            Schema::Float => Self::Float,
            Schema::Double => Self::Double,
            Schema::String | Schema::Uuid(UuidSchema::String) => Self::String,
            Schema::Bytes | Schema::BigDecimal | Schema::Uuid(UuidSchema::Bytes) => Self::Bytes,
            Schema::Decimal(DecimalSchema { inner, .. }) => match inner {
                InnerDecimalSchema::Bytes => Self::Bytes,
                InnerDecimalSchema::Fixed(fixed) => Self::Fixed(fixed),
            },
            Schema::Uuid(UuidSchema::Fixed(fixed))
            | Schema::Duration(fixed)
            | Schema::Fixed(fixed) => Self::Fixed(fixed),
            Schema::Array(array) => Self::Array(&array.items),
            Schema::Map(map) => Self::Map(&map.types),
            Schema::Union(union) => Self::Union(union.variants()),
            Schema::Record(record) => Self::Record(record),
            Schema::Enum(symbols) => Self::Enum(symbols),
            Schema::Ref { .. } => Self::Unknown,
        }
    }

    /// The full name and the aliases of a named type.
    pub(super) fn names(self) -> Option<(&'s Name, Vec<String>)> {
        let (name, aliases) = match self {
            Self::Record(record) => (&record.name, &record.aliases),
            Self::Enum(symbols) => (&symbols.name, &symbols.aliases),
            Self::Fixed(fixed) => (&fixed.name, &fixed.aliases),
            _ => return None,
        };
        let aliases = aliases.iter().flatten();
        let full = aliases.map(|alias| {
            let full = alias.fully_qualified_name(name.namespace());
            full.to_string()
        });
        Some((name, full.collect()))
    }

    /// What an author calls the type.
    pub(super) fn word(self) -> String {
        let named = |kind: &str| match self.names() {
            Some((name, _)) => format!("{kind} {name}"),
            None => kind.to_owned(),
        };
        match self {
            Self::Null => "null".to_owned(),
            Self::Boolean => "boolean".to_owned(),
            Self::Int => "int".to_owned(),
            Self::Long => "long".to_owned(),
            Self::Float => "float".to_owned(),
            Self::Double => "double".to_owned(),
            Self::Bytes => "bytes".to_owned(),
            Self::String => "string".to_owned(),
            Self::Array(_) => "array".to_owned(),
            Self::Map(_) => "map".to_owned(),
            Self::Union(_) => "union".to_owned(),
            Self::Record(_) => named("record"),
            Self::Enum(_) => named("enum"),
            Self::Fixed(_) => named("fixed"),
            Self::Unknown => "unknown type".to_owned(),
        }
    }

    /// Whether every value of `writer` is also one of these, without looking inside.
    pub(super) fn promotes(self, writer: Self) -> bool {
        use Shape::{Boolean, Bytes, Double, Float, Int, Long, Null, String};
        matches!(
            (writer, self),
            (Null, Null)
                | (Boolean, Boolean)
                | (Int, Int | Long | Float | Double)
                | (Long, Long | Float | Double)
                | (Float, Float | Double)
                | (Double, Double)
                | (Bytes | String, Bytes | String)
        )
    }
}

/// The precision and scale of a decimal: two decimals match when both do.
pub(super) fn decimal(schema: &Schema) -> Option<(usize, usize)> {
    match schema {
        Schema::Decimal(decimal) => Some((decimal.precision, decimal.scale)),
        _ => None,
    }
}
