"""`lakehead verify --against` the Postgres database whose tables are captured: every type is the same, and what is spoilt is named."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from typing import Any

import deltalake
import pytest

import parts
from captured import capture_once, configure, finish, start
from conftest import real
from owner import Bookings, Owner
from postgres import Server
from program import wait_until
from road import Road

# How each of these is written hangs on who asks: its output function, a cast to text and JSON all differ for some.
SAMPLE = """
CREATE DOMAIN money_amount AS numeric(9, 2);
CREATE TABLE sample (
    id int PRIMARY KEY, padded char(5), short varchar(9), flag boolean, small smallint, big bigint, number oid, single real, double_ double precision,
    free numeric, price numeric(12, 3), amount money_amount, day date, clock time, clock_zone timetz, wall timestamp, at timestamptz, lasts interval,
    uid uuid, doc json, doc_b jsonb, raw bytea, host inet, net cidr, bits bit(3), span int4range, flag_text boolean,
    singles real[], numbers int[], texts text[], raws bytea[], walls timestamp[], ats timestamptz[], clocks timetz[], frees numeric[],
    prices numeric(5, 2)[], docs jsonb[], paddeds char(3)[], flags boolean[], days date[], uids uuid[], hosts inet[], lastings interval[]);
ALTER TABLE sample REPLICA IDENTITY FULL;
INSERT INTO sample VALUES (
    1, 'ab', 'ab', true, -7, 9007199254740993, 4294967295, 0.1, 1e-300, 12.50, 12.5, 3, '2024-02-29', '23:59:59.5', '01:02:03.5+02',
    '2013-01-01 05:02:03.004', '2013-01-01 05:02:03.004+01', '1 mon 2 days 03:04:05.6', 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11', '{"a": 1.0}',
    '{"b": [1, null]}', '\\x00ff', '10.0.0.1', '10.0.0.0/8', B'101', '[1,5)', false,
    '{0.1,NULL,NaN}', '{1,NULL,3}', ARRAY['a,b', '"q"', NULL, 'ö', ''], ARRAY['\\x01'::bytea], '{2013-01-01 05:02:03}', '{2013-01-01 05:02:03+05}',
    '{01:02:03+00}', '{1.50,NaN}', '{1.5}', ARRAY['{"x": 1}'::jsonb], '{a,bcd}', '{t,f,NULL}', '{1999-12-31}',
    '{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}', '{10.0.0.1}', '{1 day}');
