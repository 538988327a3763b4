"""Schemas change in the middle of the stream: old rows keep their values, new ones land, readers never see half of it."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest

import shop
from kafka_topic import Record, Topic
from lake import Lake
from program import wait_until
from road import Road, shop_topic


def row(*, without: str = "", **types: Any) -> dict[str, Any]:
    """The shop's row with fields left out, of other types, or new (those are optional)."""
    fields = [field for field in copy.deepcopy(shop.ROW["fields"]) if field["name"] != without]
    for name, avro in types.items():
        known = next((field for field in fields if field["name"] == name), None)
        if known:
            known["type"] = avro
        else:
            fields.append({"name": name, "type": ["null", avro], "default": None})
    return shop.ROW | {"fields": fields}


def producer(road: Road, topic: Topic, version: str, schema: dict[str, Any]) -> shop.Avro:
    """Under a subject of its own: what the registry thinks of the change is not the question here."""
    return shop.Avro(road.registry, f"{topic.name}-{version}", schema)


def event(number: int, **values: Any) -> dict[str, Any]:
    """The creation of a purchase of its own."""
    change = shop.change(4 * number)
    return change | {"after": change["after"] | values}


def records(avro: shop.Avro, first: int, last: int, **values: Any) -> list[Record]:
    return [Record(avro.value(event(number, **values)), avro.key(number)) for number in range(first, last)]


def without(avro: shop.Avro, first: int, last: int, field: str) -> list[Record]:
    found = []
    for number in range(first, last):
        change = event(number)
        del change["after"][field]
        found.append(Record(avro.value(change), avro.key(number)))
    return found


def types(lake: Lake, table: str = shop.TABLE) -> dict[str, str]:
    delta = lake.delta(table)
    assert delta is not None
    return {field.name: str(field.type) for field in delta.schema().fields}


def test_fields_come_and_go_and_two_versions_at_once(road: Road) -> None:
    topic = road.topic(partitions=2)
    first = producer(road, topic, "1", row())
    second = producer(road, topic, "2", row(colour="string", weight="int"))
    third = producer(road, topic, "3", row(without="note", colour="string"))
    road.configure(shop_topic(topic))
    writer = road.writer()
    topic.produce(records(first, 0, 100))
    wait_until("the first rows", lambda: road.lake.delta(shop.TABLE) and road.lake.progress(shop.TABLE, topic.name, 2) == topic.end_offsets())
    # Alternating, so that decoders change from record to record.
    pairs = zip(records(first, 100, 200), records(second, 200, 300, colour="red", weight=7), without(third, 300, 400, "note"))
    topic.produce(record for pair in pairs for record in pair)
    road.wait_committed(topic)
    assert writer.end() == 0
    lake = road.lake
    assert lake.query("SELECT count(*), count(DISTINCT (_partition, _offset)), sum(id) FROM {shop.purchase}") == [(400, 400, sum(range(400)))]
    assert lake.query("SELECT count(*), min(id), max(id), sum(weight) FROM {shop.purchase} WHERE colour = 'red'") == [(100, 200, 299, 700)]
    assert lake.query("SELECT count(*) FROM {shop.purchase} WHERE colour IS NULL") == [(300,)]
    assert lake.query("SELECT count(note), count(item) FROM {shop.purchase} WHERE id >= 300") == [(0, 100)]
    assert "long" in types(lake)["weight"], "an int lands as BIGINT"
    assert int(road.sql("select count(*) as n from shop.purchase where colour = 'red'")[0]["n"]) == 100


