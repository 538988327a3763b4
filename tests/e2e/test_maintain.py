"""The current table through the shipped binary: DuckDB, the deltalake package and `lakehead sql` agree on it; killed at every named point,
two at once, beside a writer, on S3."""

from __future__ import annotations

import datetime
import itertools
import json
import pathlib
import random
import time
from collections.abc import Iterator
from typing import Any

import pytest
import shop
from deltalake import DeltaTable
from kafka_topic import Record, Topic
from program import wait_until
from road import Road, shop_topic
from test_watermarks import NAME as WATERMARKS
from test_watermarks import fresh  # noqa: F401 (a fixture)
from test_evolution import event, producer, row

CURRENT = "lakehead/maintain/shop/purchase/current"
POINTS = ["current_created", "refresh_uploaded", "refresh_committed"]


def location(road: Road) -> str:
    return f"{road.lake.url}/shop/purchase/current"


def delta(road: Road) -> DeltaTable:
    return DeltaTable(location(road), storage_options=road.lake.storage_options)


def maintain(road: Road, *arguments: str) -> str:
    done = road.run("maintain", "--config", "lakehead.toml", "--once", *arguments, seconds=120)
    assert done.returncode == 0, f"exit {done.returncode}: {done.stderr[-2000:]}"
    return done.stdout


Rows = list[tuple[Any, ...]]
COLUMNS = "id, item, quantity, price, note"


def duckdb_rows(road: Road) -> Rows:
    return sorted(road.lake.query(f"SELECT {COLUMNS} FROM delta_scan('{location(road)}')"), key=repr)


def package_rows(road: Road) -> Rows:
    table = delta(road).to_pyarrow_table(columns=COLUMNS.split(", "))
    return sorted((tuple(record.values()) for record in table.to_pylist()), key=repr)


def sql_rows(road: Road) -> Rows:
    answer = road.run_sql("--config", "lakehead.toml", "-c", f"SELECT {COLUMNS} FROM shop.purchase", "--output", "json")
    assert answer.returncode == 0, answer.stderr[-2000:]
    return sorted((tuple(record.get(name) for name in COLUMNS.split(", ")) for record in json.loads(answer.stdout)), key=repr)


def agree(road: Road, expected: dict[int, dict[str, Any]]) -> None:
    """Three readers see the state that this test kept for itself."""
    rows = sorted((tuple(record.get(name) for name in COLUMNS.split(", ")) for record in expected.values()), key=repr)
    assert duckdb_rows(road) == rows
    assert package_rows(road) == rows
    assert sql_rows(road) == rows


class Shop:
    """Purchases that are made, changed, given another id, cancelled and made again; what is left of them."""

    def __init__(self, seed: int):
        self.random, self.state, self.number = random.Random(seed), {}, 0

    def changes(self, count: int, **values: Any) -> Iterator[tuple[int, dict[str, Any]]]:
        """Pairs of key and Debezium envelope."""
        for _ in range(count):
            self.number += 1
            number, id = self.number, self.random.randrange(200)
            after = shop.purchase(number) | {"id": id} | values
            known, kind = self.state.get(id), self.random.random()
            if known and kind < 0.25:
                yield id, self.envelope("d", self.state.pop(id), None)
            elif known and kind < 0.35:
                moved = 1000 + self.random.randrange(200)
                yield id, self.envelope("d", self.state.pop(id), None)
                before = self.state.get(moved)
                self.state[moved] = after | {"id": moved}
                yield moved, self.envelope("u" if before else "c", before, self.state[moved])
            else:
                self.state[id] = after
                yield id, self.envelope("u" if known else "c", known, after)

    def envelope(self, op: str, before: dict[str, Any] | None, after: dict[str, Any] | None) -> dict[str, Any]:
        return shop.change(self.number) | {"op": op, "before": before, "after": after}


def produce(topic: Topic, changes: Iterator[tuple[int, dict[str, Any]]]) -> None:
    """Debezium JSON; a tombstone follows each delete."""
    records = []
    for key, envelope in changes:
        name = b'{"id":%d}' % key
        records += [Record(shop.debezium_json(envelope), name), *([Record(None, name)] if envelope["op"] == "d" else [])]
    topic.produce(records)


def json_road(road: Road, **writer: Any) -> Topic:
    topic = road.topic(partitions=3)
    road.configure(shop_topic(topic, format="json", contract=road.contract()), **writer)
    return topic


