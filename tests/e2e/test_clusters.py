"""Clusters that do not let everybody in: SASL over TLS, client certificates, a registry with authentication, S3 by profile."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

import facts
import shop
from gate import Gate
from kafka_topic import Topic
from listeners import Listeners
from oracle import judge
from pair import GOES_ON
from road import Road, shop_topic
from test_parts import TOPIC, forget_topic
from writer_http import WriterHttp

CHANGES = 2_000
SECRET = "hunter2-is-never-shown"


@pytest.fixture
def topic(road: Road) -> Iterator[Topic]:
    topic = road.topic(partitions=3)
    topic.produce(shop.Avro(road.registry, topic.name).records(0, CHANGES, tombstones=False))
    yield topic


def assert_landed(road: Road, topic: Topic) -> None:
    avro = shop.Avro(road.registry, topic.name)
    events = [(message, avro.decode(value)) for message, value in topic.read_values()]
    verdict = judge(road.lake, shop.TABLE, topic.name, shop.expected(events), shop.COLUMNS)
    assert verdict.good() and verdict.expected == CHANGES, verdict
    assert not road.lake.exists("dead_letters")


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-512"])
def test_sasl_over_tls(mechanism: str, road: Road, topic: Topic, listeners: Listeners) -> None:
    road.configure(shop_topic(topic), bootstrap=listeners.sasl_ssl, properties=listeners.sasl(mechanism) | listeners.authority)
    writer = road.writer(once=True, **listeners.password)
    assert writer.wait() == 0, writer.text[-3000:]
    assert listeners.password["KAFKA_PASSWORD"] not in writer.text
    assert_landed(road, topic)


def test_the_demos_service_is_let_in_too(road: Road, listeners: Listeners) -> None:
    """Its relay takes TLS and SASL from the lake-writer's configuration."""
    forget_topic(road.bootstrap)
    road.configure({"name": TOPIC}, bootstrap=listeners.sasl_ssl, properties=listeners.sasl("SCRAM-SHA-512") | listeners.authority)
    producer = road.start("producer", "demo", "produce", "--config", "lakehead.toml", **listeners.password)
    assert producer.wait() == 0, producer.text[-3000:]
    assert sum(Topic(road.bootstrap, TOPIC, 4).end_offsets()) == 80_406


def test_client_certificate(road: Road, topic: Topic, listeners: Listeners) -> None:
    road.configure(shop_topic(topic), bootstrap=listeners.mtls, properties=listeners.certificate(road.folder) | listeners.authority)
    road.write_once()
    assert_landed(road, topic)


def test_authorities_of_the_system(road: Road, topic: Topic, listeners: Listeners) -> None:
    """The usual variable of OpenSSL's programs names them, although librdkafka brings an OpenSSL of its own."""
    road.configure(shop_topic(topic), bootstrap=listeners.sasl_ssl, properties=listeners.sasl("PLAIN"))
    writer = road.writer(once=True, SSL_CERT_FILE=str(listeners.certificates / "ca.pem"), **listeners.password)
    assert writer.wait() == 0, writer.text[-3000:]
    assert_landed(road, topic)


def refusals(listeners: Listeners, road: Road) -> dict[str, tuple[str, dict[str, Any], str]]:
    """Address, properties and what must be said."""
    known = listeners.authority
    return {
        "wrong password": (listeners.sasl_ssl, listeners.sasl("SCRAM-SHA-512") | known, "invalid credentials"),
        "wrong mechanism": (listeners.sasl_ssl, listeners.sasl("SCRAM-SHA-256") | known, "SCRAM-SHA-256"),
        "unknown authority": (listeners.sasl_ssl, listeners.sasl("PLAIN"), "certificate verify failed"),
        # By TLS 1.3 the client has sent a request before the server looks for the certificate: that it lacks one may be lost in a reset.
        "no certificate": (listeners.mtls, {"security.protocol": "SSL"} | known, "certificate|cannot be reached"),
        "no tls": (listeners.mtls, {}, "cannot be reached"),
    }


