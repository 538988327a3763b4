"""The oracle of exactly once: what a Kafka consumer read, against what DuckDB reads from the table."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

import shop
from kafka_topic import Topic
from lake import Lake

POISON = b"poison"


@dataclass(frozen=True)
class Verdict:
    """Counts of what is wrong; all zero means that every record is in the table once, unchanged."""

    expected: int
    landed: int
    missing: int
    doubled: int
    foreign: int
    unequal: int

    def good(self) -> bool:
        return self.expected == self.landed and not (self.missing or self.doubled or self.foreign or self.unequal)


def judge(lake: Lake, table: str, topic: str, expected: pa.Table, columns: dict[str, str] | None = None) -> Verdict:
    """Compares by (topic, partition, offset), then column by column; `columns` maps an expected column to an expression on the table."""
    if not lake.exists(table):
        return Verdict(len(expected), 0, len(expected), 0, 0, 0)
    expressions = columns or {}
    places = ("_partition", "_offset")
    contents = [name for name in expected.column_names if name not in places]
    chosen = ", ".join(f'{expressions.get(name, name)} AS "{name}"' for name in [*places, *contents])
    differs = " OR ".join(f'e."{name}" IS DISTINCT FROM a."{name}"' for name in contents) or "false"
    [(landed, missing, doubled, foreign, unequal)] = lake.query(f"""
        WITH a AS (SELECT _topic, {chosen} FROM {{{table}}}),
        places AS (SELECT _topic, _partition, _offset, count(*) AS times FROM a GROUP BY ALL)
        SELECT (SELECT count(*) FROM a),
               (SELECT count(*) FROM e ANTI JOIN a ON e._partition = a._partition AND e._offset = a._offset AND a._topic = '{topic}'),
               (SELECT coalesce(sum(times - 1), 0) FROM places),
               (SELECT count(*) FROM a WHERE a._topic <> '{topic}'
                   OR NOT EXISTS (SELECT 1 FROM e WHERE e._partition = a._partition AND e._offset = a._offset)),
               (SELECT count(*) FROM e JOIN a ON e._partition = a._partition AND e._offset = a._offset WHERE {differs})""", e=expected)
    return Verdict(len(expected), landed, missing, int(doubled), foreign, unequal)


def judge_purchases(lake: Lake, topic: Topic, avro: shop.Avro) -> Verdict:
    """Reads the shop's topic with the oracle's consumer and compares it with the table; tombstones and POISON do not land."""
    read = [(message, avro.decode(value)) for message, value in topic.read_values() if value != POISON]
    return judge(lake, shop.TABLE, topic.name, shop.expected(read), shop.COLUMNS)