def test_readers_agree_on_the_current_table(road: Road) -> None:
    topic, owner = json_road(road), Shop(1)
    produce(topic, owner.changes(400))
    road.write_once()
    assert "shop.purchase: current is at version 1" in maintain(road)
    agree(road, owner.state)
    pinned = delta(road)
    before = package_rows(road)
    for _ in range(3):
        produce(topic, owner.changes(60))
        road.write_once()
        maintain(road)
        agree(road, owner.state)
    assert maintain(road) == "", "nothing was new"
    columns = COLUMNS.split(", ")
    seen = sorted((tuple(record.values()) for record in pinned.to_pyarrow_table(columns=columns).to_pylist()), key=repr)
    assert pinned.version() == 1 and seen == before, "a reader of an older version keeps it"
    # The commit says which changes it covers, and every row which one it is.
    ends = topic.end_offsets()
    assert [delta(road).transaction_version(f"lakehead/{topic.name}/{number}") for number in range(3)] == ends
    [(rows, places)] = road.lake.query(
        f"SELECT count(*), count(*) FILTER (c.id = n.id AND c.quantity IS NOT DISTINCT FROM n.quantity) FROM delta_scan('{location(road)}') n "
        "JOIN {shop.purchase} c ON c._partition = n._partition AND c._offset = n._offset AND c._generation = n._generation")
    assert rows == places == len(owner.state)


def test_upsert_and_null_values(road: Road) -> None:
    topic = road.topic(partitions=2)
    key = b'{"id":%d}'
    rows = {number: shop.purchase(number) | {"id": number} for number in range(100)}
    topic.produce(Record(json.dumps(record).encode(), key % number) for number, record in rows.items())
    topic.produce(Record(None, key % number) for number in range(0, 100, 3))
    topic.produce(Record(json.dumps(rows[3] | {"note": "again"}).encode(), key % 3) for _ in range(2))
    road.configure(shop_topic(topic, format="json", shape="upsert", contract=road.contract()))
    road.write_once()
    maintain(road)
    agree(road, {number: record for number, record in rows.items() if number % 3} | {3: rows[3] | {"note": "again"}})


def test_evolution_is_followed(road: Road) -> None:
    """A column comes and one widens between refreshes; what was folded before reads in the new columns."""
    topic = road.topic(partitions=2)
    first = producer(road, topic, "1", row())
    second = producer(road, topic, "2", row(quantity="double", colour="string"))
    road.configure(shop_topic(topic))
    topic.produce(Record(first.value(event(number)), first.key(number)) for number in range(100))
    road.write_once()
    maintain(road)
    topic.produce(Record(second.value(event(number, quantity=0.5, colour="red")), second.key(number)) for number in range(90, 110))
    road.write_once()
    maintain(road)
    scan = f"delta_scan('{location(road)}')"
    assert road.lake.query(f"SELECT count(*), sum(quantity), count(colour), count(DISTINCT id) FROM {scan}") == [
        (110, 10.0 + sum(event(number)["after"]["quantity"] for number in range(90)), 20, 110)]
    ours = road.sql("SELECT count(*) AS n, sum(quantity) AS s FROM shop.purchase")
    assert (int(ours[0]["n"]), float(ours[0]["s"])) == road.lake.query(f"SELECT count(*), sum(quantity) FROM {scan}")[0]


@pytest.mark.parametrize("point", POINTS)
def test_killed_at_every_named_point(point: str, road: Road) -> None:
    topic, owner = json_road(road), Shop(2)
    produce(topic, owner.changes(200))
    road.write_once()
    killed = road.start("killed", "maintain", "--config", "lakehead.toml", "--once", faults=True, FAILPOINTS=f"{point}=return")
    assert killed.aborted_at(point)
    maintain(road)
    agree(road, owner.state)
    produce(topic, owner.changes(50))
    road.write_once()
    if point != "current_created":
        again = road.start("killed-again", "maintain", "--config", "lakehead.toml", "--once", faults=True, FAILPOINTS=f"{point}=return")
        assert again.aborted_at(point)
    maintain(road)
    agree(road, owner.state)
    # One that landed and died before it said so is not done twice.
    assert delta(road).transaction_version(CURRENT) == 2


@pytest.mark.parametrize("answer", ["ok_then_error", "ok_then_exists", "conflict_409", "timeout"])
def test_whatever_the_store_answers_to_the_commit(answer: str, road: Road) -> None:
    topic, owner = json_road(road), Shop(3)
    produce(topic, owner.changes(100))
    road.write_once()
    maintain(road)
    produce(topic, owner.changes(100))
    road.write_once()
    program = road.start("answered", "maintain", "--config", "lakehead.toml", "--once", faults=True, FAILPOINTS=f"commit_put=1*return({answer})")
    assert program.wait(60) == 0, program.text[-2000:]
    agree(road, owner.state)
    assert delta(road).transaction_version(CURRENT) == 2


