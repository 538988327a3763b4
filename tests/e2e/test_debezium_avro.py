"""Debezium Avro as Kafka Connect's Avro converter writes it: every type by its connect.name, deletes with their tombstones, and a table
that is named by the last two parts of the topic."""

from __future__ import annotations

import copy
import decimal
import json
from typing import Any

import fastavro

import shop
from confluent import framed
from kafka_topic import Record
from road import Road

TABLE = "public.booking"
UUID = "0fdb4a7a-1d2e-4b8c-9c3f-5a6b7c8d9e0f"
UNAVAILABLE = "__debezium_unavailable_value"


def typed(avro: str, name: str, **more: Any) -> dict[str, Any]:
    return {"type": avro, "connect.version": 1, "connect.name": name} | more


def optional(name: str, avro: Any) -> dict[str, Any]:
    return {"name": name, "type": ["null", avro], "default": None}


DECIMAL = {"type": "bytes", "scale": 2, "precision": 64, "connect.version": 1, "logicalType": "decimal",
           "connect.parameters": {"scale": "2", "connect.decimal.precision": "10"}, "connect.name": "org.apache.kafka.connect.data.Decimal"}
VARIABLE = {"type": "record", "name": "VariableScaleDecimal", "namespace": "io.debezium.data", "connect.version": 1,
            "connect.doc": "Variable scaled decimal", "connect.name": "io.debezium.data.VariableScaleDecimal",
            "fields": [{"name": "scale", "type": "int"}, {"name": "value", "type": "bytes"}]}
POINT = {"type": "record", "name": "Point", "namespace": "io.debezium.data.geometry", "connect.version": 1,
         "connect.name": "io.debezium.data.geometry.Point", "fields": [
             {"name": "x", "type": "double"}, {"name": "y", "type": "double"}, optional("wkb", "bytes"), optional("srid", "int")]}
STATE = typed("string", "io.debezium.data.Enum", **{"connect.parameters": {"allowed": "open,closed"}, "connect.default": "open"})

ROW: dict[str, Any] = {"type": "record", "name": "Value", "connect.name": "lh.public.booking.Value", "fields": [
    {"name": "id", "type": {"type": "int", "connect.default": 0}, "default": 0},
    {"name": "small", "type": {"type": "int", "connect.type": "int16"}},
    optional("day", typed("int", "io.debezium.time.Date")),
    optional("millis", typed("int", "io.debezium.time.Time")),
    optional("micros", typed("long", "io.debezium.time.MicroTime")),
    optional("nanos", typed("long", "io.debezium.time.NanoTime")),
    optional("at_millis", typed("long", "io.debezium.time.Timestamp")),
    optional("at_micros", typed("long", "io.debezium.time.MicroTimestamp")),
    optional("at_nanos", typed("long", "io.debezium.time.NanoTimestamp")),
    optional("zoned", typed("string", "io.debezium.time.ZonedTimestamp")),
    optional("zoned_time", typed("string", "io.debezium.time.ZonedTime")),
    optional("period", typed("long", "io.debezium.time.MicroDuration")),
    optional("interval", typed("string", "io.debezium.time.Interval")),
    optional("year", typed("int", "io.debezium.time.Year")),
    optional("price", DECIMAL),
    optional("free", VARIABLE),
    {"name": "state", "type": STATE, "default": "open"},
    optional("labels", typed("string", "io.debezium.data.EnumSet", **{"connect.parameters": {"allowed": "a,b"}})),
    optional("document", typed("string", "io.debezium.data.Json")),
    optional("markup", typed("string", "io.debezium.data.Xml")),
    optional("code", typed("string", "io.debezium.data.Uuid")),
    optional("flags", typed("bytes", "io.debezium.data.Bits", **{"connect.parameters": {"length": "9"}})),
    optional("place", POINT),
    optional("tags", {"type": "array", "items": ["null", "string"]}),
    optional("extra", {"type": "map", "values": ["null", "string"]}),
    optional("connect_day", typed("int", "org.apache.kafka.connect.data.Date", logicalType="date")),
    optional("connect_time", typed("int", "org.apache.kafka.connect.data.Time", logicalType="time-millis")),
    optional("connect_at", typed("long", "org.apache.kafka.connect.data.Timestamp", logicalType="timestamp-millis")),
    {"name": "big", "type": ["null", "string"], "default": None},
]}
SOURCE: dict[str, Any] = {"type": "record", "name": "Source", "namespace": "io.debezium.connector.postgresql",
                          "connect.version": 1, "connect.name": "io.debezium.connector.postgresql.Source", "fields": [
    {"name": "version", "type": "string"}, {"name": "connector", "type": "string"}, {"name": "name", "type": "string"},
    {"name": "ts_ms", "type": "long"},
    {"name": "snapshot", "type": [typed("string", "io.debezium.data.Enum", **{
        "connect.parameters": {"allowed": "true,first,last,false"}, "connect.default": "false"}), "null"], "default": "false"},
    {"name": "db", "type": "string"}, optional("sequence", "string"), optional("ts_us", "long"), optional("ts_ns", "long"),
    {"name": "schema", "type": "string"}, {"name": "table", "type": "string"}, optional("txId", "long"), optional("lsn", "long"),
    optional("xmin", "long")]}
