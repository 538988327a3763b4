"""`lakehead dev`, by the page of the docs and by services; killed, and refused."""

from __future__ import annotations

import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import time

import pytest
from confluent_kafka import Producer
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.error import SchemaRegistryError

from dev import ROW, TABLE, Dev, Service
from page import Reader
from program import DEADLINE_SECONDS, Program, wait_until

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "dev.md"
KILLS = int(os.environ.get("LAKEHEAD_TEST_DEV_KILLS", 8))


def stock_client(name: str) -> None:
    if not shutil.which(name):
        skip = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        skip(f"MISSING REAL PART: {name} (tests/stack/fetch kcat brings it)")


def search_path(folder: pathlib.Path, binary: pathlib.Path) -> pathlib.Path:
    """`lakehead` and `python3` as the reader of the page has them."""
    path = folder / "bin"
    path.mkdir()
    for name, target in (("lakehead", binary), ("python3", pathlib.Path(sys.executable))):
        # A link would hide the virtual environment from the interpreter.
        (path / name).write_text(f'#!/bin/sh\nexec "{target}" "$@"\n')
        (path / name).chmod(0o755)
    return path


def test_the_page_of_the_docs(dev: Dev) -> None:
    stock_client("kcat")
    stock_client("curl")
    instead = {"127.0.0.1:9092": dev.bootstrap, "http://127.0.0.1:8081": dev.registry}
    reader = Reader(PAGE, dev.folder, search_path(dev.folder, dev.binary), instead)
    program, *arguments = reader.program().split()
    assert (program, arguments[0]) == ("lakehead", "dev")
    running = dev.start("dev", *arguments[1:])
    try:
        assert reader.follow() >= 12
        said = running.text
        assert dev.bootstrap in said and dev.registry in said and "lakehead-dev/lake" in said, said
        assert running.end() == 0, running.text[-3000:]
    finally:
        running.kill()


def test_what_it_says_to_go_on_with_works(running: Dev) -> None:
    Service(running).client.register_schema("a-value", Schema(json.dumps(ROW), "AVRO"))
    said = (running.folder / "dev.log").read_text()
    commands = [line.strip() for line in said.split("Go on with:")[1].splitlines() if line.startswith("  ")]
    sql = [line for line in commands if line.startswith("lakehead sql")]
    assert sql and any(line.startswith("kcat") for line in commands) and any(line.startswith("curl") for line in commands)
    path = search_path(running.folder, running.binary)
    done = subprocess.run(["bash", "-c", sql[0]], cwd=running.folder, env=os.environ | {"PATH": f"{path}:{os.environ['PATH']}"},
                          capture_output=True, text=True, timeout=DEADLINE_SECONDS)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_killed_and_started_again(dev: Dev) -> None:
    """Every acknowledged record is a change once, the table is what they come to, and no schema's id has moved."""
    seed = int(os.environ.get("LAKEHEAD_TEST_SEED") or random.randrange(2**32))
    print(f"seed {seed} (LAKEHEAD_TEST_SEED={seed} repeats it)")
    dice = random.Random(seed)
    program = dev.start("dev-0")
    service = Service(dev)
    number, ids = 0, {}
    for kill in range(KILLS):
        until = time.monotonic() + dice.uniform(0.2, 3.0)
        schema = ROW | {"name": f"Kept{kill}"}
        ids[kill] = service.client.register_schema(f"kept-{kill}-value", Schema(json.dumps(schema), "AVRO"))
        while time.monotonic() < until:
            publish(service, dice, number)
            number += 1
        assert program.kill(), program.text[-3000:]
        program = dev.start(f"dev-{kill + 1}")
    service.flush()
    try:
        assert len(service.acknowledged) == number
        wait_until("every record is committed", lambda: dev.changes() >= number)
        assert_whole(dev, service)
        for kill, schema_id in ids.items():
            kept = SchemaRegistryClient({"url": dev.registry}).get_schema(schema_id)
            assert json.loads(kept.schema_str)["name"] == f"Kept{kill}"
        assert len(set(ids.values())) == KILLS
        print(f"{KILLS} kills, {number} records")
        assert program.end() == 0, program.text[-3000:]
    finally:
        program.kill()


