"""What an operator sees and does: endpoints, status, logs, the systemd unit, and a stop that commits and ends in time."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import subprocess
import time

import pytest

import facts
from conftest import CI
from proxy import Proxy
from program import wait_until
from road import Road, shop_topic
from writer_http import WriterHttp

TABLE = "shop.fact"
# The stated bound of a stop.
STOP_SECONDS = 45.0
ROOT = pathlib.Path(__file__).resolve().parents[2]


def test_endpoints(road: Road) -> None:
    http, topic = WriterHttp.choose(), road.topic(3)
    road.configure(facts.settings(road, topic, TABLE), http=http.address)
    writer = road.writer()
    http.wait_ready()
    alive = http.get("livez")
    assert alive is not None and (alive.status_code, alive.text) == (200, "alive\n")
    facts.produce(topic, range(500))
    topic.produce([facts.Record(b"not json", b"k", 0)])
    facts.wait_caught_up(road, topic, TABLE)

    def told() -> bool:
        found = http.metrics()
        return found.get(f'lakehead_table_rows_total{{table="{TABLE}"}}') == 500 and found.get(
            f'lakehead_table_lag_records{{table="{TABLE}"}}') == 0

    wait_until("the metrics say that all is committed", told, 30)
    found = http.metrics()
    label = f'{{table="{TABLE}"}}'
    expected = {"lakehead_records_read_total": 501, f"lakehead_table_dead_letters_total{label}": 1,
                f"lakehead_table_repetitions_total{label}": 0, f"lakehead_table_fences_total{label}": 0,
                f"lakehead_table_stopped{label}": 0, f"lakehead_table_lag_seconds{label}": 0, "lakehead_partitions_assigned": 3,
                "lakehead_buffer_limit_bytes": 256 << 20, "lakehead_store_retries_total": 0, "lakehead_registry_retries_total": 0}
    assert {name: found.get(name) for name in expected} == expected
    assert found[f"lakehead_table_commits_total{label}"] >= 1 and 0 <= found[f"lakehead_table_last_commit_age_seconds{label}"] < 60
    assert any(name.startswith("lakehead_build_info{version=") for name in found)
    assert all(name.startswith("lakehead_") for name in found)
    assert writer.end(60) == 0, writer.text[-2000:]


def test_lag_is_seen(road: Road) -> None:
    """A writer whose commits are an hour apart is behind by what it has read, and says for how long."""
    http, topic = WriterHttp.choose(), road.topic(2)
    facts.produce(topic, range(100))
    road.configure(facts.settings(road, topic, TABLE), http=http.address)
    road.write_once()
    road.configure(facts.settings(road, topic, TABLE), http=http.address, flush_age_max="1h")
    writer = road.writer()
    http.wait_ready()
    facts.produce(topic, range(100, 400))
    lag = f'lakehead_table_lag_records{{table="{TABLE}"}}'
    wait_until("the lag is told", lambda: http.metrics().get(lag) == 300, 60)
    assert http.metrics()[f'lakehead_table_lag_seconds{{table="{TABLE}"}}'] > 0
    status = road.run("status", "--config", "lakehead.toml", "--output", "json")
    assert status.returncode == 0, status.stderr
    answer = json.loads(status.stdout)
    [table] = answer["tables"]
    assert (table["state"], table["lag_records"], table["dead_letters"]) == ("ok", 300, 0), table
    assert table["lag_seconds"] > 0 and answer["writer"]["ready"] is True
    assert writer.end(60) == 0, writer.text[-2000:]
    facts.assert_landed_once(road.lake, TABLE, range(400))


def test_status_needs_no_writer_and_writes_nothing(road: Road) -> None:
    topic = road.topic(2)
    road.configure(facts.settings(road, topic, TABLE), http=WriterHttp.choose().address)
    (road.folder / "lake").mkdir()
    empty = road.run("status", "--config", "lakehead.toml")
    assert empty.returncode == 0 and "no table yet" in empty.stdout, (empty.stdout, empty.stderr)
    facts.produce(topic, range(100))
    topic.produce([facts.Record(b"not json", b"k", 0)] * 3)
    road.write_once()
    facts.produce(topic, range(100, 150))
    before = snapshot(road)
    status = road.run("status", "--config", "lakehead.toml", "--output", "json")
    assert status.returncode == 0, status.stderr
    [table] = json.loads(status.stdout)["tables"]
    assert (table["lag_records"], table["dead_letters"], table["topic"]) == (50, 3, topic.name), table
    ends = topic.end_offsets()
    assert [partition["end_offset"] for partition in table["partitions"]] == ends
    assert 0 <= table["last_commit_age_seconds"] < 120 and json.loads(status.stdout)["writer"] is None
    boxed = road.run("status", "--config", "lakehead.toml")
    assert boxed.returncode == 0 and f"| {TABLE} " in boxed.stdout
    assert snapshot(road) == before
    missing = road.run("status", "--config", "nowhere.toml")
    assert missing.returncode == 2


def snapshot(road: Road) -> dict[str, tuple[int, float]]:
    lake = pathlib.Path(road.lake.url)
    return {str(path): (path.stat().st_size, path.stat().st_mtime) for path in lake.rglob("*")}


def test_log_as_json(road: Road) -> None:
    topic = road.topic(2)
    facts.produce(topic, range(1000))
    topic.produce([facts.Record(b"not json", b"k", 0)])
    road.configure(facts.settings(road, topic, TABLE))
    writer = road.start("json", "--log-format", "json", "write", "--config", "lakehead.toml", "--once")
    assert writer.wait(60) == 0, writer.text[-2000:]
    events = [json.loads(line) for line in writer.text.splitlines()]
    commits = [event for event in events if event["message"] == "committed"]
    versions = [event["version"] for event in commits]
    assert commits and len(set(versions)) == len(versions), versions
    assert sum(event["rows"] for event in commits) == 1000 and sum(event["dead_letters"] for event in commits) == 1
    for event in commits:
        assert event["table"] == TABLE and event["files"] >= 0 and event["bytes"] >= 0 and event["target"].startswith("lake_writer")
        assert event["oldest_seconds"] >= 0 and event["seconds"] >= 0
    quiet = road.start("quiet", "write", "--config", "lakehead.toml", "--once", LAKEHEAD_LOG="error")
    assert quiet.wait(60) == 0 and quiet.text == "", quiet.text
    wrong = road.start("wrong", "write", "--config", "lakehead.toml", "--once", LAKEHEAD_LOG="lake_writer=loud")
    assert wrong.wait(60) == 2 and "LAKEHEAD_LOG" in wrong.text, wrong.text


def test_sigterm_commits_what_was_read(road: Road) -> None:
    http, topic = WriterHttp.choose(), road.topic(4)
    facts.produce(topic, range(20_000))
    road.configure(facts.settings(road, topic, TABLE), http=http.address, flush_age_max="1h", flush_rows_max=10_000_000)
    writer = road.writer()
    wait_until("all is read", lambda: http.get("metrics") and http.metrics()["lakehead_records_read_total"] == 20_000, 60)
    rows = facts.landed(road.lake, TABLE).total()
    begun = time.monotonic()
    assert writer.end(STOP_SECONDS) == 0, writer.text[-2000:]
    print(f"20,000 rows read, {rows} of them committed before; stopped in {time.monotonic() - begun:.2f} s")
    assert rows < 20_000
    facts.assert_landed_once(road.lake, TABLE, range(20_000))


@pytest.mark.parametrize("trouble", ["hangs", "is down"])
def test_sigterm_while_the_store(s3_road: Road, trouble: str) -> None:
    """The stop is bounded though the store never answers; what could not be committed lands at the next start, once."""
    road, http = s3_road, WriterHttp.choose()
    topic = road.topic(2)
    facts.produce(topic, range(500))
    assert road.lake.bucket
    proxy = Proxy(road.lake.bucket.endpoint)
    proxy.mend()
    direct = facts.settings(road, topic, TABLE)
    through = road.configure(direct, http=http.address, file="through.toml")
    text = (road.folder / through).read_text().replace(road.lake.bucket.endpoint, proxy.url)
    (road.folder / through).write_text(text)
    writer = road.writer(config=through)
    facts.wait_caught_up(road, topic, TABLE)
    http.wait_ready()
    if trouble == "hangs":
        proxy.freeze()
    else:
        proxy.cut()
    facts.produce(topic, range(500, 900))
    wait_until("the writer says that the lake is away", lambda: any("lake" in what for what in http.ready()["missing"]), 90)
    alive = http.get("livez")
    assert alive is not None and alive.status_code == 200
    assert http.metrics()["lakehead_records_read_total"] == 900
    begun = time.monotonic()
    code = writer.end(STOP_SECONDS)
    print(f"with a store that {trouble}: stopped in {time.monotonic() - begun:.2f} s")
    assert code == 1 and "the last commits were not over within" in writer.text, writer.text[-2000:]
    proxy.thaw()
    proxy.cut()
    road.configure(direct)
    road.write_once()
    facts.assert_landed_once(road.lake, TABLE, range(900))


def test_address_in_use(road: Road) -> None:
    topic = road.topic(1)
    avro = shop_topic(topic)
    host, port = road.bootstrap.rsplit(":", 1)
    road.configure(avro, http=f"127.0.0.1:{port}")
    writer = road.writer()
    assert writer.wait(60) == 2 and "cannot listen on" in writer.text, (host, writer.text)


def test_systemd_unit(tmp_path: pathlib.Path, binary: pathlib.Path) -> None:
    if not shutil.which("systemd-analyze"):
        (pytest.fail if CI else pytest.skip)("MISSING: systemd-analyze (Debian package systemd); the unit is not verified")
    unit = (ROOT / "deploy" / "lakehead-write.service").read_text()
    assert "ExecStart=/usr/local/bin/lakehead write" in unit
    stop = next(line.partition("=")[2] for line in unit.splitlines() if line.startswith("TimeoutStopSec="))
    assert int(stop) > STOP_SECONDS
    placed = tmp_path / "lakehead-write.service"
    placed.write_text(unit.replace("/usr/local/bin/lakehead", str(binary.resolve())))
    verified = subprocess.run(["systemd-analyze", "verify", str(placed)], capture_output=True, text=True, env=os.environ)
    assert verified.returncode == 0 and not verified.stderr.strip(), verified.stderr
    # 10 is an unprotected service, 0 one that can do nothing.
    exposed = subprocess.run(["systemd-analyze", "security", "--offline=true", "--threshold=20", str(placed)], capture_output=True, text=True)
    assert exposed.returncode == 0, exposed.stdout[-1500:]
