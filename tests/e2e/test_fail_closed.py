"""What cannot be copied rightly stops its own table with a named error, and nothing else."""

from __future__ import annotations

import facts
import shop
from kafka_topic import Record, Topic
from oracle import judge_purchases
from program import Program, wait_until
from proxy import Proxy
from road import Road, shop_topic
from writer_http import WriterHttp

OTHER = "shop.refund"


def rows(road: Road, table: str) -> int:
    return int(road.lake.query(f"SELECT count(*) FROM {{{table}}}")[0][0])


def stopped_with(writer: Program, words: str, road: Road, other: Topic, avro: shop.Avro) -> None:
    """The writer names what is wrong, and the other table's next changes land all the same."""
    writer.wait_for_line(words)
    before = rows(road, OTHER)
    other.produce(avro.records(1_000, 1_100))
    wait_until("the other table goes on", lambda: rows(road, OTHER) > before)
    assert writer.alive()


def healthy(road: Road) -> tuple[Topic, shop.Avro]:
    other = road.topic(partitions=1, suffix=".other")
    avro = shop.Avro(road.registry, other.name)
    other.produce(avro.records(0, 100))
    return other, avro


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
    assert writer.wait() == 5 and 'its key is ["id"], not ["note"]' in writer.text, writer.text
    road.configure(shop_topic(topic))
    road.write_once()
    verdict = judge_purchases(road.lake, topic, avro)
    assert verdict.good() and verdict.expected == 80, verdict


def test_a_topic_that_goes_while_its_partition_waits_for_a_schema(road: Road) -> None:
    """It is sought in again when the schema comes; by then there is nothing to seek in. Only its table stops."""
    topic, other, http = road.topic(1), road.topic(1, "-other"), WriterHttp.choose()
    avro = shop.Avro(road.registry, topic.name)
    topic.produce(avro.records(0, 40))
    facts.produce(other, range(100))
    proxy = Proxy(road.registry)
    road.configure(shop_topic(topic), facts.settings(road, other, "shop.fact"), http=http.address, registry=proxy.url)
    writer = road.writer()
    facts.wait_caught_up(road, other, "shop.fact")
    wait_until("it waits for the registry", lambda: http.metrics()["lakehead_registry_retries_total"] > 0)
    topic.delete()
    proxy.mend()
    http.wait_stopped(shop.TABLE, "topic_missing")
    facts.produce(other, range(100, 200))
    facts.wait_caught_up(road, other, "shop.fact")
    assert writer.end() == 5 and topic.name in writer.text
    facts.assert_landed_once(road.lake, "shop.fact", range(200))
