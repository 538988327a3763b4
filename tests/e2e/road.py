"""The road of one test: its own names, lake and configuration, and the Lakehead processes it starts."""

from __future__ import annotations

import csv
import io
import json
import os
import pathlib
import subprocess
from dataclasses import dataclass, field
from typing import Any

from kafka_topic import Topic
from lake import PIPELINE, Lake
from program import DEADLINE_SECONDS, Program, wait_until
from shop import CONTRACT, TABLE

# Long enough that a writer on a machine that is busy with other things stays in its group, which costs nothing where none is killed.
GROUP_PROPERTIES = {"session.timeout.ms": "10000", "heartbeat.interval.ms": "300", "fetch.queue.backoff.ms": "10"}
# For tests that kill writers, as a kill costs the group one session before the partitions move; who is starved may lose his session.
MORTAL = {"session.timeout.ms": "2000"}
# For tests that are wrong about a writer that loses its session, as its buffers are then read again.
PATIENT = {"session.timeout.ms": "150000"}
FLUSHES = {"flush_rows_max": 20_000, "flush_age_max": "1s", "checkpoint_interval": 10}


@dataclass
class Road:
    """Everything one test owns; nothing in it is shared with another test."""

    name: str
    folder: pathlib.Path
    bootstrap: str
    registry: str
    lake: Lake
    binary: pathlib.Path
    faults_binary: pathlib.Path
    programs: list[Program] = field(default_factory=list)

    def topic(self, partitions: int = 4, suffix: str = "", **config: str) -> Topic:
        return Topic.create(self.bootstrap, f"{self.name}{suffix}", partitions, **config)

    def configure(self, *topics: dict[str, Any], assignment: str = "group", file: str = "lakehead.toml", registry: str | None = None,
                  bootstrap: str | None = None, properties: dict[str, Any] | None = None, access: dict[str, Any] | None = None,
                  options: dict[str, Any] | None = None, http: str | None = None, **writer: Any) -> str:
        """Writes a configuration file; each topic is a `[[topic]]` table. `properties` are more of librdkafka's, `access` is more of
        `[registry]`, `options` stand in place of the usual `[lake.options]`. Returns the file's name in the test's folder."""
        sections: dict[str, dict[str, Any]] = {"lake": {"url": self.lake.url}}
        if options is not None:
            sections["lake.options"] = options
        elif bucket := self.lake.bucket:
            sections["lake.options"] = {
                "aws_endpoint": bucket.endpoint, "aws_allow_http": "true", "aws_region": "us-east-1",
                "aws_access_key_id": {"env": "S3_ACCESS_KEY"}, "aws_secret_access_key": {"env": "S3_SECRET_KEY"}}
        sections["kafka"] = {"bootstrap_servers": bootstrap or self.bootstrap, "group_id": self.name, "assignment": assignment}
        sections["kafka.properties"] = GROUP_PROPERTIES | (properties or {})
        sections["registry"] = {"url": registry or self.registry} | (access or {})
        sections["writer"] = {"pipeline": PIPELINE} | FLUSHES | writer
        if http:
            sections["http"] = {"listen": http}
        lines = [line for title, entries in sections.items() for line in (f"[{title}]", *toml(entries), "")]
        for topic in topics:
            lines += ["[[topic]]", *toml(topic), ""]
        (self.folder / file).write_text("\n".join(lines))
        return file

    def contract(self, schema: dict[str, Any] = CONTRACT, file: str = "contract.avsc") -> str:
        (self.folder / file).write_text(json.dumps(schema))
        return file

    @property
    def environment(self) -> dict[str, str]:
        bucket = self.lake.bucket
        return {"S3_ACCESS_KEY": bucket.access_key, "S3_SECRET_KEY": bucket.secret_key} if bucket else {}

    def start(self, name: str, *arguments: str, faults: bool = False, **environment: str) -> Program:
        binary = self.faults_binary if faults else self.binary
        program = Program(binary, list(arguments), self.folder, name, **self.environment, **environment)
        self.programs.append(program)
        return program

    def writer(self, name: str = "writer", *, once: bool = False, config: str = "lakehead.toml", faults: bool = False,
               **environment: str) -> Program:
        return self.start(name, "write", "--config", config, *(["--once"] if once else []), faults=faults, **environment)

    def write_once(self, name: str = "drain", seconds: float = DEADLINE_SECONDS, config: str = "lakehead.toml") -> None:
        program = self.writer(name, once=True, config=config)
        code = program.wait(seconds)
        assert code == 0, f"write --once ended with {code}:\n{program.text[-3000:]}"

    def write_all(self, topic: Topic, table: str = TABLE) -> None:
        """Runs a writer until the whole topic is committed. Unlike `--once` it also waits for what a killed member of the group
        holds until its session ends."""
        program = self.writer("write-all")
        # A topic that is already copied says nothing of the writer: not before it stands does SIGTERM mean "commit and end".
        program.wait_for_line("partitions assigned")
        self.wait_committed(topic, table)
        code = program.end()
        assert code == 0, f"the writer ended with {code}:\n{program.text[-3000:]}"

    def wait_committed(self, topic: Topic, table: str = TABLE, seconds: float = DEADLINE_SECONDS) -> None:
        """Waits until the Delta log's progress is the end of every partition."""
        ends = topic.end_offsets()
        wait_until(f"progress of {topic.name} reaches {ends}", lambda: self.lake.progress(table, topic.name, topic.partitions) == ends,
                   seconds)

    def sql(self, query: str, output: str = "csv") -> list[dict[str, str]]:
        """Rows of `lakehead sql` on this lake."""
        answer = self.run_sql("--config", "lakehead.toml", "-c", query, "--output", output)
        assert answer.returncode == 0, f"exit {answer.returncode}: {answer.stderr[-2000:]}"
        return list(csv.DictReader(io.StringIO(answer.stdout)))

    def run_sql(self, *arguments: str, stdin: str | None = None, seconds: float = DEADLINE_SECONDS) -> subprocess.CompletedProcess[str]:
        return self.run("sql", *arguments, stdin=stdin, seconds=seconds)

    def run(self, *arguments: str, stdin: str | None = None, seconds: float = DEADLINE_SECONDS,
            environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """A command that ends by itself."""
        return subprocess.run([self.binary, *arguments], cwd=self.folder, env=os.environ | self.environment | (environment or {}),
                              input=stdin or "", capture_output=True, text=True, timeout=seconds)

    def close(self) -> None:
        for program in self.programs:
            program.kill()


def shop_topic(topic: Topic, **settings: Any) -> dict[str, Any]:
    """The `[[topic]]` table for the shop's purchases."""
    return {"name": topic.name, "table": TABLE, "format": "avro", "shape": "debezium"} | settings


def toml(entries: dict[str, Any]) -> list[str]:
    """Keys are quoted: librdkafka's have dots."""
    return [f'"{key}" = {toml_value(value)}' for key, value in entries.items()]


def toml_value(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(toml(value)) + " }"
    return json.dumps(value)
