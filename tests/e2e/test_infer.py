"""JSON that brings no schema: with a contract, with columns inferred from its records, with neither."""

from __future__ import annotations

import json
from typing import Any

import shop
from kafka_topic import Record, Topic
from program import wait_until
from road import Road, shop_topic
from writer_http import WriterHttp

ROW: dict[str, Any] = {"type": "record", "name": "Row", "lakehead.key": ["id"], "fields": [
    {"name": "id", "type": "int"},
    {"name": "colour", "type": ["null", {"type": "enum", "name": "Colour", "symbols": ["RED", "BLUE"]}], "default": None},
    {"name": "place", "type": ["null", {"type": "record", "name": "Place", "fields": [{"name": "x", "type": "double"}]}], "default": None}]}


def record(**row: Any) -> Record:
    return Record(json.dumps(row).encode(), json.dumps({"id": row.get("id")}).encode())


def letters(road: Road) -> list[tuple[int, str, str]]:
    return road.lake.query("SELECT _offset, error_code, error FROM {dead_letters} ORDER BY 1") if road.lake.exists("dead_letters") else []


def produce_misfits(topic: Topic) -> None:
    topic.produce([
        record(id=0, colour="RED", place={"x": 1}),
        record(id=1, weight=7),
        record(id=2, place={"x": 1, "y": 2}),
        record(id=3, weight=None, colour=None),
        record(id=4, colour="GREEN"),
        record(id=2**31),
        record(id=6, colour="BLUE"),
    ])


def test_what_the_contract_lacks_is_a_dead_letter(road: Road) -> None:
    """Nothing is left out silently: the dead letter names the field."""
    topic = road.topic(partitions=1)
    produce_misfits(topic)
    road.configure(shop_topic(topic, format="json", shape="upsert", contract=road.contract(ROW)))
    road.write_once()
    found = letters(road)
    assert [(offset, code) for offset, code, _ in found] == [(1, "unknown_field"), (2, "unknown_field"), (4, "type_mismatch"), (5, "type_mismatch")]
    texts = [text for _, _, text in found]
    assert '"weight"' in texts[0] and "unknown_fields" in texts[0], texts
    assert '"place.y"' in texts[1] and "GREEN" in texts[2] and "2147483648" in texts[3], texts
    assert road.lake.query("SELECT id, colour FROM {shop.purchase} ORDER BY 1") == [(0, "RED"), (3, None), (6, "BLUE")]


def test_fields_are_left_out_where_that_is_asked(road: Road) -> None:
    topic = road.topic(partitions=1)
    produce_misfits(topic)
    road.configure(shop_topic(topic, format="json", shape="upsert", contract=road.contract(ROW), unknown_fields="ignore"))
    road.write_once()
    assert [offset for offset, _, _ in letters(road)] == [4, 5]
    assert road.lake.query("SELECT id, place.x FROM {shop.purchase} ORDER BY 1") == [(0, 1.0), (1, None), (2, 1.0), (3, None), (6, None)]


def test_a_new_field_in_the_first_record_of_all_costs_no_record(road: Road) -> None:
    """Nothing is buffered when the table grows, as on any quiet topic."""
    topic = road.topic(partitions=1)
    road.configure(shop_topic(topic, format="json", shape="upsert", infer=True))
    topic.produce([record(id=1, n=1), record(id=2, n=2)])
    road.write_once("before")
    topic.produce([record(id=9, z=1), record(id=10)])
    road.write_once("grown")
    writer = road.writer()
    wait_until("nothing is missing", lambda: road.lake.progress(shop.TABLE, topic.name, 1) == topic.end_offsets())
    topic.produce([record(id=1, y="new"), record(id=2, n=3)])
    wait_until("all is committed", lambda: road.lake.progress(shop.TABLE, topic.name, 1) == topic.end_offsets())
    assert writer.end() == 0
    assert letters(road) == []
    assert road.lake.query("SELECT _offset, id, n, z, y FROM {shop.purchase} ORDER BY 1") == [
        (0, 1, 1, None, None), (1, 2, 2, None, None), (2, 9, None, 1, None), (3, 10, None, None, None), (4, 1, None, None, "new"),
        (5, 2, 3, None, None)]


def test_a_contract_grows_by_its_owners_hand(road: Road) -> None:
    """A new contract in the configuration brings its columns and symbols; rows of before keep their values."""
    topic = road.topic(partitions=1)
    topic.produce([record(id=0, colour="RED"), record(id=1, colour="GREEN", weight=7)])
    road.configure(shop_topic(topic, format="json", shape="upsert", contract=road.contract(ROW)))
    road.write_once()
    assert [code for _, code, _ in letters(road)] == ["type_mismatch"]
    grown = json.loads(json.dumps(ROW))
    grown["fields"][1]["type"][1]["symbols"] = ["GREEN", "BLUE", "RED"]
    grown["fields"].append({"name": "weight", "type": ["null", "long"], "default": None})
    topic.produce([record(id=2, colour="GREEN", weight=7)])
    road.configure(shop_topic(topic, format="json", shape="upsert", contract=road.contract(grown)))
    road.write_once("again")
    assert road.lake.query("SELECT id, colour, weight FROM {shop.purchase} ORDER BY 1") == [(0, "RED", None), (2, "GREEN", 7)]
    assert len(letters(road)) == 1


