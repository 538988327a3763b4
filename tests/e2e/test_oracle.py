"""The oracle sees what it must see: each kind of damage, done by hand to a table that was right, turns it red."""

from __future__ import annotations

import pathlib

import pyarrow as pa
import pytest
from deltalake import write_deltalake

import shop
from kafka_topic import Record, Topic
from lake import Bucket, Lake
from oracle import judge


def land(lake: Lake, expected: pa.Table, topic: str) -> None:
    source = pa.StructArray.from_arrays([expected["_lsn"].combine_chunks()], names=["lsn"])
    table = expected.drop_columns(["_lsn"]).append_column("_source", source)
    table = table.append_column("_topic", pa.array([topic] * len(table)))
    write_deltalake(lake.location(shop.TABLE), table, mode="append", storage_options=lake.storage_options)


@pytest.mark.parametrize("damage", ["none", "missing", "doubled", "foreign", "unequal"])
def test_the_oracle_sees(damage: str, name: str, kafka: str, registry: str, tmp_path: pathlib.Path) -> None:
    topic = Topic.create(kafka, name, 2)
    avro = shop.Avro(registry, name)
    topic.produce(avro.records(0, 400))
    topic.produce([Record(None, b"tombstone")])
    read = [(message, avro.decode(value)) for message, value in topic.read_values()]
    expected = shop.expected(read)
    landed = {
        "none": expected, "missing": expected.slice(1), "doubled": pa.concat_tables([expected, expected.slice(7, 1)]),
        "foreign": expected, "unequal": expected.set_column(7, "quantity", pa.array([99] * len(expected), pa.int64())),
    }[damage]
    lake = Lake(str(tmp_path / "lake"))
    land(lake, landed, "another" if damage == "foreign" else name)
    verdict = judge(lake, shop.TABLE, name, expected, shop.COLUMNS)
    assert len(expected) == 400
    assert verdict.good() == (damage == "none"), verdict
    assert damage == "none" or getattr(verdict, damage) > 0, verdict


def test_duckdb_reads_the_bucket_without_network(name: str, bucket: Bucket) -> None:
    lake = Lake(f"s3://lakehead/{name}", bucket)
    assert not lake.exists("a.b")
    write_deltalake(lake.location("a.b"), pa.table({"n": [1, 2, 3]}), storage_options=lake.storage_options)
    assert lake.query("SELECT sum(n) FROM {a.b}") == [(6,)]
