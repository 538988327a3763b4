"""Topics of real Kafka through confluent-kafka: the tests' own producer, and the consumer that is the oracle."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from confluent_kafka import Consumer, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic  # type: ignore[attr-defined]

from program import DEADLINE_SECONDS, wait_until

Headers = list[tuple[str, str | bytes | None]]


@dataclass(frozen=True)
class Record:
    """What is produced; `partition` -1 leaves the choice to the key."""

    value: bytes | None
    key: bytes | None = None
    partition: int = -1
    headers: Headers = field(default_factory=list)
    timestamp_ms: int = 0


@dataclass(frozen=True)
class Topic:
    """One topic of a broker."""

    bootstrap: str
    name: str
    partitions: int

    @classmethod
    def create(cls, bootstrap: str, name: str, partitions: int, **config: str) -> Topic:
        admin = AdminClient({"bootstrap.servers": bootstrap})
        settings = {key.replace("_", "."): value for key, value in config.items()}
        admin.create_topics([NewTopic(name, partitions, 1, config=settings)])[name].result(DEADLINE_SECONDS)
        wait_until(f"the broker knows {name}", lambda: led(admin, name) == partitions)
        return cls(bootstrap, name, partitions)

    def produce(self, records: Iterable[Record]) -> int:
        """Produces and waits until all are acknowledged; returns how many. A few are one batch of each partition, as nothing is sent for
        the time that has passed."""
        producer = Producer({"bootstrap.servers": self.bootstrap, "enable.idempotence": True, "linger.ms": 5_000,
                             "message.max.bytes": 16 << 20, "partitioner": "murmur2_random"})
        failures: list[str] = []

        def delivered(error: object, _message: Message) -> None:
            if error is not None:
                failures.append(str(error))

        count = 0
        for record in records:
            while True:
                try:
                    producer.produce(self.name, record.value, record.key, record.partition, on_delivery=delivered,
                                     headers=record.headers or None, timestamp=record.timestamp_ms)
                    break
                except BufferError:
                    producer.poll(0.1)
            count += 1
            if count % 1000 == 0:
                producer.poll(0)
        left = producer.flush(DEADLINE_SECONDS)
        assert not failures and not left, f"{len(failures)} failed, {left} undelivered: {failures[:1]}"
        return count

    def delete_up_to(self, partition: int, offset: int) -> None:
        """What retention does, at once: records below the offset are gone."""
        admin = AdminClient({"bootstrap.servers": self.bootstrap})
        place = TopicPartition(self.name, partition, offset)
        for deleted in admin.delete_records([place]).values():
            deleted.result(DEADLINE_SECONDS)

    def delete(self) -> None:
        """Deletes the topic and waits until the broker has forgotten it."""
        admin = AdminClient({"bootstrap.servers": self.bootstrap})
        admin.delete_topics([self.name])[self.name].result(DEADLINE_SECONDS)
        wait_until(f"{self.name} is gone", lambda: self.name not in admin.list_topics(timeout=DEADLINE_SECONDS).topics)

    def again(self, partitions: int | None = None) -> Topic:
        """Deletes the topic and makes another one of its name."""
        self.delete()
        return Topic.create(self.bootstrap, self.name, partitions or self.partitions)

    def add_partitions(self, partitions: int) -> Topic:
        admin = AdminClient({"bootstrap.servers": self.bootstrap})
        admin.create_partitions([NewPartitions(self.name, partitions)])[self.name].result(DEADLINE_SECONDS)
        wait_until("the partitions are there", lambda: led(admin, self.name) == partitions)
        return Topic(self.bootstrap, self.name, partitions)

    def end_offsets(self) -> list[int]:
        consumer = Consumer({"bootstrap.servers": self.bootstrap, "group.id": "oracle"})
        try:
            return [consumer.get_watermark_offsets(TopicPartition(self.name, number), DEADLINE_SECONDS)[1] for number in range(self.partitions)]
        finally:
            consumer.close()

    def read_all(self) -> list[Message]:
        """Every record from the first to the present end of every partition."""
        ends = self.end_offsets()
        consumer = Consumer({"bootstrap.servers": self.bootstrap, "group.id": "oracle", "enable.auto.commit": False,
                             "auto.offset.reset": "earliest", "fetch.queue.backoff.ms": 10, "enable.partition.eof": False})
        consumer.assign([TopicPartition(self.name, number, 0) for number in range(self.partitions)])
        messages: list[Message] = []
        try:
            while len(messages) < sum(ends):
                batch = consumer.consume(min(10_000, sum(ends) - len(messages)), DEADLINE_SECONDS)
                assert batch, f"{self.name}: the oracle read {len(messages)} of {sum(ends)} records and no more came"
                for message in batch:
                    assert message.error() is None, message.error()
                messages += batch
        finally:
            consumer.close()
        assert len(messages) == sum(ends)
        return messages

    def read_values(self) -> list[tuple[Message, bytes]]:
        """Every record that has a value, with it: all but the tombstones."""
        return [(message, value) for message in self.read_all() if (value := message.value()) is not None]


def led(admin: AdminClient, topic: str) -> int:
    """How many partitions of a topic have a leader. The controller knows of a topic before the brokers do."""
    found = admin.list_topics(topic, timeout=DEADLINE_SECONDS).topics[topic]
    return 0 if found.error else sum(partition.leader >= 0 for partition in found.partitions.values())
