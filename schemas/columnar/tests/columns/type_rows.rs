//! The rows of the document of types.

use apache_avro::types::Value;
use apache_avro::{Days, Decimal, Duration, Millis, Months};

/// A type, a value of it in both formats, and what is to be known of it.
pub(crate) struct Row {
    pub(crate) title: &'static str,
    pub(crate) avro: &'static str,
    pub(crate) value: fn() -> Value,
    pub(crate) json: &'static [&'static str],
    pub(crate) rule: &'static str,
}

const fn row(
    title: &'static str,
    avro: &'static str,
    value: fn() -> Value,
    json: &'static [&'static str],
    rule: &'static str,
) -> Row {
    Row {
        title,
        avro,
        value,
        json,
        rule,
    }
}

fn text(text: &str) -> Value {
    Value::String(text.to_owned())
}

fn record(fields: Vec<(&str, Value)>) -> Value {
    let fields = fields.into_iter();
    Value::Record(
        fields
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
    )
}

fn decimal() -> Value {
    Value::Decimal(Decimal::from(vec![0xfb, 0x2e]))
}

const UUID: &str = "0fdb4a7a-1d2e-4b8c-9c3f-5a6b7c8d9e0f";
const UUID_BYTES: [u8; 16] = [
    0x0f, 0xdb, 0x4a, 0x7a, 0x1d, 0x2e, 0x4b, 0x8c, 0x9c, 0x3f, 0x5a, 0x6b, 0x7c, 0x8d, 0x9e, 0x0f,
];

