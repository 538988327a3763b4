"""A writer's own answers: /livez, /readyz, /metrics."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import requests

import parts
from program import wait_until


@dataclass(frozen=True)
class WriterHttp:
    """Where a writer listens."""

    address: str

    @classmethod
    def choose(cls) -> WriterHttp:
        return cls(f"127.0.0.1:{parts.free_port()}")

    def get(self, path: str) -> requests.Response | None:
        """The answer; nothing while nobody listens."""
        try:
            return requests.get(f"http://{self.address}/{path}", timeout=15)
        except requests.ConnectionError:
            return None

    def ready(self) -> dict[str, Any]:
        answer = self.get("readyz")
        if answer is None:
            return {"ready": False, "missing": ["nobody listens"], "stopped": {}}
        report: dict[str, Any] = answer.json()
        assert answer.status_code == (200 if report["ready"] else 503), (answer.status_code, report)
        return report

    def wait_ready(self, seconds: float = 60) -> None:
        wait_until("the writer is ready", lambda: self.ready()["ready"], seconds)

    def stopped(self, table: str) -> str | None:
        """The word for why a table is stopped."""
        stopped = self.ready()["stopped"].get(table)
        return stopped["code"] if stopped else None

    def wait_stopped(self, table: str, *codes: str, seconds: float = 90) -> str:
        found: list[str] = []

        def is_stopped() -> bool:
            code = self.stopped(table)
            found[:] = [code] if code else []
            return code in codes

        wait_until(f"{table} is stopped by one of {codes}", is_stopped, seconds)
        return found[0]

    def metrics(self) -> dict[str, float]:
        """Every sample by its name and labels."""
        answer = self.get("metrics")
        assert answer is not None and answer.status_code == 200
        assert answer.headers["content-type"].startswith("application/openmetrics-text"), answer.headers
        samples = {}
        for line in answer.text.splitlines():
            if not line.startswith("#"):
                name, value = re.fullmatch(r"(\S+(?:\{.*\})?) (\S+)", line).groups()  # type: ignore[union-attr]
                samples[name] = float(value)
        assert answer.text.endswith("# EOF\n")
        return samples
