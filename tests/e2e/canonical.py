"""The canonical form of rows, from schemas/docs/canonical.md alone: it shares no code with what it judges."""

from __future__ import annotations

import base64
import datetime
import json
import math
import struct
from decimal import Decimal
from typing import Any

import xxhash

EPOCH = datetime.datetime(1970, 1, 1)
UNITS = {"millis": 1000, "micros": 1}


def number(value: Decimal) -> bytes:
    sign, digits, exponent = value.as_tuple()
    text = "".join(map(str, digits)).lstrip("0")
    if not text:
        return b"#0e0;"
    stripped = text.rstrip("0")
    return f"#{'-' if sign else ''}{stripped}e{int(exponent) + len(text) - len(stripped)};".encode()


def double(value: float) -> bytes:
    if math.isnan(value):
        return b"#nan;"
    if math.isinf(value):
        return b"#inf;" if value > 0 else b"#-inf;"
    return number(Decimal(repr(value)))


def sized(raw: bytes) -> bytes:
    return struct.pack("<I", len(raw)) + raw


def micros(moment: datetime.datetime) -> int:
    if moment.tzinfo:
        moment = moment.astimezone(datetime.timezone.utc).replace(tzinfo=None)
    return (moment - EPOCH) // datetime.timedelta(microseconds=1)


def counted(value: Any, unit: str, of_text: Any) -> int:
    return of_text(value) if isinstance(value, str) else int(value) * UNITS[unit]


def time_of_day(text: str) -> int:
    return micros(datetime.datetime.combine(EPOCH.date(), datetime.time.fromisoformat(text)))


def instant(text: str) -> int:
    return micros(datetime.datetime.fromisoformat(text))


def encode(schema: Any, value: Any) -> bytes:
    """The bytes of a JSON value that is not null under an Avro type."""
    if isinstance(schema, list):
        [schema] = [branch for branch in schema if branch != "null"]
    kind, logical = (schema, None) if isinstance(schema, str) else (schema["type"], schema.get("logicalType"))
    if isinstance(kind, (dict, list)):
        return encode(kind, value)
    name, _, unit = (logical or "").rpartition("-")
    match kind, name or logical:
        case "boolean", _:
            return b"t" if value else b"f"
        case _, "date":
            days = (datetime.date.fromisoformat(value) - EPOCH.date()).days if isinstance(value, str) else int(value)
            return f"d{days};".encode()
        case _, "timestamp":
            return f"i{counted(value, unit, instant)};".encode()
        case _, "time":
            return number(Decimal(counted(value, unit, time_of_day)))
        case _, "local-timestamp":
            return number(Decimal(counted(value, unit, instant)))
        case _, "decimal":
            return number(Decimal(value))
        case "int" | "long", _:
            return number(Decimal(value))
        case "float", _:
            return double(struct.unpack("f", struct.pack("f", value))[0])
        case "double", _:
            return double(float(value))
        case "string" | "enum", _:
            return b"s" + sized(value.encode())
        case "bytes" | "fixed", _:
            return b"b" + sized(base64.b64decode(value))
        case "array", _:
            return b"[" + b"".join(item(schema["items"], one) for one in value) + b"]"
        case "map", _:
            keys = sorted(value, key=str.encode)
            return b"<" + b"".join(b"." + sized(key.encode()) + item(schema["values"], value[key]) for key in keys) + b">"
        case "record", _:
            fields = sorted(schema["fields"], key=lambda field: field["name"].encode())
            found = ((field, value.get(field["name"])) for field in fields)
            return b"{" + b"".join(b"." + sized(field["name"].encode()) + encode(field["type"], one)
                                   for field, one in found if one is not None) + b"}"
    raise ValueError(f"no canonical form of {schema}")


def item(schema: Any, value: Any) -> bytes:
    return b"n" if value is None else encode(schema, value)


def row(schema: Any, text: str | None) -> bytes:
    """The bytes of a row by its JSON text; of none, as a delete leaves it, those of a null."""
    return b"n" if text is None else encode(schema, json.loads(text, parse_float=Decimal))


def digest(raw: bytes) -> int:
    return xxhash.xxh3_128_intdigest(raw)


def total(hashes: list[int]) -> str:
    return f"{sum(hashes) % 2**128:032x}"
