"""A record that cannot land ends once among the dead letters, with its reason; all around it lands."""

from __future__ import annotations

import json
from typing import Any

import shop
from kafka_topic import Record, Topic
from oracle import judge
from program import wait_until
from proxy import Proxy
from road import Road, shop_topic

FIVE_MB = 5 << 20
WRONG_ROW = shop.ROW | {"fields": [field if field["name"] != "quantity" else {"name": "quantity", "type": "string"}
                                   for field in shop.ROW["fields"]]}

Place = tuple[int, int]


def produced(topic: Topic, records: list[Record]) -> list[Place]:
    """Produces to partition 0; the place of each record."""
    first = topic.end_offsets()[0]
    topic.produce(records)
    return [(0, first + number) for number in range(len(records))]


def letters(road: Road) -> dict[Place, tuple[str, str, bytes | None]]:
    """Code, text and value by place; each place once."""
    rows = road.lake.query("SELECT _partition, _offset, error_code, error, value FROM {dead_letters}")
    found = {(partition, offset): (code, error, value) for partition, offset, code, error, value in rows}
    assert len(found) == len(rows), "a dead letter is there twice"
    assert all(error for _, error, _ in found.values()), "a dead letter has no reason"
    return found


def assert_landed(road: Road, topic: Topic, avro: shop.Avro, poison: set[Place], count: int) -> None:
    read = [(message, avro.decode(value)) for message, value in topic.read_values()
            if (message.partition(), message.offset()) not in poison]
    verdict = judge(road.lake, shop.TABLE, topic.name, shop.expected(read), shop.COLUMNS)
    assert verdict.good() and verdict.expected == count, verdict


def test_each_kind_of_poison(s3_road: Road) -> None:
    road = s3_road
    topic = road.topic(partitions=1, max_message_bytes=str(16 << 20))
    avro = shop.Avro(road.registry, topic.name)
    wrong = shop.Avro(road.registry, f"{topic.name}-wrong", WRONG_ROW)
    event = shop.change(1)
    good = avro.value(event)
    text_quantity: dict[str, Any] = event | {"before": None, "after": event["after"] | {"quantity": "three"}}
    big = event | {"after": event["after"] | {"note": "x" * FIVE_MB}}
    kinds = {
        "not_framed": b"\xffgarbage bytes",
        "unknown_schema": b"\x00\x7f\xff\xff\xf0" + good[5:],
        "truncated": good[:-3],
        "trailing_bytes": good + b"\x00\x01",
        "too_large": avro.value(big),
        "schema_mismatch": wrong.value(text_quantity),
    }
    poison: dict[Place, tuple[str, bytes]] = {}
    for number, (code, value) in enumerate(kinds.items()):
        produced(topic, [avro.record(number * 100 + offset) for offset in range(100)])
        [place] = produced(topic, [Record(value, b"key")])
        poison[place] = (code, value)
    produced(topic, [avro.record(number) for number in range(600, 700)])
    road.configure(shop_topic(topic))
    road.write_once()
    road.write_once("again")
    found = letters(road)
    assert {place: code for place, (code, _, _) in found.items()} == {place: code for place, (code, _) in poison.items()}
    for place, (code, value) in poison.items():
        if code != "too_large":
            assert found[place][2] == value, code
    assert_landed(road, topic, avro, set(poison), 700)


def test_ids_that_no_registry_has(road: Road) -> None:
    """Four bytes hold ids that a registry of signed numbers cannot have."""
    topic = road.topic(partitions=1)
    avro = shop.Avro(road.registry, topic.name)
    good = avro.value(shop.change(1))
    ids = [0, 0x7FFFFFF0, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]
    poison = {place: value for number, id_ in enumerate(ids) for value in [b"\0" + id_.to_bytes(4, "big") + good[5:]]
              for place in produced(topic, [avro.record(number), Record(value, b"key")])[1:]}
    produced(topic, [avro.record(9)])
    road.configure(shop_topic(topic))
    road.write_once()
    found = letters(road)
    assert {place: (code, value) for place, (code, _, value) in found.items()} == {
        place: ("unknown_schema", value) for place, value in poison.items()}
    assert_landed(road, topic, avro, set(poison), len(ids) + 1)


