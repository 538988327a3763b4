"""`lakehead dev`, by the page of the docs and by stock clients; killed, and refused."""

from __future__ import annotations

import fcntl
import json
import os
import pathlib
import pty
import random
import select
import shutil
import socket
import subprocess
import sys
import termios
import time
from collections.abc import Iterator

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.schema_registry.error import SchemaRegistryError
from confluent_kafka.serialization import MessageField, SerializationContext

from dev import ROW, TABLE, Dev, Service
from page import Reader
from program import Program, wait_until

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "dev.md"
KILLS = int(os.environ.get("LAKEHEAD_TEST_DEV_KILLS", 8))


@pytest.fixture
def dev(binary: pathlib.Path, tmp_path: pathlib.Path) -> Dev:
    return Dev.at(binary, tmp_path)


@pytest.fixture
def running(dev: Dev) -> Iterator[Dev]:
    program = dev.start()
    yield dev
    program.kill()


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
                          capture_output=True, text=True, timeout=60)
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
        wait_until("every record is committed", lambda: changes(dev) >= number, 120)
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
    if dice.random() > 0.1:
        purchase |= {"item": f"item-{number}", "quantity": number}
    try:
        service.publish(purchase)
    except BufferError:
        service.producer.poll(1)
        service.publish(purchase)


def changes(dev: Dev) -> int:
    if not dev.lake.exists(TABLE):
        return 0
    return int(dev.rows(f"SELECT count(*) AS n FROM {TABLE}_changes")[0]["n"])


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


def test_kafka_by_confluents_clients(running: Dev) -> None:
    admin = AdminClient({"bootstrap.servers": running.bootstrap})
    admin.create_topics([NewTopic("wide", 4)])["wide"].result(30)
    with pytest.raises(KafkaException) as refusal:
        admin.create_topics([NewTopic("wide", 4)])["wide"].result(30)
    assert refusal.value.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS
    assert len(admin.list_topics(timeout=30).topics["wide"].partitions) == 4
    producer = Producer({"bootstrap.servers": running.bootstrap, "enable.idempotence": True})
    for number in range(100):
        producer.produce("wide", value=str(number), partition=number % 4, timestamp=1_700_000_000_000 + number * 1000)
    # A topic that nobody made: with the partitions that dev was told, one.
    producer.produce("made.on.demand", value="first")
    assert producer.flush(30) == 0
    assert len(admin.list_topics(timeout=30).topics["made.on.demand"].partitions) == 1

    earliest = consumer(running, "group-1", "earliest")
    earliest.subscribe(["wide"])
    assert read(earliest, 100) == {str(number).encode() for number in range(100)}
    earliest.commit(asynchronous=False)
    earliest.close()
    latest = consumer(running, "group-1", "earliest")
    latest.subscribe(["wide"])
    wait_until("the group has its partitions", lambda: latest.poll(0.1) or latest.assignment(), 30)
    producer.produce("wide", value="new", partition=1)
    assert producer.flush(30) == 0
    assert read(latest, 1) == {b"new"}, "the group goes on where it committed"
    latest.close()

    place = TopicPartition("wide", 2)
    ends = admin.list_offsets({place: OffsetSpec.latest()})[place].result(30)
    assert ends.offset == 25
    by_time = consumer(running, "group-2", "error")
    [found] = by_time.offsets_for_times([TopicPartition("wide", 2, 1_700_000_000_000 + 50_000)], timeout=30)
    assert found.offset == 12, "the records of partition 2 are numbers 2, 6, … and 50 is the thirteenth"
    by_time.close()
    admin.delete_topics(["wide"])["wide"].result(30)
    assert "wide" not in admin.list_topics(timeout=30).topics


def consumer(dev: Dev, group: str, reset: str) -> Consumer:
    return Consumer({"bootstrap.servers": dev.bootstrap, "group.id": group, "auto.offset.reset": reset, "enable.auto.commit": False})


def read(of: Consumer, count: int) -> set[bytes]:
    values: list[bytes] = []
    deadline = time.monotonic() + 60
    while len(values) < count:
        assert time.monotonic() < deadline, f"{len(values)} of {count} records came"
        message = of.poll(1)
        if message is not None:
            assert message.error() is None, message.error()
            values.append(message.value())
    assert len(set(values)) == count
    return set(values)


