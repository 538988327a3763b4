"""`lakehead capture` and its servers: killed and restarted, failed over, put back to an older state, short of room for the log."""

from __future__ import annotations

import os
import pathlib
import random
import shutil
import time
from collections.abc import Iterator

import pytest

import parts
from captured import assert_equal, assert_refused, capture_once, configure, finish, start
from owner import Bookings, Owner
from postgres import Server
from program import wait_until
from road import Road

KILLS = int(os.environ.get("LAKEHEAD_TEST_CAPTURE_KILLS", 12))


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.stop()


@pytest.mark.slow
def test_killed_and_its_servers_restarted(road: Road, server: Server, tmp_path: pathlib.Path) -> None:
    """The capture is killed at random moments, Kafka and Postgres are restarted under it, while the tables are written to."""
    seed = int(os.environ.get("LAKEHEAD_TEST_SEED") or random.randrange(2**32))
    print(f"seed {seed} (LAKEHEAD_TEST_SEED={seed} repeats it)")
    dice = random.Random(seed)
    folder, port = tmp_path / "kafka", parts.free_port()
    folder.mkdir()
    broker, road.bootstrap = parts.start_kafka(folder, port)
    try:
        broker.wait_ready()
        owner = Owner(server.url)
        owner.book(1, 3000)
        configure(road, owner)
        bookings = Bookings(owner, 100_000)
        bookings.start()
        program = start(road, owner, "capture-0")
        for kill in range(KILLS):
            time.sleep(dice.uniform(0.1, 1.5))
            if kill % 4 == 1:
                broker.process.kill()
                broker.process.wait()
                time.sleep(dice.uniform(0.1, 1.0))
                broker, _ = parts.start_kafka(folder, port)
                broker.wait_ready()
            elif kill % 4 == 3:
                server.stop()
                time.sleep(dice.uniform(0.1, 1.0))
                server.start()
            else:
                assert program.kill(), program.text[-3000:]
                program = start(road, owner, f"capture-{kill + 1}")
        bookings.stop()
        owner.connect()
        finish(road, owner, program)
        assert_equal(road, owner)
        print(f"{bookings.rounds} rounds, {KILLS} kills and restarts")
    finally:
        broker.stop()


def recover(server: Server, owner: Owner) -> None:
    """Starts the server as after a failover: on a timeline of its own, from where its files are."""
    server.signal("recovery.signal")
    server.start()
    owner.connect()
    wait_until("it is promoted", lambda: owner.rows("SELECT pg_is_in_recovery()") == [(False,)], 60)


def copy_files(server: Server, owner: Owner, place: pathlib.Path) -> None:
    server.stop()
    shutil.copytree((server.folder / "postgres").resolve(), place)
    server.start()
    owner.connect()


def put_back(server: Server, place: pathlib.Path) -> None:
    """Stops the server and gives it the files that were copied."""
    server.stop()
    data = (server.folder / "postgres").resolve()
    user, group = data.owner(), data.group()
    for file in data.iterdir():
        shutil.rmtree(file) if file.is_dir() else file.unlink()
    shutil.copytree(place, data, dirs_exist_ok=True)
    for folder, _, files in os.walk(data):
        for file in (folder, *(os.path.join(folder, name) for name in files)):
            shutil.chown(file, user, group)


def test_a_failover_that_lost_nothing_goes_on_and_one_that_did_is_refused(road: Road, server: Server, tmp_path: pathlib.Path) -> None:
    owner = Owner(server.url)
    owner.run("ALTER SYSTEM SET restore_command = 'false'")
    owner.book(1, 100)
    configure(road, owner)
    capture_once(road, owner)
    owner.book(101, 200)
    server.stop()
    recover(server, owner)
    owner.book(201, 300)
    told = capture_once(road, owner, "failed-over").text
    assert "failed over or restored" in told, told
    road.write_once()
    assert_equal(road, owner)

    # A copy of the server's files, and changes after it that are captured.
    copy_files(server, owner, tmp_path / "copy")
    owner.book(301, 400)
    capture_once(road, owner, "after-the-copy")
    put_back(server, tmp_path / "copy")
    # As it was, its log ends before what is published; promoted, its timeline left before it.
    server.start()
    assert_refused(start(road, owner, "put-back"), 1, "its log ends at", "the lake has changes that it does not know")
    server.stop()
    recover(server, owner)
    owner.book(301, 5000)
    assert_refused(start(road, owner, "restored"), 1, "timeline 3", "the lake has changes that this server does not know")


def test_a_failover_that_lacks_what_was_published_and_not_confirmed_is_refused(road: Road, server: Server, tmp_path: pathlib.Path) -> None:
    """It has everything that the slot was told of: what came later in its log would be taken for repeats of what was published."""
    owner = Owner(server.url)
    owner.run("ALTER SYSTEM SET restore_command = 'false'")
    owner.book(1, 100)
    configure(road, owner)
    capture_once(road, owner)
    copy_files(server, owner, tmp_path / "copy")
    for number in range(201, 221):
        owner.book(number, number)
    dying = start(road, owner, "dying", faults=True, FAILPOINTS="transaction_published=15*off->return")
    assert dying.aborted_at("transaction_published", 120), dying.text[-3000:]
    put_back(server, tmp_path / "copy")
    recover(server, owner)
    owner.book(301, 310)
    assert_refused(start(road, owner, "lacking"), 1, "timeline 2", "published: the lake")


def test_log_that_postgres_dropped_is_refused(road: Road, server: Server) -> None:
    owner = Owner(server.url)
    owner.run("ALTER SYSTEM SET max_slot_wal_keep_size = '16MB'")
    owner.run("SELECT pg_reload_conf()")
    configure(road, owner, slot_unbounded=False)
    capture_once(road, owner)
    owner.book(1, 100)
    for _ in range(4):
        owner.run("SELECT pg_switch_wal()")
        owner.run("SELECT pg_logical_emit_message(false, 'x', repeat('x', 1000))")
    owner.run("CHECKPOINT")
    status = f"SELECT wal_status FROM pg_replication_slots WHERE slot_name = '{owner.slot}'"
    wait_until("the slot has lost its log", lambda: owner.rows(status) == [("lost",)], 60)
    assert_refused(start(road, owner, "late"), 1, owner.slot, "removed log that it needs", "To copy every table again")