BLOCK = {"type": "record", "name": "block", "namespace": "event", "connect.version": 1, "connect.name": "event.block", "fields": [
    {"name": "id", "type": "string"}, {"name": "total_order", "type": "long"}, {"name": "data_collection_order", "type": "long"}]}
ENVELOPE: dict[str, Any] = {"type": "record", "name": "Envelope", "namespace": "lh.public.booking", "connect.version": 2,
                            "connect.name": "lh.public.booking.Envelope", "fields": [
    optional("before", ROW), optional("after", "Value"), {"name": "source", "type": SOURCE}, optional("transaction", BLOCK),
    {"name": "op", "type": "string"}, optional("ts_ms", "long"), optional("ts_us", "long"), optional("ts_ns", "long")]}
KEY: dict[str, Any] = {"type": "record", "name": "Key", "namespace": "lh.public.booking", "connect.name": "lh.public.booking.Key",
                       "fields": [{"name": "id", "type": {"type": "int", "connect.default": 0}, "default": 0}]}

FULL: dict[str, Any] = {
    "small": 7, "day": 15706, "millis": 3_723_004, "micros": 3_723_000_004, "nanos": 3_723_000_004_000, "at_millis": 1_357_016_523_004,
    "at_micros": 1_357_016_523_000_004, "at_nanos": 1_357_016_523_000_004_000, "zoned": "2013-01-01T00:02:03.004-05:00",
    "zoned_time": "01:02:03Z", "period": 5, "interval": "P1Y2M3DT4H5M6S", "year": 2013, "price": decimal.Decimal("-12.34"),
    "free": {"scale": 3, "value": b"\x04\xce"}, "state": "closed", "labels": "a,b", "document": '{"a": 1}', "markup": "<a/>", "code": UUID,
    "flags": b"\x05\x01", "place": {"x": 1.5, "y": -2.5, "wkb": b"\x01\x02", "srid": None}, "tags": ["x", None], "extra": {"k": "v", "n": None},
    "connect_day": 15706, "connect_time": 3_723_004, "connect_at": 1_357_016_523_004, "big": "text"}
LANDED = {
    "small": "7", "day": "2013-01-01", "millis": "3723004000", "micros": "3723000004", "nanos": "3723000004",
    "at_millis": "2013-01-01 05:02:03.004+00", "at_micros": "2013-01-01 05:02:03.000004+00", "at_nanos": "2013-01-01 05:02:03.000004+00",
    "zoned": "2013-01-01 05:02:03.004+00", "zoned_time": "01:02:03Z", "period": "5", "interval": "P1Y2M3DT4H5M6S", "year": "2013",
    "price": "-12.34", "free": "1.230", "state": "closed", "labels": "a,b", "document": '{"a": 1}', "markup": "<a/>", "code": UUID,
    "flags": r"\x05\x01", "place": r"{'x': 1.5, 'y': -2.5, 'wkb': \x01\x02, 'srid': NULL}", "tags": "[x, NULL]", "extra": "{k=v, n=NULL}",
    "connect_day": "2013-01-01", "connect_time": "3723004000", "connect_at": "2013-01-01 05:02:03.004+00", "big": "text"}


def plain(schema: Any) -> Any:
    """Without logical types of numbers: the oracle writes the counts themselves."""
    if isinstance(schema, list):
        return [plain(part) for part in schema]
    if isinstance(schema, dict):
        dropped = ("logicalType",) if schema.get("type") in ("int", "long") else ()
        return {name: plain(part) for name, part in schema.items() if name not in dropped}
    return schema


