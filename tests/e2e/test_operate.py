"""What an operator sees: endpoints, status, logs, and the systemd unit."""

from __future__ import annotations

import json
import os
import pathlib
import re
import shutil
import subprocess
import time
from typing import Any

import pytest

import facts
import parts
from conftest import CI
from program import wait_until
from road import PATIENT, Road, shop_topic
from test_maintain import Shop, json_road, produce
from writer_http import STOP_SECONDS, WriterHttp, samples

TABLE = "shop.fact"
ROOT = pathlib.Path(__file__).resolve().parents[2]
OPERATIONS = ROOT / "docs" / "operations.md"
LOOPS = ("refresh", "periods", "houses")
CARE = '[maintenance]\nenabled = true\ninterval = "100ms"\n'


def test_endpoints(road: Road) -> None:
    http, topic, begun = WriterHttp.choose(), road.topic(3), time.monotonic()
    road.configure(facts.settings(road, topic, TABLE), http=http.address, properties=PATIENT)
    writer = road.writer()
    http.wait_ready()
    alive = http.get("livez")
    assert alive is not None and (alive.status_code, alive.text) == (200, "alive\n")
    facts.produce(topic, range(500))
    topic.produce([facts.Record(b"not json", b"k", 0)])
    facts.wait_caught_up(road, topic, TABLE)

    def told() -> bool:
        found = http.metrics()
        return found.get(f'lakehead_table_rows_total{{table="{TABLE}"}}') == 500 and all(
            found.get(f'lakehead_table_lag_{unit}{{table="{TABLE}"}}') == 0 for unit in ("records", "seconds"))

    wait_until("the metrics say that all is committed", told)
    found = http.metrics()
    label = f'{{table="{TABLE}"}}'
    expected = {f"lakehead_table_dead_letters_total{label}": 1,
                f"lakehead_table_repetitions_total{label}": 0, f"lakehead_table_fences_total{label}": 0,
                f"lakehead_table_stopped{label}": 0, f"lakehead_table_lag_seconds{label}": 0, "lakehead_partitions_assigned": 3,
                "lakehead_buffer_limit_bytes": 128 << 20, "lakehead_store_retries_total": 0, "lakehead_registry_retries_total": 0}
    assert {name: found.get(name) for name in expected} == expected
    assert found["lakehead_records_read_total"] >= 501 and found[f"lakehead_table_commits_total{label}"] >= 1
    assert 0 <= found[f"lakehead_table_last_commit_age_seconds{label}"] < time.monotonic() - begun
    assert writer.end() == 0, writer.text[-2000:]


def test_metrics_are_well_named(road: Road) -> None:
    """Our prefix, base units, labels that are bounded; each is in the documentation, and there is no other. Both texts say the same."""
    http, topic, reserved = WriterHttp.choose(), road.topic(2), road.topic(1, ".shop.fact_changes")
    facts.produce(topic, range(10))
    road.configure(facts.settings(road, topic, TABLE), {"match": f"{road.name}\\..*"}, http=http.address)
    with open(road.folder / "lakehead.toml", "a") as file:
        file.write(CARE)
    writer = road.writer()
    facts.wait_caught_up(road, topic, TABLE)
    late = {f'lakehead_table_{name}{{table="{TABLE}"}}' for name in ("lag_records", "lag_seconds", "last_commit_age_seconds")}
    late |= {f'lakehead_topic_refused{{topic="{reserved.name}"}}'}
    wait_until("the lag, the commit and the refusal are told", lambda: late <= http.metrics().keys())
    families = http.families()
    documented = set(re.findall(r"^\| (`.*?`) \| (?:counter|gauge) ", OPERATIONS.read_text(), re.MULTILINE))
    told = {name.partition("{")[0] for cell in documented for name in re.findall(r"`(.*?)`", cell)}
    # Those of a capture are another program's.
    told = {name for name in told if not name.startswith("capture_")}
    assert {f"lakehead_{name}" for name in told} == {sample.name for family in families for sample in family.samples}
    for family in families:
        assert family.documentation and family.type in ("counter", "gauge"), family
        assert {frozenset(sample.labels) for sample in family.samples} in [
            {frozenset(labels)} for labels in ((), ("table",), ("topic",), ("version",), ("loop",))]
        assert not re.search("millis|_ms|minutes|kilo|mega|_mb", family.name), family.name
        assert family.unit in ("", "seconds", "bytes") and family.name.endswith(family.unit), family
    steady = {name for name in samples(families) if "age" not in name and "requests" not in name}
    plain = samples(http.families(plain=True))
    assert steady <= plain.keys() and len(plain) == len(samples(families))
    page = http.get("metrics")
    assert page is not None and writer.end() == 5, writer.text[-2000:]
    promtool = shutil.which("promtool") or str(parts.CACHE / "promtool" / "promtool")
    if not pathlib.Path(promtool).exists():
        (pytest.fail if CI else pytest.skip)("MISSING: promtool (tests/stack/fetch brings it); the metrics are not linted")
    linted = subprocess.run([promtool, "check", "metrics"], input=page.text, capture_output=True, text=True)
    assert linted.returncode == 0 and not linted.stderr, linted.stderr