def test_two_at_once_beside_a_writer(road: Road) -> None:
    """A writer, two maintainers, one of them killed again and again; then one round more, and all of it is there."""
    topic, owner = json_road(road, flush_age_max="200ms"), Shop(4)
    with open(road.folder / "lakehead.toml", "a") as file:
        file.write('[maintenance]\ninterval = "50ms"\nbucket_bytes = "4KiB"\n')
    writer = road.writer()
    produce(topic, owner.changes(50))
    road.wait_committed(topic)
    steady = road.start("steady", "maintain", "--config", "lakehead.toml")
    steady.wait_for_line("current table refreshed", 60)
    for number in range(4):
        hasty = road.start(f"hasty-{number}", "maintain", "--config", "lakehead.toml")
        produce(topic, owner.changes(60))
        road.wait_committed(topic)
        hasty.kill()
    assert steady.alive() and steady.end() == 0, steady.text[-2000:]
    assert writer.end() == 0
    maintain(road)
    agree(road, owner.state)


def test_inside_the_writer(road: Road) -> None:
    topic, owner = json_road(road), Shop(5)
    with open(road.folder / "lakehead.toml", "a") as file:
        file.write('[maintenance]\nenabled = true\ninterval = "100ms"\n')
    produce(topic, owner.changes(100))
    road.write_once()
    agree(road, owner.state)
    writer = road.writer()
    produce(topic, owner.changes(100))
    road.wait_committed(topic)
    ends = topic.end_offsets()
    wait_until("the current table covers everything", lambda: [
        delta(road).transaction_version(f"lakehead/{topic.name}/{number}") for number in range(3)] == ends, 60)
    agree(road, owner.state)
    assert writer.end() == 0


def test_rebuild_is_equal_and_names_what_is_not_there(road: Road) -> None:
    topic, owner = json_road(road), Shop(6)
    produce(topic, owner.changes(300))
    road.write_once()
    maintain(road)
    produce(topic, owner.changes(100))
    road.write_once()
    maintain(road)
    content = f"SELECT * FROM delta_scan('{location(road)}') ORDER BY id"
    before = road.lake.query(content)
    done = road.run("rebuild", "--config", "lakehead.toml", "shop.purchase")
    assert done.returncode == 0 and "computed from" in done.stdout, done.stderr
    assert road.lake.query(content) == before
    agree(road, owner.state)
    absent = road.run("rebuild", "--config", "lakehead.toml", "shop.nothing")
    assert absent.returncode == 2 and "shop.nothing" in absent.stderr, absent.stderr


def test_on_s3(s3_road: Road) -> None:
    topic, owner = json_road(s3_road), Shop(7)
    produce(topic, owner.changes(150))
    s3_road.write_once()
    maintain(s3_road, "--table", "shop.purchase")
    agree(s3_road, owner.state)
    produce(topic, owner.changes(50))
    s3_road.write_once()
    maintain(s3_road)
    agree(s3_road, owner.state)


def test_usage(road: Road) -> None:
    road.configure()
    absent = road.run("maintain", "--config", "lakehead.toml", "--once")
    assert absent.returncode == 3 and "there is no lake" in absent.stderr, absent.stderr
    (pathlib.Path(road.lake.url)).mkdir()
    assert maintain(road) == "", "a lake without tables needs nothing"
    with open(road.folder / "lakehead.toml", "a") as file:
        file.write('[maintenance]\ninterval = "0s"\nmemory_bytes_max = "1KiB"\n')
    wrong = road.run("maintain", "--config", "lakehead.toml", "--once")
    assert wrong.returncode == 2 and "interval" in wrong.stderr and "memory_bytes_max" in wrong.stderr, wrong.stderr


