"""`lakehead verify` on the demo's lake and its service's SQLite: what is lost, doubled or altered on either side is found and named."""

from __future__ import annotations

import pathlib
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

import deltalake
import pytest

from demo import Demo
from lake import Lake


@dataclass
class Copy:
    """A finished demo to spoil: its lake and its service's database."""

    binary: pathlib.Path
    folder: pathlib.Path

    @property
    def lake(self) -> Lake:
        return Lake(str(self.folder / "lake"))

    @property
    def database(self) -> pathlib.Path:
        [found] = self.folder.rglob("flights.db")
        return found

    def delta(self) -> deltalake.DeltaTable:
        found = self.lake.delta("flights.flight")
        assert found
        return found

    def verify(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([self.binary, "verify", "--lake", self.lake.url, "--table", "flights.flight", *arguments], capture_output=True,
                              text=True, timeout=120)

    def against(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.verify("--against", f"sqlite://{self.database}", "--wait-max", "0s", *arguments)

    def one_flight(self) -> str:
        """A condition that one flight fulfils."""
        with sqlite3.connect(self.database) as connection:
            year, month, day, carrier, flight, origin, sched = connection.execute(
                "SELECT year, month, day, carrier, flight, origin, sched_dep_time FROM flight WHERE status = 'arrived' "
                "ORDER BY year, month, day, carrier, flight LIMIT 1 OFFSET 4321").fetchone()
        return (f"year = {year} AND month = {month} AND day = {day} AND carrier = '{carrier}' AND flight = {flight} AND origin = '{origin}' "
                f"AND sched_dep_time = {sched}")


@pytest.fixture
def copy(finished_demo: Demo, tmp_path: pathlib.Path) -> Copy:
    shutil.copytree(finished_demo.directory, tmp_path / "copy")
    return Copy(finished_demo.binary, tmp_path / "copy")


def one_difference(answer: subprocess.CompletedProcess[str]) -> str:
    assert answer.returncode == 4, answer.stdout + answer.stderr
    assert "differ; docs/verify.md" in answer.stderr
    [line] = [line for line in answer.stdout.splitlines() if "(range " in line]
    return line.strip()


def test_the_demo_and_its_service_are_the_same(copy: Copy) -> None:
    answer = copy.against()
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert answer.stdout.startswith("flights.flight: the same: 27004 rows at the owner, 27004 in the lake (version ")
    alone = copy.verify()
    assert alone.returncode == 0, alone.stdout + alone.stderr
    assert "80406 rows in" in alone.stdout and " 0 offsets without a row" in alone.stdout


@pytest.mark.parametrize("spoil, expected", [
    ("DELETE FROM flight WHERE {}", "not_at_owner"),
    ("UPDATE flight SET arr_delay = coalesce(arr_delay, 0) + 1, tailnum = NULL WHERE {}", "altered"),
])
def test_a_row_spoilt_at_the_owner(copy: Copy, spoil: str, expected: str) -> None:
    with sqlite3.connect(copy.database) as connection:
        assert connection.execute(spoil.format(copy.one_flight())).rowcount == 1
    line = one_difference(copy.against())
    assert line.startswith(f"{expected} {{\"carrier\":")
    if expected == "altered":
        assert line.endswith("other values in arr_delay, tailnum")


def test_a_row_doubled_and_one_added_at_the_owner(copy: Copy) -> None:
    """A table without a key can hold a row twice."""
    flight = copy.one_flight()
    with sqlite3.connect(copy.database) as connection:
        connection.execute("CREATE TABLE loose AS SELECT * FROM flight")
        connection.execute(f"INSERT INTO loose SELECT * FROM flight WHERE {flight}")
    assert one_difference(copy.against("--owner-table", "loose")).endswith("2 at the owner, 1 in the lake")
    with sqlite3.connect(copy.database) as connection:
        connection.execute(f"UPDATE loose SET flight = 99999 WHERE rowid = (SELECT max(rowid) FROM loose WHERE {flight})")
    line = one_difference(copy.against("--owner-table", "loose"))
    assert line.startswith("not_in_lake") and '"flight":99999' in line


def test_a_row_lost_in_the_lake(copy: Copy) -> None:
    copy.delta().delete(copy.one_flight())
    assert one_difference(copy.against()).startswith("not_in_lake {\"carrier\":")


def test_a_row_altered_in_the_lake(copy: Copy) -> None:
    copy.delta().update(predicate=f"{copy.one_flight()} AND status = 'arrived'", updates={"distance": "distance + 1", "dest": "'XXX'"})
    assert one_difference(copy.against()).endswith("other values in dest, distance")


def test_a_row_doubled_in_the_lake(copy: Copy) -> None:
    delta = copy.delta()
    last = copy.lake.query(f"SELECT max(_offset) FROM {{flights.flight}} WHERE {copy.one_flight()}")[0][0]
    partition = copy.lake.query(f"SELECT min(_partition) FROM {{flights.flight}} WHERE {copy.one_flight()}")[0][0]
    rows = delta.to_pyarrow_table(filters=[("_offset", "=", last), ("_partition", "=", partition)])
    assert rows.num_rows == 1
    deltalake.write_deltalake(delta, rows, mode="append")
    assert one_difference(copy.against()).endswith("1 at the owner, 2 in the lake")
    alone = copy.verify()
    assert alone.returncode == 4, alone.stdout
    assert f"I2: flights.flight/{partition}: offset {last} of " in alone.stdout
    assert "is in the table twice" in alone.stdout


def test_a_data_file_that_is_gone(copy: Copy) -> None:
    gone = pathlib.Path(copy.delta().file_uris()[0].removeprefix("file://"))
    gone.unlink()
    alone = copy.verify()
    assert alone.returncode == 4, alone.stdout
    assert f"I10: the log names {gone.parent.name}/{gone.name}, and it is not there" in alone.stdout


def test_what_cannot_be_compared_is_said(copy: Copy, tmp_path: pathlib.Path) -> None:
    missing = copy.against("--owner-table", "nothing")
    assert missing.returncode == 1 and "has no table \"nothing\"" in missing.stderr
    other = copy.against("--owner-table", "outbox")
    assert other.returncode == 1 and "the owner's table has no such column" in other.stderr
    nowhere = copy.verify("--against", f"sqlite://{tmp_path}/none.db")
    assert nowhere.returncode in (1, 3) and "cannot be opened" in nowhere.stderr
    assert copy.verify("--against", "mysql://x").returncode == 2
