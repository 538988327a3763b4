"""The parts one by one, each its own process: the demo's producer on real Kafka and registry, the writer to a real bucket, SQL."""

from __future__ import annotations

from confluent_kafka.admin import AdminClient

import airline_source
from program import DEADLINE_SECONDS, wait_until
from road import Road

TOPIC = "flights.flight"


def test_the_parts_one_by_one(s3_road: Road) -> None:
    road = s3_road
    forget_topic(road.bootstrap)
    producer = road.start("producer", "demo", "produce", "--kafka", road.bootstrap, "--registry", road.registry, "--dir", "producer")
    assert producer.wait() == 0, producer.text[-3000:]
    road.configure({"name": TOPIC})
    road.write_once()
    january = airline_source.january()
    [counts] = road.sql("SELECT count(*) AS changes, count(DISTINCT _event_id) AS events FROM flights.flight_changes")
    assert counts == {"changes": "80406", "events": "80406"}
    [row] = road.sql("SELECT count(*) AS n, sum(dep_delay) AS dep, sum(arr_delay) AS arr FROM flights.flight")
    assert tuple(int(float(value)) for value in row.values()) == (27_004, january.dep_delay, january.arr_delay)
    assert road.lake.query("SELECT count(*), count(DISTINCT _event_id), count(DISTINCT (_partition, _offset)) FROM {flights.flight}") == [
        (80_406, 80_406, 80_406)]
    again = road.start("producer-again", "demo", "produce", "--kafka", road.bootstrap, "--registry", road.registry, "--dir", "producer")
    assert again.wait() == 0, again.text[-3000:]
    road.write_once("again")
    assert road.lake.query("SELECT count(*) FROM {flights.flight}") == [(80_406,)]


def forget_topic(bootstrap: str) -> None:
    """A broker that is not ours alone may have the topic from an earlier run."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    if TOPIC in admin.list_topics(timeout=DEADLINE_SECONDS).topics:
        admin.delete_topics([TOPIC])[TOPIC].result(DEADLINE_SECONDS)
        wait_until("the topic is gone", lambda: TOPIC not in admin.list_topics(timeout=DEADLINE_SECONDS).topics)
