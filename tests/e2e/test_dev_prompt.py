"""The prompt of `lakehead dev`, on a terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import subprocess
import termios
import time

from dev import TABLE, Dev, Service
from program import DEADLINE_SECONDS, wait_until


def controlled() -> None:
    """Makes the terminal that a process reads from its own, so that Ctrl-C reaches it."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


class Terminal:
    """A program that believes that somebody types."""

    def __init__(self, dev: Dev, *arguments: str):
        self.screen, theirs = pty.openpty()
        self.process = subprocess.Popen([dev.binary, "dev", *dev.ports, *arguments], cwd=dev.folder, stdin=theirs, stdout=theirs, stderr=theirs,
                                        env=os.environ | {"NO_COLOR": "1"}, start_new_session=True, preexec_fn=controlled)
        os.close(theirs)
        self.seen = ""

    def type(self, text: str) -> None:
        os.write(self.screen, text.encode())

    def wait_for(self, text: str, seconds: float = DEADLINE_SECONDS) -> None:
        """Waits for a text that comes after everything waited for before."""
        deadline = time.monotonic() + seconds
        while text not in self.seen:
            assert time.monotonic() < deadline, f"{text!r} did not come:\n{self.seen}"
            if select.select([self.screen], [], [], 0.2)[0]:
                try:
                    self.seen += os.read(self.screen, 65536).decode(errors="replace")
                except OSError:
                    raise AssertionError(f"it ended before {text!r}:\n{self.seen}") from None
        self.seen = self.seen.split(text, 1)[1]


def test_the_prompt(dev: Dev) -> None:
    terminal = Terminal(dev)
    try:
        terminal.wait_for("lakehead> ")
        service = Service(dev)
        service.publish({"id": 7, "item": "lamp", "quantity": 2})
        service.flush()
        wait_until("the record is committed", lambda: dev.changes() == 1)
        terminal.type("select item, quantity + 40 as n\n")
        terminal.wait_for("..> ")
        terminal.type(f"from {TABLE};\n")
        terminal.wait_for("| lamp | 42 |")
        terminal.wait_for("lakehead> ")
        terminal.type("selec 1;\n")
        terminal.wait_for("error: ")
        terminal.wait_for("lakehead> ")
        # Ctrl-C drops what was typed, and nothing else.
        terminal.type("select 'never\n")
        terminal.wait_for("..> ")
        terminal.type("\x03")
        terminal.wait_for("lakehead> ")
        terminal.type("\\d\n")
        terminal.wait_for("purchase_changes")
        terminal.wait_for("lakehead> ")
        terminal.type("\x04")
        assert terminal.process.wait(DEADLINE_SECONDS) == 0
    finally:
        terminal.process.kill()
        terminal.process.wait()
