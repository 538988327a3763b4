"""`lakehead sql`: outputs, inputs, exit codes, and what it refuses."""

from __future__ import annotations

import json
import os
import pathlib
import signal
import subprocess

import pytest

import parts
from demo import Demo
from program import DEADLINE_SECONDS, Program, wait_until

QUESTION = "SELECT carrier, count(*) AS flights FROM flights.flight GROUP BY carrier ORDER BY flights DESC, carrier LIMIT 2"
ANSWER = [("UA", 4637), ("B6", 4427)]


def test_csv(finished_demo: Demo) -> None:
    assert finished_demo.sql("-c", QUESTION, "--output", "csv").stdout == "carrier,flights\nUA,4637\nB6,4427\n"


def test_json(finished_demo: Demo) -> None:
    text = finished_demo.sql("-c", QUESTION, "--output", "json").stdout
    assert [(row["carrier"], row["flights"]) for row in json.loads(text)] == ANSWER


def test_table(finished_demo: Demo) -> None:
    answer = finished_demo.sql("-c", QUESTION)
    assert answer.returncode == 0
    assert all(word in answer.stdout for word in ("carrier", "flights", "UA", "4637"))


def test_file_and_standard_input(finished_demo: Demo, tmp_path: pathlib.Path) -> None:
    file = tmp_path / "question.sql"
    file.write_text(QUESTION + ";\n")
    expected = finished_demo.sql("-c", QUESTION, "--output", "csv").stdout
    assert finished_demo.sql("-f", str(file), "--output", "csv").stdout == expected
    assert finished_demo.sql("--output", "csv", stdin=QUESTION).stdout == expected


def test_tables_are_found_without_being_declared(finished_demo: Demo) -> None:
    rows = finished_demo.rows("SELECT table_schema, table_name FROM information_schema.tables WHERE table_schema = 'flights'")
    assert {row["table_name"] for row in rows} >= {"flight", "flight_changes"}


@pytest.mark.parametrize("statement", [
    "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/etc/passwd'",
    "CREATE TABLE t AS SELECT 1",
    "CREATE VIEW v AS SELECT 1",
    "COPY (SELECT 1) TO '{folder}/out.csv'",
    "COPY flights.flight TO '{folder}/out.parquet'",
    "INSERT INTO flights.flight_changes SELECT * FROM flights.flight_changes",
    "DELETE FROM flights.flight_changes",
    "UPDATE flights.flight_changes SET carrier = 'XX'",
    "DROP TABLE flights.flight_changes",
    "SET datafusion.execution.batch_size = 1",
    "SELECT * FROM '/etc/passwd'",
    "SELECT * FROM '{folder}/demo/lake/flights/flight/changes'",
    "SELECT * FROM read_csv('/etc/passwd')",
    "SELECT _event_id, max(_source) FROM flights.flight_changes GROUP BY 1",
    "SELECT count(DISTINCT struct(_partition, _offset)) FROM flights.flight_changes",
    "EXPLAIN ANALYZE INSERT INTO flights.flight_changes SELECT * FROM flights.flight_changes",
])
def test_refused(statement: str, finished_demo: Demo, tmp_path: pathlib.Path) -> None:
    before = finished_demo.figures("SELECT count(*) FROM flights.flight_changes")
    answer = finished_demo.sql("-c", statement.format(folder=tmp_path))
    print(answer.stderr)
    assert answer.returncode == 1 and answer.stdout == "" and len(answer.stderr.strip()) > 10
    assert "panicked" not in answer.stderr
    assert not list(tmp_path.iterdir())
    assert finished_demo.figures("SELECT count(*) FROM flights.flight_changes") == before


def test_interrupted(finished_demo: Demo) -> None:
    """Ctrl-C ends a question that would compute for hours."""
    product = "SELECT count(*) FROM flights.flight_changes a, flights.flight_changes b, flights.flight_changes c WHERE a._offset < b._offset"
    program = finished_demo.start_sql("-c", product)
    wait_until("it computes", lambda: cpu_seconds(program) > 2)
    program.signal(signal.SIGINT)
    assert program.wait() == 130, program.text


def cpu_seconds(program: Program) -> float:
    fields = pathlib.Path(f"/proc/{program.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_a_file_is_no_lake(finished_demo: Demo, binary: pathlib.Path) -> None:
    answer = subprocess.run([binary, "sql", "--lake", "/etc/hostname", "-c", "SELECT 1"], capture_output=True, text=True)
    assert answer.returncode == 3 and "no directory" in answer.stderr, answer


def test_comments_and_byte_order_marks(finished_demo: Demo, tmp_path: pathlib.Path) -> None:
    file = tmp_path / "question.sql"
    file.write_text("\ufeffSELECT 1 AS one;\n")
    assert finished_demo.sql("-f", str(file), "--output", "csv").stdout == "one\n1\n"
    assert finished_demo.sql("-c", "-- nothing").returncode == 0


@pytest.mark.parametrize("statement", ["SELECT nonsense FROM flights.flight", "SELECT FROM WHERE", "SELECT * FROM flights.no_such_table"])
def test_a_wrong_question_fails(statement: str, finished_demo: Demo) -> None:
    answer = finished_demo.sql("-c", statement)
    assert answer.returncode == 1 and answer.stdout == "" and answer.stderr.strip()


@pytest.mark.parametrize("arguments", [
    ["--no-such-option"], ["-c"], ["-c", "SELECT 1", "--output", "papyrus"], ["-c", "SELECT 1", "-f", "x"]])
def test_usage_errors(arguments: list[str], finished_demo: Demo) -> None:
    answer = finished_demo.sql(*arguments)
    assert answer.returncode == 2 and answer.stdout == "" and answer.stderr.strip()


def test_unknown_configuration_key(binary: pathlib.Path, tmp_path: pathlib.Path) -> None:
    (tmp_path / "lakehead.toml").write_text('[lake]\nurl = "x"\nulr = "y"\n')
    answer = subprocess.run([binary, "sql", "--config", "lakehead.toml", "-c", "SELECT 1"], cwd=tmp_path, capture_output=True, text=True)
    assert answer.returncode == 2 and "ulr" in answer.stderr


def test_unreachable_lake(binary: pathlib.Path, tmp_path: pathlib.Path) -> None:
    (tmp_path / "lakehead.toml").write_text(f"""
[lake]
url = "s3://nowhere/lake"
[lake.options]
aws_endpoint = "http://127.0.0.1:{parts.free_port()}"
aws_allow_http = "true"
aws_region = "us-east-1"
aws_access_key_id = "a"
aws_secret_access_key = {{ env = "SECRET" }}
""")
    answer = subprocess.run([binary, "sql", "--config", "lakehead.toml", "-c", "SELECT * FROM flights.flight"], cwd=tmp_path,
                            env=os.environ | {"SECRET": "b"}, capture_output=True, text=True, timeout=DEADLINE_SECONDS)
    assert answer.returncode == 3, (answer.returncode, answer.stderr)
