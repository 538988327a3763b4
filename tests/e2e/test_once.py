"""`lakehead write --once` ends, with everything committed or with the reason why not."""

from __future__ import annotations

from confluent_kafka import Producer

import shop
from oracle import judge_purchases
from program import DEADLINE_SECONDS
from road import Road, shop_topic


def test_a_topic_that_ends_in_transaction_markers(road: Road) -> None:
    """Markers take offsets, so the last record is not at the end; what was aborted is left out."""
    topic = road.topic(partitions=1)
    avro = shop.Avro(road.registry, topic.name)
    producer = Producer({"bootstrap.servers": road.bootstrap, "transactional.id": topic.name})
    producer.init_transactions(DEADLINE_SECONDS)
    for first, commits in ((0, True), (500, False), (100, True), (600, False)):
        producer.begin_transaction()
        for number in range(first, first + 100):
            record = avro.record(number)
            producer.produce(topic.name, record.value, record.key)
        assert producer.flush(DEADLINE_SECONDS) == 0
        (producer.commit_transaction if commits else producer.abort_transaction)(DEADLINE_SECONDS)
    road.configure(shop_topic(topic), assignment="all")
    road.write_once()
    road.write_once("again")
    found = road.lake.query("SELECT count(*), count(DISTINCT _offset), max(_offset) FROM {%s}" % shop.TABLE)
    assert found == [(200, 200, 301)], found


def test_a_topic_that_does_not_exist(road: Road) -> None:
    topic = road.topic(partitions=1)
    avro = shop.Avro(road.registry, topic.name)
    topic.produce(avro.records(0, 100))
    road.configure(shop_topic(topic), {"name": f"{topic.name}.absent", "table": "shop.absent"}, assignment="all")
    writer = road.writer(once=True)
    assert writer.wait() == 1 and f"kafka has no topic {topic.name}.absent" in writer.text, writer.text
    road.configure(shop_topic(topic), assignment="all")
    road.write_once()
    assert judge_purchases(road.lake, topic, avro).good()