def test_a_record_truncated_at_every_byte(road: Road) -> None:
    topic = road.topic(partitions=1)
    avro = shop.Avro(road.registry, topic.name)
    good = avro.value(shop.change(1))
    lengths = range(len(good))
    places = produced(topic, [record for length in lengths for record in (Record(good[:length], b"key"), avro.record(length))])
    poison = {places[2 * length]: good[:length] for length in lengths}
    road.configure(shop_topic(topic))
    road.write_once()
    found = letters(road)
    assert {place: value or b"" for place, (_, _, value) in found.items()} == poison
    codes = {found[place][0] for place, value in poison.items() if len(value) >= 5}
    assert codes == {"truncated"} and {code for code, _, _ in found.values()} <= {"truncated", "not_framed"}
    assert_landed(road, topic, avro, set(poison), len(good))


def test_json_poison(road: Road) -> None:
    topic = road.topic(partitions=1)
    road.configure(shop_topic(topic, format="json", contract=road.contract()))
    event = shop.change(1)
    wrong: dict[str, Any] = event | {"after": event["after"] | {"quantity": {"many": True}}}
    missing: dict[str, Any] = event | {"after": {name: value for name, value in event["after"].items() if name != "id"}}
    kinds = {
        "garbage": b"\xff\xfenot json", "cut short": shop.debezium_json(event)[:-5], "trailing": shop.debezium_json(event) + b"{}",
        "wrong type": json.dumps(wrong).encode(), "no key": json.dumps(missing).encode(), "not an object": b"17",
    }
    poison: dict[Place, bytes] = {}
    for number, value in enumerate(kinds.values()):
        [_, place] = produced(topic, [Record(shop.debezium_json(shop.change(number))), Record(value)])
        poison[place] = value
    produced(topic, [Record(shop.debezium_json(shop.change(number))) for number in range(6, 10)])
    road.write_once()
    found = letters(road)
    print({kind: found.get(place, ("landed",))[0] for kind, place in zip(kinds, poison, strict=True)})
    assert {place: value for place, (_, _, value) in found.items()} == poison
    assert road.lake.query(f"SELECT count(*), count(DISTINCT _offset) FROM {{{shop.TABLE}}}") == [(10, 10)]


def test_a_topic_that_begins_with_poison_moves_on(road: Road) -> None:
    topic = road.topic(partitions=1)
    avro = shop.Avro(road.registry, topic.name)
    bad = produced(topic, [Record(b"poison" if number % 2 else None, b"%d" % number) for number in range(1_000)])
    road.configure(shop_topic(topic))
    writer = road.writer()
    wait_until("500 dead letters", lambda: road.lake.exists("dead_letters") and len(letters(road)) == 500)
    produced(topic, list(avro.records(0, 100, tombstones=False)))
    road.wait_committed(topic)
    assert writer.end() == 0
    assert len(letters(road)) == 500
    assert_landed(road, topic, avro, set(bad), 100)


def test_a_registry_that_is_down_is_not_poison(road: Road) -> None:
    topic = road.topic(partitions=2)
    avro = shop.Avro(road.registry, topic.name)
    topic.produce(avro.records(0, 1_000))
    proxy = Proxy(road.registry)
    road.configure(shop_topic(topic), registry=proxy.url)
    writer = road.writer()
    writer.wait_for_line(rf"(?i)registry.*{proxy.port}")
    assert writer.alive() and not road.lake.exists("dead_letters")
    proxy.mend()
    road.wait_committed(topic)
    assert writer.end() == 0
    assert not road.lake.exists("dead_letters") or letters(road) == {}
    assert_landed(road, topic, avro, set(), 1_000)
