"""A test that cannot fail shows nothing: each planted bug (faults build only) must turn the oracle red, and without it green."""

from __future__ import annotations

import os
import pathlib

import pytest

import shop
from kafka_topic import Topic
from oracle import Verdict, judge_purchases
from program import wait_until
from road import MORTAL, Road, shop_topic

CHANGES = 5_000
# Progress alone, without rows, waits for longer than any test: the first commit is one that the bugs spoil.
FLUSHES = {"flush_rows_max": 1_000, "flush_age_max": "1h"}


def loaded(road: Road) -> tuple[Topic, shop.Avro]:
    topic = road.topic(partitions=2)
    avro = shop.Avro(road.registry, topic.name)
    topic.produce(avro.records(0, CHANGES))
    return topic, avro


def planted(bug: str | None) -> dict[str, str]:
    return {"LAKEHEAD_PLANTED_BUG": bug} if bug else {}


def killed_between_commits(road: Road, bug: str | None) -> Verdict:
    """Dies between the commit of the offsets and that of the data: one and the same commit in a writer that is right."""
    topic, avro = loaded(road)
    road.configure(shop_topic(topic), properties=MORTAL, **FLUSHES)
    window = "offsets_between" if bug else "commit_after"
    dying = road.writer("dying", once=True, faults=True, FAILPOINTS=f"{window}=return", **planted(bug))
    assert dying.aborted_at(window), dying.text[-3000:]
    road.configure(shop_topic(topic), properties=MORTAL)
    road.write_all(topic)
    return judge_purchases(road.lake, topic, avro)


def commit_lands_but_errs(road: Road, bug: str | None) -> Verdict:
    """The store takes the commit entry and reports an error."""
    topic, avro = loaded(road)
    road.configure(shop_topic(topic), **FLUSHES)
    writer = road.writer(once=True, faults=True, FAILPOINTS="commit_put=1*off->1*return(ok_then_error)->off", **planted(bug))
    writer.wait()
    road.write_once()
    return judge_purchases(road.lake, topic, avro)


def overtaken_before_commit(road: Road, bug: str | None) -> Verdict:
    """A writer sleeps between upload and commit until another has copied everything; then it wakes with its old data."""
    topic, avro = loaded(road)
    road.configure(shop_topic(topic), assignment="all", **FLUSHES)
    woken = road.folder / "woken"
    sleeper = road.writer("sleeper", once=True, faults=True, FAILPOINTS=f"upload_after=1*return({woken})->off", **planted(bug))
    files = pathlib.Path(road.lake.location(shop.TABLE))
    wait_until("the sleeper's upload", lambda: any(files.rglob("*.parquet")))
    road.write_once("overtaker")
    assert sleeper.alive(), sleeper.text[-3000:]
    woken.touch()
    sleeper.wait()
    road.write_once()
    return judge_purchases(road.lake, topic, avro)


SCENARIOS = {"offsets_before_data": killed_between_commits, "no_read_back": commit_lands_but_errs,
             "no_stale_txn_check": overtaken_before_commit}


@pytest.mark.parametrize("bug", SCENARIOS)
def test_the_oracle_turns_red(bug: str, road: Road) -> None:
    verdict = SCENARIOS[bug](road, bug)
    print(f"{bug}: {verdict}")
    assert not verdict.good(), "the planted bug went unnoticed"
    assert verdict.missing > 0 if bug == "offsets_before_data" else verdict.doubled > 0


@pytest.mark.parametrize("bug", SCENARIOS)
def test_the_same_scenario_without_the_bug(bug: str, road: Road) -> None:
    assert "LAKEHEAD_PLANTED_BUG" not in os.environ
    verdict = SCENARIOS[bug](road, None)
    assert verdict.good() and verdict.expected == CHANGES, verdict
