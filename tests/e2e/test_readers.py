"""Readers that know nothing of Lakehead get the same answers: DuckDB, the deltalake package, and Lakehead's own SQL beside them."""

from __future__ import annotations

import pyarrow.compute as pc

import shop
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
