"""Two topics and their tables: one that loses what it had, one that must not notice."""

from __future__ import annotations

import pathlib
from dataclasses import dataclass

import facts
from kafka_topic import Topic
from lake import Lake
from program import DEADLINE_SECONDS, Program, wait_until
from road import Road
from writer_http import WriterHttp

LOST, HEALTHY = "shop.lost", "shop.healthy"
# A stopped table is tried again 5, 10, 20, … 300 seconds after the time before, whenever what stopped it was mended.
GOES_ON = 300 + DEADLINE_SECONDS


@dataclass
class Pair:
    """Two topics and their tables: one that will lose records, one that must not notice."""

    road: Road
    lost: Topic
    healthy: Topic
    http: WriterHttp
    numbers: int = 0

    @classmethod
    def make(cls, road: Road, partitions: int = 2) -> Pair:
        pair = cls(road, road.topic(partitions, "-lost"), road.topic(2, "-healthy"), WriterHttp.choose())
        road.configure(facts.settings(road, pair.lost, LOST), facts.settings(road, pair.healthy, HEALTHY), http=pair.http.address)
        return pair

    def produce(self, topic: Topic, count: int) -> range:
        """Records of numbers that no record had before."""
        numbers = range(self.numbers, self.numbers + count)
        self.numbers += count
        facts.produce(topic, numbers)
        return numbers

    def copied(self, count: int = 200) -> range:
        """Records in both topics, copied; the writer has ended."""
        numbers = self.produce(self.lost, count)
        self.produce(self.healthy, count)
        self.road.write_once("before")
        return numbers

    def assert_healthy_goes_on(self) -> None:
        self.produce(self.healthy, 100)
        facts.wait_caught_up(self.road, self.healthy, HEALTHY)

    def stopped_by(self, *codes: str) -> str:
        """Waits until the table is stopped, and sees that the other one is not and that `status` says the same."""
        code = self.http.wait_stopped(LOST, *codes)
        self.assert_healthy_goes_on()
        wait_until("the writer is ready, as a stopped table does not make it unready", lambda: self.http.ready()["ready"])
        assert self.http.metrics()[f'lakehead_table_stopped{{table="{HEALTHY}"}}'] == 0
        status = self.road.run("status", "--config", "lakehead.toml")
        assert status.returncode == 5 and HEALTHY in status.stdout, (status.returncode, status.stdout, status.stderr)
        return code

    def resume(self, *arguments: str, config: str = "lakehead.toml") -> str:
        """Shows first, which must change nothing; then accepts."""
        before = files(self.road.lake)
        shown = self.road.run("resume", "--config", config)
        assert shown.returncode == 5 and LOST in shown.stdout and HEALTHY not in shown.stdout, (shown.stdout, shown.stderr)
        assert {path for path in files(self.road.lake) - before if "lost" in path or "gaps" in path} == set()
        accepted = self.road.run("resume", "--config", config, "--accept-gap", LOST, *arguments)
        assert accepted.returncode == 0, (accepted.stdout, accepted.stderr)
        return accepted.stdout

    def flows_again(self, expected: set[int], topic: Topic | None = None) -> None:
        """The running writer goes on by itself, and every record is in its table once."""
        lost = topic or self.lost
        expected |= set(self.produce(lost, 50))
        facts.wait_caught_up(self.road, lost, LOST, GOES_ON)
        facts.wait_caught_up(self.road, self.healthy, HEALTHY)
        facts.assert_landed_once(self.road.lake, LOST, expected)
        facts.assert_landed_once(self.road.lake, HEALTHY, facts.kept(self.healthy))
        wait_until("nothing is stopped", lambda: not self.http.ready()["stopped"])

    def texts(self, *numbers: int) -> list[str]:
        """The current rows of these numbers."""
        ids = ", ".join(str(number) for number in numbers)
        return [row["text"] for row in self.road.sql(f"SELECT text FROM {LOST} WHERE id IN ({ids}) ORDER BY id")]

    def gaps(self) -> list[dict[str, str]]:
        return self.road.sql('SELECT topic, partition, from_offset, to_offset, reason FROM system.gaps WHERE "table" = \'shop.lost\' '
                             "ORDER BY partition, accepted_at")


def files(lake: Lake) -> set[str]:
    return {str(path) for path in pathlib.Path(lake.url).rglob("*") if path.is_file()}


def assert_ends_well(writer: Program) -> None:
    code = writer.end()
    assert code == 0, f"the writer ended with {code}:\n{writer.text[-3000:]}"