pub(crate) const AVRO: &[Row] = &[
    row(
        "`boolean`",
        r#""boolean""#,
        || Value::Boolean(true),
        &["true"],
        "",
    ),
    row(
        "`int`",
        r#""int""#,
        || Value::Int(-7),
        &["-7", "-7.0", "-7e0"],
        "a whole number of 32 bits",
    ),
    row(
        "`long`",
        r#""long""#,
        || Value::Long(i64::MAX),
        &["9223372036854775807"],
        "",
    ),
    row(
        "`float`",
        r#""float""#,
        || Value::Float(0.5),
        &["0.5"],
        "exact: every float is a double; in JSON the double nearest to the number, which must be in a float's range",
    ),
    row(
        "`double`",
        r#""double""#,
        || Value::Double(0.1),
        &["0.1"],
        "the nearest to a JSON number, which must be finite and, if it is whole, a double itself",
    ),
    row("`string`", r#""string""#, || text("a"), &[r#""a""#], ""),
    row(
        "`bytes`",
        r#""bytes""#,
        || Value::Bytes(vec![1, 255]),
        &[r#""Af8=""#],
        "Base64 in JSON",
    ),
    row(
        "`fixed`",
        r#"{"type":"fixed","name":"F","size":2}"#,
        || Value::Fixed(2, vec![1, 255]),
        &[r#""Af8=""#],
        "Base64 in JSON, of the fixed's size",
    ),
    row(
        "`enum`",
        r#"{"type":"enum","name":"E","symbols":["RED","BLUE"]}"#,
        || Value::Enum(1, "BLUE".to_owned()),
        &[r#""BLUE""#],
        "the symbol's name, in JSON too; a schema with new symbols needs no change",
    ),
    row(
        "`decimal(p, s)` of bytes or fixed, p up to 38",
        r#"{"type":"bytes","logicalType":"decimal","precision":6,"scale":2}"#,
        decimal,
        &["-12.34", r#""-12.34""#, "-1234e-2"],
        "exactly, or a dead letter",
    ),
    row(
        "`big-decimal`",
        r#"{"type":"bytes","logicalType":"big-decimal"}"#,
        || Value::BigDecimal("-12.30".parse().unwrap()),
        &["-12.30", r#""-12.30""#],
        "its digits, with all after the point: the scale differs by value",
    ),
    row(
        "`uuid` of string",
        r#"{"type":"string","logicalType":"uuid"}"#,
        || Value::Uuid(UUID.parse().unwrap()),
        &[r#""0fdb4a7a-1d2e-4b8c-9c3f-5a6b7c8d9e0f""#],
        "the text as it is",
    ),
    row(
        "`uuid` of fixed(16)",
        r#"{"type":"fixed","name":"U","size":16,"logicalType":"uuid"}"#,
        || Value::Uuid(uuid_of(UUID_BYTES)),
        &[r#""0fdb4a7a-1d2e-4b8c-9c3f-5a6b7c8d9e0f""#],
        "its text in lower case; in JSON 36 characters with hyphens",
    ),
    row(
        "`date`",
        r#"{"type":"int","logicalType":"date"}"#,
        || Value::Date(15_706),
        &["15706", r#""2013-01-01""#],
        "",
    ),
    row(
        "`time-millis`",
        r#"{"type":"int","logicalType":"time-millis"}"#,
        || Value::TimeMillis(3_723_004),
        &["3723004", r#""01:02:03.004""#],
        "microseconds since midnight",
    ),
    row(
        "`time-micros`",
        r#"{"type":"long","logicalType":"time-micros"}"#,
        || Value::TimeMicros(3_723_000_004),
        &["3723000004", r#""01:02:03.000004""#],
        "microseconds since midnight",
    ),
    row(
        "`timestamp-millis`",
        r#"{"type":"long","logicalType":"timestamp-millis"}"#,
        || Value::TimestampMillis(1_357_016_523_004),
        &[
            "1357016523004",
            r#""2013-01-01T05:02:03.004Z""#,
            r#""2013-01-01T00:02:03.004-05:00""#,
        ],
        "an instant in UTC, in microseconds",
    ),
    row(
        "`timestamp-micros`",
        r#"{"type":"long","logicalType":"timestamp-micros"}"#,
        || Value::TimestampMicros(1_357_016_523_000_004),
        &["1357016523000004", r#""2013-01-01T05:02:03.000004Z""#],
        "",
    ),
    row(
        "`timestamp-nanos`",
        r#"{"type":"long","logicalType":"timestamp-nanos"}"#,
        || Value::TimestampNanos(1_357_016_523_000_004_000),
        &["1357016523000004000"],
        "whole microseconds only; ask for `long` to hold the count",
    ),
    row(
        "`local-timestamp-millis`",
        r#"{"type":"long","logicalType":"local-timestamp-millis"}"#,
        || Value::LocalTimestampMillis(86_400_001),
        &["86400001", r#""1970-01-02T00:00:00.001""#],
        "microseconds on the clock since 1970-01-01, which name no instant; ask for `timestamp` if the clock shows UTC",
    ),
    row(
        "`local-timestamp-micros`",
        r#"{"type":"long","logicalType":"local-timestamp-micros"}"#,
        || Value::LocalTimestampMicros(86_400_000_001),
        &["86400000001"],
        "like `local-timestamp-millis`",
    ),
    row(
        "`local-timestamp-nanos`",
        r#"{"type":"long","logicalType":"local-timestamp-nanos"}"#,
        || Value::LocalTimestampNanos(86_400_000_001_000),
        &["86400000001000"],
        "whole microseconds only",
    ),
    row(
        "`duration`",
        r#"{"type":"fixed","name":"D","size":12,"logicalType":"duration"}"#,
        || Value::Duration(Duration::new(Months::new(1), Days::new(2), Millis::new(3))),
        &[r#"{"months":1,"days":2,"millis":3}"#],
        "its three numbers, which have no common unit",
    ),
    row(
        "`record`",
        r#"{"type":"record","name":"Point","fields":[{"name":"x","type":"int"},{"name":"y","type":["null","double"],"default":null}]}"#,
        || {
            record(vec![
                ("x", Value::Int(1)),
                ("y", Value::Union(1, Box::new(Value::Double(0.5)))),
            ])
        },
        &[r#"{"x":1,"y":0.5}"#],
        "up to 32 deep, 4096 fields in all",
    ),
    row(
        "`array`",
        r#"{"type":"array","items":"string"}"#,
        || Value::Array(vec![text("a"), text("b")]),
        &[r#"["a","b"]"#],
        "",
    ),
    row(
        "`map`",
        r#"{"type":"map","values":"long"}"#,
        || Value::Map([("a".to_owned(), Value::Long(1))].into()),
        &[r#"{"a":1}"#],
        "a key that comes twice is a dead letter",
    ),
    row(
        "union of null and one type",
        r#"["null","long"]"#,
        || Value::Union(1, Box::new(Value::Long(1))),
        &["1"],
        "the type, nullable",
    ),
    row(
        "union of several types",
        r#"["null","long","string"]"#,
        || Value::Union(2, Box::new(text("a"))),
        &[r#"{"string":"a"}"#],
        "a field for each type, all but one null, named as in Avro's JSON encoding",
    ),
    row(
        "any other `logicalType`",
        r#"{"type":"string","logicalType":"country-code"}"#,
        || text("NL"),
        &[r#""NL""#],
        "the type that it is given with, as Avro says",
    ),
];

fn uuid_of(bytes: [u8; 16]) -> apache_avro::Uuid {
    apache_avro::Uuid::from_bytes(bytes)
}

pub(crate) const DEBEZIUM: &[Row] = &[
    row(
        "`io.debezium.time.Date`, `org.apache.kafka.connect.data.Date`",
        r#"{"type":"int","connect.name":"io.debezium.time.Date"}"#,
        || Value::Int(15_706),
        &["15706"],
        "",
    ),
    row(
        "`io.debezium.time.Time`, `org.apache.kafka.connect.data.Time`",
        r#"{"type":"int","connect.name":"io.debezium.time.Time"}"#,
        || Value::Int(3_723_004),
        &["3723004"],
        "microseconds since midnight",
    ),
    row(
        "`io.debezium.time.MicroTime`",
        r#"{"type":"long","connect.name":"io.debezium.time.MicroTime"}"#,
        || Value::Long(3_723_000_004),
        &["3723000004"],
        "",
    ),
    row(
        "`io.debezium.time.NanoTime`",
        r#"{"type":"long","connect.name":"io.debezium.time.NanoTime"}"#,
        || Value::Long(3_723_000_004_000),
        &["3723000004000"],
        "whole microseconds only",
    ),
    row(
        "`io.debezium.time.Timestamp`, `org.apache.kafka.connect.data.Timestamp`",
        r#"{"type":"long","connect.name":"io.debezium.time.Timestamp"}"#,
        || Value::Long(1_357_016_523_004),
        &["1357016523004"],
        "Debezium's count: the column's wall clock as if it showed UTC",
    ),
    row(
        "`io.debezium.time.MicroTimestamp`",
        r#"{"type":"long","connect.name":"io.debezium.time.MicroTimestamp"}"#,
        || Value::Long(1_357_016_523_000_004),
        &["1357016523000004"],
        "like `Timestamp`",
    ),
    row(
        "`io.debezium.time.NanoTimestamp`",
        r#"{"type":"long","connect.name":"io.debezium.time.NanoTimestamp"}"#,
        || Value::Long(1_357_016_523_000_004_000),
        &["1357016523000004000"],
        "whole microseconds only; ask for `long` to hold the count",
    ),
    row(
        "`io.debezium.time.ZonedTimestamp`",
        r#"{"type":"string","connect.name":"io.debezium.time.ZonedTimestamp"}"#,
        || text("2013-01-01T00:02:03.004-05:00"),
        &[r#""2013-01-01T00:02:03.004-05:00""#],
        "the instant, without its offset; ask for `string` to hold the text",
    ),
    row(
        "`io.debezium.time.ZonedTime`",
        r#"{"type":"string","connect.name":"io.debezium.time.ZonedTime"}"#,
        || text("01:02:03Z"),
        &[r#""01:02:03Z""#],
        "the text as it is",
    ),
    row(
        "`io.debezium.time.IsoDate`, `IsoTime`, `IsoTimestamp`",
        r#"{"type":"string","connect.name":"io.debezium.time.IsoDate"}"#,
        || text("2013-01-01Z"),
        &[r#""2013-01-01Z""#],
        "the text as it is: `time.precision.mode=isostring` asks for it",
    ),
    row(
        "`io.debezium.time.Interval`",
        r#"{"type":"string","connect.name":"io.debezium.time.Interval"}"#,
        || text("P1Y2M3DT4H5M6S"),
        &[r#""P1Y2M3DT4H5M6S""#],
        "the text as it is",
    ),
    row(
        "`io.debezium.time.MicroDuration`, `NanoDuration`",
        r#"{"type":"long","connect.name":"io.debezium.time.MicroDuration"}"#,
        || Value::Long(5),
        &["5"],
        "the number as it is, in its unit",
    ),
    row(
        "`io.debezium.time.Year`",
        r#"{"type":"int","connect.name":"io.debezium.time.Year"}"#,
        || Value::Int(2013),
        &["2013"],
        "the number as it is",
    ),
    row(
        "`org.apache.kafka.connect.data.Decimal` (`decimal.handling.mode=precise`)",
        r#"{"type":"bytes","scale":2,"precision":64,"connect.parameters":{"scale":"2","connect.decimal.precision":"6"},"connect.name":"org.apache.kafka.connect.data.Decimal","logicalType":"decimal"}"#,
        decimal,
        &[r#""+y4=""#, "-12.34"],
        "the precision of `connect.decimal.precision`, else 38; in JSON Base64 of the digits, or a number",
    ),
    row(
        "`io.debezium.data.VariableScaleDecimal`",
        r#"{"type":"record","name":"VariableScaleDecimal","namespace":"io.debezium.data","connect.name":"io.debezium.data.VariableScaleDecimal","fields":[{"name":"scale","type":"int"},{"name":"value","type":"bytes"}]}"#,
        || {
            record(vec![
                ("scale", Value::Int(3)),
                ("value", Value::Bytes(vec![4, 206])),
            ])
        },
        &[r#"{"scale":3,"value":"BM4="}"#],
        "its digits, with all after the point: the scale differs by value",
    ),
    row(
        "`decimal.handling.mode=string`",
        r#""string""#,
        || text("1.230"),
        &[r#""1.230""#],
        "the text as it is",
    ),
    row(
        "`decimal.handling.mode=double`",
        r#""double""#,
        || Value::Double(1.23),
        &["1.23"],
        "the connector rounds, not the lake",
    ),
    row(
        "`io.debezium.data.Json`, `Xml`, `Ltree`, `Tsvector`",
        r#"{"type":"string","connect.name":"io.debezium.data.Json"}"#,
        || text("{\"a\": 1}"),
        &[r#""{\"a\": 1}""#],
        "the text as it is",
    ),
    row(
        "`io.debezium.data.Uuid`",
        r#"{"type":"string","connect.name":"io.debezium.data.Uuid"}"#,
        || text(UUID),
        &[r#""0fdb4a7a-1d2e-4b8c-9c3f-5a6b7c8d9e0f""#],
        "the text as it is",
    ),
    row(
        "`io.debezium.data.Enum`, `EnumSet`",
        r#"{"type":"string","connect.name":"io.debezium.data.EnumSet"}"#,
        || text("a,b"),
        &[r#""a,b""#],
        "the text as it is",
    ),
    row(
        "`io.debezium.data.DoubleVector`, `FloatVector`",
        r#"{"type":"array","items":"float","connect.name":"io.debezium.data.FloatVector"}"#,
        || Value::Array(vec![Value::Float(0.5), Value::Float(-1.0)]),
        &["[0.5,-1.0]"],
        "a float is a double",
    ),
    row(
        "`io.debezium.data.SparseDoubleVector`, in Avro",
        r#"{"type":"record","name":"SparseDoubleVector","namespace":"io.debezium.data","connect.name":"io.debezium.data.SparseDoubleVector","fields":[{"name":"dimensions","type":{"type":"int","connect.type":"int16"}},{"name":"vector","type":{"type":"array","items":{"type":"record","name":"MapEntry","namespace":"io.confluent.connect.avro","fields":[{"name":"key","type":{"type":"int","connect.type":"int16"}},{"name":"value","type":"double"}]}}}]}"#,
        || {
            let entry = vec![("key", Value::Int(2)), ("value", Value::Double(0.5))];
            let vector = Value::Array(vec![record(entry)]);
            record(vec![("dimensions", Value::Int(9)), ("vector", vector)])
        },
        &[r#"{"dimensions":9,"vector":[{"key":2,"value":0.5}]}"#],
        "Connect writes a map whose keys are not strings as an array of entries",
    ),
    row(
        "`io.debezium.data.Bits`",
        r#"{"type":"bytes","connect.name":"io.debezium.data.Bits"}"#,
        || Value::Bytes(vec![5]),
        &[r#""BQ==""#],
        "the bytes as they are, least significant first",
    ),
    row(
        "`io.debezium.data.geometry.Point`, `Geometry`, `Geography`",
        r#"{"type":"record","name":"Geometry","namespace":"io.debezium.data.geometry","connect.name":"io.debezium.data.geometry.Geometry","fields":[{"name":"wkb","type":"bytes"},{"name":"srid","type":["null","int"],"default":null}]}"#,
        || {
            record(vec![
                ("wkb", Value::Bytes(vec![1, 2])),
                ("srid", Value::Union(1, Box::new(Value::Int(4326)))),
            ])
        },
        &[r#"{"wkb":"AQI=","srid":4326}"#],
        "a record: well-known binary and its reference system",
    ),
    row(
        "`int8`, `int16` (Connect)",
        r#"{"type":"int","connect.type":"int16"}"#,
        || Value::Int(7),
        &["7"],
        "",
    ),
];

pub(crate) const ASKED: &[Row] = &[
    row(
        "`int` asked as `int`",
        r#"{"type":"int","lakehead.type":"int"}"#,
        || Value::Int(7),
        &["7"],
        "a promotion rewrites data files",
    ),
    row(
        "`float` asked as `float`",
        r#"{"type":"float","lakehead.type":"float"}"#,
        || Value::Float(0.5),
        &["0.5"],
        "a promotion rewrites data files",
    ),
    row(
        "`timestamp-nanos`, any time, date or timestamp asked as `long`",
        r#"{"type":"long","logicalType":"timestamp-nanos","lakehead.type":"long"}"#,
        || Value::TimestampNanos(1_357_016_523_000_000_001),
        &["1357016523000000001"],
        "the count as it is written; its unit cannot change any more",
    ),
    row(
        "`local-timestamp-*` asked as `timestamp`",
        r#"{"type":"long","logicalType":"local-timestamp-millis","lakehead.type":"timestamp"}"#,
        || Value::LocalTimestampMillis(86_400_001),
        &["86400001", r#""1970-01-02T00:00:00.001""#],
        "the clock shows UTC",
    ),
    row(
        "`decimal` of any precision asked as `string`",
        r#"{"type":"bytes","logicalType":"decimal","precision":65,"scale":2,"lakehead.type":"string"}"#,
        decimal,
        &["-12.34", r#""-12.34""#],
        "its digits",
    ),
    row(
        "`ZonedTimestamp` asked as `string`",
        r#"{"type":"string","connect.name":"io.debezium.time.ZonedTimestamp","lakehead.type":"string"}"#,
        || text("2013-01-01T00:02:03.004-05:00"),
        &[r#""2013-01-01T00:02:03.004-05:00""#],
        "the text as it is",
    ),
];

/// Types in Kafka Connect's own form, which JSON records bring.
pub(crate) const REFUSED_CONNECT: &[(&str, &str)] = &[(
    "in JSON, a map whose keys are not strings (`io.debezium.data.SparseDoubleVector`)",
    r#"{"type":"map","keys":{"type":"int16"},"values":{"type":"double"}}"#,
)];

pub(crate) const REFUSED: &[(&str, &str)] = &[
    ("`null` alone", r#""null""#),
    (
        "`decimal` of more than 38 digits",
        r#"{"type":"bytes","logicalType":"decimal","precision":65,"scale":30}"#,
    ),
    (
        "`decimal` without a precision",
        r#"{"type":"bytes","logicalType":"decimal"}"#,
    ),
    (
        "Connect's decimal of negative scale",
        r#"{"type":"bytes","logicalType":"decimal","precision":64,"connect.name":"org.apache.kafka.connect.data.Decimal","connect.parameters":{"scale":"-2"}}"#,
    ),
    (
        "a recursive type",
        r#"{"type":"record","name":"Node","fields":[{"name":"next","type":["null","Node"]}]}"#,
    ),
    (
        "a record without fields",
        r#"{"type":"record","name":"Empty","fields":[]}"#,
    ),
    (
        "a fixed of no bytes",
        r#"{"type":"fixed","name":"Nothing","size":0}"#,
    ),
    (
        "a contract that asks for what loses digits",
        r#"{"type":"long","lakehead.type":"int"}"#,
    ),
];