def test_period_snapshots(road: Road) -> None:
    """Three lengths at once; what comes late makes a revision, and both stay. Killed before it is registered, one is not made twice."""
    topic, owner = json_road(road), Shop(8)
    with open(road.folder / "lakehead.toml", "a") as file:
        file.write('[maintenance]\nperiods = ["month", "quarter", "year"]\ntime_zone = "Europe/Stockholm"\nlate_changes_quiet_age = "0s"\n')
    produce(topic, owner.changes(200))
    road.write_once()
    killed = road.start("killed", "maintain", "--config", "lakehead.toml", "--once", faults=True, FAILPOINTS="period_made=return")
    assert killed.aborted_at("period_made")
    assert maintain(road).count("/r1, ") == 3
    assert maintain(road) == "", "once"
    first = dict(owner.state)

    def periods() -> list[tuple[Any, ...]]:
        return road.lake.query(f"SELECT period, revision, path, rows, time_zone FROM delta_scan('{road.lake.url}/_system/periods') ORDER BY 1, 2")

    def rows(path: str) -> Rows:
        return sorted(road.lake.query(f"SELECT {COLUMNS} FROM delta_scan('{road.lake.url}/{path}')"), key=repr)

    def state(of: dict[int, dict[str, Any]]) -> Rows:
        return sorted((tuple(record.get(name) for name in COLUMNS.split(", ")) for record in of.values()), key=repr)

    assert [(revision, count, zone) for _, revision, _, count, zone in periods()] == [(1, len(first), "Europe/Stockholm")] * 3
    assert all(rows(path) == state(first) for _, _, path, _, _ in periods())
    # The shop's clock stands in 2023, so all that it does is late.
    produce(topic, owner.changes(20))
    road.write_once()
    assert maintain(road).count("/r2, ") == 3
    assert [revision for _, revision, _, _, _ in periods()] == [1, 2] * 3
    for _, revision, path, _, _ in periods():
        assert rows(path) == state(first if revision == 1 else owner.state)
        assert DeltaTable(f"{road.lake.url}/{path}").version() == 0
    listed = road.sql("SELECT count(*) AS n, max(revision) AS newest FROM system.periods WHERE \"table\" = 'shop.purchase'")
    assert listed == [{"n": "6", "newest": "2"}]
    newest = periods()[-1][0]
    same = road.run("rebuild", "--config", "lakehead.toml", "shop.purchase", "--period", newest)
    assert same.returncode == 0 and "is equal" in same.stdout, same.stderr
    wrong = road.run("rebuild", "--config", "lakehead.toml", "shop.purchase", "--period", "2026-13")
    assert wrong.returncode == 2 and "2026-01" in wrong.stderr, wrong.stderr


@pytest.mark.xdist_group("watermarks")
def test_a_period_waits_for_its_watermark(road: Road, fresh: None) -> None:  # noqa: F811
    """A delay of ten years never ends; a watermark that the changes have passed does."""
    watermarks = Topic.create(road.bootstrap, WATERMARKS, 1, **{"cleanup.policy": "compact"})
    topic, owner = road.topic(partitions=3), Shop(9)
    road.configure(shop_topic(topic, format="json", contract=road.contract()), {"name": WATERMARKS})
    with open(road.folder / "lakehead.toml", "a") as file:
        file.write('[maintenance]\nperiods = ["year"]\nperiod_delay = "3650d"\nwatermark_wait_max = "3650d"\n')
    ends: list[dict[str, Any]] = []
    times = itertools.count(int(time.time() * 1_000_000))

    def tell(complete_through: int) -> None:
        counted = {"after": 0, "count": 1, "ids": "0" * 32, "rows": "0" * 32}
        mark = {"entity": "shop.purchase", "source": "/shop/1", "complete_through": complete_through, "through": 1, "canonical_version": 1,
                "ends": ends, "total": counted, "interval": counted}
        headers = [("ce_source", "/shop/1/watermarks/shop.purchase"), ("lakehead_sequence", str(complete_through))]
        watermarks.produce([Record(json.dumps(mark).encode(), b"1", headers=headers)])
        road.write_once()

    produce(topic, owner.changes(100))
    road.write_once()
    assert "periods" not in maintain(road), "there is none, and the delay is not over"
    ends = [{"topic": topic.name, "partition": number, "offset": end} for number, end in enumerate(topic.end_offsets())]
    tell(int(datetime.datetime(datetime.date.today().year, 1, 1, tzinfo=datetime.UTC).timestamp() * 1_000_000) - 1)
    assert maintain(road) == "", "the year is not complete"
    ends[0] = ends[0] | {"offset": ends[0]["offset"] + 1}
    tell(next(times))
    assert maintain(road) == "", "the changes have not passed it"
    ends[0] = ends[0] | {"offset": ends[0]["offset"] - 1}
    tell(next(times))
    assert f"{len(owner.state)} rows" in maintain(road)
    assert maintain(road) == "", "once"
