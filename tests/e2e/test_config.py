"""`lakehead config`: every problem at once, and no secret shown."""

from __future__ import annotations

import subprocess
import tomllib

import facts
import shop
from program import DEADLINE_SECONDS, wait_until
from road import Road
from writer_http import WriterHttp

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
    http = WriterHttp.choose()
    road.configure({"match": f"{road.name}\\..*"}, http=http.address)
    writer = road.writer()
    for topic in topics[1:3]:
        writer.wait_for_line(f'{topic.name}\\b')
    codes = {topics[1].name: "table_taken", topics[2].name: "table_unnamed"}
    wait_until("they are told", lambda: {topic: why["code"] for topic, why in http.ready().get("refused", {}).items()} == codes)
    told = {name for name in http.metrics() if name.startswith("lakehead_topic_refused")}
    assert told == {f'lakehead_topic_refused{{topic="{topic}"}}' for topic in codes}
    status = road.run("status", "--config", "lakehead.toml")
    assert status.returncode == 5 and all(f'not read: topic "{topic}"' in status.stdout for topic in codes), (status.stdout, status.stderr)
    for table, topic in (("a.purchase", topics[0]), ("a.refund", topics[3])):
        road.wait_committed(topic, table)
        assert road.lake.query(f"SELECT count(DISTINCT _topic), min(_topic) FROM {{{table}}}") == [(1, topic.name)]
    assert writer.end() == 5
    assert writer.text.count("the topic is not read") == 2, "once for each"
    assert "already fed by" in writer.text and "_changes" in writer.text


def test_a_table_stays_with_its_topic(road: Road) -> None:
    """A topic that comes later and before it in the alphabet does not get its table, not even after a restart."""
    first = road.topic(1, ".b.shop.fact")
    facts.produce(first, range(10))
    topics = {"match": f"{road.name}\\..*", "format": "json", "shape": "upsert", "contract": road.contract(facts.CONTRACT, "fact.avsc")}
    road.configure(topics)
    writer = road.writer()
    facts.wait_caught_up(road, first, "shop.fact")
    later = road.topic(1, ".a.shop.fact")
    facts.produce(later, range(100, 110))
    writer.wait_for_line(f"{later.name}.*already fed by")
    assert writer.end() == 5
    writer = road.writer("again")
    facts.produce(first, range(10, 20))
    facts.wait_caught_up(road, first, "shop.fact")
    assert writer.end() == 5
    facts.assert_landed_once(road.lake, "shop.fact", range(20))


def test_a_contract_that_comes_later_is_read(road: Road) -> None:
    """While it is not there its topic is told as refused; then it is copied from its start by a writer that was never stopped."""
    topic, http = road.topic(partitions=1, suffix=".fact"), WriterHttp.choose()
    facts.produce(topic, range(20))
    road.configure({"match": f"{road.name}\\.(.*)", "table": "shop.$1", "format": "json", "shape": "upsert", "contract": "$1.avsc"},
                   http=http.address)
    writer = road.writer()
    wait_until("the topic is told", lambda: http.ready().get("refused", {}).get(topic.name, {}).get("code") == "contract_unreadable")
    (road.folder / "fact.avsc").write_text("{")
    writer.wait_for_line(r"fact\.avsc.*EOF")
    road.contract(facts.CONTRACT, "fact.avsc")
    facts.wait_caught_up(road, topic, "shop.fact")
    facts.assert_landed_once(road.lake, "shop.fact", range(20))
    assert http.ready()["refused"] == {} and not any("topic_refused" in name for name in http.metrics())
    assert writer.end() == 0
