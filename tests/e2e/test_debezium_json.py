"""Debezium JSON from any producer lands: bare and wrapped, created, updated, deleted, with tombstones; the key from configuration."""

from __future__ import annotations

import json
from typing import Any

import pytest

import shop
from kafka_topic import Record
from oracle import judge
from road import Road, shop_topic

CHANGES = 1_000
UNKEYED = {name: value for name, value in shop.CONTRACT.items() if name != "lakehead.key"}


@pytest.mark.parametrize("wrapped", [False, True], ids=["schemaless", "with_schema"])
def test_debezium_json_lands(wrapped: bool, road: Road) -> None:
    topic = road.topic(partitions=3)
    records = []
    for number in range(CHANGES - 1):
        key = b'{"id":%d}' % (number // 4)
        records.append(Record(shop.debezium_json(shop.change(number), wrapped), key))
        if number % 4 == 3:
            records.append(Record(None, key))
    topic.produce(records)
    road.configure(shop_topic(topic, format="json", key=["id"], contract=road.contract(UNKEYED)))
    road.write_once()
    events = [(message, json_event(value)) for message, value in topic.read_values()]
    verdict = judge(road.lake, shop.TABLE, topic.name, shop.expected(events), shop.COLUMNS)
    assert verdict.good() and verdict.expected == CHANGES - 1, verdict
    assert not road.lake.exists("dead_letters") or road.lake.query("SELECT count(*) FROM {dead_letters}") == [(0,)]
    # All purchases but the last were deleted; the last was updated twice.
    last = shop.purchase(CHANGES - 2)
    [row] = road.sql("SELECT id, item, quantity FROM shop.purchase")
    assert row == {"id": str(last["id"]), "item": last["item"], "quantity": str(last["quantity"])}


def json_event(value: bytes) -> dict[str, Any]:
    event: dict[str, Any] = json.loads(value)
    return event.get("payload") or event
