"""What Kafka no longer has stops its own table by name and nothing else; `lakehead resume` records the gap, and all flows again."""

from __future__ import annotations

import pathlib
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

import facts
import parts
from kafka_topic import Record, Topic
from lake import Lake
from program import Program, wait_until
from road import Road
from writer_http import WriterHttp

LOST, HEALTHY = "shop.lost", "shop.healthy"
# A retry comes 5, 10, 20, … seconds after the one before.
GOES_ON = 120.0


@dataclass
class Pair:
    """Two topics and their tables: one that will lose records, one that must not notice."""

    road: Road
    lost: Topic
    healthy: Topic
    http: WriterHttp
    numbers: int = 0

    @classmethod
    def make(cls, road: Road, partitions: int = 2) -> Pair:
        pair = cls(road, road.topic(partitions, "-lost"), road.topic(2, "-healthy"), WriterHttp.choose())
        road.configure(facts.settings(road, pair.lost, LOST), facts.settings(road, pair.healthy, HEALTHY), http=pair.http.address)
        return pair

    def produce(self, topic: Topic, count: int) -> range:
        """Records of numbers that no record had before."""
        numbers = range(self.numbers, self.numbers + count)
        self.numbers += count
        facts.produce(topic, numbers)
        return numbers

    def copied(self, count: int = 200) -> range:
        """Records in both topics, copied; the writer has ended."""
        numbers = self.produce(self.lost, count)
        self.produce(self.healthy, count)
        self.road.write_once("before")
        return numbers

    def assert_healthy_goes_on(self) -> None:
        self.produce(self.healthy, 100)
        facts.wait_caught_up(self.road, self.healthy, HEALTHY)

    def stopped_by(self, *codes: str) -> str:
        """Waits until the table is stopped, and sees that the other one is not and that `status` says the same."""
        code = self.http.wait_stopped(LOST, *codes)
        self.assert_healthy_goes_on()
        assert self.http.ready()["ready"], "a stopped table does not make the writer unready"
        assert self.http.metrics()[f'lakehead_table_stopped{{table="{HEALTHY}"}}'] == 0
        status = self.road.run("status", "--config", "lakehead.toml")
        assert status.returncode == 5 and HEALTHY in status.stdout, (status.returncode, status.stdout, status.stderr)
        return code

    def resume(self, *arguments: str, config: str = "lakehead.toml") -> str:
        """Shows first, which must change nothing; then accepts."""
        before = files(self.road.lake)
        shown = self.road.run("resume", "--config", config)
        assert shown.returncode == 5 and LOST in shown.stdout and HEALTHY not in shown.stdout, (shown.stdout, shown.stderr)
        assert {path for path in files(self.road.lake) - before if "lost" in path or "gaps" in path} == set()
        accepted = self.road.run("resume", "--config", config, "--accept-gap", LOST, *arguments)
        assert accepted.returncode == 0, (accepted.stdout, accepted.stderr)
        return accepted.stdout

    def flows_again(self, expected: set[int], topic: Topic | None = None) -> None:
        """The running writer goes on by itself, and every record is in its table once."""
        lost = topic or self.lost
        expected |= set(self.produce(lost, 50))
        facts.wait_caught_up(self.road, lost, LOST, GOES_ON)
        facts.wait_caught_up(self.road, self.healthy, HEALTHY)
        facts.assert_landed_once(self.road.lake, LOST, expected)
        facts.assert_landed_once(self.road.lake, HEALTHY, facts.kept(self.healthy))
        wait_until("nothing is stopped", lambda: not self.http.ready()["stopped"], 30)

    def texts(self, *numbers: int) -> list[str]:
        """The current rows of these numbers."""
        ids = ", ".join(str(number) for number in numbers)
        return [row["text"] for row in self.road.sql(f"SELECT text FROM {LOST} WHERE id IN ({ids}) ORDER BY id")]

    def gaps(self) -> list[dict[str, str]]:
        return self.road.sql('SELECT topic, partition, from_offset, to_offset, reason FROM system.gaps WHERE "table" = \'shop.lost\' '
                             "ORDER BY partition, accepted_at")


def files(lake: Lake) -> set[str]:
    return {str(path) for path in pathlib.Path(lake.url).rglob("*") if path.is_file()}


@pytest.fixture
def pair(road: Road) -> Iterator[Pair]:
    yield Pair.make(road)


def assert_ends_well(writer: Program) -> None:
    code = writer.end(60)
    assert code == 0, f"the writer ended with {code}:\n{writer.text[-3000:]}"


