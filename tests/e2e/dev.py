"""`lakehead dev` in a directory of its own, and the stock clients of a service."""

from __future__ import annotations

import csv
import io
import json
import pathlib
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from confluent_kafka import KafkaError, Message, Producer
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

import parts
from lake import Lake
from program import DEADLINE_SECONDS, Program

TABLE = "shop.purchase"
KEY = {"type": "record", "name": "PurchaseKey", "namespace": "shop", "fields": [{"name": "id", "type": "long"}]}
ROW = {"type": "record", "name": "Purchase", "namespace": "shop", "fields": [
    {"name": "id", "type": "long"}, {"name": "item", "type": "string"}, {"name": "quantity", "type": "int"}]}


@dataclass
class Dev:
    """The ports are the same for every start, as they are for a user."""

    binary: pathlib.Path
    folder: pathlib.Path
    kafka_port: int
    registry_port: int

    @classmethod
    def at(cls, binary: pathlib.Path, folder: pathlib.Path) -> Dev:
        return cls(binary, folder, parts.free_port(), parts.free_port())

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self.kafka_port}"

    @property
    def registry(self) -> str:
        return f"http://127.0.0.1:{self.registry_port}"

    @property
    def lake(self) -> Lake:
        return Lake(str(self.folder / "lakehead-dev" / "lake"))

    @property
    def ports(self) -> list[str]:
        return ["--kafka-port", str(self.kafka_port), "--registry-port", str(self.registry_port)]

    def start(self, name: str = "dev", *arguments: str) -> Program:
        """Starts it and waits until its clients can connect."""
        program = self.launch(name, *arguments)
        # The greeting is not written at once: its first words and its last.
        program.wait_for_line("(?s)lakehead dev is ready.*show tables")
        return program

    def launch(self, name: str, *arguments: str) -> Program:
        return Program(self.binary, ["dev", *self.ports, *arguments], self.folder, name)

    def rows(self, query: str) -> list[dict[str, str]]:
        answer = subprocess.run([self.binary, "sql", "--lake", "lakehead-dev/lake", "--output", "csv", "-c", query], cwd=self.folder,
                                capture_output=True, text=True, timeout=DEADLINE_SECONDS)
        assert answer.returncode == 0, answer.stderr
        return list(csv.DictReader(io.StringIO(answer.stdout)))

    def count(self, table: str) -> int:
        return int(self.rows(f"SELECT count(*) AS n FROM {table}")[0]["n"])

    def changes(self) -> int:
        return self.count(f"{TABLE}_changes") if self.lake.exists(TABLE) else 0


class Service:
    """Publishes purchases by Confluent's serializers, and remembers what was acknowledged: (partition, offset) and purchase."""

    def __init__(self, dev: Dev, row: dict[str, Any] = ROW):
        self.client = SchemaRegistryClient({"url": dev.registry})
        self.producer = Producer({"bootstrap.servers": dev.bootstrap, "enable.idempotence": True, "linger.ms": 5,
                                  "message.timeout.ms": 120_000, "reconnect.backoff.max.ms": 200})
        self.key = AvroSerializer(self.client, json.dumps(KEY))
        self.value = AvroSerializer(self.client, json.dumps(row))
        self.acknowledged: dict[tuple[int, int], dict[str, Any]] = {}

    def publish(self, purchase: dict[str, Any]) -> None:
        """A purchase of nothing but an id is deleted."""
        key = self.key({"id": purchase["id"]}, SerializationContext(TABLE, MessageField.KEY))
        value = self.value(purchase, SerializationContext(TABLE, MessageField.VALUE)) if len(purchase) > 1 else None
        self.producer.produce(TABLE, key=key, value=value, on_delivery=self.noting(purchase))
        self.producer.poll(0)

    def noting(self, purchase: dict[str, Any]) -> Callable[[KafkaError | None, Message], None]:
        def note(error: KafkaError | None, message: Message) -> None:
            if error is None:
                self.acknowledged[(message.partition(), message.offset())] = purchase
        return note

    def flush(self) -> None:
        left = self.producer.flush(DEADLINE_SECONDS)
        assert left == 0, f"{left} records were not acknowledged"
