"""A foreign producer: a shop's purchases as Debezium change events, in Avro and in JSON. Written without any of Lakehead's code."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Iterator
from typing import Any

import fastavro
import pyarrow as pa
import requests
from confluent_kafka import Message

from kafka_topic import Record
from program import DEADLINE_SECONDS

TABLE = "shop.purchase"
NAMESPACE = "shop.purchase"
FIRST_MS = 1_700_000_000_000

ROW: dict[str, Any] = {"type": "record", "name": "Value", "fields": [
    {"name": "id", "type": "long"},
    {"name": "item", "type": "string"},
    {"name": "quantity", "type": "int"},
    {"name": "price", "type": ["null", "double"], "default": None},
    {"name": "placed_at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
    {"name": "note", "type": ["null", "string"], "default": None},
]}
SOURCE: dict[str, Any] = {"type": "record", "name": "Source", "fields": [
    {"name": "version", "type": "string"}, {"name": "connector", "type": "string"}, {"name": "name", "type": "string"},
    {"name": "ts_ms", "type": "long"}, {"name": "db", "type": "string"}, {"name": "schema", "type": "string"},
    {"name": "table", "type": "string"}, {"name": "txId", "type": ["null", "long"], "default": None},
    {"name": "lsn", "type": ["null", "long"], "default": None},
]}


def envelope(row: dict[str, Any] = ROW) -> dict[str, Any]:
    return {"type": "record", "name": "Envelope", "namespace": NAMESPACE, "fields": [
        {"name": "before", "type": ["null", row], "default": None},
        {"name": "after", "type": ["null", "Value"], "default": None},
        {"name": "source", "type": SOURCE},
        {"name": "op", "type": "string"},
        {"name": "ts_ms", "type": ["null", "long"], "default": None},
    ]}


KEY: dict[str, Any] = {"type": "record", "name": "Key", "namespace": NAMESPACE, "fields": [{"name": "id", "type": "long"}]}
CONTRACT: dict[str, Any] = ROW | {"name": "Purchase", "namespace": "shop", "lakehead.key": ["id"], "lakehead.owner": "shop"}
EXPECTED = pa.schema([
    ("_partition", pa.int32()), ("_offset", pa.int64()), ("_op", pa.string()), ("_event_time", pa.timestamp("us", tz="UTC")),
    ("_lsn", pa.int64()), ("id", pa.int64()), ("item", pa.string()), ("quantity", pa.int64()), ("price", pa.float64()),
    ("placed_at", pa.timestamp("us", tz="UTC")), ("note", pa.string()),
])
COLUMNS = {"_lsn": "_source.lsn"}


def purchase(number: int) -> dict[str, Any]:
    return {"id": number // 4, "item": f"item-{number % 97}-é", "quantity": number % 13, "price": None if number % 7 == 0 else number / 8,
            "placed_at": (FIRST_MS + number) * 1000 + number % 1000, "note": None if number % 3 else f"note {number}"}


def change(number: int) -> dict[str, Any]:
    """Of a purchase's four changes the first creates it, the next two update it, the last deletes it."""
    op = "cuud"[number % 4]
    row, earlier = purchase(number), purchase(number - 1) if op != "c" else None
    source = {"version": "3.6.1.Final", "connector": "postgresql", "name": "shop", "ts_ms": FIRST_MS + number * 100, "db": "shop",
              "schema": "public", "table": "purchase", "txId": number, "lsn": 10_000 + number}
    before, after = (earlier, None) if op == "d" else (earlier, row)
    return {"before": before, "after": after, "source": source, "op": op, "ts_ms": FIRST_MS + number * 100 + 7}


