"""`lakehead relay` on real Postgres and Kafka: killed, its servers restarted, rows that cannot be published, and the outbox pruned."""

from __future__ import annotations

import os
import pathlib
import random
import time
from collections.abc import Iterator

import psycopg
import pytest
from psycopg.types.json import Json

import cabin
import parts
import postgres
from cabin import TABLE, Cabin
from kafka_topic import Topic
from program import Program, wait_until
from road import Road

TRANSACTIONS = "cabin.transaction"
# The advisory lock of a relay at work.
CLAIM = 26728 << 48 | 281474976710654
# Moments at which a relay that polls dies.
POINTS = ["outbox_sent=5*off->return", "outbox_acknowledged=5*off->return", "outbox_confirmed=5*off->return", "outbox_parked=return",
          "retry_numbered=return", "retry_published=return", "outbox_pruned=return"]
KILLS = int(os.environ.get("LAKEHEAD_TEST_RELAY_KILLS", 12))


@pytest.fixture
def url(stack: dict[str, str]) -> Iterator[str]:
    from conftest import real
    with postgres.database(real(stack, parts.POSTGRES)) as found:
        yield found


def settings(topic: str) -> dict[str, str]:
    return {"name": topic, "table": TABLE, "format": "avro", "shape": "debezium"}


def relay(road: Road, url: str, name: str, *arguments: str) -> Program:
    return road.start(name, "relay", "--config", "lakehead.toml", *arguments, DATABASE_URL=url)


def relay_once(road: Road, url: str, *arguments: str) -> Program:
    program = relay(road, url, "once", "--once", *arguments)
    assert program.wait(120) == 0, program.text[-3000:]
    return program


def landed(road: Road) -> list[tuple[int, int]]:
    """Seat and version of every change in the lake, in the order of offsets within a partition."""
    if not road.lake.exists(TABLE):
        return []
    return road.lake.query(f"SELECT id, version FROM {{{TABLE}}} ORDER BY _partition, _offset")


def assert_whole(road: Road, service: Cabin, but: set[tuple[int, int]] = set()) -> None:
    """Every change that the owner's table has had is in the lake once, and each seat's in its order."""
    expected = {(seat, version) for seat, last in service.changes().items() for version in range(1, last + 1)}
    assert service.committed <= expected and expected <= service.committed | service.in_doubt
    rows = [row for row in landed(road) if row not in but]
    assert len(rows) == len(set(rows)) == len(expected) and set(rows) == expected
    for seat in range(cabin.SEATS):
        versions = [version for found, version in rows if found == seat]
        assert versions == sorted(versions)


def counted(road: Road) -> list[tuple[str, int]]:
    """How many events of each transaction are in the lake."""
    return road.lake.query(f"SELECT _source.transaction, count(*) FROM {{{TABLE}}} GROUP BY 1 ORDER BY 1")


def told(road: Road) -> list[tuple[str, int]]:
    """How many the end of each says that it has; each begins and ends once."""
    topic = f"{{{TRANSACTIONS}}}"
    if not road.lake.exists(TRANSACTIONS):
        return []
    assert road.lake.query(f"SELECT id FROM {topic} GROUP BY id, status HAVING count(*) > 1") == []
    return road.lake.query(f"SELECT id, event_count FROM {topic} WHERE status = 'END' ORDER BY 1")


def wait_landed(road: Road, service: Cabin) -> None:
    wait_until("every change is in the lake", lambda: len(landed(road)) >= sum(service.changes().values()), 180)


def claimer(url: str) -> int | None:
    """The session that has the outbox."""
    with psycopg.connect(url) as connection:
        found = connection.execute("SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted AND mode = 'ExclusiveLock' "
                                   "AND classid::bigint = %s AND objid::bigint = %s", (CLAIM >> 32, CLAIM & 0xFFFF_FFFF)).fetchone()
    return int(found[0]) if found else None


