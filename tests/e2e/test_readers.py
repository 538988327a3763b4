"""Readers that know nothing of Lakehead get the same answers: DuckDB, the deltalake package, and Lakehead's own SQL beside them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pyarrow.compute as pc

import shop
from confluent import framed
from kafka_topic import Record
from oracle import judge_purchases
from road import Road, shop_topic

CHANGES = 20_000
OWN_COLUMNS = ["_op", "_event_id", "_event_time", "_topic", "_partition", "_offset", "_generation", "_schema_id", "_source", "_ingest_time"]


def test_others_can_read(s3_road: Road) -> None:
    road = s3_road
    topic = road.topic(partitions=4)
    avro = shop.Avro(road.registry, topic.name)
    topic.produce(avro.records(0, CHANGES))
    road.configure(shop_topic(topic), flush_rows_max=3_000)
    road.write_once()
    assert judge_purchases(road.lake, topic, avro).good()

    figures = "count(*), sum(id), sum(quantity), sum(price), count(note), count(DISTINCT _partition), sum(_offset)"
    [duckdb] = road.lake.query(f"SELECT {figures} FROM {{{shop.TABLE}}}")
    [own] = road.sql(f"SELECT {figures} FROM shop.purchase_changes")
    delta = road.lake.delta(shop.TABLE)
    assert delta is not None
    table = delta.to_pyarrow_table()
    python = (len(table), pc.sum(table["id"]).as_py(), pc.sum(table["quantity"]).as_py(), pc.sum(table["price"]).as_py(),
              len(table) - table["note"].null_count, len(pc.unique(table["_partition"])), pc.sum(table["_offset"]).as_py())
    expected = expected_figures()
    assert [float(value) for value in duckdb] == [float(value) for value in own.values()] == [float(value) for value in python]
    assert tuple(float(value) for value in duckdb[:5]) == expected
    assert_layout(road, [field.name for field in delta.schema().fields], delta.metadata().partition_columns)


READING: dict[str, Any] = {"type": "record", "name": "Reading", "namespace": "probe", "fields": [
    {"name": "id", "type": "long"}, {"name": "warm", "type": "double"}, {"name": "cold", "type": "float"}, {"name": "level", "type": {
        "type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 4}}]}


def test_filters_find_what_bounds_could_hide(road: Road) -> None:
    """Engines take NaN for the largest number; Parquet's bounds pass over it. Bounds of decimals and floats are exact."""
    topic, nan = road.topic(partitions=1), float("nan")
    schema_id = shop.register(road.registry, f"{topic.name}-value", READING)
    road.configure({"name": topic.name, "table": "probe.reading", "format": "avro", "shape": "append"})
    for file, numbers in enumerate(([1.5, nan, 2.5], [100.1, 200.1, 300.1], [nan, nan, nan])):
        readings = [{"id": 10 * file + place, "warm": number, "cold": number, "level": Decimal(number if number == number else 0).quantize(Decimal("0.0001"))}
                    for place, number in enumerate(numbers)]
        topic.produce([Record(framed(schema_id, READING, reading), None) for reading in readings])
        road.write_once()
    questions = {"warm > 50": [1, 10, 11, 12, 20, 21, 22], "cold > 50": [1, 10, 11, 12, 20, 21, 22], "cold < 2": [0], "warm > 300": [1, 12, 20, 21, 22],
                 "level > 200.1": [12], "level = 200.1": [11], "level < 1.5": [1, 20, 21, 22], "cold = CAST(100.1 AS REAL)": [10]}
    for question, expected in questions.items():
        assert road.lake.query(f"SELECT id FROM {{probe.reading}} WHERE {question} ORDER BY id") == [(number,) for number in expected], question
        found = road.sql(f"SELECT id FROM probe.reading_changes WHERE {question} ORDER BY id")
        assert [int(row["id"]) for row in found] == expected, question


def expected_figures() -> tuple[float, ...]:
    rows = [shop.purchase(number - 1 if number % 4 == 3 else number) for number in range(CHANGES)]
    return (CHANGES, sum(row["id"] for row in rows), sum(row["quantity"] for row in rows), sum(row["price"] or 0 for row in rows),
            sum(row["note"] is not None for row in rows))


def assert_layout(road: Road, columns: list[str], partition_columns: list[str]) -> None:
    entity = [field["name"] for field in shop.ROW["fields"]]
    assert columns == [*OWN_COLUMNS, *entity, "_event_date"]
    assert partition_columns == ["_event_date"]
    [types] = road.lake.query(f"SELECT typeof(quantity), typeof(price), typeof(placed_at) FROM {{{shop.TABLE}}} LIMIT 1")
    assert types == ("BIGINT", "DOUBLE", "TIMESTAMP WITH TIME ZONE")
    # Partition values agree with the rows' own times.
    assert road.lake.query(f"SELECT count(*) FROM {{{shop.TABLE}}} WHERE _event_date <> _event_time::DATE") == [(0,)]
    delta = road.lake.delta(shop.TABLE)
    assert delta is not None
    assert delta.metadata().configuration["lakehead.key"] == '["id"]'
