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
from kafka_topic import Topic
from lake import Bucket, Lake
from program import Program, wait_until
from proxy import Proxy
from road import PATIENT, Road, shop_topic
from writer_http import STOP_SECONDS, WriterHttp

TABLE = "shop.fact"
# Only the first rows are committed soon, whatever the settings say.
LAZY = {"flush_age_max": "1h", "flush_rows_max": 10_000_000}


def stopped(writer: Program, what: str) -> int:
    """The exit code. Twice the stated bound, as that is for a machine with time to spare."""
    begun = time.monotonic()
    code = writer.end(2 * STOP_SECONDS)
    print(f"{what}: stopped in {time.monotonic() - begun:.2f} s with {code}")
    return code


def begin(road: Road, topic: Topic) -> Program:
    """A writer that has committed record 0: all that comes now waits for the stop."""
    facts.produce(topic, [0])
    writer = road.writer()
    wait_until("the first record is committed", lambda: facts.landed(road.lake, TABLE) == {0: 1})
    return writer


def wait_read(http: WriterHttp, records: int) -> None:
    """Of a writer that keeps its session: the metric counts what is read again, too."""
    wait_until("all is read", lambda: http.get("metrics") and http.metrics()["lakehead_records_read_total"] >= records)


def wait_missing(http: WriterHttp, word: str) -> None:
    wait_until(f"the writer says that it lacks {word}", lambda: any(word in what for what in http.ready()["missing"]))
    alive = http.get("livez")
    assert alive is not None and alive.status_code == 200


def test_sigterm_commits_what_was_read(road: Road) -> None:
    http, topic = WriterHttp.choose(), road.topic(4)
    road.configure(facts.settings(road, topic, TABLE), http=http.address, properties=PATIENT, **LAZY)
    writer = begin(road, topic)
    facts.produce(topic, range(1, 20_000))
    wait_read(http, 20_000)
    assert facts.landed(road.lake, TABLE) == {0: 1}, "what is committed before the stop says nothing of the stop"
    assert stopped(writer, "20,000 rows read") == 0, writer.text[-2000:]
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
        road.configure(facts.settings(road, topic, TABLE), http=http.address, properties=PATIENT)
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
            wait_until("it lives", lambda: http.get("livez"))
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
    """The lake is there, so what was read is committed; `status` and `resume` say that Kafka is away."""
    broker, road.bootstrap = parts.start_kafka(tmp_path)
    try:
        broker.wait_ready()
        http, topic = WriterHttp.choose(), road.topic(4)
        road.configure(facts.settings(road, topic, TABLE), http=http.address, properties=PATIENT, **LAZY)
        writer = begin(road, topic)
        facts.produce(topic, range(1, 5_000))
        wait_read(http, 5_000)
        if trouble == "hangs":
            os.kill(broker.process.pid, signal.SIGSTOP)
        else:
            broker.stop()
        asked = [road.start(command, command, "--config", "lakehead.toml") for command in ("status", "resume")]
        wait_missing(http, "kafka")
        assert http.metrics()["lakehead_records_read_total"] >= 5_000, "a scrape waits for nobody"
        assert facts.landed(road.lake, TABLE) == {0: 1}
        for command in asked:
            assert command.wait() == 3 and "kafka" in command.text, command.text
        assert stopped(writer, f"a kafka that {trouble}") == 0, writer.text[-2000:]
        facts.assert_landed_once(road.lake, TABLE, range(5_000))
    finally:
        if broker.process.poll() is None:
            os.kill(broker.process.pid, signal.SIGCONT)
        broker.stop()


@pytest.mark.parametrize("trouble", ["hangs", "is down"])
def test_sigterm_while_the_registry(road: Road, trouble: str) -> None:
    """A record that waits for its schema is read again; those of other tables are committed."""
    http, topic, waiting = WriterHttp.choose(), road.topic(2), road.topic(1, "-avro")
    avro = shop.Avro(road.registry, waiting.name)
    # One: it is unknown how many of those behind it are looked at, and counted.
    waiting.produce(avro.records(0, 1))
    proxy = Proxy(road.registry)
    if trouble == "hangs":
        proxy.freeze()
        proxy.mend()
    tables = (facts.settings(road, topic, TABLE), shop_topic(waiting))
    road.configure(*tables, http=http.address, registry=proxy.url, properties=PATIENT, **LAZY)
    writer = begin(road, topic)
    facts.produce(topic, range(1, 1_000))
    wait_read(http, 1_001)
    if trouble == "is down":
        wait_until("it tries again", lambda: http.metrics()["lakehead_registry_retries_total"] > 0)
    assert facts.landed(road.lake, TABLE) == {0: 1}
    assert stopped(writer, f"a registry that {trouble}") == 0, writer.text[-2000:]
    facts.assert_landed_once(road.lake, TABLE, range(1_000))
    assert not road.lake.exists(shop.TABLE)
    proxy.thaw()
    proxy.cut()
    waiting.produce(avro.records(1, 100, tombstones=False))
    road.configure(*tables)
    road.write_once()
    assert road.lake.query(f"SELECT count(*) FROM {{{shop.TABLE}}}") == [(100,)]
