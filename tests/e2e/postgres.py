"""A database of a test's own on the real Postgres, and the one server that a test may stop."""

from __future__ import annotations

import pathlib
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

import parts


@contextmanager
def database(server: str) -> Iterator[str]:
    """The URL of a new database, dropped in the end."""
    name = f"outbox_{uuid.uuid4().hex}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    try:
        yield f"{server.rsplit('/', 1)[0]}/{name}"
    finally:
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


class Server:
    """A server of the test's own; its address stays the same over restarts."""

    def __init__(self) -> None:
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="lakehead-e2e-"))
        self.port = parts.free_port()
        self.start()

    def start(self) -> None:
        self.part, self.url = parts.start_postgres(self.folder, self.port)
        self.part.wait_ready()

    def stop(self) -> None:
        self.part.stop()

    def become_standby(self) -> None:
        """Starts a server that was stopped as one that waits for more log, and answers questions meanwhile."""
        self.signal("standby.signal")
        self.start()

    def signal(self, name: str) -> None:
        """Tells the server by a file how to start."""
        data = (self.folder / "postgres").resolve()
        (data / name).touch()
        shutil.chown(data / name, data.owner(), data.group())
