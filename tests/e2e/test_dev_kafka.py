"""The Kafka of `lakehead dev`, by Confluent's clients."""

from __future__ import annotations

import os
import time

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic, OffsetSpec
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext

from dev import TABLE, Dev, Service
from program import DEADLINE_SECONDS, wait_until



def test_kafka_by_confluents_clients(running: Dev) -> None:
    admin = AdminClient({"bootstrap.servers": running.bootstrap})
    admin.create_topics([NewTopic("wide", 4)])["wide"].result(DEADLINE_SECONDS)
    with pytest.raises(KafkaException) as refusal:
        admin.create_topics([NewTopic("wide", 4)])["wide"].result(DEADLINE_SECONDS)
    assert refusal.value.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS
    assert len(admin.list_topics(timeout=DEADLINE_SECONDS).topics["wide"].partitions) == 4
    producer = Producer({"bootstrap.servers": running.bootstrap, "enable.idempotence": True})
    for number in range(100):
        producer.produce("wide", value=str(number), partition=number % 4, timestamp=1_700_000_000_000 + number * 1000)
    # A topic that nobody made: with the partitions that dev was told, one.
    producer.produce("made.on.demand", value="first")
    assert producer.flush(DEADLINE_SECONDS) == 0
    assert len(admin.list_topics(timeout=DEADLINE_SECONDS).topics["made.on.demand"].partitions) == 1

    earliest = consumer(running, "group-1", "earliest")
    earliest.subscribe(["wide"])
    assert read(earliest, 100) == {str(number).encode() for number in range(100)}
    earliest.commit(asynchronous=False)
    earliest.close()
    latest = consumer(running, "group-1", "earliest")
    latest.subscribe(["wide"])
    wait_until("the group has its partitions", lambda: latest.poll(0.1) or latest.assignment())
    producer.produce("wide", value="new", partition=1)
    assert producer.flush(DEADLINE_SECONDS) == 0
    assert read(latest, 1) == {b"new"}, "the group goes on where it committed"
    latest.close()

    place = TopicPartition("wide", 2)
    ends = admin.list_offsets({place: OffsetSpec.latest()})[place].result(DEADLINE_SECONDS)
    assert ends.offset == 25
    by_time = consumer(running, "group-2", "error")
    [found] = by_time.offsets_for_times([TopicPartition("wide", 2, 1_700_000_000_000 + 50_000)], timeout=DEADLINE_SECONDS)
    assert found.offset == 12, "the records of partition 2 are numbers 2, 6, … and 50 is the thirteenth"
    by_time.close()
    admin.delete_topics(["wide"])["wide"].result(DEADLINE_SECONDS)
    assert "wide" not in admin.list_topics(timeout=DEADLINE_SECONDS).topics


def test_consumers_of_a_group_share_its_partitions(running: Dev) -> None:
    admin = AdminClient({"bootstrap.servers": running.bootstrap})
    admin.create_topics([NewTopic("shared", 4)])["shared"].result(DEADLINE_SECONDS)
    first, second = (consumer(running, "pair", "earliest") for _ in range(2))
    for member in (first, second):
        member.subscribe(["shared"])
    wait_until("both have two", lambda: [partitions(member) for member in (first, second)] == [2, 2])
    producer = Producer({"bootstrap.servers": running.bootstrap})
    for number in range(100):
        producer.produce("shared", value=str(number), partition=number % 4)
    assert producer.flush(DEADLINE_SECONDS) == 0
    assert not read(first, 50) & read(second, 50)
    for member in (first, second):
        member.commit(asynchronous=False)
    described = admin.describe_consumer_groups(["pair"])["pair"].result(DEADLINE_SECONDS)
    assert (described.state.name, len(described.members)) == ("STABLE", 2)
    with pytest.raises(KafkaException) as refusal:
        admin.delete_consumer_groups(["pair"])["pair"].result(DEADLINE_SECONDS)
    assert refusal.value.args[0].code() == KafkaError.NON_EMPTY_GROUP
    first.close()
    wait_until("the second has all", lambda: partitions(second) == 4)
    producer.produce("shared", value="new", partition=0)
    producer.produce("shared", value="newer", partition=3)
    assert producer.flush(DEADLINE_SECONDS) == 0
    assert read(second, 2) == {b"new", b"newer"}, "what both committed counts"
    second.close()
    [listed] = admin.list_consumer_groups().result(DEADLINE_SECONDS).valid
    assert (listed.group_id, listed.state.name) == ("pair", "EMPTY")
    admin.delete_consumer_groups(["pair"])["pair"].result(DEADLINE_SECONDS)