def test_an_int_becomes_a_double(road: Road) -> None:
    """The rows so far are written anew in one version; a reader of an older version keeps it, and no other table waits."""
    topic, other = road.topic(partitions=2), road.topic(partitions=1, suffix=".other")
    first = producer(road, topic, "1", row())
    second = producer(road, topic, "2", row(quantity="double"))
    steady = producer(road, other, "1", row())
    road.configure(shop_topic(topic), shop_topic(other, table="shop.refund"), flush_rows_max=50)
    topic.produce(records(first, 0, 200))
    other.produce(records(steady, 0, 50))
    road.write_once()
    reader = road.lake.delta(shop.TABLE)
    assert reader is not None and "long" in types(road.lake)["quantity"]
    sum_before = sum(event(number)["after"]["quantity"] for number in range(200))
    topic.produce([*records(second, 200, 300, quantity=1.5), *records(first, 300, 400)])
    other.produce(records(steady, 50, 100))
    road.write_once()
    lake = road.lake
    assert "double" in types(lake)["quantity"]
    [(count, places, total)] = lake.query("SELECT count(*), count(DISTINCT (_partition, _offset)), sum(quantity) FROM {shop.purchase} WHERE id < 200")
    assert (count, places, total) == (200, 200, float(sum_before))
    assert lake.query("SELECT count(*), sum(quantity) FROM {shop.purchase} WHERE id >= 200 AND id < 300") == [(100, 150.0)]
    assert lake.query("SELECT count(*) FROM {shop.purchase}") == [(400,)]
    assert lake.query("SELECT count(*) FROM {shop.refund}") == [(100,)]
    assert reader.to_pyarrow_table().num_rows == 200, "a reader of the version before reads it still"
    assert float(road.sql("select sum(quantity) as s from shop.purchase")[0]["s"]) == sum_before + 150.0 + sum(
        event(number)["after"]["quantity"] for number in range(300, 400))


def test_fields_in_another_order_with_defaults_and_by_another_name(road: Road) -> None:
    """A rename keeps its column by the alias that the writer's schema gives; two names at once are one column."""
    topic = road.topic(partitions=1)
    first = producer(road, topic, "1", row())
    turned = row()
    turned["fields"].reverse()
    next(field for field in turned["fields"] if field["name"] == "item").update(name="article", aliases=["item"])
    turned["fields"].insert(2, {"name": "currency", "type": "string", "default": "EUR"})
    second = producer(road, topic, "2", turned)

    def renamed(number: int, **values: Any) -> dict[str, Any]:
        change = event(number, **values)
        change["after"]["article"] = change["after"].pop("item")
        return change

    later = [Record(second.value(renamed(number, currency="SEK")), second.key(number)) for number in range(100, 200)]
    topic.produce(record for pair in zip(records(first, 0, 100), later) for record in pair)
    topic.produce(records(first, 200, 250))
    road.configure(shop_topic(topic))
    road.write_once()
    lake = road.lake
    assert "article" not in types(lake)
    assert not lake.exists("dead_letters")
    assert lake.query("SELECT count(*), count(item), count(DISTINCT id), sum(quantity) FROM {shop.purchase}") == [
        (250, 250, 250, sum(event(number)["after"]["quantity"] for number in range(250)))]
    assert lake.query("SELECT item, quantity, price, placed_at = make_timestamp(%d) AT TIME ZONE 'UTC' FROM {shop.purchase} WHERE id = 150"
                      % event(150)["after"]["placed_at"]) == [(*(event(150)["after"][name] for name in ("item", "quantity", "price")), True)]
    # A default stands for a field that its writer does not know; rows that were there before the column have none.
    found = dict(lake.query("SELECT currency, count(*) FROM {shop.purchase} GROUP BY 1"))
    assert found.keys() == {"SEK", "EUR", None} - ({None} if None not in found else set()) and found["SEK"] == 100
    assert lake.query("SELECT DISTINCT currency FROM {shop.purchase} WHERE id >= 200") == [("EUR",)]


