"""A writer's own answers: /livez, /readyz, /metrics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import requests
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_open_metrics
from prometheus_client.parser import text_string_to_metric_families as parse_plain

import parts
from program import DEADLINE_SECONDS, wait_until

# The stated bound of a stop.
STOP_SECONDS = 45.0


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
            return requests.get(f"http://{self.address}/{path}", timeout=DEADLINE_SECONDS)
        except requests.ConnectionError:
            return None

    def ready(self) -> dict[str, Any]:
        answer = self.get("readyz")
        if answer is None:
            return {"ready": False, "missing": ["nobody listens"], "stopped": {}}
        report: dict[str, Any] = answer.json()
        assert answer.status_code == (200 if report["ready"] else 503), (answer.status_code, report)
        return report

    def wait_ready(self, seconds: float = DEADLINE_SECONDS) -> None:
        wait_until("the writer is ready", lambda: self.ready()["ready"], seconds)

    def stopped(self, table: str) -> str | None:
        """The word for why a table is stopped."""
        stopped = self.ready()["stopped"].get(table)
        return stopped["code"] if stopped else None

    def wait_stopped(self, table: str, *codes: str, seconds: float = DEADLINE_SECONDS) -> str:
        found: list[str] = []

        def is_stopped() -> bool:
            code = self.stopped(table)
            found[:] = [code] if code else []
            return code in codes

        wait_until(f"{table} is stopped by one of {codes}", is_stopped, seconds)
        return found[0]

    def families(self, plain: bool = False) -> list[Metric]:
        """What a scraper reads, which is an error to it if it is not as the format says."""
        accept = "*/*" if plain else "application/openmetrics-text; version=1.0.0; charset=utf-8"
        answer = requests.get(f"http://{self.address}/metrics", headers={"Accept": accept}, timeout=DEADLINE_SECONDS)
        expected = "text/plain; version=0.0.4; charset=utf-8" if plain else accept
        assert (answer.status_code, answer.headers["content-type"]) == (200, expected)
        return list((parse_plain if plain else parse_open_metrics)(answer.text))

    def metrics(self) -> dict[str, float]:
        """Every sample by its name and labels."""
        return samples(self.families())


def samples(families: list[Metric]) -> dict[str, float]:
    """Every sample by its name and labels, as in the text."""
    found: dict[str, float] = {}
    for family in families:
        for sample in family.samples:
            labels = ",".join(f'{name}="{value}"' for name, value in sample.labels.items())
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found
