"""`lakehead relay` that reads an outbox by replication: killed at named points, and told to read it another way."""

from __future__ import annotations

import random

import psycopg
import pytest

import cabin
from cabin import Cabin
from program import wait_until
from road import Road
from test_relay import assert_whole, relay, relay_once, settings, url, wait_landed

__all__ = ["url"]

# Where it dies, and how it is told to read the outbox before and then.
POINTS = [("outbox_slot_created=return", "polling", "replication"), ("outbox_handed_over=return", "polling", "replication"),
          ("outbox_position_saved=3*off->return", "replication", "replication"), ("outbox_slot_dropped=return", "replication", "polling")]


def configured(road: Road, read: str) -> None:
    road.configure(settings(road.name))
    cabin.configure(road, road.name, read=read, slot_unbounded=True)


@pytest.mark.parametrize("point, before, then", POINTS, ids=lambda value: value.split("=")[0])
def test_a_kill_at_any_point_loses_and_doubles_nothing(road: Road, url: str, point: str, before: str, then: str) -> None:
    service = Cabin(url, random.randrange(2**32))
    configured(road, before)
    relay_once(road, url, "--create")
    service.create()
    service.start()
    try:
        wait_until("there are changes", lambda: len(service.committed) > 50, 60)
        relay_once(road, url)
        configured(road, then)
        dying = road.start("dying", "relay", "--config", "lakehead.toml", faults=True, DATABASE_URL=url, FAILPOINTS=point)
        assert dying.aborted_at(point.split("=")[0], 120), dying.text[-3000:]
        program = relay(road, url, "relay")
        more = len(service.committed) + 100
        wait_until("there are more changes", lambda: len(service.committed) > more, 60)
    finally:
        service.stop()
    writer = road.writer()
    wait_landed(road, service)
    assert_whole(road, service)
    assert program.end() == 0, program.text[-3000:]
    assert writer.end(60) == 0, writer.text[-3000:]
    drop_slots(url)


def test_once_hands_over(road: Road, url: str) -> None:
    service = Cabin(url, 1)
    configured(road, "auto")
    relay_once(road, url, "--create")
    service.create()
    with psycopg.connect(url, autocommit=True) as connection:
        def change(seat: int, version: int) -> None:
            connection.execute("UPDATE seat SET version = %s WHERE id = %s", (version, seat))
            key, after = psycopg.types.json.Json({"id": seat}), psycopg.types.json.Json({"id": seat, "version": version})
            connection.execute(cabin.EMIT, (cabin.TABLE, key, after))
            service.committed.add((seat, version))
        for version, read in enumerate(["auto", "replication", "polling", "auto"], 1):
            configured(road, read)
            for seat in range(cabin.SEATS):
                change(seat, version)
            relay_once(road, url)
        used = "SELECT count(*) FROM pg_replication_slots WHERE database = current_database()"
        assert connection.execute(used).fetchone() == (0,)
    road.write_once()
    assert_whole(road, service)


def test_a_slot_without_a_bound_is_refused(road: Road, url: str) -> None:
    road.configure(settings(road.name))
    cabin.configure(road, road.name, read="polling")
    relay_once(road, url, "--create")
    road.configure(settings(road.name))
    cabin.configure(road, road.name, read="replication")
    program = relay(road, url, "refused", "--once")
    assert program.wait(60) == 1, program.text
    assert "max_slot_wal_keep_size" in program.text and "slot_unbounded" in program.text, program.text


def drop_slots(url: str) -> None:
    """The server has room for so many; a database with one cannot be dropped."""
    with psycopg.connect(url, autocommit=True) as connection:
        drop = ("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots "
                "WHERE database = current_database() AND NOT active")
        used = "SELECT count(*) FROM pg_replication_slots WHERE database = current_database()"

        def dropped() -> bool:
            connection.execute(drop)
            return connection.execute(used).fetchone() == (0,)
        wait_until("the slot is dropped", dropped, 60)
