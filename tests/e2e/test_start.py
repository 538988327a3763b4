"""Where a partition is read from that the table has never seen: earliest, latest, or a time. Afterwards the table decides."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

import facts
from kafka_topic import Record, Topic
from program import Program, wait_until
from road import MORTAL, Road

FIRST_MS = 1_700_000_000_000
TABLE = "shop.fact"


def written(numbers: range) -> list[Record]:
    """One fact a minute."""
    return [facts.record(number, partition=number % 2, timestamp_ms=FIRST_MS + number * 60_000) for number in numbers]


def time(number: int) -> str:
    """When a fact was written."""
    return datetime.datetime.fromtimestamp(FIRST_MS / 1000 + number * 60, datetime.UTC).isoformat()


def configure(road: Road, topic: Topic, start: Any) -> None:
    road.configure(facts.settings(road, topic, TABLE) | {"start": start}, properties=MORTAL)


@pytest.mark.parametrize(("start", "first"), [("earliest", 0), (time(11), 11), (time(3).replace("+00:00", "Z"), 3), (time(500), 20)],
                         ids=["earliest", "a time", "a time in UTC", "a time to come"])
def test_start(start: str, first: int, road: Road) -> None:
    topic = road.topic(partitions=2)
    topic.produce(written(range(20)))
    configure(road, topic, start)
    road.write_once()
    facts.assert_landed_once(road.lake, TABLE, range(first, 20))
    # The table has seen the partitions, so that another start means nothing to it.
    topic.produce(written(range(20, 30)))
    configure(road, topic, "latest")
    road.write_once("again")
    facts.assert_landed_once(road.lake, TABLE, range(first, 30))


def assert_goes_on_after_a_kill(road: Road, writer: Program, topic: Topic) -> None:
    """What comes after the kill lands, and nothing that was there before."""
    assert writer.kill()
    topic.produce(written(range(20, 30)))
    writer = road.writer("again")
    facts.wait_caught_up(road, topic, TABLE)
    assert writer.end() == 0
    facts.assert_landed_once(road.lake, TABLE, range(20, 30))


def test_latest(road: Road) -> None:
    """What was there before is left out; what comes afterwards is not, even if the writer was killed before anything came."""
    topic = road.topic(partitions=2)
    topic.produce(written(range(20)))
    configure(road, topic, "latest")
    writer = road.writer()
    wait_until("the table stands at the end", lambda: road.lake.progress(TABLE, topic.name, 2) == [10, 10])
    assert_goes_on_after_a_kill(road, writer, topic)


def test_latest_before_there_is_a_table(road: Road) -> None:
    """The same where the first record makes the table: until then its beginning is kept beside it."""
    topic = road.topic(partitions=2)
    topic.produce(written(range(20)))
    road.configure({"name": topic.name, "table": TABLE, "format": "json", "shape": "append", "infer": True, "start": "latest"})
    writer = road.writer()
    writer.wait_for_line("partitions assigned")
    begun = "SELECT partition, first_offset FROM system.starts ORDER BY partition"
    both = [{"partition": "0", "first_offset": "10"}, {"partition": "1", "first_offset": "10"}]
    assert road.sql(begun) == both
    assert not road.lake.exists(TABLE)
    assert_goes_on_after_a_kill(road, writer, topic)
    assert road.sql(begun) == both


def test_latest_of_a_topic_that_comes_later(road: Road) -> None:
    """What is in a topic that was not there when the writer began is all later than that."""
    old = road.topic(1, ".old")
    facts.produce(old, range(5))
    settings = facts.settings(road, old, "shop.$1") | {"match": f"{road.name}\\.(.*)", "start": "latest"}
    settings.pop("name")
    road.configure(settings)
    writer = road.writer()
    writer.wait_for_line("partitions assigned")
    new = road.topic(1, ".new")
    facts.produce(new, range(10))
    facts.wait_caught_up(road, new, "shop.new")
    assert writer.end() == 0
    facts.assert_landed_once(road.lake, "shop.new", range(10))
    assert facts.landed(road.lake, "shop.old") == {}
