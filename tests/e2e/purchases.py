"""A service on Postgres whose changes are published as Debezium would: each with the transaction that made it and its place in the log."""

from __future__ import annotations

import json
from typing import Any

import psycopg

from kafka_topic import Record

TABLE = """CREATE TABLE purchase (id bigint PRIMARY KEY, item text NOT NULL, quantity int NOT NULL, price double precision, cost numeric(9, 2),
    placed_at timestamptz NOT NULL, day date, raw bytea, tags text[], paid boolean, seen timestamp)"""

CONTRACT: dict[str, Any] = {"type": "record", "name": "Purchase", "namespace": "shop", "lakehead.key": ["id"], "fields": [
    {"name": "id", "type": "long"},
    {"name": "item", "type": "string"},
    {"name": "quantity", "type": "int"},
    {"name": "price", "type": ["null", "double"]},
    {"name": "cost", "type": ["null", {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}]},
    {"name": "placed_at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
    {"name": "day", "type": ["null", {"type": "int", "logicalType": "date"}]},
    {"name": "raw", "type": ["null", "bytes"]},
    {"name": "tags", "type": ["null", {"type": "array", "items": ["null", "string"]}]},
    {"name": "paid", "type": ["null", "boolean"]},
    {"name": "seen", "type": ["null", {"type": "long", "logicalType": "local-timestamp-micros"}]},
]}

FIVE_HUNDRED = """INSERT INTO purchase SELECT n, 'item é ' || n, n % 13, CASE WHEN n % 7 > 0 THEN n / 8.0 END, n / 100.0,
    timestamptz '2013-01-01 05:02:03.004005+00' + n * interval '1 hour', date '2013-01-01' + n, decode(lpad(to_hex(n), 4, '0'), 'hex'),
    CASE WHEN n % 3 = 0 THEN ARRAY['a', NULL, 'b' || n] END, n % 2 = 0, timestamp '2000-01-01' + n * interval '1 second'
    FROM generate_series(1, 500) n"""

ROW = """json_build_object('id', id, 'item', item, 'quantity', quantity, 'price', price, 'cost', cost::text,
    'placed_at', (extract(epoch FROM placed_at) * 1000000)::bigint, 'day', day - date '1970-01-01', 'raw', encode(raw, 'base64'),
    'tags', tags, 'paid', paid, 'seen', (extract(epoch FROM seen) * 1000000)::bigint)"""

SOURCE = """json_build_object('name', 'shop', 'ts_us', (extract(epoch FROM clock_timestamp()) * 1000000)::bigint,
    'lsn', (pg_current_wal_insert_lsn() - '0/0')::bigint, 'txId', pg_current_xact_id()::text::bigint % 4294967296)"""


def change(connection: psycopg.Connection, op: str, sql: str) -> list[Record]:
    """Runs a statement on `purchase` and answers its change events; the transaction is the connection's."""
    image = "'before', {row}, 'after', NULL" if op == "d" else "'before', NULL, 'after', {row}"
    event = f"json_build_object('op', '{op}', 'source', {SOURCE}, 'ts_ms', 0, {image.format(row=ROW)})::text"
    rows = connection.execute(f"WITH changed AS ({sql} RETURNING *) SELECT {event} FROM changed".encode()).fetchall()
    return [Record(text.encode(), json.dumps({"id": key(json.loads(text))}).encode()) for [text] in rows]


def key(event: dict[str, Any]) -> int:
    return int((event["after"] or event["before"])["id"])