def test_what_the_serializer_wrote_the_deserializer_reads(running: Dev) -> None:
    service = Service(running)
    service.publish({"id": 1, "item": "lamp", "quantity": 2})
    service.flush()
    reader = consumer(running, "reader", "earliest")
    reader.subscribe([TABLE])
    [value] = read(reader, 1)
    reader.close()
    purchase = AvroDeserializer(service.client)(value, SerializationContext(TABLE, MessageField.VALUE))
    assert purchase == {"id": 1, "item": "lamp", "quantity": 2}


def test_a_directory_and_ports_are_had_by_one(dev: Dev, binary: pathlib.Path, tmp_path: pathlib.Path) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        taken = str(holder.getsockname()[1])
        for option in ("--kafka-port", "--registry-port"):
            refused = launched(binary, tmp_path, f"dev{option}", "dev", *ports(**{option: taken}))
            assert refused.wait(60) == 1
            assert option in refused.text and taken in refused.text, refused.text
    # Whoever was refused holds nothing: the directory is free.
    first = dev.start()
    second = launched(binary, tmp_path, "second", "dev", *ports())
    assert second.wait(60) == 1
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
    (["--config", "missing.toml"], "missing.toml"),
    (["--topic", TABLE, "--partitions", "0"], "--partitions"),
])
def test_wrong_usage_is_said_before_anything_starts(binary: pathlib.Path, tmp_path: pathlib.Path, arguments: list[str], named: str) -> None:
    refused = launched(binary, tmp_path, "wrong", "dev", *arguments)
    assert refused.wait(60) == 2 and named in refused.text, refused.text
    assert not (tmp_path / "lakehead-dev").exists()


def controlled() -> None:
    """Makes the terminal that a process reads from its own, so that Ctrl-C reaches it."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


class Terminal:
    """A program that believes that somebody types."""

    def __init__(self, dev: Dev, *arguments: str):
        self.screen, theirs = pty.openpty()
        self.process = subprocess.Popen([dev.binary, "dev", *dev.ports, *arguments], cwd=dev.folder, stdin=theirs, stdout=theirs, stderr=theirs,
                                        env=os.environ | {"NO_COLOR": "1"}, start_new_session=True, preexec_fn=controlled)
        os.close(theirs)
        self.seen = ""

    def type(self, text: str) -> None:
        os.write(self.screen, text.encode())

    def wait_for(self, text: str, seconds: float = 60) -> None:
        """Waits for a text that comes after everything waited for before."""
        deadline = time.monotonic() + seconds
        while text not in self.seen:
            assert time.monotonic() < deadline, f"{text!r} did not come:\n{self.seen}"
            if select.select([self.screen], [], [], 0.2)[0]:
                try:
                    self.seen += os.read(self.screen, 65536).decode(errors="replace")
                except OSError:
                    raise AssertionError(f"it ended before {text!r}:\n{self.seen}") from None
        self.seen = self.seen.split(text, 1)[1]


def test_the_prompt(dev: Dev) -> None:
    terminal = Terminal(dev)
    try:
        terminal.wait_for("lakehead> ")
        service = Service(dev)
        service.publish({"id": 7, "item": "lamp", "quantity": 2})
        service.flush()
        wait_until("the record is committed", lambda: changes(dev) == 1, 60)
        terminal.type("select item, quantity + 40 as n\n")
        terminal.wait_for("..> ")
        terminal.type(f"from {TABLE};\n")
        terminal.wait_for("| lamp | 42 |")
        terminal.wait_for("lakehead> ")
        terminal.type("selec 1;\n")
        terminal.wait_for("error: ")
        terminal.wait_for("lakehead> ")
        # Ctrl-C drops what was typed, and nothing else.
        terminal.type("select 'never\n")
        terminal.wait_for("..> ")
        terminal.type("\x03")
        terminal.wait_for("lakehead> ")
        terminal.type("\\d\n")
        terminal.wait_for("purchase_changes")
        terminal.wait_for("lakehead> ")
        terminal.type("\x04")
        assert terminal.process.wait(60) == 0
    finally:
        terminal.process.kill()
        terminal.process.wait()