def partitions(member: Consumer) -> int:
    assert member.poll(0.1) is None
    return len(member.assignment())


def test_cooperative_members_share_too(running: Dev) -> None:
    admin = AdminClient({"bootstrap.servers": running.bootstrap})
    admin.create_topics([NewTopic("shared", 4)])["shared"].result(DEADLINE_SECONDS)
    members = [consumer(running, "three", "earliest", **{"partition.assignment.strategy": "cooperative-sticky"}) for _ in range(3)]
    for member in members:
        member.subscribe(["shared"])
    wait_until("all have some", lambda: sorted(partitions(member) for member in members) == [1, 1, 2])
    for member in members:
        member.close()


@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
def test_large_records_headers_and_compression(running: Dev, codec: str) -> None:
    large, headers = os.urandom(2_000_000), [("trace", b"7"), ("empty", None)]
    producer = Producer({"bootstrap.servers": running.bootstrap, "enable.idempotence": True, "compression.type": codec, "message.max.bytes": 4_000_000})
    for number in range(100):
        producer.produce("records", value=str(number) * 100, headers=headers)
    producer.produce("records", value=large)
    assert producer.flush(DEADLINE_SECONDS) == 0
    reader = consumer(running, codec, "earliest")
    reader.subscribe(["records"])
    assert read(reader, 101) == {str(number).encode() * 100 for number in range(100)} | {large}
    reader.assign([TopicPartition("records", 0, 7)])
    wait_until("a record comes", lambda: (found := reader.poll(1)) and (found.offset(), found.headers()) == (7, headers))
    reader.close()


def test_transactions_are_refused_and_the_log_says_why(running: Dev) -> None:
    producer = Producer({"bootstrap.servers": running.bootstrap, "transactional.id": "till-7"})
    with pytest.raises(KafkaException) as refusal:
        producer.init_transactions(DEADLINE_SECONDS)
    assert refusal.value.args[0].code() == KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED
    said = running.folder / "dev.log"
    wait_until("the log says why", lambda: "transactions are not served" in said.read_text() and "till-7" in said.read_text())


def test_settings_of_a_topic_are_kept_and_shown(running: Dev) -> None:
    admin = AdminClient({"bootstrap.servers": running.bootstrap})
    admin.create_topics([NewTopic("set", 1, config={"cleanup.policy": "compact"})])["set"].result(DEADLINE_SECONDS)
    place = ConfigResource(ConfigResource.Type.TOPIC, "set")
    change = ConfigEntry("retention.ms", "5000", incremental_operation=AlterConfigOpType.SET)
    changed = ConfigResource(ConfigResource.Type.TOPIC, "set", incremental_configs=[change])
    admin.incremental_alter_configs([changed])[changed].result(DEADLINE_SECONDS)
    shown = admin.describe_configs([place])[place].result(DEADLINE_SECONDS)
    assert {name: entry.value for name, entry in shown.items()} == {"cleanup.policy": "compact", "retention.ms": "5000"}


def consumer(dev: Dev, group: str, reset: str, **settings: str) -> Consumer:
    return Consumer({"bootstrap.servers": dev.bootstrap, "group.id": group, "auto.offset.reset": reset, "enable.auto.commit": False} | settings)


def read(of: Consumer, count: int) -> set[bytes]:
    values: list[bytes] = []
    deadline = time.monotonic() + DEADLINE_SECONDS
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


def test_a_new_topic_is_read_soon_among_many_idle_ones(running: Dev) -> None:
    """A question to a broker waits for the fetch under way, half a second where nothing arrives: it must not be asked for each topic.
    If it were, the late one came after more than a minute; it comes within some seconds."""
    many = [f"shop.idle{number}" for number in range(120)]
    producer = Producer({"bootstrap.servers": running.bootstrap})
    for topic in many:
        producer.produce(topic, value="no row")
    assert producer.flush(DEADLINE_SECONDS) == 0
    wait_until("all are read", lambda: running.count("system.dead_letters") == len(many))
    producer.produce("shop.late", value="no row either")
    assert producer.flush(DEADLINE_SECONDS) == 0
    wait_until("the late one is read too", lambda: running.count("system.dead_letters") == len(many) + 1)
