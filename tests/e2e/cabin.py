"""A service on Postgres with an outbox, in Python: seats whose every change is numbered, from many connections at once."""

from __future__ import annotations

import json
import random
import threading
import time
from dataclasses import dataclass, field
from typing import Any

import psycopg

from road import Road, toml

TABLE = "cabin.seat"
CONTRACT: dict[str, Any] = {"type": "record", "name": "Seat", "lakehead.key": ["id"], "fields": [
    {"name": "id", "type": "int"}, {"name": "version", "type": "long"}, {"name": "holder", "type": ["null", "string"], "default": None}]}
SEATS = 7
EMIT = "SELECT lakehead.emit(%s, 'u', key => %s, after => %s)"


def configure(road: Road, topic: str, **relay: Any) -> str:
    """Appends `[relay]` to the road's configuration; the database's address is `DATABASE_URL`."""
    settings = {"database_url": {"env": "DATABASE_URL"}, "topic_partitions": 4} | relay
    entity = {"name": TABLE, "topic": topic, "contract": road.contract(CONTRACT, "seat.avsc")}
    lines = ["", "[relay]", *toml(settings), "", "[[relay.entity]]", *toml(entity), ""]
    file = road.folder / "lakehead.toml"
    file.write_text(file.read_text() + "\n".join(lines))
    return file.name


@dataclass
class Cabin:
    """Writers that go on through restarts of the server. `committed` has (seat, version) of every transaction that was."""

    url: str
    seed: int
    writers: int = 4
    committed: set[tuple[int, int]] = field(default_factory=set)
    in_doubt: set[tuple[int, int]] = field(default_factory=set)
    stopping: bool = False
    threads: list[threading.Thread] = field(default_factory=list)
    errors: list[BaseException] = field(default_factory=list)

    def create(self) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("CREATE TABLE seat (id int PRIMARY KEY, version bigint NOT NULL)")
            connection.execute(f"INSERT INTO seat SELECT id, 0 FROM generate_series(0, {SEATS - 1}) AS id")

    def start(self) -> None:
        for number in range(self.writers):
            thread = threading.Thread(target=self.work, args=(random.Random(self.seed + number),))
            thread.start()
            self.threads.append(thread)

    def stop(self) -> None:
        self.stopping = True
        for thread in self.threads:
            thread.join()
        if self.errors:
            raise self.errors[0]

    def work(self, dice: random.Random) -> None:
        try:
            while not self.stopping:
                try:
                    with psycopg.connect(self.url, autocommit=True) as connection:
                        while not self.stopping:
                            self.transact(connection, dice)
                except psycopg.OperationalError:
                    time.sleep(0.05)
        except BaseException as error:
            self.errors.append(error)

    def transact(self, connection: psycopg.Connection, dice: random.Random) -> None:
        """Some seats in rising order, each row changed first; sometimes held open, sometimes rolled back."""
        seats = sorted(dice.sample(range(SEATS), dice.randint(1, 3)))
        drawn: set[tuple[int, int]] = set()
        rolls_back = dice.random() < 0.2
        try:
            with connection.transaction():
                for seat in seats:
                    row = connection.execute("UPDATE seat SET version = version + 1 WHERE id = %s RETURNING version", (seat,)).fetchone()
                    assert row
                    after = {"id": seat, "version": row[0], "holder": f"holder {row[0]}"}
                    connection.execute(EMIT, (TABLE, json.dumps({"id": seat}), json.dumps(after)))
                    drawn.add((seat, row[0]))
                    if dice.random() < 0.3:
                        time.sleep(dice.random() * 0.01)
                if rolls_back:
                    raise psycopg.Rollback
        except psycopg.OperationalError:
            # The server went away: whether it committed, its table knows.
            self.in_doubt |= drawn
            raise
        except psycopg.Rollback as error:
            # The server went away before it was told to roll back, and does so by itself.
            raise psycopg.OperationalError from error
        if not rolls_back:
            self.committed |= drawn

    def changes(self) -> dict[int, int]:
        """The last version of each seat. Versions have no gaps: what is rolled back is drawn again."""
        with psycopg.connect(self.url) as connection:
            return dict(connection.execute("SELECT id, version FROM seat").fetchall())