@pytest.mark.slow
@pytest.mark.parametrize("read", ["polling", "replication"])
def test_killed_and_its_servers_restarted(road: Road, tmp_path: pathlib.Path, read: str) -> None:
    """The relay is killed at random moments, Kafka and Postgres are killed and restarted under it, while many transactions write."""
    seed = int(os.environ.get("LAKEHEAD_TEST_SEED") or random.randrange(2**32))
    print(f"seed {seed} (LAKEHEAD_TEST_SEED={seed} repeats it)")
    dice = random.Random(seed)
    folder, port = tmp_path / "kafka", parts.free_port()
    folder.mkdir()
    broker, road.bootstrap = parts.start_kafka(folder, port)
    server = postgres.Server()
    service = Cabin(server.url, seed)
    try:
        broker.wait_ready()
        road.configure(settings(road.name), {"name": TRANSACTIONS, "format": "avro", "shape": "append"})
        cabin.configure(road, road.name, read=read, slot_unbounded=True)
        relay_once(road, server.url, "--create")
        service.create()
        service.start()
        writer = road.writer()
        program, before = relay(road, server.url, "relay-0"), None
        for kill in range(KILLS):
            time.sleep(dice.uniform(0.1, 1.5))
            if kill % 4 == 1:
                broker.process.kill()
                broker.process.wait()
                time.sleep(dice.uniform(0.1, 1.0))
                broker, _ = parts.start_kafka(folder, port)
                broker.wait_ready()
            elif kill % 4 == 3:
                # One that finds no server when it starts says so and ends.
                wait_until("the relay has the outbox", lambda: claimer(server.url) not in (None, before), 60)
                server.stop()
                time.sleep(dice.uniform(0.1, 1.0))
                server.start()
            else:
                before = claimer(server.url)
                assert program.kill(), program.text[-3000:]
                program = relay(road, server.url, f"relay-{kill + 1}")
        service.stop()
        assert program.alive(), program.text[-3000:]
        wait_landed(road, service)
        assert_whole(road, service)
        wait_until("every transaction is whole", lambda: told(road) == counted(road))
        print(f"{sum(service.changes().values())} changes, {KILLS} kills and restarts")
        assert program.end() == 0, program.text[-3000:]
        assert writer.end(60) == 0, writer.text[-3000:]
    finally:
        service.stopping = True
        broker.stop()
        server.stop()


def test_a_row_that_does_not_fit_parks_its_key_and_can_be_tried_again(road: Road, url: str) -> None:
    road.configure(settings(road.name))
    cabin.configure(road, road.name)
    relay_once(road, url, "--create")
    with psycopg.connect(url, autocommit=True) as service:
        def emit(seat: int, version: object) -> None:
            key, after = Json({"id": seat}), Json({"id": seat, "version": version})
            service.execute(cabin.EMIT, (TABLE, key, after))
        for version in range(4):
            for seat in (1, 2):
                emit(seat, "two" if (seat, version) == (1, 2) else version)
        program = relay_once(road, url)
        assert "parked" in program.text and r'field \"version\": invalid type' in program.text, program.text
        road.write_once("before")
        assert sorted(landed(road)) == [(1, 0), (1, 1), (2, 0), (2, 1), (2, 2), (2, 3)]
        parked = service.execute("SELECT sequence, key FROM lakehead.outbox_parked ORDER BY sequence").fetchall()
        assert [key for _, key in parked] == ['{"id": 1}'] * 2
        service.execute("UPDATE lakehead.outbox SET payload = %s WHERE sequence = %s", ('{"id": 1, "version": 2}', parked[0][0]))
        service.execute("UPDATE lakehead.outbox_parked SET retry = true")
        running = relay(road, url, "retry")
        wait_until("nothing is parked", lambda: service.execute("SELECT count(*) FROM lakehead.outbox_parked").fetchone() == (0,), 60)
        emit(1, 4)
        assert running.end() == 0, running.text
        relay_once(road, url)
        road.write_once("after")
        assert [version for seat, version in landed(road) if seat == 1] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("point", POINTS, ids=lambda value: value.split("=")[0])