def change(op: str, number: int, offset: int, before: dict[str, Any] | None, after: dict[str, Any] | None) -> dict[str, Any]:
    def row(values: dict[str, Any] | None) -> dict[str, Any] | None:
        return None if values is None else {"id": number} | values

    source = {"version": "3.6.1.Final", "connector": "postgresql", "name": "lh", "ts_ms": shop.FIRST_MS + offset, "db": "lh", "schema": "public",
              "table": "booking", "snapshot": "false", "lsn": 100 + offset, "txId": 5, "ts_us": (shop.FIRST_MS + offset) * 1000 + 7}
    return {"before": row(before), "after": row(after), "source": source, "op": op, "ts_ms": shop.FIRST_MS + offset + 9,
            "transaction": {"id": "5:100", "total_order": 1, "data_collection_order": 1}}


def test_every_type_by_its_connect_name(road: Road) -> None:
    topic = road.topic(partitions=1, suffix=".public.booking")
    value_id = shop.register(road.registry, f"{topic.name}-value", ENVELOPE)
    key_id = shop.register(road.registry, f"{topic.name}-key", KEY)
    values, keys = fastavro.parse_schema(plain(copy.deepcopy(ENVELOPE))), fastavro.parse_schema(KEY)
    empty: dict[str, Any] = {"small": 0}

    def record(op: str, number: int, offset: int, before: dict[str, Any] | None, after: dict[str, Any] | None) -> Record:
        return Record(framed(value_id, values, change(op, number, offset, before, after)), framed(key_id, keys, {"id": number}))

    topic.produce([
        record("r", 1, 0, None, FULL), record("c", 2, 1, None, empty),
        record("u", 1, 2, None, FULL | {"big": UNAVAILABLE}),
        record("d", 2, 3, {"small": 0}, None), Record(None, framed(key_id, keys, {"id": 2})),
        # A delete of a table whose replica identity is its key, and one whose row before is not written.
        record("c", 3, 5, None, empty), record("d", 3, 6, None, None), Record(None, framed(key_id, keys, {"id": 3})),
    ])
    road.configure({"name": topic.name})
    road.write_once()
    lake = road.lake
    assert not lake.exists("dead_letters"), lake.query("SELECT _offset, error_code, error FROM {dead_letters}")
    assert lake.query("SELECT string_agg(_op, '' ORDER BY _offset) FROM {public.booking}") == [("rcudcd",)]
    columns = ", ".join(f'"{name}"::VARCHAR' for name in LANDED)
    [row] = lake.query(f"SELECT {columns} FROM {{{TABLE}}} WHERE _op = 'r'")
    assert dict(zip(LANDED, row, strict=True)) == LANDED
    [row] = lake.query(f"SELECT {columns} FROM {{{TABLE}}} WHERE id = 2 AND _op = 'c'")
    expected = dict.fromkeys(LANDED) | {"small": "0", "state": "open"}
    assert dict(zip(LANDED, row, strict=True)) == expected
    assert lake.query(f"SELECT big, epoch_us(_event_time), _source.lsn FROM {{{TABLE}}} WHERE _op = 'u'") == [
        (UNAVAILABLE, (shop.FIRST_MS + 2) * 1000 + 7, 102)]
    assert lake.query(f"SELECT id, small FROM {{{TABLE}}} WHERE _op = 'd' ORDER BY 1") == [(2, 0), (3, None)]
    assert road.sql(f"SELECT id, price, zoned FROM {TABLE}") == [{"id": "1", "price": "-12.34", "zoned": "2013-01-01T05:02:03.004Z"}]


def test_a_column_is_added_at_the_owner(road: Road) -> None:
    """The connector registers the next version by itself; Debezium gives a new column at any place, with the owner's default."""
    topic = road.topic(partitions=1, suffix=".public.booking")
    grown = json.loads(json.dumps(ENVELOPE))
    grown["fields"][0]["type"][1]["fields"].insert(1, {"name": "seats", "type": {"type": "int", "connect.default": 2}, "default": 2})
    key_id = shop.register(road.registry, f"{topic.name}-key", KEY)
    keys = fastavro.parse_schema(KEY)
    for version, schema in enumerate((ENVELOPE, grown)):
        value_id = shop.register(road.registry, f"{topic.name}-{version}", schema)
        values = fastavro.parse_schema(plain(copy.deepcopy(schema)))
        after = {"small": 1} | ({"seats": 4} if version else {})
        topic.produce(Record(framed(value_id, values, change("c", number, number, None, after)), framed(key_id, keys, {"id": number}))
                      for number in range(10 * version, 10 * version + 10))
    road.configure({"match": f"{road.name}\\.public\\..*"})
    road.write_once()
    assert road.lake.query("SELECT count(*), count(seats), sum(seats), sum(small) FROM {public.booking}") == [(20, 10, 40, 20)]