def test_refusals_are_named_and_show_no_secret(road: Road, listeners: Listeners) -> None:
    writers = {}
    for what, (address, properties, said) in refusals(listeners, road).items():
        name = what.replace(" ", "-")
        config = road.configure({"name": "shop.purchase"}, file=f"{name}.toml", bootstrap=address, properties=properties)
        writers[what, said] = road.writer(name, once=True, config=config, KAFKA_PASSWORD=SECRET)
    for (what, said), writer in writers.items():
        assert writer.wait() == 3, (what, writer.text[-2000:])
        last = writer.text[writer.text.index("error: "):]
        assert re.search(said, last), (what, last)
        assert SECRET not in writer.text, what


def test_a_registry_that_does_not_let_us_in_stops_who_needs_it(road: Road, topic: Topic) -> None:
    """First nobody is let in, then who knows the password: another table goes on, what waited lands, nothing became a dead letter."""
    known = "Basic " + base64.b64encode(f"lakehead:{SECRET}".encode()).decode()
    with closing(Gate(road.registry, lambda header: 403 if header == known else 401)) as gate:
        other, http = road.topic(1, "-other"), WriterHttp.choose()
        facts.produce(other, range(10))
        road.configure(shop_topic(topic), facts.settings(road, other, "shop.fact"), registry=gate.address, http=http.address,
                       access={"username": "lakehead", "password": {"env": "PASSWORD"}})
        writer = road.writer(PASSWORD=SECRET)
        http.wait_stopped("shop.purchase", "registry_refused")
        writer.wait_for_line(r"refuses this client.*403")
        facts.wait_caught_up(road, other, "shop.fact")
        gate.admits = lambda header: 200 if header == known else 401
        road.wait_committed(topic, seconds=GOES_ON)
        assert writer.end() == 0
        assert SECRET not in writer.text
    assert_landed(road, topic)


def test_a_registry_behind_tls_with_token_and_certificate(road: Road, topic: Topic, listeners: Listeners) -> None:
    folder = listeners.certificates
    (road.folder / "token").write_text(f"{SECRET}\n")
    with closing(Gate(road.registry, lambda header: 200 if header == f"Bearer {SECRET}" else 401, folder)) as gate:
        certificates = {"ca_location": str(folder / "ca.pem"), "certificate_location": str(folder / "client.pem"),
                        "key_location": str(folder / "client.open.key")}
        road.configure(shop_topic(topic), registry=gate.address, access={"token": {"file": "token"}} | certificates)
        road.write_once()
    assert_landed(road, topic)


def test_s3_by_profile(s3_road: Road, listeners: Listeners) -> None:
    """Keys, region and endpoint come from AWS's own files; the program's configuration has the profile's name and no more."""
    road, bucket = s3_road, s3_road.lake.bucket
    assert bucket
    topic = road.topic(partitions=2)
    topic.produce(shop.Avro(road.registry, topic.name).records(0, CHANGES, tombstones=False))
    (road.folder / "credentials").write_text(
        f"[lake]\naws_access_key_id = {bucket.access_key}\naws_secret_access_key = {bucket.secret_key}\n"
        f"[wrong]\naws_access_key_id = {bucket.access_key}\naws_secret_access_key = {SECRET}\n")
    for profile in ("lake", "wrong"):
        with open(road.folder / "config", "a") as config:
            config.write(f"[profile {profile}]\nregion = us-east-1\nendpoint_url = {bucket.endpoint}\n")
    files = {"AWS_SHARED_CREDENTIALS_FILE": str(road.folder / "credentials"), "AWS_CONFIG_FILE": str(road.folder / "config")}
    road.configure(shop_topic(topic), options={"aws_profile": "wrong", "aws_allow_http": True})
    writer = road.writer("wrong", once=True, **files)
    assert writer.wait() == 3 and SECRET not in writer.text, writer.text[-2000:]
    road.configure(shop_topic(topic), options={"aws_profile": "lake", "aws_allow_http": True})
    writer = road.writer("by-profile", once=True, **files)
    assert writer.wait() == 0, writer.text[-3000:]
    assert_landed(road, topic)
