"""Files and logs kept few through the shipped binary: readers see the same rows before and after, killed at every named point, beside a writer."""

from __future__ import annotations

import os
import pathlib
import time
from typing import Any

import pytest
from deltalake import DeltaTable
from kafka_topic import Topic
from road import Road
from test_maintain import CURRENT, Shop, agree, json_road, maintain, produce

DAY_SECONDS = 86_400

# All that is small is compacted in every round.
EAGER = """
[maintenance]
housekeeping_interval = "0s"

[maintenance.compaction]
files_min = 2
quiet_age = "0s"
hot_files_max = 2
"""


def care(road: Road, settings: str = EAGER) -> None:
    with open(road.folder / "lakehead.toml", "a") as file:
        file.write(settings)


def filled(road: Road, owner: Shop, rounds: int = 4, **writer: Any) -> Topic:
    """A topic whose changes came in so many small files for each date."""
    topic = json_road(road, **writer)
    for _ in range(rounds):
        produce(topic, owner.changes(50))
        road.write_once()
    return topic


def changes(road: Road) -> list[tuple[Any, ...]]:
    """Every row of the table of changes, all columns, lineage too."""
    return sorted(road.lake.query("SELECT * FROM {shop.purchase}"), key=repr)


def package_count(road: Road, version: int | None = None) -> tuple[int, int]:
    """Files and rows as the deltalake package sees them."""
    delta = DeltaTable(road.lake.location("shop.purchase"), storage_options=road.lake.storage_options, version=version)
    return len(delta.file_uris()), delta.to_pyarrow_table(columns=["id"]).num_rows


def age(folder: pathlib.Path, days: int) -> None:
    """All files below look as if they had been written so many days earlier."""
    then = time.time() - days * DAY_SECONDS
    for path in folder.rglob("*"):
        if path.is_file():
            os.utime(path, (then, then))


def folder(road: Road) -> pathlib.Path:
    return pathlib.Path(road.lake.location("shop.purchase").removeprefix("file://"))


def every_offset_once(road: Road, topic: Topic) -> None:
    """Tombstones do not land."""
    produced = sorted((message.partition(), message.offset()) for message, _ in topic.read_values())
    assert sorted(road.lake.query("SELECT _partition, _offset FROM {shop.purchase}")) == produced


def killed_at(point: str, road: Road) -> bool:
    program = road.start(f"killed-{point}", "maintain", "--config", "lakehead.toml", "--once", faults=True, FAILPOINTS=f"{point}=return")
    return program.aborted_at(point)


def test_small_files_become_few_and_readers_see_the_same_rows(road: Road) -> None:
    owner = Shop(1)
    topic = filled(road, owner)
    before, (files, rows) = changes(road), package_count(road)
    version = road.lake.delta("shop.purchase").version()
    progress = road.lake.progress("shop.purchase", topic.name, 3)
    care(road)
    told = maintain(road)
    assert "shop/purchase/changes: " in told and " files became " in told
    fewer, same = package_count(road)
    assert fewer < files and same == rows
    assert changes(road) == before
    assert package_count(road, version) == (files, rows), "who reads an older version keeps it"
    assert road.lake.progress("shop.purchase", topic.name, 3) == progress
    agree(road, owner.state)
    assert "became" not in maintain(road), "nothing is left to be done"
    produce(topic, owner.changes(50))
    road.write_once()
    maintain(road)
    agree(road, owner.state)
    every_offset_once(road, topic)


@pytest.mark.parametrize("point", ["compaction_uploaded", "compaction_committed", "vacuum_during"])
def test_killed_at_every_named_point(point: str, road: Road) -> None:
    owner = Shop(2)
    topic = filled(road, owner)
    before = changes(road)
    care(road)
    assert killed_at(point, road)
    assert changes(road) == before
    maintain(road)
    assert changes(road) == before
    produce(topic, owner.changes(50))
    road.write_once()
    maintain(road)
    agree(road, owner.state)


