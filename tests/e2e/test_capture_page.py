"""docs/capture.md, as its reader follows it: with a role that may replicate and read one table, no more."""

from __future__ import annotations

import pathlib

import psycopg

import parts
from dev import Dev
from page import Reader
from postgres import Server
from test_dev import search_path

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "capture.md"


def test_the_page_of_the_docs(dev: Dev) -> None:
    # It changes a setting of the server, so the server is its own.
    server = Server()
    try:
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute("CREATE DATABASE shop")
        owner = f"{server.url.rsplit('/', 1)[0]}/shop"
        instead = {"127.0.0.1:9092": dev.bootstrap, "http://127.0.0.1:8081": dev.registry, "postgres://postgres:secret@127.0.0.1:5432/shop": owner,
                   "127.0.0.1:5432": f"127.0.0.1:{server.port}"}
        path = search_path(dev.folder, dev.binary)
        (path / "psql").symlink_to(parts.postgres_programs() / "psql")
        reader = Reader(PAGE, dev.folder, path, instead)
        program, *arguments = reader.program().split()
        assert (program, arguments[0]) == ("lakehead", "dev")
        running = dev.start("dev", *arguments[1:])
        try:
            assert reader.follow() >= 7
            assert running.end() == 0, running.text[-3000:]
        finally:
            running.kill()
    finally:
        server.stop()
