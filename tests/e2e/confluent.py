"""Avro as producers write it, by fastavro: in the Confluent wire format and in single-object encoding."""

from __future__ import annotations

import io
import struct
from typing import Any

import fastavro
from fastavro.schema import fingerprint, to_parsing_canonical_form


def body(schema: Any, datum: Any) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, schema, datum)
    return out.getvalue()


def framed(schema_id: int, schema: Any, datum: Any) -> bytes:
    """Byte 0, the schema's id in four bytes, the value."""
    return struct.pack(">bI", 0, schema_id) + body(schema, datum)


def single_object(schema: dict[str, Any], datum: Any) -> bytes:
    """Two marker bytes, the schema's CRC-64-AVRO fingerprint in eight bytes (little endian), the value."""
    mark = fingerprint(to_parsing_canonical_form(schema), "CRC-64-AVRO")
    return b"\xc3\x01" + bytes.fromhex(mark) + body(fastavro.parse_schema(schema), datum)
