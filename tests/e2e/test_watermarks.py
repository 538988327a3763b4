"""Watermarks: they land beside the other tables about the lake, say only what is so, and prove what the lake holds."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from confluent_kafka.admin import AdminClient

import cabin
import parts
import postgres
from cabin import TABLE, Cabin
from conftest import real
from kafka_topic import Record, Topic
from program import wait_until
from road import Road

# The topic has one name for all of a cluster.
pytestmark = pytest.mark.xdist_group("watermarks")
NAME = "lakehead.watermarks"
HELD_SECONDS = float(os.environ.get("LAKEHEAD_TEST_HELD_SECONDS", 60))

MARK: dict[str, Any] = {
    "entity": "shop.purchase", "source": "/shop/1", "complete_through": 1357016523004000, "through": 20, "canonical_version": 1,
    "ends": [{"topic": "shop.purchase", "partition": 0, "offset": 12}, {"topic": "shop.purchase", "partition": 1, "offset": 3}],
    "total": {"after": 0, "count": 15, "ids": "0" * 31 + "f", "rows": "1" * 32},
    "interval": {"after": 12, "count": 5, "ids": "a" * 32, "rows": "b" * 32}}
KEY = json.dumps({"entity": "shop.purchase", "source": "/shop/1"}).encode()


@pytest.fixture
def url(stack: dict[str, str]) -> Iterator[str]:
    with postgres.database(real(stack, parts.POSTGRES)) as found:
        yield found


@pytest.fixture
def fresh(kafka: str) -> None:
    """The topic is one for all that share a broker: an earlier test may have left its own."""
    if NAME in AdminClient({"bootstrap.servers": kafka}).list_topics(timeout=60).topics:
        Topic(kafka, NAME, 1).delete()


def test_watermarks_land(road: Road, fresh: None) -> None:
    topic = Topic.create(road.bootstrap, NAME, 1, **{"cleanup.policy": "compact"})
    later = MARK | {"complete_through": MARK["complete_through"] + 60_000_000, "note": "a later version says more"}
    topic.produce([Record(json.dumps(MARK).encode(), KEY), Record(b'{"entity": 7}', KEY), Record(json.dumps(later).encode(), KEY)])
    road.configure({"name": topic.name})
    (road.folder / "lake").mkdir()
    assert road.sql("SELECT count(*) AS n, max(total_count) AS c FROM system.watermarks") == [{"n": "0", "c": ""}]
    for _ in range(2):
        road.write_once()
    marks = road.sql("SELECT entity, source, complete_through, through, canonical_version, total_after, total_count, total_ids, interval_after, "
                     "interval_rows, ends[2]['offset'] AS last FROM system.watermarks ORDER BY complete_through")
    assert [mark["complete_through"] for mark in marks] == ["2013-01-01T05:02:03.004Z", "2013-01-01T05:03:03.004Z"]
    assert marks[0] | {"complete_through": ""} == {
        "entity": "shop.purchase", "source": "/shop/1", "complete_through": "", "through": "20", "canonical_version": "1", "total_after": "0",
        "total_count": "15", "total_ids": "0" * 31 + "f", "interval_after": "12", "interval_rows": "b" * 32, "last": "3"}
    [letter] = road.sql('SELECT _offset, "table" FROM system.dead_letters')
    assert letter == {"_offset": "1", "table": NAME}
    assert road.sql("SHOW TABLES") == []


@pytest.mark.slow
def test_what_the_relay_says_is_so_and_shows_what_the_lake_has_lost(road: Road, url: str, fresh: None) -> None:
    road.configure({"name": road.name, "table": TABLE, "format": "avro", "shape": "debezium"}, {"name": NAME}, flush_age_max="200ms")
    cabin.configure(road, road.name, watermark_interval="300ms")
    relaying = ("relay", "--config", "lakehead.toml")
    assert road.start("create", *relaying, "--create", "--once", DATABASE_URL=url).wait() == 0
    service = Cabin(url, 7)
    service.create()
    service.start()
    relay, writer = road.start("relay", *relaying, DATABASE_URL=url), road.writer()
    try:
        wait_until("watermarks rise", lambda: len(set(times(road))) >= 3)
        with psycopg.connect(url) as slow, psycopg.connect(url, autocommit=True) as clock:
            slow.execute("INSERT INTO seat VALUES (50, 1)")
            [[began]] = slow.execute("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint").fetchall()
            slow.execute(cabin.EMIT, (TABLE, '{"id": 50}', '{"id": 50, "version": 1}'))
            ended = "SELECT clock_timestamp() > to_timestamp(%s)"
            wait_until("the transaction was open for long",
                       lambda: clock.execute(ended, (began / 1e6 + HELD_SECONDS,)).fetchone() == (True,), HELD_SECONDS + 60)
            assert max(times(road)) <= began, "a watermark has passed the start of a transaction that is open and has written"
            slow.commit()
        wait_until("watermarks pass it", lambda: max(times(road)) > began)
    finally:
        service.stop()
    events = sum(service.changes().values())
    wait_until("all is counted", lambda: marks(road)[-1]["total"]["count"] == events)
    assert relay.end() == 0, relay.text[-3000:]
    road.wait_committed(Topic(road.bootstrap, road.name, 4), TABLE)
    landed = "SELECT count(*) AS n FROM system.watermarks"
    wait_until("the watermarks are in the lake", lambda: road.sql(landed)[0]["n"] == str(len(marks(road))))
    assert writer.end() == 0, writer.text[-3000:]

    well = road.run("verify", "--config", "lakehead.toml")
    assert well.returncode == 0, well.stdout + well.stderr
    assert f": {events} events\n" in well.stdout and "complete through 20" in well.stdout

    # Nobody sees in the current state that changes are missing of which later ones are there.
    delta = road.lake.delta(TABLE)
    assert delta
    delta.delete("id = 1 AND version = 1")
    delta.update(predicate="id = 2 AND version = 1", updates={"holder": "'Mallory'"})
    same = road.run("verify", "--config", "lakehead.toml", "--table", TABLE, "--against", url, "--wait-max", "0s")
    assert same.returncode == 0, same.stdout + same.stderr
    lost = road.run("verify", "--config", "lakehead.toml")
    assert lost.returncode == 4, lost.stdout + lost.stderr
    assert "I8: " in lost.stdout and f"{events} events were published" in lost.stdout and f"{events - 1} are here" in lost.stdout
    spans = [line.split("between sequence ")[1].split(" and ") for line in lost.stdout.splitlines() if "part between" in line]
    with psycopg.connect(url) as owner:
        sought = ("SELECT sequence FROM lakehead.outbox WHERE aggregateid::json->>'id' = %s AND payload->>'version' = '1'")
        for seat in ("1", "2"):
            [[sequence]] = owner.execute(sought, (seat,)).fetchall()
            assert any(int(first) <= sequence <= int(last) for first, last in spans), (sequence, spans)


def marks(road: Road) -> list[dict[str, Any]]:
    """What the relay has published, in its order."""
    admin = AdminClient({"bootstrap.servers": road.bootstrap})
    if NAME not in admin.list_topics(timeout=60).topics:
        return []
    return [json.loads(message.value() or b"") for message in Topic(road.bootstrap, NAME, 1).read_all()]


def times(road: Road) -> list[int]:
    return [int(mark["complete_through"]) for mark in marks(road)]