INSERT INTO sample (id, texts, singles, clock_zone) VALUES (2, '{}', '{}', '00:00:00+00');
"""


class Sampled(Owner):
    """An owner who has a table of all types, too."""

    def __init__(self, server: str):
        super().__init__(server)
        self.run(SAMPLE)

    def tables(self) -> list[dict[str, Any]]:
        return [*super().tables(), {"name": "public.sample", "text_columns": ["flag_text"]}]


@pytest.fixture
def owner(stack: dict[str, str]) -> Iterator[Sampled]:
    owner = Sampled(real(stack, parts.POSTGRES))
    yield owner
    owner.close()


def against(road: Road, owner: Owner, table: str, wait: str = "0s") -> subprocess.CompletedProcess[str]:
    return road.run("verify", "--config", "lakehead.toml", "--table", f"{owner.service}.{table}", "--against", owner.url,
                    "--owner-table", table, "--wait-max", wait)


def assert_same(answer: subprocess.CompletedProcess[str], rows: int) -> None:
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert f"the same: {rows} rows at the owner, {rows} in the lake" in answer.stdout, answer.stdout


def differences(answer: subprocess.CompletedProcess[str]) -> list[str]:
    """Without the numbers of their ranges."""
    assert answer.returncode == 4, answer.stdout + answer.stderr
    lines = [line.strip() for line in answer.stdout.splitlines() if " (range " in line]
    return sorted(head + tail.split(")", 1)[1] for head, tail in (line.split(" (range ", 1) for line in lines))


def test_every_type_is_the_same_and_what_is_spoilt_on_either_side_is_named(road: Road, owner: Sampled) -> None:
    owner.book(1, 500)
    configure(road, owner)
    capture_once(road, owner)
    # Once as a row of the copy, once as a change.
    columns = [name for (name,) in owner.rows(
        "SELECT attname::text FROM pg_attribute WHERE attrelid = 'sample'::regclass AND attnum > 1 ORDER BY attnum")]
    listed = ", ".join(columns)
    owner.run(f"INSERT INTO sample (id, {listed}) SELECT id + 10, {listed} FROM sample")
    owner.run("UPDATE booking SET guest = 'new' WHERE id % 7 = 0")
    capture_once(road, owner, "more")
    road.write_once()
    assert_same(against(road, owner, "sample"), 4)
    assert_same(against(road, owner, "booking"), 500)

    owner.run("UPDATE booking SET price = price + 0.01 WHERE id = 11")
    owner.run("DELETE FROM booking WHERE id = 12")
    owner.run("INSERT INTO booking SELECT 1000, guest, price, placed_at, tags, details, seat FROM booking WHERE id = 13")
    table = f"{owner.service}.booking"
    delta = road.lake.delta(table)
    assert delta
    delta.delete("id = 15")
    delta.update(predicate="id = 16", updates={"guest": "'Mallory'"})
    [[partition, offset]] = road.lake.query("SELECT _partition, max(_offset) FROM {%s} WHERE id = 17 GROUP BY 1" % table)
    again = delta.to_pyarrow_table(filters=[("_offset", "=", offset), ("_partition", "=", partition)])
    deltalake.write_deltalake(delta, again, mode="append")
    assert differences(against(road, owner, "booking")) == [
        'altered {"id":11}: other values in price', 'altered {"id":16}: other values in guest',
        'doubled {"id":17}: 1 at the owner, 2 in the lake', 'not_at_owner {"id":12}: the lake has it, the owner does not',
        'not_in_lake {"id":1000}: the owner has it, the lake does not', 'not_in_lake {"id":15}: the owner has it, the lake does not']


def test_while_the_service_writes_nothing_differs(road: Road, owner: Sampled) -> None:
    owner.book(1, 2000)
    configure(road, owner)
    bookings = Bookings(owner, 100_000)
    bookings.start()
    program, writer = start(road, owner), road.writer()
    table = f"{owner.service}.booking"
    try:
        wait_until("changes land", lambda: road.lake.exists(table) and road.lake.query("SELECT count(*) FROM {%s} WHERE _op = 'u'" % table) > [(0,)])
        for _ in range(3):
            rounds = bookings.rounds
            answer = against(road, owner, "booking", wait="100s")
            assert answer.returncode == 0, answer.stdout + answer.stderr
            wait_until("the service goes on", lambda: bookings.rounds > rounds)
    finally:
        bookings.stop()
    assert writer.end() == 0, writer.text[-3000:]
    finish(road, owner, program)
    [(rows,)] = owner.rows("SELECT count(*) FROM booking")
    assert_same(against(road, owner, "booking"), rows)


def test_a_standby_is_refused_by_name(road: Road) -> None:
    """Its snapshots do not tell which transactions were open."""
    server = Server()
    try:
        owner = Owner(server.url)
        owner.run("ALTER SYSTEM SET restore_command = 'false'")
        owner.book(1, 10)
        configure(road, owner)
        capture_once(road, owner)
        road.write_once()
        assert_same(against(road, owner, "booking"), 10)
        server.stop()
        server.become_standby()
        owner.connect()
        assert owner.rows("SELECT pg_is_in_recovery()") == [(True,)]
        answer = against(road, owner, "booking")
        assert answer.returncode == 1, answer.stdout + answer.stderr
        assert "in recovery" in answer.stderr and "the address of the primary" in answer.stderr
    finally:
        server.stop()
