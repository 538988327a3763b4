"""One run of `lakehead demo` in a directory of its own, and questions to what it left there."""

from __future__ import annotations

import csv
import io
import pathlib
import sqlite3
import subprocess
from dataclasses import dataclass

from lake import Lake
from program import DEADLINE_SECONDS, Program


@dataclass
class Demo:
    """A demo's directory; everything of it lies there."""

    binary: pathlib.Path
    folder: pathlib.Path

    @property
    def directory(self) -> pathlib.Path:
        return self.folder / "demo"

    @property
    def lake(self) -> Lake:
        return Lake(str(self.directory / "lake"))

    def start(self, name: str = "demo") -> Program:
        return Program(self.binary, ["demo", "--dir", str(self.directory)], self.folder, name)

    def sql(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run([self.binary, "sql", "--lake", str(self.directory / "lake"), *arguments], capture_output=True, text=True,
                              input=stdin, timeout=DEADLINE_SECONDS, cwd=self.folder)

    def start_sql(self, *arguments: str) -> Program:
        return Program(self.binary, ["sql", "--lake", str(self.directory / "lake"), *arguments], self.folder, "sql")

    def rows(self, query: str) -> list[dict[str, str]]:
        answer = self.sql("-c", query, "--output", "csv")
        assert answer.returncode == 0, answer.stderr
        return list(csv.DictReader(io.StringIO(answer.stdout)))

    def figures(self, query: str) -> tuple[int, ...]:
        [row] = self.rows(query)
        return tuple(int(float(value)) for value in row.values())

    def outbox_rows(self) -> int:
        """How many rows went through the service's outbox: they may be gone by now, their numbers are never given twice."""
        for file in self.directory.rglob("*"):
            if file.is_file() and file.open("rb").read(15) == b"SQLite format 3":
                with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as connection:
                    if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'outbox'").fetchone():
                        return int(connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'outbox'").fetchone()[0])
        raise AssertionError(f"no SQLite file with a table outbox under {self.directory}")
