"""`lakehead demo` from nothing, checked against the data set itself; and killed twenty times."""

from __future__ import annotations

import os
import pathlib
import random
import threading
import time

import pytest

import airline_source
from demo import Demo

KILLS = int(os.environ.get("LAKEHEAD_TEST_KILLS", 20))
FIGURES = "count(*), sum(dep_delay), sum(arr_delay), sum(distance)"


def assert_whole(demo: Demo) -> None:
    """Every change once, and the final rows are those of the data set."""
    january = airline_source.january()
    assert (january.flights, january.departed, january.cancelled, january.arrived) == (27_004, 26_483, 521, 26_398)
    assert demo.figures("SELECT count(*), count(DISTINCT _event_id) FROM flights.flight_changes") == (january.changes, january.changes)
    assert demo.outbox_rows() == january.changes == 80_406
    table = "flights.flight"
    current = (january.flights, january.dep_delay, january.arr_delay, january.distance)
    assert demo.figures(f"SELECT {FIGURES} FROM {table}") == current
    carriers = demo.rows(f"SELECT carrier, count(*) AS n FROM {table} GROUP BY carrier")
    assert {row["carrier"]: int(row["n"]) for row in carriers} == january.by_carrier
    assert not demo.lake.exists("dead_letters") or demo.lake.query("SELECT count(*) FROM {dead_letters}") == [(0,)]


def test_the_demo_from_nothing(finished_demo: Demo) -> None:
    assert finished_demo.sql("-c", "select count(*) from flights.flight", "--output", "csv").stdout.split() == ["count(*)", "27004"]
    assert_whole(finished_demo)
    ops = {row["_op"]: int(row["n"]) for row in finished_demo.rows("SELECT _op, count(*) AS n FROM flights.flight_changes GROUP BY _op")}
    assert ops == {"c": 27_004, "u": 80_406 - 27_004}


def test_the_lives_of_flights(finished_demo: Demo) -> None:
    """Scheduled, then departed or cancelled, then arrived: told by the changes, at the instants that the airports' clocks showed."""
    states = "SELECT status, count(*) AS n FROM flights.flight_changes GROUP BY status"
    assert {row["status"]: int(row["n"]) for row in finished_demo.rows(states)} == {
        "scheduled": 27_004, "departed": 26_483, "cancelled": 521, "arrived": 26_398}
    lives = finished_demo.lake.query("""
        SELECT year, month, day, flight, sched_dep_time, carrier, origin, max(_event_time) FILTER (status = 'departed'),
            max(_event_time) FILTER (status = 'arrived') FROM {flights.flight} GROUP BY ALL""")
    wrong = airline_source.wrong_times((tuple(life[:7]), life[7], life[8]) for life in lives)
    assert not wrong, (len(wrong), wrong[:5])


def test_duckdb_agrees_with_the_demo(finished_demo: Demo) -> None:
    sums = "count(*), sum(dep_delay), sum(arr_delay), sum(distance)"
    [foreign] = finished_demo.lake.query(f"SELECT {sums} FROM {{flights.flight}}")
    assert tuple(int(value) for value in foreign) == finished_demo.figures(f"SELECT {sums} FROM flights.flight_changes")


@pytest.mark.slow
def test_the_demo_killed_twenty_times(binary: pathlib.Path, tmp_path: pathlib.Path) -> None:
    seed = int(os.environ.get("LAKEHEAD_TEST_SEED") or random.randrange(2**32))
    print(f"seed {seed} (LAKEHEAD_TEST_SEED={seed} repeats it)")
    dice = random.Random(seed)
    demo = Demo(binary, tmp_path)
    kills = finished = 0
    while kills < KILLS:
        program = demo.start(f"demo-{kills}")
        threading.Event().wait(dice.uniform(0.1, 4.0))
        kills += program.kill()
        finished += program.process.returncode == 0
        assert program.process.returncode in (0, -9), program.text[-3000:]
    begun = time.monotonic()
    last = demo.start("demo-last")
    assert last.wait() == 0, last.text[-3000:]
    print(f"{kills} kills, {finished} runs ended before theirs; the last run took {time.monotonic() - begun:.1f} s")
    assert_whole(demo)