def test_columns_are_inferred_by_the_documented_rule(road: Road) -> None:
    topic = road.topic(partitions=1)
    topic.produce([
        Record(b"not json", b"k"), Record(b"17", b"k"), Record(b"null", b'{"id":9}'),
        record(id=1, price=2, name="007", on="2026-01-31", nothing=None, empty=[], ok=True),
        record(id=2, price=2.5, tags=["a", None], place={"x": 1}),
        record(id=3),
    ])
    road.configure(shop_topic(topic, format="json", shape="upsert", infer=True))
    road.write_once()
    assert [(offset, code) for offset, code, _ in letters(road)] == [(0, "invalid"), (1, "invalid")]
    assert columns(road) == {"id": "long", "price": "double", "name": "string", "on": "string", "ok": "boolean",
                             "tags": "array", "place": "struct"}
    assert road.lake.query('SELECT id, price, name, "on", tags[1], place.x FROM {shop.purchase} ORDER BY 1') == [
        (1, 2.0, "007", "2026-01-31", None, None), (2, 2.5, None, None, "a", 1), (3, None, None, None, None, None)]
    # Fields that come later become columns; what does not fit a column that is there is a dead letter.
    topic.produce([
        record(id=4, nothing="now", place={"x": 2, "y": {"z": True}}),
        record(id=5, empty=[{"n": 1}], price="2.5"),
        record(id=6, empty=[{"n": 1, "m": "x"}], price=3, nothing=None, hollow={}),
        record(id=7.5), record(id=8, Price=1), record(id=10, big=2**70),
        Record(None, b'{"id":1}'),
    ])
    road.write_once("again")
    later = [(offset, code) for offset, code, _ in letters(road)][2:]
    assert later == [(7, "type_mismatch"), (9, "type_mismatch"), (10, "unknown_field"), (11, "unknown_field")], letters(road)
    assert columns(road).keys() == {"id", "price", "name", "on", "ok", "tags", "place", "nothing", "empty"}
    assert road.lake.query("SELECT id, nothing, place.y.z, empty[1].m FROM {shop.purchase} WHERE id > 3 AND _op <> 'd' ORDER BY 1") == [
        (4, "now", True, None), (6, None, None, "x")]
    assert sorted(row["id"] for row in road.sql("SELECT id FROM shop.purchase")) == ["2", "3", "4", "6"]


def test_two_writers_that_infer_at_once(road: Road) -> None:
    """Each has a partition of its own before there is a record: one has whole numbers, the other fractions and a field more."""
    topic = road.topic(partitions=2)
    names, https = ("one", "two"), [WriterHttp.choose(), WriterHttp.choose()]
    writers = []
    for name, http in zip(names, https, strict=True):
        file = road.configure(shop_topic(topic, format="json", shape="upsert", infer=True), http=http.address, file=f"{name}.toml")
        writers.append(road.writer(name, config=file))
    wait_until("each has one partition", lambda: all(
        http.get("metrics") and http.metrics()["lakehead_partitions_assigned"] == 1 for http in https))
    rows = [(number, number / 2 if number % 2 else number) for number in range(400)]
    topic.produce(Record(json.dumps({"id": id_, "n": n} | ({"more": id_} if id_ % 2 else {})).encode(), b'{"id":%d}' % id_, id_ % 2)
                  for id_, n in rows)
    road.wait_committed(topic)
    assert [writer.end() for writer in writers] == [0, 0]
    assert letters(road) == []
    assert columns(road) == {"id": "long", "n": "double", "more": "long"}
    assert road.lake.query("SELECT id, n FROM {shop.purchase} ORDER BY 1") == rows


def columns(road: Road) -> dict[str, str]:
    """The entity's columns and the kind of each."""
    delta = road.lake.delta(shop.TABLE)
    assert delta is not None
    fields = json.loads(delta.schema().to_json())["fields"]
    kinds = {field["name"]: field["type"] for field in fields if not field["name"].startswith("_")}
    return {name: kind["type"] if isinstance(kind, dict) else kind for name, kind in kinds.items()}


def test_columns_of_envelopes_are_inferred_from_their_rows(road: Road) -> None:
    topic = road.topic(partitions=1)
    changes = [shop.change(number) for number in range(8)]
    topic.produce(Record(shop.debezium_json(change), b'{"id":%d}' % (change["after"] or change["before"])["id"]) for change in changes)
    road.configure(shop_topic(topic, format="json", infer=True))
    road.write_once()
    assert letters(road) == []
    assert columns(road).keys() == {"id", "item", "quantity", "price", "placed_at", "note"}
    assert road.lake.query("SELECT string_agg(_op, '' ORDER BY _offset) FROM {shop.purchase}") == [("cuudcuud",)]


def test_a_topic_that_says_nothing_of_its_rows_stops_its_table(road: Road) -> None:
    """Its records are not thrown among the dead letters for a line that the configuration lacks; all else goes on."""
    topic, other = road.topic(partitions=1), road.topic(partitions=1, suffix=".other")
    topic.produce(record(id=number) for number in range(10))
    other.produce(record(id=number) for number in range(10))
    settings = shop_topic(topic, format="json", shape="upsert")
    steady = shop_topic(other, table="shop.refund", format="json", shape="upsert", contract=road.contract(ROW))
    http = WriterHttp.choose()
    road.configure(settings, steady, http=http.address)
    writer = road.writer()
    writer.wait_for_line(r"shop\.purchase: .*JSON without a schema at offset 0.*infer = true")
    wait_until("the other table's rows", lambda: road.lake.exists("shop.refund")
               and road.lake.query("SELECT count(*) FROM {shop.refund}") == [(10,)])
    label = '{table="shop.purchase"}'
    wait_until("its lag is told, and grows", lambda: http.metrics().get(f"lakehead_table_lag_records{label}") == 10
               and http.metrics()[f"lakehead_table_lag_seconds{label}"] > 0)
    assert writer.end() == 5
    assert letters(road) == []
    road.configure(settings | {"contract": "contract.avsc"}, steady)
    road.write_once()
    assert road.lake.query("SELECT count(*), min(_offset) FROM {shop.purchase}") == [(10, 0)]
