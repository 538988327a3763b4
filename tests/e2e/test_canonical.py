"""The vectors of schemas/vectors hold for an implementation in another language; the Rust tests hold ours against the same file."""

from __future__ import annotations

import json
import pathlib

import canonical
import pytest

VECTORS = json.loads((pathlib.Path(__file__).parents[2] / "schemas/vectors/canonical_v1.json").read_text())


@pytest.mark.parametrize("vector", VECTORS["rows"], ids=lambda vector: vector["name"])
def test_rows(vector: dict) -> None:
    raw = canonical.row(vector["schema"], vector["row"])
    assert raw == bytes.fromhex(vector["bytes"])
    assert f"{canonical.digest(raw):032x}" == vector["hash"]


@pytest.mark.parametrize("number", VECTORS["doubles"], ids=lambda number: number["bits"])
def test_doubles(number: dict) -> None:
    import struct
    value = struct.unpack(">d", bytes.fromhex(number["bits"]))[0]
    assert canonical.double(value).decode() == number["bytes"]


def test_sums() -> None:
    hashes = {vector["name"]: int(vector["hash"], 16) for vector in VECTORS["rows"]}
    for sums in VECTORS["sums"]:
        events = sums["events"]
        assert sums["count"] == len(events)
        assert canonical.total([canonical.digest(event["id"].encode()) for event in events]) == sums["ids"]
        assert canonical.total([hashes[event["row"]] for event in events]) == sums["rows"]
        assert canonical.total([canonical.digest(event["id"].encode()) for event in reversed(events)]) == sums["ids"]


def test_rows_that_say_the_same() -> None:
    hashes = {vector["name"]: vector["hash"] for vector in VECTORS["rows"]}
    for same in VECTORS["same"]:
        assert len({hashes[name] for name in same}) == 1, same
    assert len(set(hashes.values())) == len(hashes) - sum(len(same) - 1 for same in VECTORS["same"])