def test_retention_passed_the_progress(pair: Pair) -> None:
    copied = set(pair.copied())
    progress = pair.lost.end_offsets()
    pair.produce(pair.lost, 300)
    first = progress[0] + 70
    pair.lost.delete_up_to(0, first)
    writer = pair.road.writer()
    assert pair.stopped_by("offset_out_of_range") == "offset_out_of_range"
    said = pair.resume()
    assert f"{pair.lost.name}/0: offsets {progress[0]} to {first} (70 records) were dropped by kafka" in said
    pair.flows_again(copied | facts.kept(pair.lost))
    assert pair.gaps() == [{"topic": pair.lost.name, "partition": "0", "from_offset": str(progress[0]), "to_offset": str(first),
                            "reason": "retention"}]
    assert_ends_well(writer)


@pytest.mark.parametrize("records", [40, 900], ids=["fewer", "more"])
@pytest.mark.parametrize("running", [False, True], ids=["down", "running"])
def test_topic_made_again(pair: Pair, running: bool, records: int) -> None:
    """Deleted and made again under its name, with fewer and with more records than were copied, while the writer is down or reads it."""
    copied = set(pair.copied())
    if running:
        writer = pair.road.writer()
        pair.http.wait_ready()
        pair.produce(pair.lost, 50)
        facts.wait_caught_up(pair.road, pair.lost, LOST)
        copied = set(facts.landed(pair.road.lake, LOST))
    progress = pair.lost.end_offsets()
    fresh = pair.lost.again()
    pair.produce(fresh, records)
    if not running:
        writer = pair.road.writer()
    pair.stopped_by("offset_out_of_range", "topic_replaced")
    facts.assert_landed_once(pair.road.lake, LOST, copied)
    said = pair.resume()
    assert "the topic is another one than was copied up to" in said and "keys that it does not mention stay" in said, said
    pair.flows_again(copied | facts.kept(fresh))
    assert [(gap["reason"], gap["from_offset"], gap["to_offset"]) for gap in pair.gaps()] == [
        ("topic_replaced", str(offset), "0") for offset in progress]
    assert_ends_well(writer)


@pytest.mark.parametrize("assignment", ["group", "all"])
def test_topic_that_is_gone_keeps_its_table(pair: Pair, assignment: str) -> None:
    road = pair.road
    road.configure(facts.settings(road, pair.lost, LOST), facts.settings(road, pair.healthy, HEALTHY), http=pair.http.address,
                   assignment=assignment)
    copied = set(pair.copied())
    writer = road.writer()
    pair.http.wait_ready()
    pair.lost.delete()
    pair.stopped_by("topic_missing")
    facts.assert_landed_once(road.lake, LOST, copied)
    refused = road.run("resume", "--config", "lakehead.toml", "--accept-gap", LOST)
    assert refused.returncode == 1 and "does not exist" in refused.stderr, refused
    fresh = Topic.create(road.bootstrap, pair.lost.name, pair.lost.partitions)
    pair.produce(fresh, 30)
    pair.http.wait_stopped(LOST, "offset_out_of_range", "topic_replaced", seconds=GOES_ON)
    pair.resume()
    pair.flows_again(copied | facts.kept(fresh))
    assert_ends_well(writer)


def test_partitions_added(pair: Pair) -> None:
    copied = set(pair.copied())
    copied_first = min(copied)
    wider = pair.lost.add_partitions(5)
    more = set(pair.produce(wider, 100))
    writer = pair.road.writer()
    pair.stopped_by("partitions_changed")
    said = pair.resume()
    assert "has 5 partitions, the table was written from 2" in said, said
    pair.flows_again(copied | more, wider)
    assert pair.gaps() == [{"topic": pair.lost.name, "partition": "", "from_offset": "", "to_offset": "", "reason": "partitions_changed"}]
    wider.produce([facts.record(copied_first, 4, text="moved")])
    facts.wait_caught_up(pair.road, wider, LOST)
    assert pair.texts(copied_first) == ["moved"], "a later change of a key that lies in another partition, at a lower offset"
    assert_ends_well(writer)


def test_the_current_state_follows_a_topic_made_again(pair: Pair) -> None:
    first, second, third = pair.copied()[:3]
    fresh = pair.lost.again()
    fresh.produce([facts.record(first, text="new"), Record(None, b'{"id":%d}' % second)])
    writer = pair.road.writer()
    pair.stopped_by("offset_out_of_range", "topic_replaced")
    before = pair.texts(first, second, third)
    pair.resume()
    facts.wait_caught_up(pair.road, fresh, LOST, GOES_ON)
    assert pair.texts(first, second, third) == ["new", before[2]]
    assert_ends_well(writer)