def test_what_a_killed_compaction_left_is_vacuumed_when_it_is_old(road: Road) -> None:
    owner = Shop(3)
    filled(road, owner)
    before, stored = changes(road), set(folder(road).rglob("*.parquet"))
    care(road)
    assert killed_at("compaction_uploaded", road)
    left = set(folder(road).rglob("*.parquet")) - stored
    assert left
    maintain(road)
    assert left <= set(folder(road).rglob("*.parquet")), "a commit could be on its way"
    age(folder(road), 8)
    assert killed_at("vacuum_during", road)
    assert "deleted" in maintain(road) or not left & set(folder(road).rglob("*.parquet"))
    assert not left & set(folder(road).rglob("*.parquet"))
    assert changes(road) == before
    agree(road, owner.state)


def test_the_log_is_cleaned_behind_a_checkpoint_also_by_who_was_killed_at_it(road: Road) -> None:
    owner = Shop(4)
    topic = filled(road, owner, rounds=7, checkpoint_interval=3)
    before = changes(road)
    entries = sorted((folder(road) / "_delta_log").glob("*.json"))
    assert len(entries) >= 7
    age(folder(road) / "_delta_log", 31)
    care(road, '\n[maintenance.compaction]\nenabled = false\n')
    assert killed_at("log_cleanup_during", road)
    assert not entries[0].exists() and entries[1].exists(), "the oldest goes first"
    assert "log entries" in maintain(road)
    left = sorted((folder(road) / "_delta_log").glob("*.json"))
    assert 0 < len(left) < len(entries) - 1
    assert changes(road) == before
    produce(topic, owner.changes(50))
    road.write_once()
    maintain(road)
    agree(road, owner.state)
    every_offset_once(road, topic)


def test_beside_a_writer_that_does_it_too(road: Road) -> None:
    """A writer that takes care itself, and a maintainer that is killed again and again: every offset is there once."""
    owner = Shop(5)
    topic = json_road(road, flush_age_max="200ms", checkpoint_interval=5)
    care(road, EAGER.replace("[maintenance]", '[maintenance]\nenabled = true\ninterval = "100ms"'))
    writer = road.writer()
    for number in range(5):
        hasty = road.start(f"hasty-{number}", "maintain", "--config", "lakehead.toml")
        produce(topic, owner.changes(60))
        road.wait_committed(topic)
        hasty.kill()
    writer.wait_for_line("compacted")
    assert writer.end() == 0, writer.text[-2000:]
    maintain(road)
    agree(road, owner.state)
    every_offset_once(road, topic)
    table = DeltaTable(f"{road.lake.url}/shop/purchase/current", storage_options=road.lake.storage_options)
    assert table.transaction_version(CURRENT), "the current table was refreshed"


def test_retention_is_told(road: Road) -> None:
    """The shop's clock stands in 2023, so all its dates pass a retention of a year; what they led to stays."""
    owner = Shop(6)
    topic = filled(road, owner)
    care(road, EAGER + '\n[maintenance.retention_days]\n"shop.purchase" = 365\n')
    assert "past their retention: 2023" in maintain(road)
    assert road.lake.query("SELECT count(*) FROM {shop.purchase}") == [(0,)]
    current = f"delta_scan('{road.lake.url}/shop/purchase/current')"
    state = sorted((number, record["item"]) for number, record in owner.state.items())
    assert sorted(road.lake.query(f"SELECT id, item FROM {current}")) == state
    refused = road.run_sql("--config", "lakehead.toml", "-c", "SELECT count(*) FROM shop.purchase")
    assert refused.returncode == 1 and "retention" in refused.stderr and "shop/purchase/current" in refused.stderr, refused.stderr
    rebuilt = road.run("rebuild", "--config", "lakehead.toml", "shop.purchase")
    assert rebuilt.returncode == 0, rebuilt.stderr
    assert sorted(road.lake.query(f"SELECT id, item FROM {current}")) == state
    produce(topic, owner.changes(40))
    road.write_once()
    maintain(road)
    state = sorted((number, record["item"]) for number, record in owner.state.items())
    assert sorted(road.lake.query(f"SELECT id, item FROM {current}")) == state
    both = road.folder / "lakehead.toml"
    both.write_text(both.read_text().replace("[maintenance]", '[maintenance]\nperiods = ["month"]'))
    wrong = road.run("maintain", "--config", "lakehead.toml", "--once")
    assert wrong.returncode == 2 and "retention_days" in wrong.stderr, wrong.stderr