def test_no_version_is_half_changed(road: Road) -> None:
    """While columns come and widen and two writers commit, every version of the table reads whole: all rows so far, each once,
    in one type per column."""
    topic = road.topic(partitions=2)
    schemas = (row(), row(colour="string"), row(quantity="double", colour="string"), row(without="note", quantity="double", size="int"))
    producers = [producer(road, topic, str(version), schema) for version, schema in enumerate(schemas)]
    road.configure(shop_topic(topic), flush_rows_max=100)
    writers = [road.writer("one"), road.writer("two")]
    for first in range(0, 1_200, 400):
        for version, avro in enumerate(producers):
            numbers = range(first + 100 * version, first + 100 * (version + 1))
            values: dict[str, Any] = {"quantity": number_of(version)} | ({"colour": "red"} if version in (1, 2) else {})
            sent = without(avro, numbers.start, numbers.stop, "note") if version == 3 else records(avro, numbers.start, numbers.stop, **values)
            topic.produce(sent)
    road.wait_committed(topic)
    assert all(writer.end() == 0 for writer in writers)
    delta = road.lake.delta(shop.TABLE)
    assert delta is not None
    counts, kinds = [], []
    for version in range(delta.version() + 1):
        delta.load_as_version(version)
        rows = delta.to_pyarrow_table(columns=["_partition", "_offset", "quantity"])
        places = set(zip(rows["_partition"].to_pylist(), rows["_offset"].to_pylist(), strict=True))
        assert len(places) == rows.num_rows and rows["quantity"].null_count == 0, version
        counts.append(rows.num_rows)
        kinds.append(str(rows["quantity"].type))
    assert counts == sorted(counts) and counts[-1] == 1_200, counts
    assert kinds == sorted(kinds, reverse=True) and set(kinds) == {"int64", "double"}, kinds


def number_of(version: int) -> float:
    """What a schema's quantity holds: an int until it is a double."""
    return 2 if version < 2 else 2.5


@pytest.mark.parametrize(("change", "field", "table_says", "writer_says"), [
    (row(quantity="string"), "quantity", '"int"', '"string"'),
    (row(id="double"), "id", '"long"', '"double"'),
    (row(without="id"), "id", "a key field", "nothing"),
    (row(price=["null", "boolean"]), "price", '"double"', '"boolean"'),
    (row(placed_at="string"), "placed_at", "timestamp-micros", '"string"'),
], ids=["type swap", "long to double", "dropped key", "double to boolean", "timestamp to string"])
def test_an_incompatible_change_names_both_schemas(change: dict[str, Any], field: str, table_says: str, writer_says: str, road: Road) -> None:
    """Each by its name and what it says of the field, with why they do not go together and what to do."""
    topic = road.topic(partitions=1)
    first = producer(road, topic, "1", row())
    second = producer(road, topic, "2", change)
    values = {"quantity": "three", "id": 0.5, "price": True, "placed_at": "now"}
    kept = {field["name"]: field["type"] for field in change["fields"]}
    differing = {name: value for name, value in values.items() if kept.get(name, "") != {f["name"]: f["type"] for f in row()["fields"]}[name]}
    bad = event(5, **differing)
    if "id" not in kept:
        del bad["after"]["id"]
    topic.produce([*records(first, 0, 5), Record(second.value(bad), first.key(5)), *records(first, 6, 10)])
    road.configure(shop_topic(topic))
    road.write_once()
    assert road.lake.query("SELECT count(*), sum(id) FROM {shop.purchase}") == [(9, sum(range(10)) - 5)]
    [(offset, code, schema_id, text)] = road.lake.query("SELECT _offset, error_code, _schema_id, error FROM {dead_letters}")
    assert (offset, code, schema_id) == (5, "schema_mismatch", second.value_id)
    told = re.fullmatch(rf'schema {second.value_id}: field "{field}": schema "shop.purchase.Value" says (.+), '
                        r'the table\'s contract "shop.purchase.Value" says (.+?): (.+)', text)
    assert told, text
    assert writer_says in told[1] and table_says in told[2] and "new topic" in told[3], told.groups()


