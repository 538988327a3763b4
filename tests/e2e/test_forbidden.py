"""A topic that an ACL keeps from the writer stops its own table, whatever it may do with others."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AclBinding, AclBindingFilter, AclOperation, AclPermissionType, AdminClient, ResourcePatternType, ResourceType)

import facts
from kafka_topic import Topic
from listeners import Listeners
from pair import GOES_ON, HEALTHY, LOST, assert_ends_well
from parts import KAFKA_USER
from program import Program
from road import Road
from writer_http import WriterHttp


@contextmanager
def denied(topic: Topic, operation: str) -> Iterator[None]:
    """While it lasts, the user may not do this with the topic."""
    admin = AdminClient({"bootstrap.servers": topic.bootstrap})

    def acl(operation: str, permission: AclPermissionType) -> AclBinding:
        return AclBinding(ResourceType.TOPIC, topic.name, ResourcePatternType.LITERAL, f"User:{KAFKA_USER}", "*", AclOperation[operation],
                          permission)

    # What no ACL of a topic allows is denied once it has one.
    acls = [acl(operation, AclPermissionType.DENY)] + ([acl("DESCRIBE", AclPermissionType.ALLOW)] if operation == "READ" else [])
    for made in admin.create_acls(acls).values():
        made.result(30)
    try:
        yield
    finally:
        everything = AclBindingFilter(ResourceType.TOPIC, topic.name, ResourcePatternType.LITERAL, None, None, AclOperation.ANY,
                                      AclPermissionType.ANY)
        for deleted in admin.delete_acls([everything]).values():
            assert len(deleted.result(30)) == len(acls)


class Two:
    """A topic that will be denied and one that will not, read by a user who is nothing special."""

    def __init__(self, road: Road, listeners: Listeners, assignment: str):
        self.road, self.listeners, self.http = road, listeners, WriterHttp.choose()
        self.lost, self.healthy = road.topic(2, "-lost"), road.topic(2, "-healthy")
        self.settings = [facts.settings(road, self.lost, LOST), facts.settings(road, self.healthy, HEALTHY)]
        self.assignment, self.numbers = assignment, 0
        self.configure(*self.settings)

    def configure(self, *settings: dict[str, object]) -> None:
        self.road.configure(*settings, http=self.http.address, assignment=self.assignment, bootstrap=self.listeners.sasl_ssl,
                            properties=self.listeners.sasl("PLAIN") | self.listeners.authority)

    def writer(self, once: bool = False) -> Program:
        return self.road.writer(once=once, **self.listeners.password)

    def produce(self, count: int = 100) -> int:
        """As many records to both; how many there are in each."""
        for topic in (self.lost, self.healthy):
            facts.produce(topic, range(self.numbers, self.numbers + count))
        self.numbers += count
        return self.numbers

    def assert_stopped(self, operation: str) -> None:
        self.http.wait_stopped(LOST, "topic_forbidden")
        facts.wait_caught_up(self.road, self.healthy, HEALTHY)
        assert self.http.stopped(HEALTHY) is None
        # Without a table nothing is missing that `resume` would have to read.
        for command in ("status", "resume") if operation == "ALL" else ("status",):
            shown = self.road.run(command, "--config", "lakehead.toml", environment=self.listeners.password)
            assert shown.returncode == 5, (command, shown.stdout, shown.stderr)
            assert ("topic_forbidden" if command == "status" else "does not let this client read") in shown.stdout, shown.stdout

    def assert_goes_on(self) -> None:
        facts.wait_caught_up(self.road, self.lost, LOST, GOES_ON)
        for table in (LOST, HEALTHY):
            facts.assert_landed_once(self.road.lake, table, range(self.numbers))


@pytest.mark.parametrize("assignment", ["group", "all"])
@pytest.mark.parametrize("operation", ["ALL", "READ"])
def test_a_topic_without_an_acl(road: Road, listeners: Listeners, operation: str, assignment: str) -> None:
    two = Two(road, listeners, assignment)
    two.produce()
    with denied(two.lost, operation):
        writer = two.writer()
        two.assert_stopped(operation)
    two.assert_goes_on()
    assert_ends_well(writer)


@pytest.mark.parametrize("operation", ["ALL", "READ"])
def test_an_acl_that_is_revoked(road: Road, listeners: Listeners, operation: str) -> None:
    two = Two(road, listeners, "group")
    two.produce()
    writer = two.writer()
    two.assert_goes_on()
    with denied(two.lost, operation):
        two.produce()
        two.assert_stopped(operation)
    two.produce()
    two.assert_goes_on()
    assert_ends_well(writer)


@pytest.mark.parametrize("assignment", ["group", "all"])
def test_nothing_but_a_topic_without_an_acl(road: Road, listeners: Listeners, assignment: str) -> None:
    """It is named though no partition is ever assigned; a run with an end ends."""
    two = Two(road, listeners, assignment)
    two.produce()
    two.configure(two.settings[0])
    with denied(two.lost, "ALL"):
        once = two.writer(once=True)
        assert once.wait() == 5 and "does not let this client see it" in once.text, once.text
        writer = two.writer()
        two.http.wait_stopped(LOST, "topic_forbidden")
    facts.wait_caught_up(road, two.lost, LOST, GOES_ON)
    assert_ends_well(writer)
