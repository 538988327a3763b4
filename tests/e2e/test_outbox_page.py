"""docs/outbox.md, as its reader follows it."""

from __future__ import annotations

import pathlib

import parts
import postgres
from conftest import TARGET, built, real
from dev import Dev
from page import Reader
from test_dev import search_path

ROOT = pathlib.Path(__file__).parents[2]
PAGE = ROOT / "docs" / "outbox.md"
PROGRAMS = ROOT / "producers" / "change-events" / "examples"


def test_the_page_of_the_docs(dev: Dev, stack: dict[str, str]) -> None:
    with postgres.database(real(stack, parts.POSTGRES)) as url:
        instead = {"127.0.0.1:9092": dev.bootstrap, "http://127.0.0.1:8081": dev.registry, "postgres://cabin:secret@127.0.0.1:5432/cabin": url,
                   "cargo run --release -p change-events --example ": f"{built('LAKEHEAD_EXAMPLES', TARGET / 'release' / 'examples')}/"}
        reader = Reader(PAGE, dev.folder, search_path(dev.folder, dev.binary), instead, PROGRAMS)
        program, *arguments = reader.program().split()
        assert (program, arguments[0]) == ("lakehead", "dev")
        running = dev.start("dev", *arguments[1:])
        try:
            assert reader.follow() >= 9
            assert running.end() == 0, running.text[-3000:]
        finally:
            running.kill()
