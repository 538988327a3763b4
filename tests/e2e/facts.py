"""Numbered rows in plain JSON: no two records are alike, so a record is known wherever and whenever it was written."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from typing import Any

from confluent_kafka import Consumer, TopicPartition

from kafka_topic import Record, Topic
from lake import Lake
from program import DEADLINE_SECONDS, wait_until
from road import Road

CONTRACT: dict[str, Any] = {"type": "record", "name": "Fact", "namespace": "shop", "lakehead.key": ["id"],
                            "fields": [{"name": "id", "type": "long"}, {"name": "text", "type": "string"}]}


def record(number: int, partition: int = -1, timestamp_ms: int = 0, text: str | None = None) -> Record:
    row = {"id": number, "text": text or f"fact {number} " + "x" * (number % 17)}
    return Record(json.dumps(row).encode(), b'{"id":%d}' % number, partition, timestamp_ms=timestamp_ms)


def produce(topic: Topic, numbers: Iterable[int]) -> None:
    topic.produce(record(number) for number in numbers)


def settings(road: Road, topic: Topic, table: str) -> dict[str, Any]:
    """The `[[topic]]` table: a later record of a key replaces an earlier one."""
    return {"name": topic.name, "table": table, "format": "json", "shape": "upsert", "contract": road.contract(CONTRACT, "fact.avsc")}


def landed(lake: Lake, table: str) -> Counter[int]:
    """How often each number is in the table of changes."""
    if not lake.exists(table):
        return Counter()
    return Counter(dict(lake.query(f"SELECT id, count(*) FROM {{{table}}} GROUP BY id")))


def assert_landed_once(lake: Lake, table: str, numbers: Iterable[int]) -> None:
    found, expected = landed(lake, table), set(numbers)
    doubled = sorted(number for number, times in found.items() if times > 1)
    missing, foreign = sorted(expected - found.keys()), sorted(found.keys() - expected)
    assert not (doubled or missing or foreign), f"doubled {doubled[:5]}, missing {missing[:5]}, foreign {foreign[:5]} of {len(expected)}"


def kept(topic: Topic) -> set[int]:
    """The numbers of all records that Kafka has."""
    consumer = Consumer({"bootstrap.servers": topic.bootstrap, "group.id": "oracle", "enable.auto.commit": False,
                         "fetch.queue.backoff.ms": 10, "auto.offset.reset": "error"})
    try:
        left, places = 0, []
        for number in range(topic.partitions):
            first, end = consumer.get_watermark_offsets(TopicPartition(topic.name, number), DEADLINE_SECONDS)
            left += end - first
            places.append(TopicPartition(topic.name, number, first))
        consumer.assign(places)
        numbers: set[int] = set()
        while left:
            batch = consumer.consume(min(left, 10_000), DEADLINE_SECONDS)
            assert batch, f"{topic.name}: {left} records did not come"
            for message in batch:
                assert message.error() is None, message.error()
                numbers.add(json.loads(message.value() or b"")["id"])
            left -= len(batch)
        return numbers
    finally:
        consumer.close()


def wait_caught_up(road: Road, topic: Topic, table: str, seconds: float = DEADLINE_SECONDS) -> None:
    """Until the Delta log's progress is the end of every partition; 0 and none are the same."""
    ends = topic.end_offsets()
    wait_until(f"{table} is at {ends}", lambda: road.lake.progress(table, topic.name, topic.partitions) == ends, seconds)
