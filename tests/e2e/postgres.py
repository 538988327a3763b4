"""A database of a test's own on the real Postgres, and the one server that a test may stop."""

from __future__ import annotations

import pathlib
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