def publish(service: Service, dice: random.Random, number: int) -> None:
    purchase = {"id": dice.randrange(200)}
    # The first one is a row: where none was yet, a null value deletes nothing, and is no change.
    if number == 0 or dice.random() > 0.1:
        purchase |= {"item": f"item-{number}", "quantity": number}
    try:
        service.publish(purchase)
    except BufferError:
        service.producer.poll(1)
        service.publish(purchase)


def assert_whole(dev: Dev, service: Service) -> None:
    landed = dev.lake.query(f"SELECT _partition, _offset, id, quantity FROM {{{TABLE}}} ORDER BY 1, 2")
    expected = [(*place, purchase["id"], purchase.get("quantity")) for place, purchase in sorted(service.acknowledged.items())]
    assert [tuple(row) for row in landed] == expected
    current: dict[int, int] = {}
    for _, purchase in sorted(service.acknowledged.items()):
        current.pop(purchase["id"], None)
        if "quantity" in purchase:
            current[purchase["id"]] = purchase["quantity"]
    rows = dev.rows(f"SELECT id, quantity FROM {TABLE}")
    assert {int(row["id"]): int(row["quantity"]) for row in rows} == current


def test_the_registry_by_confluents_client(running: Dev) -> None:
    client = SchemaRegistryClient({"url": running.registry})
    subject = f"{TABLE}-value"
    first = Schema(json.dumps(ROW), "AVRO")
    assert client.get_subjects() == [] and client.get_compatibility() == "BACKWARD"
    schema_id = client.register_schema(subject, first)
    assert client.register_schema("another-value", first) == schema_id
    assert json.loads(SchemaRegistryClient({"url": running.registry}).get_schema(schema_id).schema_str) == ROW
    assert client.lookup_schema(subject, first).version == 1
    wider = Schema(json.dumps(ROW | {"fields": [*ROW["fields"], {"name": "note", "type": ["null", "string"], "default": None}]}), "AVRO")
    narrower = Schema(json.dumps(ROW | {"fields": [*ROW["fields"], {"name": "note", "type": "string"}]}), "AVRO")
    assert client.test_compatibility(subject, wider) and not client.test_compatibility(subject, narrower)
    with pytest.raises(SchemaRegistryError) as refusal:
        client.register_schema(subject, narrower)
    assert refusal.value.http_status_code == 409 and "'note'" in refusal.value.error_message
    second = client.register_schema(subject, wider, normalize_schemas=True)
    assert second != schema_id and client.get_latest_version(subject).version == 2
    assert client.get_versions(subject) == [1, 2] and client.get_version(subject, 1).schema_id == schema_id
    client.set_compatibility(subject, "NONE")
    assert client.get_compatibility(subject) == "NONE"
    assert client.register_schema(subject, narrower) not in (schema_id, second)
    assert client.delete_version(subject, 3) == 3 and client.get_versions(subject) == [1, 2]
    assert client.delete_subject(subject) == [1, 2]
    assert client.delete_subject(subject, permanent=True) == [1, 2, 3]
    assert client.get_subjects() == ["another-value"]
    with pytest.raises(SchemaRegistryError) as missing:
        # Another client: the first one remembers.
        SchemaRegistryClient({"url": running.registry}).get_latest_version(subject)
    assert (missing.value.http_status_code, missing.value.error_code) == (404, 40401)


