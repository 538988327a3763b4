"""Watermarks of a capture: they say only what is so, and prove of a captured table what the lake holds."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import deltalake
import psycopg
import pytest
from confluent_kafka.admin import AdminClient

import parts
from captured import configure, finish, start
from conftest import real
from kafka_topic import Topic
from owner import Bookings, Owner
from program import wait_until
from road import Road

# The topic has one name for all of a cluster.
pytestmark = pytest.mark.xdist_group("watermarks")
NAME = "lakehead.watermarks"
HELD_SECONDS = float(os.environ.get("LAKEHEAD_TEST_HELD_SECONDS", 60))


@pytest.fixture
def owner(stack: dict[str, str]) -> Iterator[Owner]:
    owner = Owner(real(stack, parts.POSTGRES))
    yield owner
    owner.close()


def marks(road: Road, owner: Owner) -> list[dict[str, Any]]:
    """What was published of the owner's tables, in its order."""
    admin = AdminClient({"bootstrap.servers": road.bootstrap})
    if NAME not in admin.list_topics(timeout=60).topics:
        return []
    found = [json.loads(message.value() or b"") for message in Topic(road.bootstrap, NAME, 1).read_all()]
    return [mark for mark in found if str(mark["entity"]).startswith(f"{owner.service}.")]


def newest(road: Road, owner: Owner) -> int:
    return max((int(mark["complete_through"]) for mark in marks(road, owner)), default=0)


def verify(road: Road, owner: Owner) -> tuple[int, str]:
    answer = road.run("verify", "--config", "lakehead.toml", "--table", f"{owner.service}.booking")
    return answer.returncode, answer.stdout + answer.stderr


def test_what_they_add_up_to_is_in_the_lake_and_what_is_missing_there_is_found(road: Road, owner: Owner) -> None:
    owner.book(1, 2000)
    configure(road, owner, {"name": NAME}, watermark_interval="300ms")
    bookings = Bookings(owner, 100_000)
    bookings.start()
    killed = start(road, owner, "killed")
    killed.wait_for_line("the table is copied.*gate", 120)
    assert killed.kill(), killed.text[-3000:]
    program = start(road, owner)
    wait_until("watermarks rise", lambda: len({mark["complete_through"] for mark in marks(road, owner)}) >= 3)
    bookings.stop()
    for guest in ("first", "second"):
        owner.run("UPDATE booking SET guest = %s WHERE id = 2000", guest)
    finish(road, owner, program)
    booking = f"{owner.service}.booking"
    counted = "SELECT _source.name, count(*) FROM {%s} GROUP BY 1" % booking
    events = dict(road.lake.query(counted))
    last = {mark["source"]: mark for mark in marks(road, owner) if mark["entity"] == booking}
    assert {source: mark["total"]["count"] for source, mark in last.items()} == events
    assert sorted(source.rpartition("#")[2] == "copy" for source in events) == [False, True]
    code, text = verify(road, owner)
    assert code == 0, text
    for source, count in events.items():
        assert any(source + ": complete through 20" in line and f": {count} events" in line for line in text.splitlines()), text

    # Nobody sees in the current state that a change is missing, or another, of which a later one is there.
    delta = road.lake.delta(booking)
    assert delta
    before = delta.version()
    [[source, sequence]] = road.lake.query(
        "SELECT _source.name, _source.sequence FROM {%s} WHERE id = 2000 AND guest = 'first'" % booking)
    delta.delete("id = 2000 AND guest = 'first'")
    lost = verified(road, owner, 4, f"{events[source]} events were published", f"{events[source] - 1} are here")
    delta.restore(before)
    delta.update(predicate="id = 2000 AND guest = 'first'", updates={"guest": "'Mallory'"})
    altered = verified(road, owner, 4, "I8")
    for text in (lost, altered):
        spans = [line.split("between sequence ")[1].split(" and ") for line in text.splitlines() if "part between" in line]
        assert any(int(first) <= sequence <= int(end.split()[0]) for first, end in spans), (sequence, text)
    delta.restore(before)
    verified(road, owner, 0)
    # A row of the first copy counts as well.
    delta.delete("id = 1500 AND _op = 'r'")
    verified(road, owner, 4, "#copy", "I8")
    delta.restore(before)
    [[partition, offset]] = road.lake.query("SELECT _partition, _offset FROM {%s} WHERE id = 2000 AND guest = 'first'" % booking)
    again = delta.to_pyarrow_table(filters=[("_offset", "=", offset), ("_partition", "=", partition)])
    assert again.num_rows == 1
    deltalake.write_deltalake(delta, again, mode="append")
    verified(road, owner, 4, "I2")


def verified(road: Road, owner: Owner, code: int, *told: str) -> str:
    found, text = verify(road, owner)
    assert found == code, text
    for part in told:
        assert part in text, text
    return text


@pytest.mark.slow
def test_none_passes_the_start_of_a_transaction_that_is_open_and_has_written(road: Road, owner: Owner) -> None:
    configure(road, owner, watermark_interval="300ms")
    program = start(road, owner)
    bookings = Bookings(owner, 100_000)
    owner.book(1, 2000)
    bookings.start()
    try:
        wait_until("watermarks rise", lambda: len({mark["complete_through"] for mark in marks(road, owner)}) >= 3)
        with psycopg.connect(owner.url) as slow, psycopg.connect(owner.url, autocommit=True) as clock:
            slow.execute("INSERT INTO gate VALUES ('Z9', true)")
            [[began]] = slow.execute("SELECT (extract(epoch FROM xact_start) * 1000000)::bigint FROM pg_stat_activity "
                                     "WHERE pid = pg_backend_pid()").fetchall()
            ended = "SELECT clock_timestamp() > to_timestamp(%s)"
            wait_until("the transaction was open for long",
                       lambda: clock.execute(ended, (began / 1e6 + HELD_SECONDS,)).fetchone() == (True,), HELD_SECONDS + 60)
            rounds = bookings.rounds
            assert newest(road, owner) < began, "a watermark has passed the start of a transaction that is open and has written"
            wait_until("the service goes on", lambda: bookings.rounds > rounds)
            slow.commit()
        wait_until("watermarks pass it", lambda: newest(road, owner) > began)
        # One that is prepared may be committed by anybody at any time: nobody knows when it began.
        with psycopg.connect(owner.url, autocommit=True) as other:
            other.execute("BEGIN")
            other.execute("INSERT INTO gate VALUES ('Y8', true)")
            [[began]] = other.execute("SELECT (extract(epoch FROM xact_start) * 1000000)::bigint FROM pg_stat_activity "
                                      "WHERE pid = pg_backend_pid()").fetchall()
            other.execute(f"PREPARE TRANSACTION '{owner.service}'")
            rounds = bookings.rounds
            wait_until("the service goes on", lambda: bookings.rounds > rounds + 20)
            assert newest(road, owner) < began
            other.execute(f"COMMIT PREPARED '{owner.service}'")
        wait_until("watermarks pass it", lambda: newest(road, owner) > began)
    finally:
        bookings.stop()
    assert program.end() == 0, program.text[-3000:]
