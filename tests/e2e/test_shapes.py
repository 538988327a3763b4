"""The other two shapes: upsert (the record is the row, a null value deletes it) and append (facts, never updated)."""

from __future__ import annotations

import json

import shop
from kafka_topic import Record
from road import Road, shop_topic

ROWS = 300


def test_upsert(road: Road) -> None:
    topic = road.topic(partitions=3)
    keys = [b'{"id":%d}' % number for number in range(ROWS)]
    for version in range(2):
        topic.produce(Record(json.dumps(shop.purchase(number) | {"id": number, "quantity": version}).encode(), keys[number])
                      for number in range(ROWS))
    topic.produce(Record(None, keys[number]) for number in range(0, ROWS, 3))
    road.configure(shop_topic(topic, format="json", shape="upsert", contract=road.contract()))
    road.write_once()
    landed = road.lake.query(f"SELECT count(*), count(DISTINCT (_partition, _offset)), count(*) FILTER (_op = 'd') FROM {{{shop.TABLE}}}")
    assert landed == [(ROWS * 2 + ROWS // 3, ROWS * 2 + ROWS // 3, ROWS // 3)]
    [current] = road.sql("SELECT count(*) AS n, min(quantity) AS low, max(quantity) AS high, sum(id) AS ids FROM shop.purchase")
    ids = sum(number for number in range(ROWS) if number % 3)
    assert current == {"n": str(ROWS - ROWS // 3), "low": "1", "high": "1", "ids": str(ids)}


def test_append(road: Road) -> None:
    """Facts need no key; the same value twice is two facts."""
    topic = road.topic(partitions=2)
    schema = {name: value for name, value in shop.CONTRACT.items() if name != "lakehead.key"}
    fact = json.dumps(shop.purchase(7)).encode()
    topic.produce(Record(fact) for _ in range(ROWS))
    road.configure(shop_topic(topic, format="json", shape="append", contract=road.contract(schema)))
    road.write_once()
    assert road.lake.query(f"SELECT count(*), sum(id), count(DISTINCT (_partition, _offset)) FROM {{{shop.TABLE}}}") == [
        (ROWS, ROWS * shop.purchase(7)["id"], ROWS)]


def test_null_values(road: Road) -> None:
    """A null value deletes a row, follows a Debezium delete, and is no fact; the JSON text null is the same."""
    topics = {shape: road.topic(partitions=1, suffix=f".{shape}") for shape in ("debezium", "upsert", "append")}
    row = shop.purchase(4)
    key = b'{"id":1}'
    for shape, topic in topics.items():
        value = shop.debezium_json(shop.change(4)) if shape == "debezium" else json.dumps(row).encode()
        topic.produce([Record(value, key), Record(None, key), Record(b"null", key), Record(None)])
    road.configure(*(shop_topic(topic, table=f"shop.{shape}", format="json", shape=shape, contract=road.contract())
                     for shape, topic in topics.items()))
    road.write_once()
    found = {shape: road.lake.query(f"SELECT string_agg(_op, '' ORDER BY _offset) FROM {{shop.{shape}}}")[0][0] for shape in topics}
    assert found == {"debezium": "c", "upsert": "udd", "append": "c"}
    letters = road.lake.query("SELECT split_part(_topic, '.', -1), _offset, error_code FROM {dead_letters} ORDER BY 1, 2")
    assert letters == [("append", 1, "invalid"), ("append", 2, "invalid"), ("append", 3, "invalid"), ("upsert", 3, "missing_key")]
    assert [road.sql(f"SELECT count(*) AS n FROM shop.{shape}")[0]["n"] for shape in ("debezium", "upsert", "append")] == ["1", "0", "1"]
