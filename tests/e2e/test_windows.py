"""The writer dies in each named window of its work, and meets each ambiguous answer of the store: still every record once."""

from __future__ import annotations

import pytest

import shop
from kafka_topic import Record, Topic
from oracle import POISON, judge_purchases
from program import Program
from road import MORTAL, Road, shop_topic

CHANGES = 40_000
POISONED = 40
WINDOWS = ["upload_after", "commit_after", "dead_letters_after", "checkpoint_during", "rebalance_during"]
ANSWERS = ["ok_then_error", "conflict_409", "timeout"]


def loaded(road: Road) -> tuple[Topic, shop.Avro]:
    """A topic of changes with poison among them, so that dead letters are committed too."""
    topic = road.topic(partitions=4)
    avro = shop.Avro(road.registry, topic.name)
    step = CHANGES // POISONED
    topic.produce(record for first in range(0, CHANGES, step)
                  for record in [Record(POISON, b"%d" % first), *avro.records(first, first + step)])
    road.configure(shop_topic(topic), properties=MORTAL, flush_rows_max=2_000, checkpoint_interval=1)
    return topic, avro


def assert_once(road: Road, topic: Topic, avro: shop.Avro) -> None:
    verdict = judge_purchases(road.lake, topic, avro)
    assert verdict.good() and verdict.expected == CHANGES, verdict
    letters = road.lake.query("SELECT count(*), count(DISTINCT (_partition, _offset)) FROM {dead_letters}")
    assert letters == [(POISONED, POISONED)]


def start_dying(road: Road, window: str, round_: int) -> Program:
    """A writer that aborts in the window, the second time round only after it went through it once."""
    points = f"{window}={round_ * '1*off->'}return"
    return road.writer(f"dying-{round_}", faults=True, FAILPOINTS=points)


@pytest.mark.parametrize("window", WINDOWS)
def test_a_writer_dies_in_window(window: str, s3_road: Road) -> None:
    road = s3_road
    topic, avro = loaded(road)
    kills = 0
    for round_ in range(2):
        dying = start_dying(road, window, round_)
        if window == "rebalance_during":
            if round_:
                # Through the window once by its own assignment; the other's joining brings the second time.
                dying.wait_for_line("partitions assigned")
            other = road.writer(f"other-{round_}")
            kills += dying.aborted_at(window)
            assert other.alive()
            other.kill()
        else:
            kills += dying.aborted_at(window)
    print(f"{window}: {kills} kills")
    assert kills == 2, dying.text[-3000:]
    road.write_all(topic)
    assert_once(road, topic, avro)


@pytest.mark.parametrize("answer", ANSWERS)
def test_an_ambiguous_commit(answer: str, s3_road: Road) -> None:
    """Every other commit entry gets the answer; three in a row as well."""
    road = s3_road
    topic, avro = loaded(road)
    points = "commit_put=" + "->".join(f"1*off->{times}*return({answer})" for times in (1, 1, 3, 1)) + "->off"
    writer = road.writer(once=True, faults=True, FAILPOINTS=points)
    assert writer.wait() == 0, writer.text[-3000:]
    assert_once(road, topic, avro)
