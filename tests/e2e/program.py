"""Lakehead as a process: started, signalled, waited for, its log kept."""

from __future__ import annotations

import os
import pathlib
import re
import signal
import subprocess
import time
from collections.abc import Callable

# Ends what would hang, and nothing else: many times what anything here takes on a machine that is busy with other things.
DEADLINE_SECONDS = 180.0


def wait_until(what: str, holds: Callable[[], object], seconds: float = DEADLINE_SECONDS) -> None:
    """Waits on a condition, never on a clock."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:.0f} s: {what}")
        time.sleep(0.05)


class Program:
    """One process in a session of its own; stdout and stderr go to `<folder>/<name>.log`."""

    def __init__(self, binary: pathlib.Path, arguments: list[str], folder: pathlib.Path, name: str, **environment: str):
        self.name, self.log = name, folder / f"{name}.log"
        self.environment = {"NO_COLOR": "1"} | environment
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen([str(binary), *arguments], cwd=folder, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                                            env=os.environ | self.environment, start_new_session=True)

    @property
    def text(self) -> str:
        return self.log.read_text(errors="replace")

    def alive(self) -> bool:
        return self.process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.process.pid, number)

    def kill(self) -> bool:
        """SIGKILL; false when it had ended by itself."""
        was_alive = self.alive()
        if was_alive:
            self.signal(signal.SIGKILL)
        code = self.process.wait(DEADLINE_SECONDS)
        return was_alive and code == -signal.SIGKILL

    def end(self, seconds: float = DEADLINE_SECONDS) -> int:
        """SIGTERM, then its exit code."""
        if self.alive():
            self.signal(signal.SIGTERM)
        return self.wait(seconds)

    def wait(self, seconds: float = DEADLINE_SECONDS) -> int:
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} still runs after {seconds:.0f} s; end of its log:\n{self.text[-3000:]}") from None

    def wait_for_line(self, pattern: str, seconds: float = DEADLINE_SECONDS) -> None:
        def said() -> bool:
            return re.search(pattern, self.text) is not None
        wait_until(f"{self.name} logs /{pattern}/", lambda: said() or not self.alive(), seconds)
        assert said(), f"{self.name} ended ({self.process.returncode}) before it logged /{pattern}/:\n{self.text[-3000:]}"

    def aborted_at(self, window: str, seconds: float = DEADLINE_SECONDS) -> bool:
        """Whether it ended by an abort in a named window of the faults build, and said so."""
        return self.wait(seconds) == -signal.SIGABRT and window in self.text
