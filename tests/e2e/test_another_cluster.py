"""Another cluster behind the same address: two brokers, one after the other, on one port."""

from __future__ import annotations

import pathlib

import pytest

import facts
import parts
from kafka_topic import Topic
from pair import GOES_ON, HEALTHY, LOST, Pair, assert_ends_well
from program import wait_until
from road import Road

ELSEWHERE = "shop.elsewhere"


@pytest.mark.parametrize("running", [False, True], ids=["down", "running"])
def test_another_cluster_behind_the_address(road: Road, tmp_path: pathlib.Path, running: bool) -> None:
    """While there is none, the writer lives and says what it lacks. A topic that both have stops; one that only the other has is copied."""
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
        found = facts.settings(road, pair.lost, ELSEWHERE) | {"match": f"{road.name}-elsewhere"}
        del found["name"]
        road.configure(facts.settings(road, pair.lost, LOST), facts.settings(road, pair.healthy, HEALTHY), found, http=pair.http.address)
        writer = road.writer()
        pair.http.wait_ready()
        broker.stop()
        wait_until("the writer says that kafka is away", lambda: any("kafka" in what for what in pair.http.ready()["missing"]))
        alive = pair.http.get("livez")
        assert alive is not None and alive.status_code == 200
        away = road.run("status", "--config", "lakehead.toml")
        assert away.returncode == 3 and LOST in away.stdout, (away.returncode, away.stdout, away.stderr)
        if not running:
            assert_ends_well(writer)
        broker, _ = parts.start_kafka(folders[1], port, parts.KAFKA_OTHER_CLUSTER)
        broker.wait_ready()
        lost, elsewhere = (Topic.create(road.bootstrap, name, 2) for name in (pair.lost.name, f"{road.name}-elsewhere"))
        pair.produce(lost, 500)
        numbers = pair.produce(elsewhere, 100)
        if not running:
            writer = road.writer("writer-two")
        pair.http.wait_stopped(LOST, "cluster_changed")
        pair.http.wait_stopped(HEALTHY, "topic_missing")
        facts.wait_caught_up(road, elsewhere, ELSEWHERE)
        facts.assert_landed_once(road.lake, LOST, copied)
        shown = road.run("resume", "--config", "lakehead.toml")
        assert shown.returncode == 5 and f"{HEALTHY}: topic {pair.healthy.name} does not exist" in shown.stdout, (shown.stdout, shown.stderr)
        assert f"{LOST}: {lost.name}: another cluster answers" in shown.stdout, shown.stdout
        accepted = road.run("resume", "--config", "lakehead.toml", "--accept-gap", LOST)
        assert accepted.returncode == 0, (accepted.stdout, accepted.stderr)
        expected = copied | facts.kept(lost) | set(pair.produce(lost, 50))
        facts.wait_caught_up(road, lost, LOST, GOES_ON)
        facts.assert_landed_once(road.lake, LOST, expected)
        facts.assert_landed_once(road.lake, HEALTHY, healthy)
        facts.assert_landed_once(road.lake, ELSEWHERE, numbers)
        assert writer.end() == 5 and pair.healthy.name in writer.text, "the table without a topic is named at the end"
    finally:
        broker.stop()