class Avro:
    """Encodes and decodes in the Confluent wire format, with the schemas registered under `topic`."""

    def __init__(self, registry: str, topic: str, row: dict[str, Any] = ROW):
        # The plain long is written and read as it is: no date-time conversions in the oracle.
        plain = json.loads(json.dumps(row))
        for field in plain["fields"]:
            if isinstance(field["type"], dict):
                field["type"] = field["type"]["type"]
        self.value_schema, self.key_schema = fastavro.parse_schema(envelope(plain)), fastavro.parse_schema(KEY)
        self.value_id = register(registry, f"{topic}-value", envelope(row))
        self.key_id = register(registry, f"{topic}-key", KEY)

    def value(self, event: dict[str, Any]) -> bytes:
        return self.framed(self.value_id, self.value_schema, event)

    def key(self, number: int) -> bytes:
        return self.framed(self.key_id, self.key_schema, {"id": number})

    def record(self, number: int, partition: int = -1) -> Record:
        return Record(self.value(change(number)), self.key(number // 4), partition)

    def records(self, first: int, last: int, tombstones: bool = True) -> Iterator[Record]:
        """Changes first..last-1; a tombstone follows each delete, as Debezium does."""
        for number in range(first, last):
            record = self.record(number)
            yield record
            if tombstones and number % 4 == 3:
                yield Record(None, record.key)

    def decode(self, value: bytes) -> dict[str, Any]:
        body = io.BytesIO(value[5:])
        event = fastavro.schemaless_reader(body, self.value_schema)
        assert isinstance(event, dict)
        return event

    @staticmethod
    def framed(schema_id: int, schema: Any, datum: dict[str, Any]) -> bytes:
        out = io.BytesIO()
        out.write(struct.pack(">bI", 0, schema_id))
        fastavro.schemaless_writer(out, schema, datum)
        return out.getvalue()


def register(registry: str, subject: str, schema: dict[str, Any]) -> int:
    answer = requests.post(f"{registry}/subjects/{subject}/versions", json={"schema": json.dumps(schema)}, timeout=DEADLINE_SECONDS)
    answer.raise_for_status()
    return int(answer.json()["id"])


def expected(events: list[tuple[Message, dict[str, Any]]]) -> pa.Table:
    """What must be in the table, column by column, from the records that the oracle's consumer read."""
    columns: dict[str, list[Any]] = {name: [] for name in EXPECTED.names}
    for message, event in events:
        row = event["before"] if event["op"] == "d" else event["after"]
        columns["_partition"].append(message.partition())
        columns["_offset"].append(message.offset())
        columns["_op"].append(event["op"])
        columns["_event_time"].append(event["source"]["ts_ms"] * 1000)
        columns["_lsn"].append(event["source"]["lsn"])
        for name, value in row.items():
            columns[name].append(value)
    return pa.table(columns, schema=EXPECTED)


def debezium_json(event: dict[str, Any], wrapped: bool = False) -> bytes:
    """The event as Debezium's JsonConverter writes it, bare or inside `{"schema": …, "payload": …}`."""
    return json.dumps({"schema": CONNECT_SCHEMA, "payload": event} if wrapped else event).encode()


def connect_field(name: str, kind: str, optional: bool = False, meaning: str | None = None) -> dict[str, Any]:
    return {"field": name, "type": kind, "optional": optional} | ({"name": meaning, "version": 1} if meaning else {})


CONNECT_ROW = [
    connect_field("id", "int64"), connect_field("item", "string"), connect_field("quantity", "int32"), connect_field("price", "double", True),
    connect_field("placed_at", "int64", meaning="io.debezium.time.MicroTimestamp"), connect_field("note", "string", True),
]
CONNECT_SCHEMA: dict[str, Any] = {"type": "struct", "optional": False, "name": "shop.purchase.Envelope", "fields": [
    {"field": "before", "type": "struct", "optional": True, "name": "shop.purchase.Value", "fields": CONNECT_ROW},
    {"field": "after", "type": "struct", "optional": True, "name": "shop.purchase.Value", "fields": CONNECT_ROW},
    {"field": "source", "type": "struct", "optional": False, "name": "io.debezium.connector.postgresql.Source", "fields": [
        *(connect_field(name, "string") for name in ("version", "connector", "name", "db", "schema", "table")),
        connect_field("ts_ms", "int64"), connect_field("txId", "int64", True), connect_field("lsn", "int64", True)]},
    connect_field("op", "string"), connect_field("ts_ms", "int64", True),
]}