def test_plain_json_lands_with_the_columns_of_its_first_records(dev: Dev) -> None:
    program = dev.start("dev", "--topic", "shop.click:json", "--topic", "shop.cart:json:upsert:cart")
    producer = Producer({"bootstrap.servers": dev.bootstrap, "enable.idempotence": True})
    for number in range(100):
        producer.produce("shop.click", value=json.dumps({"page": f"/{number % 5}", "ms": number, "ratio": number / 4, "first": number == 0}))
        producer.produce("shop.cart", key=json.dumps({"cart": number % 10}), value=json.dumps({"cart": number % 10, "total": number}))
    producer.produce("shop.cart", key=json.dumps({"cart": 3}), value=None)
    assert producer.flush(DEADLINE_SECONDS) == 0
    try:
        wait_until("the clicks are rows", lambda: dev.lake.exists("shop.click") and dev.count("shop.click") == 100)
        [sums] = dev.rows("SELECT sum(ms) AS ms, sum(ratio) AS ratio, count(*) FILTER (WHERE first) AS first FROM shop.click")
        assert (int(sums["ms"]), float(sums["ratio"]), int(sums["first"])) == (4950, 1237.5, 1)
        wait_until("the carts are rows", lambda: dev.lake.exists("shop.cart") and dev.count("shop.cart") == 9)
        carts = dev.rows("SELECT cart, total FROM shop.cart")
        assert {int(row["cart"]): int(row["total"]) for row in carts} == {cart: 90 + cart for cart in range(10) if cart != 3}
        # What comes among the first records would stop the table instead: its columns could not be told.
        producer.produce("shop.click", value=json.dumps({"page": "/", "ms": "long", "ratio": 1.5, "first": False}))
        assert producer.flush(DEADLINE_SECONDS) == 0
        wait_until("what does not fit is told", lambda: dev.count("system.dead_letters") == 1)
        [dead] = dev.rows("SELECT _topic, _offset, error FROM system.dead_letters")
        assert (dead["_topic"], dead["_offset"]) == ("shop.click", "100") and '"ms"' in dead["error"]
        assert program.end() == 0, program.text[-3000:]
    finally:
        program.kill()


def test_ctrl_c_commits_and_a_directory_that_cannot_be_is_named(dev: Dev) -> None:
    (dev.folder / "file").write_text("")
    refused = dev.launch("refused", "--dir", "file/below")
    assert refused.wait() == 1 and "cannot make file/below" in refused.text, refused.text
    program = dev.start()
    service = Service(dev)
    service.publish({"id": 1, "item": "lamp", "quantity": 2})
    service.flush()
    program.wait_for_line("partitions assigned")
    program.signal(signal.SIGINT)
    assert program.wait() == 0, program.text[-3000:]
    again = dev.start("again")
    wait_until("the record is a row", lambda: dev.changes() == 1)
    assert again.end() == 0


def test_a_directory_and_ports_are_had_by_one(dev: Dev, binary: pathlib.Path, tmp_path: pathlib.Path) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        taken = str(holder.getsockname()[1])
        for option in ("--kafka-port", "--registry-port"):
            refused = launched(binary, tmp_path, f"dev{option}", "dev", *ports(**{option: taken}))
            assert refused.wait() == 1
            assert option in refused.text and taken in refused.text, refused.text
    # Whoever was refused holds nothing: the directory is free.
    first = dev.start()
    second = launched(binary, tmp_path, "second", "dev", *ports())
    assert second.wait() == 1
    assert "in use by another" in second.text and "lakehead-dev" in second.text, second.text
    assert first.alive() and first.end() == 0


def ports(**fixed: str) -> list[str]:
    chosen = {"--kafka-port": "0", "--registry-port": "0"} | fixed
    return [word for option, port in chosen.items() for word in (option, port)]


def launched(binary: pathlib.Path, folder: pathlib.Path, name: str, *arguments: str) -> Program:
    return Program(binary, list(arguments), folder, name)


@pytest.mark.parametrize("arguments, named", [
    (["--topic", "nodot"], "nodot"),
    (["--topic", "shop.purchase:xml"], "xml"),
    (["--topic", "shop.cart:json:upsert"], "shop.cart:json:upsert:FIELD"),
    (["--config", "missing.toml"], "missing.toml"),
    (["--topic", TABLE, "--partitions", "0"], "--partitions"),
])
def test_wrong_usage_is_said_before_anything_starts(binary: pathlib.Path, tmp_path: pathlib.Path, arguments: list[str], named: str) -> None:
    refused = launched(binary, tmp_path, "wrong", "dev", *arguments)
    assert refused.wait() == 2 and named in refused.text, refused.text
    assert not (tmp_path / "lakehead-dev").exists()