def test_a_table_keeps_its_topic(pair: Pair) -> None:
    """Another topic, or another pipeline, that leads to a table by its own configuration."""
    road, copied = pair.road, set(pair.copied())
    for settings, pipeline in [(facts.settings(road, pair.healthy, LOST), "lakehead"), (facts.settings(road, pair.lost, LOST), "second")]:
        road.configure(settings, pipeline=pipeline)
        ended = road.run("write", "--config", "lakehead.toml", "--once")
        assert ended.returncode == 1, ended
        assert f"{LOST} is written from topic {pair.lost.name} by pipeline \"lakehead\"" in ended.stderr, ended.stderr
    facts.assert_landed_once(road.lake, LOST, copied)


def test_offsets_regressed(road: Road) -> None:
    """A topic that lost its end, as an unclean election leaves it: made again with the first of its records as they were."""
    pair = Pair.make(road, partitions=1)
    begun = int(time.time() * 1000) - 3_600_000
    old = [facts.record(number, 0, begun + number) for number in range(100)]
    pair.numbers = 100
    pair.lost.produce(old)
    pair.produce(pair.healthy, 100)
    road.write_once("before")
    fresh = pair.lost.again()
    fresh.produce(old[:60])
    writer = road.writer()
    pair.stopped_by("offset_out_of_range")
    unclear = road.run("resume", "--config", "lakehead.toml", "--accept-gap", LOST)
    assert unclear.returncode == 2 and "--from start" in unclear.stderr, unclear
    assert road.sql("SELECT count(*) AS n FROM system.gaps") == [{"n": "0"}]
    pair.resume("--from", "end")
    pair.flows_again(set(range(100)), fresh)
    assert [(gap["reason"], gap["from_offset"], gap["to_offset"]) for gap in pair.gaps()] == [("offsets_regressed", "100", "60")]
    assert_ends_well(writer)


def test_another_cluster_behind_the_address(road: Road, tmp_path: pathlib.Path) -> None:
    """Two brokers, one after the other, on one port. While there is none the writer lives and says what it lacks."""
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
    broker, road.bootstrap = parts.start_kafka(folders[0])
    port = int(road.bootstrap.rpartition(":")[2])
    try:
        broker.wait_ready()
        pair = Pair.make(road)
        copied = set(pair.copied())
        healthy = set(facts.landed(road.lake, HEALTHY))
        writer = road.writer()
        pair.http.wait_ready()
        broker.stop()
        wait_until("the writer says that kafka is away", lambda: any("kafka" in what for what in pair.http.ready()["missing"]), 90)
        alive = pair.http.get("livez")
        assert alive is not None and alive.status_code == 200
        away = road.run("status", "--config", "lakehead.toml")
        assert away.returncode == 3 and LOST in away.stdout, (away.returncode, away.stdout, away.stderr)
        assert_ends_well(writer)
        broker, _ = parts.start_kafka(folders[1], port)
        broker.wait_ready()
        lost = Topic.create(road.bootstrap, pair.lost.name, 2)
        pair.produce(lost, 500)
        # What the other cluster has never had is a new topic to it, and its table a new one.
        pair.healthy = Topic.create(road.bootstrap, "elsewhere", 2)
        road.configure(facts.settings(road, lost, LOST), facts.settings(road, pair.healthy, "shop.elsewhere"), http=pair.http.address)
        pair.produce(pair.healthy, 100)
        writer = road.writer("writer-two")
        pair.http.wait_stopped(LOST, "topic_replaced", "offset_out_of_range")
        facts.wait_caught_up(road, pair.healthy, "shop.elsewhere")
        pair.resume()
        expected = copied | facts.kept(lost) | set(pair.produce(lost, 50))
        facts.wait_caught_up(road, lost, LOST, GOES_ON)
        facts.assert_landed_once(road.lake, LOST, expected)
        facts.assert_landed_once(road.lake, HEALTHY, healthy)
        assert_ends_well(writer)
    finally:
        broker.stop()


def test_resume_killed_after_the_row(pair: Pair) -> None:
    """Between the row of the gap and the move of the progress; run again, there is one row."""
    copied = set(pair.copied())
    pair.produce(pair.lost, 100)
    pair.lost.delete_up_to(0, pair.lost.end_offsets()[0] - 5)
    killed = pair.road.start("resume", "resume", "--config", "lakehead.toml", "--accept-gap", LOST, faults=True,
                             FAILPOINTS="gap_recorded=return")
    assert killed.aborted_at("gap_recorded"), killed.text[-2000:]
    [gap] = pair.gaps()
    pair.resume()
    assert pair.gaps() == [gap]
    writer = pair.road.writer()
    pair.flows_again(copied | facts.kept(pair.lost))
    assert_ends_well(writer)
