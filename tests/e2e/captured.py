"""`lakehead capture` of an owner's tables, and what must hold of them in the lake."""

from __future__ import annotations

from owner import Owner
from program import Program, wait_until
from road import Road, toml

# Dates and texts as both sides write them alike.
OWNERS = "id, guest, price::text, (extract(epoch FROM placed_at) * 1000000)::bigint, tags, details::text, seat::text"
LAKES = "id, guest, price::varchar, epoch_us(placed_at), tags, details, seat"


def configure(road: Road, owner: Owner, *topics: dict[str, object], **settings: object) -> None:
    """`[capture]` beside what the lake-writer needs."""
    road.configure({"match": f"{owner.service}\\.transaction", "shape": "append"}, {"match": f"{owner.service}\\..*"}, *topics)
    capture = {"service": owner.service, "database_url": {"env": "OWNER_URL"}, "slot_unbounded": True} | settings
    lines = ["[capture]", *toml(capture), ""]
    for table in owner.tables():
        lines += ["[[capture.table]]", *toml(table), ""]
    file = road.folder / "lakehead.toml"
    file.write_text(file.read_text() + "\n" + "\n".join(lines))


def start(road: Road, owner: Owner, name: str = "capture", *arguments: str, faults: bool = False, **environment: str) -> Program:
    return road.start(name, "capture", "--config", "lakehead.toml", *arguments, faults=faults, OWNER_URL=owner.url, **environment)


def capture_once(road: Road, owner: Owner, name: str = "once") -> Program:
    program = start(road, owner, name, "--once")
    assert program.wait(120) == 0, program.text[-3000:]
    return program


def wait_told(owner: Owner, program: Program) -> None:
    """Waits until Postgres was told that everything is published."""
    [(end,)] = owner.rows("SELECT pg_current_wal_lsn()::text")
    told = f"SELECT confirmed_flush_lsn >= '{end}' FROM pg_replication_slots WHERE slot_name = '{owner.slot}'"
    wait_until(f"{end} is confirmed", lambda: not program.alive() or owner.rows(told) == [(True,)], 120)
    assert program.alive(), program.text[-3000:]


def finish(road: Road, owner: Owner, program: Program) -> None:
    """Waits until everything is published, stops the capture and lands it."""
    wait_told(owner, program)
    code = program.end()
    assert code == 0, program.text[-3000:]
    road.write_once()


def assert_refused(program: Program, code: int, *parts: str) -> None:
    """It ends by itself, and says why."""
    assert program.wait(60) == code, program.text[-3000:]
    for part in parts:
        assert part in program.text, f"{part!r} is not in:\n{program.text[-3000:]}"


def assert_equal(road: Road, owner: Owner) -> None:
    """The current state is the table's; no event landed twice; each fits what was before it; transactions are whole."""
    booking, gate = f"{owner.service}.booking", f"{owner.service}.gate"
    query = road.lake.query
    live = f"""SELECT * FROM {{{booking}}} QUALIFY row_number() OVER (PARTITION BY id ORDER BY _offset DESC) = 1"""
    assert query(f"SELECT {LAKES} FROM ({live}) WHERE _op <> 'd' ORDER BY id") == owner.rows(f"SELECT {OWNERS} FROM booking ORDER BY id")
    assert road.sql(f"SELECT name, open FROM {gate} ORDER BY name") == [
        {"name": name, "open": "" if is_open is None else str(is_open).lower()}
        for name, is_open in owner.rows("SELECT name, open FROM gate ORDER BY name")]
    for table in (booking, gate):
        assert query(f"SELECT _event_id, count(*) FROM {{{table}}} GROUP BY 1 HAVING count(*) > 1") == []
        assert query(f"SELECT count(*) FROM {{{table}}} WHERE _source.lsn IS NULL OR (_op <> 'r') <> (_source.transaction IS NOT NULL)") == [(0,)]
    # A row is created or copied first, and once while it lives.
    assert query(f"""SELECT id, _op, earlier FROM (
        SELECT id, _op, lag(_op) OVER (PARTITION BY id ORDER BY _offset) AS earlier FROM {{{booking}}})
        WHERE (_op IN ('c', 'r')) <> (earlier IS NULL OR earlier = 'd')""") == []
    counted = query(f"""SELECT _source.transaction, count(*) FROM (
        SELECT _source, _op FROM {{{booking}}} UNION ALL SELECT _source, _op FROM {{{gate}}}) WHERE _op <> 'r' GROUP BY 1 ORDER BY 1""")
    told = query(f"""SELECT split_part(id, ':', 1), event_count FROM {{{owner.service}.transaction}} WHERE status = 'END' ORDER BY 1""")
    assert told == counted and told
