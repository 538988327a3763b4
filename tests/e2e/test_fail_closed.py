"""What cannot be copied rightly stops its own table with a named error, and nothing else."""

from __future__ import annotations

from confluent_kafka.admin import AdminClient, NewPartitions  # type: ignore[attr-defined]

import shop
from kafka_topic import Record, Topic
from oracle import judge_purchases
from program import Program, wait_until
from road import Road, shop_topic

OTHER = "shop.refund"


def rows(road: Road, table: str) -> int:
    return int(road.lake.query(f"SELECT count(*) FROM {{{table}}}")[0][0])


def stopped_with(writer: Program, words: str, road: Road, other: Topic, avro: shop.Avro) -> None:
    """The writer names what is wrong, and the other table's next changes land all the same."""
    writer.wait_for_line(words, 60)
    before = rows(road, OTHER)
    other.produce(avro.records(1_000, 1_100))
    wait_until("the other table goes on", lambda: rows(road, OTHER) > before, 60)
    assert writer.alive()


def healthy(road: Road) -> tuple[Topic, shop.Avro]:
    other = road.topic(partitions=1, suffix=".other")
    avro = shop.Avro(road.registry, other.name)
    other.produce(avro.records(0, 100))
    return other, avro


def remade(road: Road, topic: Topic) -> Topic:
    """The topic deleted and created again under its name."""
    admin = AdminClient({"bootstrap.servers": road.bootstrap})
    admin.delete_topics([topic.name])[topic.name].result(30)
    wait_until("the topic is gone", lambda: topic.name not in admin.list_topics(timeout=10).topics, 30)
    return road.topic(topic.partitions)


def test_a_topic_made_again_with_more_records(road: Road) -> None:
    topic, (other, other_avro) = road.topic(partitions=1), healthy(road)
    avro = shop.Avro(road.registry, topic.name)
    topic.produce(avro.records(0, 100))
    road.configure(shop_topic(topic), shop_topic(other, table=OTHER), assignment="all")
    road.write_once()
    before = rows(road, shop.TABLE)
    topic = remade(road, topic)
    topic.produce(avro.records(10_000, 10_300))
    writer = road.writer()
    stopped_with(writer, "is not the one that was copied", road, other, other_avro)
    assert rows(road, shop.TABLE) == before, "records of another topic were taken for the old one's"
    assert writer.end() == 1


def test_partitions_added(road: Road) -> None:
    topic, (other, other_avro) = road.topic(partitions=1), healthy(road)
    avro = shop.Avro(road.registry, topic.name)
    topic.produce(avro.records(0, 100))
    road.configure(shop_topic(topic), shop_topic(other, table=OTHER))
    road.write_once()
    admin = AdminClient({"bootstrap.servers": road.bootstrap})
    admin.create_partitions([NewPartitions(topic.name, 4)])[topic.name].result(30)
    writer = road.writer()
    stopped_with(writer, "has 4 partitions, the table was written from 1", road, other, other_avro)


def test_records_deleted_before_they_were_copied(road: Road) -> None:
    """Also in a partition that had none when it was first read."""
    topic, (other, other_avro) = road.topic(partitions=2), healthy(road)
    avro = shop.Avro(road.registry, topic.name)
    topic.produce(avro.record(number, partition=0) for number in range(100))
    road.configure(shop_topic(topic), shop_topic(other, table=OTHER), assignment="all")
    road.write_once()
    topic.produce(avro.record(number, partition=1) for number in range(100, 200))
    topic.delete_up_to(1, 50)
    writer = road.writer()
    stopped_with(writer, "/1: the table is to go on at offset 0, but kafka answers", road, other, other_avro)


def test_a_wrong_configuration_leaves_nothing_behind(road: Road) -> None:
    """A record that is poison only under a wrong key is no dead letter: it lands once the key is right."""
    topic = road.topic(partitions=1)
    avro = shop.Avro(road.registry, topic.name)
    topic.produce(avro.records(0, 40))
    road.configure(shop_topic(topic))
    road.write_once()
    topic.produce([*avro.records(40, 80), Record(None, b"no key of the table")])
    road.configure(shop_topic(topic, key=["note"]))
    writer = road.writer("wrong", once=True)
    assert writer.wait(60) == 1 and 'its key is ["id"], not ["note"]' in writer.text, writer.text
    road.configure(shop_topic(topic))
    road.write_once()
    verdict = judge_purchases(road.lake, topic, avro)
    assert verdict.good() and verdict.expected == 80, verdict
