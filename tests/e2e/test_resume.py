"""What Kafka no longer has stops its own table by name and nothing else; `lakehead resume` records the gap, and all flows again."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

import facts
from kafka_topic import Record, Topic
from pair import GOES_ON, HEALTHY, LOST, Pair, assert_ends_well
from road import Road


@pytest.fixture
def pair(road: Road) -> Iterator[Pair]:
    yield Pair.make(road)


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
    """Deleted and made again under its name, with fewer and with more records than were copied, while the writer is down or reads it;
    in a group, and for a writer that takes all partitions."""
    road = pair.road
    road.configure(facts.settings(road, pair.lost, LOST), facts.settings(road, pair.healthy, HEALTHY), http=pair.http.address,
                   assignment="all" if records > 200 else "group")
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


@pytest.mark.parametrize("running", [False, True], ids=["down", "running"])
def test_partitions_added(pair: Pair, running: bool) -> None:
    copied = set(pair.copied())
    if running:
        writer = pair.road.writer()
        pair.http.wait_ready()
    wider = pair.lost.add_partitions(5)
    if not running:
        writer = pair.road.writer()
    pair.stopped_by("partitions_changed")
    more = set(pair.produce(wider, 100))
    said = pair.resume()
    assert "has 5 partitions, the table was written from 2" in said, said
    pair.flows_again(copied | more, wider)
    assert pair.gaps() == [{"topic": pair.lost.name, "partition": "", "from_offset": "", "to_offset": "", "reason": "partitions_changed"}]
    first = min(copied)
    wider.produce([facts.record(first, 4, text="moved")])
    facts.wait_caught_up(pair.road, wider, LOST)
    assert pair.texts(first) == ["moved"], "a later change of a key that lies in another partition, at a lower offset"
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
        assert ended.returncode == 5, ended
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


def test_two_resumes_at_once(pair: Pair) -> None:
    """Any number of people may accept a gap while the writer tries to go on: one row, and each is told that it is done, by whom not."""
    copied = set(pair.copied())
    pair.produce(pair.lost, 100)
    pair.lost.delete_up_to(0, pair.lost.end_offsets()[0] - 5)
    writer = pair.road.writer()
    pair.http.wait_stopped(LOST, "offset_out_of_range")
    resumes = [pair.road.start(f"resume-{number}", "resume", "--config", "lakehead.toml", "--accept-gap", LOST) for number in range(4)]
    codes = [resume.wait() for resume in resumes]
    assert 0 in codes, [resume.text for resume in resumes]
    for code, resume in zip(codes, resumes, strict=True):
        assert code == 0 or code == 1 and "somebody moved its progress meanwhile" in resume.text, (code, resume.text)
    assert len(pair.gaps()) == 1
    pair.flows_again(copied | facts.kept(pair.lost))
    assert_ends_well(writer)
