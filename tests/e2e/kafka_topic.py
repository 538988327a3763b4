"""Topics of real Kafka through confluent-kafka: the tests' own producer, and the consumer that is the oracle."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from confluent_kafka import Consumer, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

Headers = list[tuple[str, str | bytes | None]]


@dataclass(frozen=True)
class Record:
    """What is produced; `partition` -1 leaves the choice to the key."""

    value: bytes | None
    key: bytes | None = None
    partition: int = -1
    headers: Headers = field(default_factory=list)


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
        admin.create_topics([NewTopic(name, partitions, 1, config=settings)])[name].result(30)
        return cls(bootstrap, name, partitions)

    def produce(self, records: Iterable[Record]) -> int:
        """Produces and waits until all are acknowledged; returns how many."""
        producer = Producer({"bootstrap.servers": self.bootstrap, "enable.idempotence": True, "linger.ms": 20,
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
                                     headers=record.headers or None)
                    break
                except BufferError:
                    producer.poll(0.1)
            count += 1
            if count % 1000 == 0:
                producer.poll(0)
        left = producer.flush(60)
        assert not failures and not left, f"{len(failures)} failed, {left} undelivered: {failures[:1]}"
        return count

    def delete_up_to(self, partition: int, offset: int) -> None:
        """What retention does, at once: records below the offset are gone."""
        admin = AdminClient({"bootstrap.servers": self.bootstrap})
        place = TopicPartition(self.name, partition, offset)
        for deleted in admin.delete_records([place]).values():
            deleted.result(30)

    def end_offsets(self) -> list[int]:
        consumer = Consumer({"bootstrap.servers": self.bootstrap, "group.id": "oracle"})
        try:
            return [consumer.get_watermark_offsets(TopicPartition(self.name, number), 30)[1] for number in range(self.partitions)]
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
                batch = consumer.consume(min(10_000, sum(ends) - len(messages)), 30)
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