def test_an_incompatible_change_is_a_dead_letter(road: Road) -> None:
    topic = road.topic(partitions=1)
    first = producer(road, topic, "1", row())
    second = producer(road, topic, "2", row(id="double"))
    topic.produce([*records(first, 0, 10), *[Record(second.value(event(number, id=number + 0.5)), b"k") for number in range(10, 20)],
                   *records(first, 20, 30)])
    road.configure(shop_topic(topic))
    road.write_once()
    assert road.lake.query("SELECT count(*), max(id) FROM {shop.purchase}") == [(20, 29)]
    [(code, text, count)] = road.lake.query("SELECT error_code, min(error), count(*) FROM {dead_letters} GROUP BY 1")
    assert (code, count) == ("schema_mismatch", 10) and '"id"' in text and "double" in text, text


def test_an_incompatible_change_stops_its_table_if_told_so(road: Road) -> None:
    topic, other = road.topic(partitions=1), road.topic(partitions=1, suffix=".other")
    first, steady = producer(road, topic, "1", row()), producer(road, other, "1", row())
    second = producer(road, topic, "2", row(item="long"))
    topic.produce([*records(first, 0, 10), Record(second.value(event(10, item=7)), first.key(10)), *records(first, 11, 20)])
    other.produce(records(steady, 0, 50))
    road.configure(shop_topic(topic, on_incompatible="stop"), shop_topic(other, table="shop.refund"))
    writer = road.writer()
    writer.wait_for_line(r"cannot follow .* from offset 10 on: schema \d+")
    road.wait_committed(other, "shop.refund")
    assert road.lake.query("SELECT count(*) FROM {shop.purchase}") == [(10,)]
    assert writer.end() == 5
    road.configure(shop_topic(topic), shop_topic(other, table="shop.refund"))
    road.write_once()
    assert road.lake.query("SELECT count(*) FROM {shop.purchase}") == [(19,)]


def test_two_writers_meet_a_new_schema_at_once(road: Road) -> None:
    topic = road.topic(partitions=4)
    first = producer(road, topic, "1", row())
    second = producer(road, topic, "2", row(colour="string"))
    third = producer(road, topic, "3", row(size="long", quantity="double"))
    road.configure(shop_topic(topic), flush_rows_max=100)
    writers = [road.writer("one"), road.writer("two")]
    for first_number in range(0, 4_000, 1_000):
        batches = (records(first, first_number, first_number + 300), records(second, first_number + 300, first_number + 600, colour="red"),
                   records(third, first_number + 600, first_number + 1_000, size=1, quantity=0.25))
        topic.produce(record for batch in batches for record in batch)
    road.wait_committed(topic)
    assert all(writer.end() == 0 for writer in writers)
    [(count, places, ids)] = road.lake.query("SELECT count(*), count(DISTINCT (_partition, _offset)), count(DISTINCT id) FROM {shop.purchase}")
    assert (count, places, ids) == (4_000, 4_000, 4_000)
    assert road.lake.query("SELECT count(colour), sum(size), count(*) FILTER (quantity = 0.25) FROM {shop.purchase}") == [(1_200, 1_600, 1_600)]


def test_topics_are_found_by_a_pattern(road: Road) -> None:
    """Topics that come later are found too; one that Debezium names lands in the table of its last two parts."""
    early = road.topic(partitions=1, suffix=".public.purchase")
    avro = producer(road, early, "1", row())
    early.produce(records(avro, 0, 10))
    road.configure({"match": f"{road.name}\\.public\\..*", "format": "avro", "shape": "debezium"})
    writer = road.writer()
    wait_until("the first topic's rows", lambda: road.lake.delta("public.purchase") is not None
               and road.lake.query("SELECT count(*) FROM {public.purchase}") == [(10,)])
    late = road.topic(partitions=1, suffix=".public.refund")
    late.produce(records(producer(road, late, "1", row()), 0, 20))
    wait_until("the late topic's rows", lambda: road.lake.delta("public.refund") is not None
               and road.lake.query("SELECT count(*) FROM {public.refund}") == [(20,)])
    assert writer.end() == 0
