"""`lakehead config`: every problem at once, and no secret shown."""

from __future__ import annotations

import subprocess
import tomllib

import shop
from program import DEADLINE_SECONDS
from road import Road

SECRET = "hunter2-is-never-shown"


def asked(road: Road, question: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([road.binary, "config", question, "--config", "lakehead.toml"], cwd=road.folder, capture_output=True, text=True,
                          timeout=DEADLINE_SECONDS)


def test_a_good_file(road: Road) -> None:
    road.configure({"name": "shop.purchase"}, {"match": r"cdc\..*"}, properties={"client.id": "tests"})
    checked = asked(road, "check")
    assert checked.returncode == 0 and "1 topics by name, and more by pattern" in checked.stdout, checked
    shown = asked(road, "show")
    assert shown.returncode == 0, shown.stderr
    table = tomllib.loads(shown.stdout)
    assert table["kafka"]["properties"]["client.id"] == "tests"
    assert table["writer"]["record_bytes_max"] and table["topic"][1]["start"] == "earliest"


def test_every_problem_at_once(road: Road) -> None:
    properties = {"sasl.password": SECRET, "auto.offset.reset": "latest", "no.such.property": "1", "ssl.key.password": {"env": "NO_SUCH_NAME"}}
    road.configure({"name": "orders"}, {"name": "a.x", "table": "system.x"}, {"match": "("}, properties=properties,
                   access={"ca_location": "no-such-file"}, flush_rows_max=0)
    for question in ("check", "show"):
        answer = asked(road, question)
        assert SECRET not in answer.stdout + answer.stderr
    checked = asked(road, "check")
    assert checked.returncode == 2 and not checked.stdout, checked
    for said in ("sasl.password", "auto.offset.reset", "no.such.property", "NO_SUCH_NAME", "no-such-file", "flush_rows_max", '"orders"',
                 "system", "unclosed group"):
        assert said in checked.stderr, (said, checked.stderr)
    written = road.writer()
    assert written.wait() == 2 and SECRET not in written.text


def test_tables_that_collide_or_are_reserved(road: Road) -> None:
    """By the names of topics alone, before anything is connected to."""
    names = ["shop.purchase", "cdc.shop.purchase", "cdc.Shop.Purchase", "system.tables", "cdc.marts.sales", "shop.purchase_changes",
             "shop.purchase_history", "information_schema.tables", "orders"]
    road.configure(*({"name": name} for name in names), {"name": "a.b", "table": "shop.purchase"}, {"name": "c.d", "table": "Shop.purchase"},
                   {"name": "e.f", "format": "json", "infer": True, "contract": road.contract()},
                   {"name": "g.h", "unknown_fields": "ignore"}, {"name": "i.j", "format": "json", "unknown_fields": "ignore"})
    checked = asked(road, "check")
    assert checked.returncode == 2, checked
    for topic in [*names[1:], "a.b", "c.d", "e.f", "g.h"]:
        assert f'"{topic}"' in checked.stderr, (topic, checked.stderr)
    assert '"i.j"' not in checked.stderr
    assert 'table shop.purchase is already fed by topic "shop.purchase"' in checked.stderr


def test_topics_that_are_found_later_collide_alone(road: Road) -> None:
    """A pattern's topic whose table is another's, or reserved, is refused by name, and the others are read."""
    topics = [road.topic(partitions=1, suffix=suffix) for suffix in (".a.purchase", ".b.a.purchase", ".a.purchase_changes", ".a.refund")]
    avro = shop.Avro(road.registry, road.name)
    for topic in topics:
        topic.produce(avro.records(0, 8))
    road.configure({"match": f"{road.name}\\..*"})
    writer = road.writer()
    for topic in topics[1:3]:
        writer.wait_for_line(f'{topic.name}\\b')
    for table, topic in (("a.purchase", topics[0]), ("a.refund", topics[3])):
        road.wait_committed(topic, table)
        assert road.lake.query(f"SELECT count(DISTINCT _topic), min(_topic) FROM {{{table}}}") == [(1, topic.name)]
    assert writer.end() == 0
    assert "already fed by" in writer.text and "_changes" in writer.text
