"""SIGTERM: what was read is committed, and the writer ends within the stated bound, whatever is away."""

from __future__ import annotations

import os
import pathlib
import signal
import time

import pytest

import facts
import parts
import shop
from lake import Bucket, Lake
from program import Program, wait_until
from proxy import Proxy
from road import Road, shop_topic
from writer_http import STOP_SECONDS, WriterHttp

TABLE = "shop.fact"
# Nothing is committed before the stop, and no rows are given up because the group's session ended while Kafka was away.
LAZY = {"flush_age_max": "1h", "flush_rows_max": 10_000_000}
PATIENT = {"session.timeout.ms": "180000"}


def stopped(writer: Program, what: str) -> int:
    begun = time.monotonic()
    code = writer.end(STOP_SECONDS)
    print(f"{what}: stopped in {time.monotonic() - begun:.2f} s with {code}")
    return code


def wait_read(http: WriterHttp, records: int) -> None:
    wait_until("all is read", lambda: http.get("metrics") and http.metrics()["lakehead_records_read_total"] == records, 60)


def wait_missing(http: WriterHttp, word: str) -> None:
    wait_until(f"the writer says that it lacks {word}", lambda: any(word in what for what in http.ready()["missing"]), 90)
    alive = http.get("livez")
    assert alive is not None and alive.status_code == 200


def test_sigterm_commits_what_was_read(road: Road) -> None:
    http, topic = WriterHttp.choose(), road.topic(4)
    facts.produce(topic, range(20_000))
    road.configure(facts.settings(road, topic, TABLE), http=http.address, **LAZY)
    writer = road.writer()
    wait_read(http, 20_000)
    rows = facts.landed(road.lake, TABLE).total()
    assert stopped(writer, f"20,000 rows read, {rows} of them committed before") == 0, writer.text[-2000:]
    assert rows < 20_000
    facts.assert_landed_once(road.lake, TABLE, range(20_000))


@pytest.mark.parametrize("trouble", ["hangs", "is down"])
def test_sigterm_while_the_store(road: Road, tmp_path: pathlib.Path, trouble: str) -> None:
    """What could not be committed lands at the next start, once."""
    http, topic = WriterHttp.choose(), road.topic(2)
    facts.produce(topic, range(500))
    store, endpoint = parts.start_s3(tmp_path)
    try:
        store.wait_ready()
        road.lake = Lake(f"s3://{parts.S3_BUCKET}/{road.name}", Bucket(endpoint, parts.S3_ACCESS_KEY, parts.S3_SECRET_KEY))
        road.configure(facts.settings(road, topic, TABLE), http=http.address)
        writer = road.writer()
        facts.wait_caught_up(road, topic, TABLE)
        http.wait_ready()
        if trouble == "hangs":
            os.kill(store.process.pid, signal.SIGSTOP)
        else:
            store.stop()
        facts.produce(topic, range(500, 900))
        wait_read(http, 900)
        wait_missing(http, "lake")
        code = stopped(writer, f"a store that {trouble}")
        assert code == 1 and "the last commits were not over within" in writer.text, writer.text[-2000:]
        if trouble == "hangs":
            # Nobody is there any more: a writer that starts now is asked to stop while it waits for the store's first answer.
            starting = road.writer("starting")
            wait_until("it lives", lambda: http.get("livez"), 30)
            assert stopped(starting, "at the start") == 0, starting.text[-2000:]
            os.kill(store.process.pid, signal.SIGCONT)
        else:
            store, _ = parts.start_s3(tmp_path, int(endpoint.rpartition(":")[2]))
            store.wait_ready()
        road.write_once()
        facts.assert_landed_once(road.lake, TABLE, range(900))
    finally:
        if store.process.poll() is None:
            os.kill(store.process.pid, signal.SIGCONT)
        store.stop()


@pytest.mark.parametrize("trouble", ["hangs", "is down"])
def test_sigterm_while_kafka(road: Road, tmp_path: pathlib.Path, trouble: str) -> None:
    """The lake is there, so what was read is committed; `status` and `resume` say that Kafka is away, and soon."""
    broker, road.bootstrap = parts.start_kafka(tmp_path)
    try:
        broker.wait_ready()
        http, topic = WriterHttp.choose(), road.topic(4)
        facts.produce(topic, range(5_000))
        road.configure(facts.settings(road, topic, TABLE), http=http.address, properties=PATIENT, **LAZY)
        writer = road.writer()
        wait_read(http, 5_000)
        if trouble == "hangs":
            os.kill(broker.process.pid, signal.SIGSTOP)
        else:
            broker.stop()
        wait_missing(http, "kafka")
        begun = time.monotonic()
        assert http.metrics()["lakehead_records_read_total"] == 5_000
        assert time.monotonic() - begun < 5, "a scrape waits for nobody"
        for command in ("status", "resume"):
            begun = time.monotonic()
            away = road.run(command, "--config", "lakehead.toml")
            print(f"kafka {trouble}: {command} took {time.monotonic() - begun:.1f} s")
            assert away.returncode == 3 and "kafka" in away.stderr, (away.returncode, away.stdout, away.stderr)
        assert stopped(writer, f"a kafka that {trouble}") == 0, writer.text[-2000:]
        facts.assert_landed_once(road.lake, TABLE, range(5_000))
    finally:
        if broker.process.poll() is None:
            os.kill(broker.process.pid, signal.SIGCONT)
        broker.stop()


@pytest.mark.parametrize("trouble", ["hangs", "is down"])
def test_sigterm_while_the_registry(road: Road, trouble: str) -> None:
    """Records that wait for their schema are read again; those of other tables are committed."""
    http, topic, waiting = WriterHttp.choose(), road.topic(2), road.topic(1, "-avro")
    avro = shop.Avro(road.registry, waiting.name)
    waiting.produce(avro.records(0, 100, tombstones=False))
    facts.produce(topic, range(1_000))
    proxy = Proxy(road.registry)
    if trouble == "hangs":
        proxy.freeze()
        proxy.mend()
    tables = (facts.settings(road, topic, TABLE), shop_topic(waiting))
    road.configure(*tables, http=http.address, registry=proxy.url, **LAZY)
    writer = road.writer()
    wait_until("the rows are read, and the schema is asked for", lambda: http.get("metrics") and (
        http.metrics()["lakehead_records_read_total"] >= 1_001 and "lakehead_registry_requests_total" in http.metrics()), 60)
    if trouble == "is down":
        wait_until("it tries again", lambda: http.metrics()["lakehead_registry_retries_total"] > 0, 60)
    assert stopped(writer, f"a registry that {trouble}") == 0, writer.text[-2000:]
    facts.assert_landed_once(road.lake, TABLE, range(1_000))
    assert not road.lake.exists(shop.TABLE)
    proxy.thaw()
    proxy.cut()
    road.configure(*tables)
    road.write_once()
    assert road.lake.query(f"SELECT count(*) FROM {{{shop.TABLE}}}") == [(100,)]
