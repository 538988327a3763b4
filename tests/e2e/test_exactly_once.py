"""Every record is in the table once, whatever happens to the writers."""

from __future__ import annotations

import itertools
import os
import random
import signal
import threading
import time

import pytest

import shop
from kafka_topic import Topic
from oracle import Verdict, judge_purchases
from program import Program, wait_until
from road import MORTAL, Road, shop_topic

CHANGES = int(os.environ.get("LAKEHEAD_TEST_CHANGES", 200_000))
KILLS = int(os.environ.get("LAKEHEAD_TEST_KILLS", 20))
SESSION_SECONDS = float(MORTAL["session.timeout.ms"]) / 1000


class Writers:
    """Two writers of one group that are killed and started again."""

    def __init__(self, road: Road, dice: random.Random):
        self.road, self.dice, self.numbers = road, dice, itertools.count(1)
        self.running = [self.start(), self.start()]
        self.kills = self.stops = 0

    def start(self) -> Program:
        return self.road.writer(f"writer-{next(self.numbers)}")

    def kill_one(self) -> None:
        which = self.dice.randrange(2)
        assert self.running[which].kill(), f"it ended by itself:\n{self.running[which].text[-3000:]}"
        self.kills += 1
        self.running[which] = self.start()

    def stop_one_past_its_session(self) -> None:
        """SIGSTOP until the group has given its partitions away, then SIGCONT: it comes back with old buffers."""
        victim = self.running[self.dice.randrange(2)]
        victim.signal(signal.SIGSTOP)
        threading.Event().wait(3 * SESSION_SECONDS)
        victim.signal(signal.SIGCONT)
        self.stops += 1


@pytest.mark.slow
def test_exactly_once_while_writers_are_killed(s3_road: Road) -> None:
    road = s3_road
    seed = int(os.environ.get("LAKEHEAD_TEST_SEED") or random.randrange(2**32))
    print(f"seed {seed} (LAKEHEAD_TEST_SEED={seed} repeats it)")
    dice = random.Random(seed)
    topic = road.topic(partitions=8)
    avro = shop.Avro(road.registry, topic.name)
    road.configure(shop_topic(topic), properties=MORTAL, flush_rows_max=10_000)
    produced = threading.Event()
    failure: list[BaseException] = []

    def produce() -> None:
        """Spread over the time of the kills, so that each of them finds a writer at work."""
        try:
            step, begun = CHANGES // 100, time.monotonic()
            for first in range(0, CHANGES, step):
                topic.produce(avro.records(first, min(first + step, CHANGES)))
                threading.Event().wait(max(0.0, begun + 0.6 * (first // step) - time.monotonic()))
        except BaseException as error:
            failure.append(error)
        finally:
            produced.set()

    threading.Thread(target=produce, daemon=True).start()
    writers = Writers(road, dice)
    while writers.kills < KILLS or not produced.is_set():
        threading.Event().wait(dice.uniform(0.3, 6.0))
        writers.kill_one()
        if writers.kills in (KILLS // 3, 2 * KILLS // 3) and writers.stops < 2:
            wait_until("both writers run", lambda: all(writer.alive() for writer in writers.running))
            writers.stop_one_past_its_session()
    assert not failure, failure
    road.wait_committed(topic)
    codes = [writer.end() for writer in writers.running]
    verdict = judge_purchases(road.lake, topic, avro)
    print(f"{writers.kills} kills, {writers.stops} stops past the session; {verdict}")
    assert verdict.good() and verdict.expected == CHANGES, verdict
    assert writers.kills >= KILLS and writers.stops == 2 and codes == [0, 0]
    assert_counted_alike(road, topic, verdict)


def assert_counted_alike(road: Road, topic: Topic, verdict: Verdict) -> None:
    """The deltalake package and Lakehead's own SQL count and sum what DuckDB does."""
    sums = "count(*), sum(id), sum(quantity), sum(_offset)"
    [duckdb] = road.lake.query(f"SELECT {sums} FROM {{{shop.TABLE}}}")
    delta = road.lake.delta(shop.TABLE)
    assert delta is not None
    table = delta.to_pyarrow_table(columns=["id", "quantity", "_offset"])
    python = (len(table), *(sum(table[column].to_pylist()) for column in ("id", "quantity", "_offset")))
    [own] = road.sql(f"SELECT {sums} FROM shop.purchase_changes")
    assert tuple(map(int, duckdb)) == python == tuple(int(value) for value in own.values())
    assert duckdb[0] == verdict.expected
