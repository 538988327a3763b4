"""Record keys of every format: a null value deletes the row that only its key names."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable

import fastavro
import pytest

import shop
from confluent import framed
from kafka_topic import Record
from road import Road, shop_topic

ROWS = 30
KEPT = [number for number in range(ROWS) if number % 3]
ROW = {"type": "record", "name": "Row", "namespace": "keys", "fields": [{"name": "id", "type": "long"}, {"name": "item", "type": "string"}]}
TEXTS = ROW | {"fields": [{"name": "id", "type": "string"}, {"name": "item", "type": "string"}]}
KEY = {"type": "record", "name": "Key", "namespace": "keys", "fields": [{"name": "id", "type": "long"}]}

# Format of the keys, how one is written, and whether the key's column is a text.
JSON_KEYS: dict[str, tuple[str, Callable[[int], bytes], bool]] = {
    "json_object": ("json", lambda number: b'{"id": %d}' % number, False),
    "json_wrapped": ("json", lambda number: b'{"schema": {"type": "struct"}, "payload": {"id": %d}}' % number, False),
    "json_value": ("json", lambda number: b"%d" % number, False),
    "json_text": ("json", lambda number: b'"%d"' % number, True),
    "string": ("string", lambda number: b"%d" % number, True),
    "string_of_digits": ("string", lambda number: b"%d" % number, False),
    "integer_of_8_bytes": ("integer", lambda number: struct.pack(">q", number), False),
    "integer_of_4_bytes": ("integer", lambda number: struct.pack(">i", number), False),
}


def assert_current(road: Road) -> None:
    """Rows whose key came with a null value are gone; nothing is a dead letter."""
    assert not road.lake.exists("dead_letters"), road.lake.query("SELECT error_code, error FROM {dead_letters} LIMIT 3")
    found = sorted(int(row["id"]) for row in road.sql(f"SELECT id FROM {shop.TABLE}"))
    assert found == KEPT
    assert road.lake.query(f"SELECT count(*) FROM {{{shop.TABLE}}} WHERE _op = 'd'") == [(ROWS - len(KEPT),)]


@pytest.mark.parametrize("kind", JSON_KEYS)
def test_keys_of_json_values(kind: str, road: Road) -> None:
    key_format, key, is_text = JSON_KEYS[kind]
    topic = road.topic(partitions=2)
    rows = ({"id": str(number) if is_text else number, "item": f"item {number}"} for number in range(ROWS))
    topic.produce(Record(json.dumps(row).encode(), key(number)) for number, row in enumerate(rows))
    topic.produce(Record(None, key(number)) for number in range(0, ROWS, 3))
    contract = road.contract(TEXTS if is_text else ROW)
    road.configure(shop_topic(topic, format="json", key_format=key_format, key=["id"], shape="upsert", contract=contract))
    road.write_once()
    assert_current(road)


@pytest.mark.parametrize("key_schema", [KEY, "long"], ids=["record", "value"])
def test_avro_keys_of_avro_values(key_schema: dict[str, object] | str, road: Road) -> None:
    topic = road.topic(partitions=2)
    value_id = shop.register(road.registry, f"{topic.name}-value", ROW)
    key_id = shop.register(road.registry, f"{topic.name}-key", key_schema if isinstance(key_schema, dict) else {"type": key_schema})
    schema = fastavro.parse_schema(key_schema)

    def key(number: int) -> bytes:
        return framed(key_id, schema, {"id": number} if isinstance(key_schema, dict) else number)

    topic.produce(Record(framed(value_id, fastavro.parse_schema(ROW), {"id": number, "item": f"item {number}"}), key(number))
                  for number in range(ROWS))
    topic.produce(Record(None, key(number)) for number in range(0, ROWS, 3))
    # A key that is one value does not say which column it is.
    named = {} if isinstance(key_schema, dict) else {"key": ["id"]}
    road.configure(shop_topic(topic, shape="upsert", **named))
    road.write_once()
    assert_current(road)


@pytest.mark.parametrize("key_format", ["integer", "string", "json"])
def test_plain_keys_of_avro_values(key_format: str, road: Road) -> None:
    topic = road.topic(partitions=2)
    value_id = shop.register(road.registry, f"{topic.name}-value", ROW)
    schema = fastavro.parse_schema(ROW)

    def key(number: int) -> bytes:
        return struct.pack(">q", number) if key_format == "integer" else b"%d" % number

    topic.produce(Record(framed(value_id, schema, {"id": number, "item": f"item {number}"}), key(number)) for number in range(ROWS))
    topic.produce(Record(None, key(number)) for number in range(0, ROWS, 3))
    road.configure(shop_topic(topic, shape="upsert", key_format=key_format, key=["id"]))
    road.write_once()
    assert_current(road)


def test_a_key_that_does_not_fit_is_a_dead_letter(road: Road) -> None:
    """Nothing is deleted by half a key, or by one of another type."""
    topic = road.topic(partitions=1)
    topic.produce([Record(b'{"id": 1, "item": "a"}', struct.pack(">q", 1)), Record(None, b"abc"), Record(None, None), Record(None, b"\x00" * 9),
                   Record(None, struct.pack(">q", 2))])
    road.configure(shop_topic(topic, format="json", key_format="integer", key=["id"], shape="upsert", contract=road.contract(ROW)))
    road.write_once()
    assert road.lake.query("SELECT _offset, error_code FROM {dead_letters} ORDER BY 1") == [(1, "invalid"), (2, "missing_key"), (3, "invalid")]
    assert road.sql(f"SELECT id FROM {shop.TABLE}") == [{"id": "1"}]
