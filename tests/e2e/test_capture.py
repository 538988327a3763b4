"""Capture: tables of a real Postgres in the lake, through Kafka and a real registry; kills at named points; refusals."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
import requests

import parts
from captured import assert_equal, assert_refused, capture_once, configure, finish, start, wait_told
from conftest import real
from owner import Bookings, Owner
from program import wait_until
from road import Road

POINTS = ["slot_created=return", "chunk_saved=2*off->return", "chunk_published=1*off->return", "transaction_open=30*off->return",
          "transaction_published=10*off->return", "position_saved=1*off->return"]


@pytest.fixture
def owner(stack: dict[str, str]) -> Iterator[Owner]:
    owner = Owner(real(stack, parts.POSTGRES))
    yield owner
    owner.close()


def test_tables_are_copied_and_followed(road: Road, owner: Owner) -> None:
    owner.book(1, 2000)
    configure(road, owner)
    bookings = Bookings(owner, 100_000)
    bookings.start()
    program = start(road, owner)
    program.wait_for_line("the table is copied.*gate", 120)
    bookings.stop()
    owner.run("UPDATE booking SET guest = NULL WHERE id % 7 = 0")
    owner.run("INSERT INTO gate VALUES ('C3', NULL)")
    finish(road, owner, program)
    assert_equal(road, owner)


def test_once_copies_a_table_that_is_added_while_the_log_rests(road: Road, owner: Owner) -> None:
    owner.book(1, 200)
    configure(road, owner)
    file = road.folder / "lakehead.toml"
    both = file.read_text()
    gate = both.replace('[[capture.table]]\n"name" = "public.booking"\n', "")
    assert gate != both
    file.write_text(gate)
    capture_once(road, owner)
    file.write_text(both)
    program = capture_once(road, owner, "added")
    assert "copied_rows=200" in program.text, program.text
    road.write_once()
    assert road.sql(f"SELECT count(*) AS n FROM {owner.service}.booking") == [{"n": "200"}]


@pytest.mark.parametrize("point", POINTS, ids=lambda point: point.split("=")[0])
def test_a_kill_at_any_point_loses_and_doubles_nothing(road: Road, owner: Owner, point: str) -> None:
    # Three chunks of the copy.
    owner.book(1, 25_000)
    configure(road, owner)
    bookings = Bookings(owner, 100_000)
    bookings.start()
    window = point.split("=")[0]
    dying = start(road, owner, "dying", faults=True, FAILPOINTS=point)
    assert dying.aborted_at(window, 120), dying.text[-3000:]
    program = start(road, owner)
    bookings.stop()
    wait_told(owner, program)
    # Whoever died early has everything in the copy: something is to come from the log, too.
    owner.book(9_000_000, 9_000_010)
    finish(road, owner, program)
    assert_equal(road, owner)


def test_a_transaction_that_is_never_committed_keeps_nobody_waiting(road: Road, owner: Owner) -> None:
    """Changes that are committed go on past one that is open, and what is rolled back is nowhere."""
    configure(road, owner)
    capture_once(road, owner)
    with psycopg.connect(owner.url, autocommit=True) as other, other.transaction(force_rollback=True):
        other.execute("INSERT INTO gate VALUES ('X9', true)")
        owner.book(1, 10)
        capture_once(road, owner, "beside")
        road.write_once()
        assert road.sql(f"SELECT count(*) AS n FROM {owner.service}.booking") == [{"n": "10"}]
    owner.book(11, 20)
    capture_once(road, owner, "after")
    road.write_once()
    assert_equal(road, owner)


def test_it_says_how_it_does(road: Road, owner: Owner) -> None:
    owner.book(1, 100)
    address = f"127.0.0.1:{parts.free_port()}"
    configure(road, owner, http={"listen": address})
    program = start(road, owner)

    def ask(path: str) -> requests.Response | None:
        try:
            return requests.get(f"http://{address}/{path}", timeout=10)
        except requests.ConnectionError:
            return None

    def answer(path: str) -> requests.Response:
        found = ask(path)
        assert found is not None, program.text[-3000:]
        return found

    wait_until("it is ready", lambda: (found := ask("readyz")) is not None and found.status_code == 200, 120)
    wait_told(owner, program)
    assert answer("livez").text == "alive\n"
    report = answer("readyz").json()
    assert report["ready"] is True and "/" in report["confirmed"] and report["lag_bytes"] >= 0
    lines = answer("metrics").text.splitlines()
    assert "lakehead_capture_streaming 1" in lines and "lakehead_capture_copied_rows_total 102" in lines, lines
    assert program.end() == 0, program.text[-3000:]


def test_what_is_wrong_is_told(road: Road, owner: Owner) -> None:
    configure(road, owner, slot_unbounded=False)
    assert_refused(start(road, owner), 3, "max_slot_wal_keep_size")
    configure(road, owner, slot="Not-A-Slot", database_url=owner.url)
    program = start(road, owner, "wrong")
    assert_refused(program, 2, "holds a password")
    assert "lakehead-postgres-password" not in program.text


def test_what_was_never_told_is_refused_by_name(road: Road, owner: Owner) -> None:
    """The slot is dropped; a table leaves the publication; a table is made again."""
    configure(road, owner)
    capture_once(road, owner)
    owner.run(f"ALTER PUBLICATION {owner.slot} DROP TABLE gate")
    assert_refused(start(road, owner, "unpublished"), 1, "public.gate was captured and is no longer in it", "copy the table again")
    owner.run(f"ALTER PUBLICATION {owner.slot} ADD TABLE gate")
    owner.run("DROP TABLE gate; CREATE TABLE gate (name char(3) PRIMARY KEY, open boolean); ALTER TABLE gate REPLICA IDENTITY FULL")
    owner.run(f"INSERT INTO gate VALUES ('Z1', true); ALTER PUBLICATION {owner.slot} ADD TABLE gate")
    assert_refused(start(road, owner, "again"), 1, "public.gate", "dropped and made again")
    gone = f"SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = '{owner.slot}' AND NOT active"
    wait_until("the slot is dropped", lambda: owner.rows(gone), 60)
    assert_refused(start(road, owner, "gone"), 1, owner.slot, "it is gone", "To copy every table again", "capture")
