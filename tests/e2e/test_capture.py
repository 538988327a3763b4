"""Capture: tables of a real Postgres in the lake, through Kafka and a real registry; kills at named points; refusals."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import parts
from conftest import real
from owner import Bookings, Owner
from program import Program, wait_until
from road import Road, toml

POINTS = ["slot_created=return", "chunk_saved=2*off->return", "chunk_published=1*off->return", "transaction_open=30*off->return",
          "transaction_published=10*off->return", "position_saved=1*off->return"]
# Dates and texts as both sides write them alike.
OWNERS = "id, guest, price::text, (extract(epoch FROM placed_at) * 1000000)::bigint, tags, details::text, seat::text"
LAKES = "id, guest, price::varchar, epoch_us(placed_at), tags, details, seat"


@pytest.fixture
def owner(stack: dict[str, str]) -> Iterator[Owner]:
    owner = Owner(real(stack, parts.POSTGRES))
    yield owner
    owner.close()


def configure(road: Road, owner: Owner, **settings: object) -> None:
    """`[capture]` beside what the lake-writer needs."""
    road.configure({"match": f"{owner.service}\\.transaction", "shape": "append"}, {"match": f"{owner.service}\\..*"})
    capture = {"service": owner.service, "database_url": {"env": "OWNER_URL"}, "slot_unbounded": True} | settings
    lines = ["[capture]", *toml(capture), ""]
    for table in owner.tables():
        lines += ["[[capture.table]]", *toml(table), ""]
    file = road.folder / "lakehead.toml"
    file.write_text(file.read_text() + "\n" + "\n".join(lines))


def start(road: Road, owner: Owner, name: str = "capture", faults: bool = False, **environment: str) -> Program:
    return road.start(name, "capture", "--config", "lakehead.toml", faults=faults, OWNER_URL=owner.url, **environment)


def finish(road: Road, owner: Owner, program: Program) -> None:
    """Waits until Postgres was told that everything is published, stops the capture and lands it."""
    [(end,)] = owner.rows("SELECT pg_current_wal_lsn()::text")
    told = f"SELECT confirmed_flush_lsn >= '{end}' FROM pg_replication_slots WHERE slot_name = 'lakehead_{owner.service}'"
    wait_until(f"{end} is confirmed", lambda: not program.alive() or owner.rows(told) == [(True,)], 120)
    assert program.alive(), program.text[-3000:]
    code = program.end()
    assert code == 0, program.text[-3000:]
    road.write_once()


def assert_equal(road: Road, owner: Owner) -> None:
    """The current state is the table's; no event landed twice; each fits what was before it; transactions are whole."""
    booking, gate = f"{owner.service}.booking", f"{owner.service}.gate"
    query = road.lake.query
    live = f"""SELECT * FROM {{{booking}}} QUALIFY row_number() OVER (PARTITION BY id ORDER BY _offset DESC) = 1"""
    assert query(f"SELECT {LAKES} FROM ({live}) WHERE _op <> 'd' ORDER BY id") == owner.rows(f"SELECT {OWNERS} FROM booking ORDER BY id")
    assert road.sql(f"SELECT name, open FROM {gate} ORDER BY name") == [
        {"name": name, "open": str(is_open).lower()} for name, is_open in owner.rows("SELECT name, open FROM gate ORDER BY name")]
    for table in (booking, gate):
        assert query(f"SELECT _source.sequence, count(*) FROM {{{table}}} GROUP BY 1 HAVING count(*) > 1") == []
        assert query(f"SELECT count(*) FROM {{{table}}} WHERE _source.lsn IS NULL OR (_op <> 'r') <> (_source.transaction IS NOT NULL)") == [(0,)]
    # A row is created or copied first, and once while it lives.
    assert query(f"""SELECT id, _op, earlier FROM (
        SELECT id, _op, lag(_op) OVER (PARTITION BY id ORDER BY _offset) AS earlier FROM {{{booking}}})
        WHERE (_op IN ('c', 'r')) <> (earlier IS NULL OR earlier = 'd')""") == []
    counted = query(f"""SELECT _source.transaction, count(*) FROM (
        SELECT _source, _op FROM {{{booking}}} UNION ALL SELECT _source, _op FROM {{{gate}}}) WHERE _op <> 'r' GROUP BY 1 ORDER BY 1""")
    told = query(f"""SELECT split_part(id, ':', 1), event_count FROM {{{owner.service}.transaction}} WHERE status = 'END' ORDER BY 1""")
    assert told == counted and told


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


@pytest.mark.parametrize("point", POINTS, ids=lambda point: point.split("=")[0])
def test_a_kill_at_any_point_loses_and_doubles_nothing(road: Road, owner: Owner, point: str) -> None:
    owner.book(1, 3000)
    configure(road, owner)
    bookings = Bookings(owner, 100_000)
    bookings.start()
    window = point.split("=")[0]
    dying = start(road, owner, "dying", faults=True, FAILPOINTS=point)
    assert dying.aborted_at(window, 120), dying.text[-3000:]
    # What was published before is in the lake before the rest comes, as it would be.
    program = start(road, owner)
    bookings.stop()
    finish(road, owner, program)
    assert_equal(road, owner)


def test_what_is_wrong_is_told(road: Road, owner: Owner) -> None:
    configure(road, owner, slot_unbounded=False)
    program = start(road, owner)
    assert program.wait(60) == 3 and "max_slot_wal_keep_size" in program.text
    configure(road, owner, slot="Not-A-Slot", database_url=owner.url)
    program = start(road, owner, "wrong")
    assert program.wait(60) == 2
    assert "holds a password" in program.text and "lakehead-postgres-password" not in program.text
