"""Avro single-object encoding: values and keys name their schema by its fingerprint, and no registry is asked."""

from __future__ import annotations

from typing import Any

import shop
from confluent import single_object
from kafka_topic import Record
from road import Road, shop_topic

KEY: dict[str, Any] = {"type": "record", "name": "Key", "namespace": "so", "fields": [{"name": "id", "type": "long"}]}
FIRST: dict[str, Any] = {"type": "record", "name": "Row", "namespace": "so", "lakehead.key": ["id"], "fields": [
    {"name": "id", "type": "long"}, {"name": "item", "type": "string"}, {"name": "quantity", "type": "int"}]}
SECOND: dict[str, Any] = FIRST | {"fields": [
    {"name": "placed", "type": ["null", {"type": "long", "logicalType": "timestamp-millis"}], "default": None},
    {"name": "quantity", "type": "double"}, {"name": "id", "type": "long"}, {"name": "item", "type": "string"}]}
FIRST_MS = 1_700_000_000_000
STRANGE: dict[str, Any] = FIRST | {"name": "Strange"}


def row(number: int) -> dict[str, Any]:
    return {"id": number, "item": f"item {number}", "quantity": number}


def test_records_of_two_schemas_and_a_stranger(road: Road) -> None:
    topic = road.topic(partitions=1)

    def key(number: int) -> bytes:
        return single_object(KEY, {"id": number})

    second = [single_object(SECOND, row(number) | {"placed": FIRST_MS + number, "quantity": number + 0.5}) for number in range(50, 100)]
    topic.produce([
        *(Record(single_object(FIRST, row(number)), key(number)) for number in range(50)),
        *(Record(value, key(50 + number)) for number, value in enumerate(second)),
        Record(single_object(STRANGE, row(200)), key(200)),
        Record(b"\x00\x00\x00\x00\x01abc", key(201)),
        *(Record(None, key(number)) for number in range(0, 100, 10)),
    ])
    for name, schema in (("first", FIRST), ("second", SECOND), ("key", KEY)):
        road.contract(schema, f"{name}.avsc")
    road.configure(shop_topic(topic, format="avro-single-object", shape="upsert", key=["id"], contract="first.avsc",
                              writer_schemas=["second.avsc", "key.avsc"]))
    road.write_once()
    assert road.lake.query("SELECT _offset, error_code FROM {dead_letters} ORDER BY 1") == [(100, "unknown_schema"), (101, "not_framed")]
    [(text,)] = road.lake.query("SELECT error FROM {dead_letters} WHERE _offset = 100")
    assert "fingerprint" in text and "writer_schemas" in text, text
    found = road.lake.query(f"SELECT count(*), sum(quantity), count(placed), count(*) FILTER (_op = 'd') FROM {{{shop.TABLE}}}")
    assert found == [(110, sum(range(50)) + sum(number + 0.5 for number in range(50, 100)), 50, 10)]
    assert road.lake.query(f"SELECT epoch_ms(placed) FROM {{{shop.TABLE}}} WHERE id = 51 AND _op <> 'd'") == [(FIRST_MS + 51,)]
    [current] = road.sql(f"SELECT count(*) AS n, min(id) AS low FROM {shop.TABLE}")
    assert current == {"n": "90", "low": "1"}
