"""A service and its Postgres database: tables that are written to by nothing of Lakehead's."""

from __future__ import annotations

import threading
import time
import uuid
from typing import Any

import psycopg
from psycopg import sql

BOOKING = """
    CREATE TABLE booking (
        id bigint PRIMARY KEY, guest text, price numeric(10, 2), placed_at timestamptz, tags text[], details jsonb, seat uuid);
    ALTER TABLE booking REPLICA IDENTITY FULL;
    CREATE TABLE gate (name char(3) PRIMARY KEY, open boolean);
    ALTER TABLE gate REPLICA IDENTITY FULL;
    INSERT INTO gate VALUES ('A1', true), ('B2', false);
"""
ROW = """
    SELECT n, CASE WHEN n %% 5 > 0 THEN 'guest ' || n || ' é' END, n::numeric / 8, timestamptz '2013-01-01 05:00:00+00' + n * interval '1.000001 s',
           ARRAY['a,b', n::text, NULL], jsonb_build_object('n', n), md5(n::text)::uuid
    FROM generate_series(%s::bigint, %s::bigint) n
"""


class Owner:
    """A database of one test, and the service that owns it."""

    def __init__(self, server: str):
        self.service = f"s{uuid.uuid4().hex[:10]}"
        name = f"capture_{self.service}"
        with psycopg.connect(server, autocommit=True) as admin:
            admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        self.url = f"{server.rsplit('/', 1)[0]}/{name}"
        self.connect()
        self.run(BOOKING)

    def connect(self) -> None:
        self.connection = psycopg.connect(self.url, autocommit=True)

    def run(self, statement: str, *values: Any) -> None:
        self.connection.execute(statement, values or None)  # type: ignore[call-overload]

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        return self.connection.execute(query).fetchall()  # type: ignore[call-overload, no-any-return]

    def book(self, first: int, last: int) -> None:
        self.run(f"INSERT INTO booking {ROW}", first, last)

    @property
    def slot(self) -> str:
        return f"lakehead_{self.service}"

    def tables(self) -> list[dict[str, Any]]:
        return [{"name": "public.booking"}, {"name": "public.gate"}]

    def close(self) -> None:
        self.connection.close()


class Bookings(threading.Thread):
    """Books, changes, moves and cancels until it is stopped, several changes a transaction; through restarts of the server."""

    def __init__(self, owner: Owner, first: int):
        super().__init__(daemon=True)
        self.url, self.first, self.ended, self.rounds = owner.url, first, threading.Event(), 0
        self.error: BaseException | None = None

    def run(self) -> None:
        while not self.ended.is_set():
            try:
                with psycopg.connect(self.url, autocommit=True) as connection:
                    while not self.ended.is_set():
                        # Counted first: what a server that went away has done of a round is not done again.
                        self.rounds += 1
                        self.book(connection, self.rounds)
            except psycopg.OperationalError:
                time.sleep(0.05)
            except BaseException as error:
                self.error = error
                raise

    def book(self, connection: psycopg.Connection, round_: int) -> None:
        number = self.first + 2 * round_
        with connection.transaction():
            connection.execute(f"INSERT INTO booking {ROW}", (number, number + 1))  # type: ignore[call-overload]
            connection.execute("UPDATE booking SET guest = %s, price = price + 1 WHERE id = %s", (f"new {number}", number))
            connection.execute("UPDATE gate SET open = NOT open WHERE name = 'A1'")
        connection.execute("UPDATE booking SET id = id + 10000000 WHERE id = %s", (number,))
        connection.execute("DELETE FROM booking WHERE id = %s", (round_ % 500 + 1,))

    def stop(self) -> None:
        self.ended.set()
        self.join(60)
        assert self.error is None and self.rounds, self.error or "nothing was written"