def test_a_kill_at_any_point_loses_and_doubles_nothing(road: Road, url: str, point: str) -> None:
    """One key waits for a row that does not fit and is mended, while others are written, landed and pruned."""
    road.configure(settings(road.name))
    cabin.configure(road, road.name, read="polling", prune=True, prune_interval="100ms")
    relay_once(road, url, "--create")
    service = Cabin(url, random.randrange(2**32))
    service.create()
    service.start()
    writer = road.writer()
    parked = "SELECT count(*) FROM lakehead.outbox_parked"
    mend = ("UPDATE lakehead.outbox SET payload = '{\"id\": 90, \"version\": 2}' WHERE payload->>'version' = 'two'",
            "UPDATE lakehead.outbox_parked SET retry = true")
    try:
        with psycopg.connect(url, autocommit=True) as owner:
            def emit(*versions: object) -> None:
                for version in versions:
                    owner.execute(cabin.EMIT, (TABLE, Json({"id": 90}), Json({"id": 90, "version": version})))

            def rows(number: int) -> None:
                wait_until(f"{number} rows are parked", lambda: owner.execute(parked).fetchone() == (number,), 60)
            emit(1, "two", 3)
            if point.startswith("retry"):
                before = relay(road, url, "before")
                rows(2)
                assert before.kill(), before.text[-3000:]
                for sql in mend:
                    owner.execute(sql)
            dying = road.start("dying", "relay", "--config", "lakehead.toml", faults=True, DATABASE_URL=url, FAILPOINTS=point)
            assert dying.aborted_at(point.split("=")[0], 120), dying.text[-3000:]
            program = relay(road, url, "relay")
            if not point.startswith("retry"):
                rows(2)
                for sql in mend:
                    owner.execute(sql)
            rows(0)
            emit(4)
            more = len(service.committed) + 50
            wait_until("there are more changes", lambda: len(service.committed) > more, 60)
    finally:
        service.stop()
    mended = {(90, version) for version in range(1, 5)}
    wait_until("every change is in the lake", lambda: len(landed(road)) >= sum(service.changes().values()) + len(mended), 180)
    assert [version for seat, version in landed(road) if seat == 90] == [1, 2, 3, 4]
    assert_whole(road, service, but=mended)
    assert program.end() == 0, program.text[-3000:]
    assert writer.end(60) == 0, writer.text[-3000:]


def test_the_outbox_is_pruned_behind_the_lake(road: Road, url: str) -> None:
    road.configure(settings(road.name))
    cabin.configure(road, road.name, prune=True, prune_interval="100ms")
    relay_once(road, url, "--create")
    with psycopg.connect(url, autocommit=True) as service:
        for version in range(200):
            key, after = {"id": version % 9}, {"id": version % 9, "version": version}
            service.execute(cabin.EMIT, (TABLE, Json(key), Json(after)))

        def left() -> int:
            row = service.execute("SELECT count(*) FROM lakehead.outbox").fetchone()
            assert row
            return int(row[0])
        program = relay(road, url, "relay")
        topic = Topic(road.bootstrap, road.name, 4)
        confirmed = "SELECT confirmed FROM lakehead.outbox_relay"
        wait_until("all is published", lambda: service.execute(confirmed).fetchone() == (200,), 60)
        assert left() == 200, "nothing is in the lake yet"
        road.write_once()
        wait_until("the outbox is pruned", lambda: left() == 0, 60)
        assert program.end() == 0, program.text[-3000:]
        assert sum(topic.end_offsets()) == 200
        # Sequences go on.
        service.execute(cabin.EMIT, (TABLE, '{"id": 1}', '{"id": 1, "version": 200}'))
        relay_once(road, url)
        road.write_once("after")
        assert len(landed(road)) == 201


def test_what_is_wrong_is_told_at_once(road: Road, url: str) -> None:
    road.configure(settings(road.name))
    cabin.configure(road, road.name)
    no_outbox = relay(road, url, "no-outbox")
    assert no_outbox.wait(60) == 3 and "outbox" in no_outbox.text, no_outbox.text
    no_server = relay(road, f"postgres://nobody@127.0.0.1:{parts.free_port()}/x", "no-server")
    assert no_server.wait(60) == 3, no_server.text
    file = road.folder / "lakehead.toml"
    text = file.read_text()
    file.write_text(text.replace('{ "env" = "DATABASE_URL" }', '"postgres://me:hunter2@h/db"').replace('"seat.avsc"', '"none.avsc"'))
    refused = relay(road, url, "refused")
    assert refused.wait(60) == 2 and "none.avsc" in refused.text and "holds a password" in refused.text, refused.text
    assert "hunter2" not in refused.text
    printed = road.run("relay", "--sql")
    assert printed.returncode == 0 and "CREATE SCHEMA IF NOT EXISTS lakehead" in printed.stdout
