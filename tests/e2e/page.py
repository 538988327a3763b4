"""A page of the docs as its reader follows it: its files are written, its commands run, its answers compared.

Of a fenced block, the first line says what it is:
  ```json NAME, ```python NAME   a file of that name; toml and sql too, which without a name are only shown
  ```rust,no_run NAME            the program of that name as the repository has it, built
  ```sh dev                      the program that stays, in a first shell
  ```sh                          commands that must succeed; `sh fails`: that must not
  ```text                        what the commands before it print: every line of it, in this order
"""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from program import DEADLINE_SECONDS

# A question may be asked before the answer is in the lake; what changes something is done once.
QUESTIONS = re.compile(r"^(lakehead sql|kcat .* -[LC] |curl -s http)")


@dataclass
class Block:
    line: int
    kind: str
    words: tuple[str, ...]
    text: str


def blocks(page: pathlib.Path) -> Iterator[Block]:
    kind: list[str] | None = None
    lines: list[str] = []
    for number, line in enumerate(page.read_text().splitlines(), 1):
        if not line.startswith("```"):
            lines.append(line)
        elif kind is None:
            kind, lines = line.removeprefix("```").split() or ["plain"], []
        else:
            yield Block(number, kind[0], tuple(kind[1:]), "\n".join(lines) + "\n")
            kind = None


class Reader:
    """Somebody in a folder of their own, with a `PATH` of theirs, whose addresses may differ from the page's."""

    def __init__(self, page: pathlib.Path, folder: pathlib.Path, path: pathlib.Path, instead: Mapping[str, str],
                 programs: pathlib.Path | None = None):
        self.page, self.folder, self.instead, self.programs = page, folder, instead, programs
        self.environment = os.environ | {"PATH": f"{path}:{os.environ['PATH']}", "NO_COLOR": "1"}
        found = list(blocks(page))
        self.steps = [(block, after if after and after.kind == "text" else None)
                      for block, after in zip(found, [*found[1:], None]) if block.kind != "text"]

    def program(self) -> str:
        """The command line of the program that stays."""
        [dev] = [block.text for block, _ in self.steps if block.words == ("dev",)]
        return self.said(dev).strip()

    def follow(self) -> int:
        """Does everything that the page says; the number of commands run."""
        commands = 0
        for block, expected in self.steps:
            if block.kind in ("json", "python", "toml", "sql") and block.words:
                (self.folder / block.words[0]).write_text(self.said(block.text))
            elif block.kind.startswith("rust") and block.words:
                assert self.programs and block.text == (self.programs / block.words[0]).read_text(), f"{block.words[0]} is another program"
            elif block.kind == "sh" and block.words != ("dev",):
                self.run(block, self.said(expected.text).splitlines() if expected else [])
                commands += 1
        return commands

    def run(self, block: Block, expected: list[str]) -> None:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while True:
            # Its shell's options are the test's: a command that fails in the middle of a block is a failure.
            done = subprocess.run(["bash", "-euo", "pipefail", "-c", self.said(block.text)], cwd=self.folder, env=self.environment, text=True,
                                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=DEADLINE_SECONDS)
            as_said = (done.returncode != 0) == ("fails" in block.words)
            missing = first_missing(expected, done.stdout)
            if as_said and missing is None:
                return
            if not QUESTIONS.match(block.text) or time.monotonic() > deadline:
                place = f"{self.page.name}, the block that ends in line {block.line}"
                raise AssertionError(f"{place}: exit code {done.returncode}, missing {missing!r} in:\n{done.stdout}\nof:\n{block.text}")
            time.sleep(0.1)

    def said(self, text: str) -> str:
        for theirs, ours in self.instead.items():
            text = text.replace(theirs, ours)
        return text


def first_missing(expected: list[str], output: str) -> str | None:
    at = 0
    for line in expected:
        found = output.find(line, at)
        if found < 0:
            return line
        at = found + len(line)
    return None