def test_care_is_told(road: Road) -> None:
    """Rounds of the care inside are counted. A current table that is damaged is a failure of each refresh, and the writer goes on."""
    http, owner = WriterHttp.choose(), Shop(10)
    topic = json_road(road, http=http.address)
    with open(road.folder / "lakehead.toml", "a") as file:
        file.write(CARE)

    def care(name: str, loop: str = "refresh") -> float:
        return http.metrics()[f'lakehead_care_{name}{{loop="{loop}"}}']

    produce(topic, owner.changes(100))
    road.write_once()
    writer = road.writer()
    http.wait_ready()
    wait_until("each loop has ended rounds", lambda: all(care("rounds_total", loop) >= 2 for loop in LOOPS))
    for loop in LOOPS:
        assert (care("failures_total", loop), care("round_failures", loop), care("tables", loop)) == (0, 0, 1), loop
        assert 0 <= care("round_age_seconds", loop) < 60
    assert writer.end() == 0, writer.text[-2000:]
    entries = (pathlib.Path(road.lake.url) / "shop" / "purchase" / "current" / "_delta_log").glob("*.json")
    max(entries).write_text("not an entry\n")
    damaged = road.writer("damaged")
    http.wait_ready()
    wait_until("the damage is told", lambda: care("round_failures") == 1 and care("failures_total") >= 2)
    produce(topic, owner.changes(20))
    road.wait_committed(topic)
    rounds = care("rounds_total")
    wait_until("rounds go on", lambda: care("rounds_total") > rounds)
    assert damaged.end() == 0, damaged.text[-2000:]


def test_lag_is_seen(road: Road) -> None:
    """A writer whose commits are an hour apart is behind by what it has read, and says for how long."""
    http, topic = WriterHttp.choose(), road.topic(2)
    road.configure(facts.settings(road, topic, TABLE), http=http.address, properties=PATIENT, flush_age_max="1h")
    writer = road.writer()
    http.wait_ready()
    # The first rows of a table do not wait for the hour: one, as of more the last may come a poll later, and wait.
    facts.produce(topic, [0])
    facts.wait_caught_up(road, topic, TABLE)
    facts.produce(topic, range(1, 301))
    lag = f'lakehead_table_lag_records{{table="{TABLE}"}}'
    wait_until("the lag is told", lambda: http.metrics().get(lag) == 300)
    assert http.metrics()[f'lakehead_table_lag_seconds{{table="{TABLE}"}}'] > 0
    answer: dict[str, Any] = {}

    def answered() -> bool:
        status = road.run("status", "--config", "lakehead.toml", "--output", "json")
        assert status.returncode == 0, status.stderr
        answer.update(json.loads(status.stdout))
        return bool(answer["writer"])

    wait_until("the writer answers in the two seconds that it is given", answered)
    [table] = answer["tables"]
    assert (table["state"], table["lag_records"], table["dead_letters"]) == ("ok", 300, 0), table
    assert table["lag_seconds"] > 0 and answer["writer"]["ready"] is True
    assert writer.end() == 0, writer.text[-2000:]
    facts.assert_landed_once(road.lake, TABLE, range(301))


def test_status_needs_no_writer_and_writes_nothing(road: Road) -> None:
    topic, begun = road.topic(2), time.time()
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
    assert 0 <= table["last_commit_age_seconds"] <= time.time() - begun and json.loads(status.stdout)["writer"] is None
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
    assert writer.wait() == 0, writer.text[-2000:]
    events = [json.loads(line) for line in writer.text.splitlines()]
    commits = [event for event in events if event["message"] == "committed"]
    versions = [event["version"] for event in commits]
    assert commits and len(set(versions)) == len(versions), versions
    assert sum(event["rows"] for event in commits) == 1000 and sum(event["dead_letters"] for event in commits) == 1
    for event in commits:
        assert event["table"] == TABLE and event["files"] >= 0 and event["bytes"] >= 0 and event["target"].startswith("lake_writer")
        assert event["oldest_seconds"] >= 0 and event["seconds"] >= 0
    quiet = road.start("quiet", "write", "--config", "lakehead.toml", "--once", LAKEHEAD_LOG="error")
    assert quiet.wait() == 0 and quiet.text == "", quiet.text
    wrong = road.start("wrong", "write", "--config", "lakehead.toml", "--once", LAKEHEAD_LOG="lake_writer=loud")
    assert wrong.wait() == 2 and "LAKEHEAD_LOG" in wrong.text, wrong.text


def test_address_in_use(road: Road) -> None:
    topic = road.topic(1)
    avro = shop_topic(topic)
    host, port = road.bootstrap.rsplit(":", 1)
    road.configure(avro, http=f"127.0.0.1:{port}")
    writer = road.writer()
    assert writer.wait() == 2 and "cannot listen on" in writer.text, (host, writer.text)


@pytest.mark.parametrize("command", ["write", "maintain"])
def test_systemd_unit(command: str, tmp_path: pathlib.Path, binary: pathlib.Path) -> None:
    if not shutil.which("systemd-analyze"):
        (pytest.fail if CI else pytest.skip)("MISSING: systemd-analyze (tests/stack/fetch brings it); the unit is not verified")
    unit = (ROOT / "deploy" / f"lakehead-{command}.service").read_text()
    assert f"ExecStart=/usr/local/bin/lakehead {command}" in unit
    stop = next(line.partition("=")[2] for line in unit.splitlines() if line.startswith("TimeoutStopSec="))
    assert int(stop) > STOP_SECONDS
    placed = tmp_path / f"lakehead-{command}.service"
    placed.write_text(unit.replace("/usr/local/bin/lakehead", str(binary.resolve())))
    verified = subprocess.run(["systemd-analyze", "verify", str(placed)], capture_output=True, text=True, env=os.environ)
    assert verified.returncode == 0 and not verified.stderr.strip(), verified.stderr
    # 10 is an unprotected service, 0 one that can do nothing.
    exposed = subprocess.run(["systemd-analyze", "security", "--offline=true", "--threshold=20", str(placed)], capture_output=True, text=True)
    assert exposed.returncode == 0, exposed.stdout[-1500:]
