"""`lakehead config`: every problem at once, and no secret shown."""

from __future__ import annotations

import subprocess
import tomllib

from road import Road

SECRET = "hunter2-is-never-shown"


def asked(road: Road, question: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([road.binary, "config", question, "--config", "lakehead.toml"], cwd=road.folder, capture_output=True, text=True,
                          timeout=30)


def test_a_good_file(road: Road) -> None:
    road.configure({"name": "shop.purchase"}, {"match": r"cdc\..*"}, properties={"client.id": "tests"})
    checked = asked(road, "check")
    assert checked.returncode == 0 and "1 topics by name, and more by pattern" in checked.stdout, checked
    shown = asked(road, "show")
    assert shown.returncode == 0, shown.stderr
    table = tomllib.loads(shown.stdout)
    assert table["kafka"]["properties"]["client.id"] == "tests"
    assert table["writer"]["record_bytes_max"] and table["topic"][1]["start"] == "earliest"


def test_every_problem_at_once(road: Road) -> None:
    properties = {"sasl.password": SECRET, "auto.offset.reset": "latest", "no.such.property": "1", "ssl.key.password": {"env": "NO_SUCH_NAME"}}
    road.configure({"name": "orders"}, {"name": "a.x", "table": "system.x"}, {"match": "("}, properties=properties,
                   access={"ca_location": "no-such-file"}, flush_rows_max=0)
    for question in ("check", "show"):
        answer = asked(road, question)
        assert SECRET not in answer.stdout + answer.stderr
    checked = asked(road, "check")
    assert checked.returncode == 2 and not checked.stdout, checked
    for said in ("sasl.password", "auto.offset.reset", "no.such.property", "NO_SUCH_NAME", "no-such-file", "flush_rows_max", '"orders"',
                 "system", "unclosed group"):
        assert said in checked.stderr, (said, checked.stderr)
    written = road.writer()
    assert written.wait(30) == 2 and SECRET not in written.text
