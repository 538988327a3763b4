"""What `tests/long/debezium` does. Prints one JSON object a stage; ends with 1 where what landed differs."""
import contextlib
import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time
from urllib.parse import urljoin, urlsplit

from confluent_kafka import KafkaException

sys.path[:0] = [str(pathlib.Path(__file__).parents[1] / "bench")]

import capture as bench  # noqa: E402
from capture import KAFKA, ROWS, UPDATES, Bench, report, wait_until  # noqa: E402

TICK, PAGE = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
# Every type whose defaults are the same on both sides.
TYPES = {
    "flag": ("boolean", "true"), "small": ("smallint", "-32768"), "whole": ("int", "2147483647"), "large": ("bigint", "-9223372036854775808"),
    "single": ("real", "1.1"), "double": ("double precision", "0.1"), "price": ("numeric(10, 2)", "-12345678.90"), "free": ("numeric", "1.500"),
    "wide": ("numeric(38, 10)", "1234567890123456789012345678.0123456789"), "words": ("text", "'ünïcödé, \"quoted\"'"),
    "short": ("varchar(5)", "'abc'"), "fixed": ("char(5)", "'abc'"), "raw": ("bytea", "'\\x00ff'"), "day": ("date", "'2013-01-01'"),
    "clock": ("time", "'23:59:59.999999'"), "wall": ("timestamp", "'2013-01-01 05:02:03.000004'"),
    "instant": ("timestamptz", "'2013-01-01 00:02:03.000004-05'"), "seat": ("uuid", "'0fdb4a7a-1d2e-4b8c-9c3f-5a6b7c8d9e0f'"),
    "plain": ("json", "'{\"a\":  1}'"), "details": ("jsonb", "'{\"b\": 1e2, \"a\": [null]}'"), "state": ("colour", "'bright blue'"),
    "numbers": ("int[]", "'{1,NULL,-3}'"), "tags": ("text[]", "'{\"a,b\",NULL}'"), "cost": ("euro", "12.5"),
}
WORKER = """\
bootstrap.servers={kafka}
listeners=http://127.0.0.1:{port}
plugin.path={plugins}
offset.storage.file.filename={folder}/offsets
offset.flush.interval.ms=1000
key.converter=org.apache.kafka.connect.json.JsonConverter
value.converter=org.apache.kafka.connect.json.JsonConverter
producer.compression.type=lz4
producer.linger.ms=10
"""
CONNECTOR = """\
name=debezium
connector.class=io.debezium.connector.postgresql.PostgresConnector
tasks.max=1
plugin.name=pgoutput
database.hostname={host}
database.port={port}
database.user={user}
database.password={password}
database.dbname={database}
topic.prefix={prefix}
slot.name={prefix}
publication.name={prefix}
publication.autocreate.mode=filtered
table.include.list=public.{table}
snapshot.mode=initial
decimal.handling.mode=precise
"""
# The record begins as Confluent's do. Left alone, the converter puts the id into a header; the id would have eight bytes, and be the one of a version,
# where the Confluent API answers to the one of a content.
APICURIO = """\
{side}.converter=io.apicurio.registry.utils.converter.AvroConverter
{side}.converter.apicurio.registry.url={registry}
{side}.converter.apicurio.registry.auto-register=true
{side}.converter.apicurio.registry.headers.enabled=false
{side}.converter.apicurio.registry.as-confluent=true
{side}.converter.apicurio.registry.use-id=contentId
"""
LAKE = """\
[lake]
url = "{lake}"
[kafka]
bootstrap_servers = "{kafka}"
assignment = "all"
[registry]
url = "{registry}"
"""
TOPIC = """\
[[topic]]
name = "{topic}"
table = "{side}.sample"
format = "{encoding}"
shape = "debezium"
"""
# Debezium leaves out the zeros at the end of a numeric without declared digits; its JSON has a float's shortest digits, Avro its 32 bits.
FREE = {"free": "CAST(free AS DECIMAL(38, 10))"}
ALIKE = {"json": FREE | {"single": "CAST(single AS REAL)"}, "avro": FREE}


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def avro():
    """Settings of a connector that registers its schemas in Apicurio, in place of the worker's converters. The converter speaks the registry's own API."""
    registry = urljoin(os.environ["LAKEHEAD_TEST_REGISTRY"], "/apis/registry/v2")
    return "schema.name.adjustment.mode=avro\n" + "".join(APICURIO.format(side=side, registry=registry) for side in ("key", "value"))


class Debezium:
    """Kafka Connect in one process, with one connector of one table."""

    def __init__(self, bench_, table, encoding="json"):
        # Its slot and what it remembers are of this table: one that knows others does not copy a table that comes later.
        self.prefix, self.encoding = f"dbz_{bench_.service}_{table}_{encoding}", encoding
        self.topic = f"{self.prefix}.public.{table}"
        self.folder = bench_.folder / self.prefix
        self.folder.mkdir(exist_ok=True)
        url, plugins = urlsplit(bench_.url), f"{os.environ['DEBEZIUM_FOLDER']},{os.environ['CONVERTER_FOLDER']}"
        (self.folder / "worker.properties").write_text(WORKER.format(kafka=KAFKA, port=free_port(), plugins=plugins, folder=self.folder))
        connector = CONNECTOR.format(host=url.hostname, port=url.port, user=url.username, password=url.password, database=url.path[1:],
                                     prefix=self.prefix, table=table)
        (self.folder / "connector.properties").write_text(connector + (avro() if encoding == "avro" else ""))
        bench_.create_topic(self.topic)
        self.log = self.folder / "connect.log"
        self.peak = 0

    def __enter__(self):
        command = ["java", "-Xmx1g", "-cp", f"{os.environ['CONNECT_FOLDER']}/*", "org.apache.kafka.connect.cli.ConnectStandalone",
                   self.folder / "worker.properties", self.folder / "connector.properties"]
        self.process = subprocess.Popen(command, stdout=open(self.log, "ab"), stderr=subprocess.STDOUT, cwd=self.folder)
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(60)

    def cpu(self):
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        self.peak = max(self.peak, int(fields[21]) * PAGE)
        return (int(fields[11]) + int(fields[12])) / TICK

    def wait_for(self, bench_, count, seconds=900):
        def there():
            assert self.process.poll() is None, self.log.read_text(errors="replace")[-5000:]
            self.cpu()
            # On a busy machine the broker may be without its own session for a moment, and the partitions without a leader.
            with contextlib.suppress(KafkaException):
                return topic_records(bench_, self.topic) >= count
            return False
        wait_until(there, seconds)


def topic_records(bench_, topic):
    consumer = bench_.consumer()
    try:
        return sum(bench_.ends(consumer, topic))
    finally:
        consumer.close()


def timed(debezium, stage, events, work):
    before, began = debezium.cpu(), time.monotonic()
    work()
    cpu, wall = debezium.cpu() - (before if stage != "copy" else 0), time.monotonic() - began
    report(f"debezium {stage}", events=events, wall_s=round(wall, 2), cpu_s=round(cpu, 2), events_per_cpu_s=round(events / cpu),
           peak_rss_mib=round(debezium.peak / 2**20))


def compare_speed(bench_):
    bench_.owner.execute(bench.FILL, (ROWS,))
    with Debezium(bench_, "booking") as debezium:
        timed(debezium, "copy", ROWS, lambda: debezium.wait_for(bench_, ROWS))
        bench_.measured("copy", ROWS)
    # Both come to the same updates with an empty desk.
    bench_.update(UPDATES)
    bench_.measured("stream", UPDATES)
    with Debezium(bench_, "booking") as debezium:
        timed(debezium, "stream, with its start", UPDATES, lambda: debezium.wait_for(bench_, ROWS + UPDATES))


def sample(bench_):
    """A table of all types, and a capture of it; returns the changes to make when its rows are copied."""
    columns = ", ".join(f"{name} {kind}" for name, (kind, _) in TYPES.items())
    values = ", ".join(value for _, value in TYPES.values())
    bench_.owner.execute(f"""CREATE TYPE colour AS ENUM ('red', 'bright blue'); CREATE DOMAIN euro AS numeric(8, 2);
        CREATE TABLE sample (id int PRIMARY KEY, {columns}); ALTER TABLE sample REPLICA IDENTITY FULL;
        INSERT INTO sample VALUES (1, {values}), (2, {values}), (3, {values})""")
    config = bench_.folder / "types.toml"
    config.write_text(bench_.config.read_text().replace("public.booking", "public.sample").replace('"capture"', '"types"')
                      .replace("slot_unbounded", f'slot = "{bench_.service}_types"\npublication = "{bench_.service}_types"\nslot_unbounded'))
    bench_.config = config
    return f"""INSERT INTO sample VALUES (4, {values}), (5, {values}); INSERT INTO sample (id) VALUES (6);
        UPDATE sample SET words = 'changed', price = NULL WHERE id IN (1, 4); UPDATE sample SET id = 7 WHERE id = 5; DELETE FROM sample WHERE id = 3"""


def publish(bench_, debeziums):
    """By the capture and by every Debezium."""
    changes = sample(bench_)
    bench_.once()
    with contextlib.ExitStack() as running:
        for debezium in debeziums:
            running.enter_context(debezium).wait_for(bench_, 3)
        bench_.owner.execute(changes)
        bench_.once()
        # Three copied rows, three inserts, two updates, a key that changed (two and a tombstone), a delete (and its tombstone).
        for debezium in debeziums:
            debezium.wait_for(bench_, 13)


def land(bench_, debeziums):
    """Into tables that are named by who published them; returns where the lake is."""
    lake, writer = bench_.folder / "lake", bench_.folder / "writer.toml"
    writer.write_text(LAKE.format(lake=lake, kafka=KAFKA, registry=os.environ["LAKEHEAD_TEST_REGISTRY"])
                      + TOPIC.format(topic=f"{bench_.service}.sample", side="ours", encoding="avro")
                      + "".join(TOPIC.format(topic=debezium.topic, side=f"debezium_{debezium.encoding}", encoding=debezium.encoding)
                                for debezium in debeziums))
    subprocess.run([os.environ["LAKEHEAD_BIN"], "write", "--once", "--config", writer], check=True)
    return lake


def rows(lake, side, alike):
    names = ", ".join(f"{alike.get(name, name)} AS {name}" for name in ["id", *TYPES])
    query = [os.environ["LAKEHEAD_BIN"], "sql", "--lake", lake, "--output", "json", "-c", f"SELECT {names} FROM {side}.sample ORDER BY id"]
    return json.loads(subprocess.run(query, check=True, capture_output=True, text=True).stdout)


def are_equal(lake, encoding):
    found = [rows(lake, side, ALIKE[encoding]) for side in ("ours", f"debezium_{encoding}")]
    differences = [(ours, theirs) for ours, theirs in zip(*found, strict=True) if ours != theirs]
    report(f"rows, Debezium's {encoding}", rows=len(found[0]), columns=len(TYPES) + 1, differences=len(differences))
    for ours, theirs in differences:
        print({name: (value, theirs.get(name)) for name, value in ours.items() if value != theirs.get(name)}, file=sys.stderr)
    return not differences and len(found[0]) == 5


def compare_rows(bench_):
    debeziums = [Debezium(bench_, "sample", encoding) for encoding in ALIKE]
    publish(bench_, debeziums)
    lake = land(bench_, debeziums)
    return all([are_equal(lake, encoding) for encoding in ALIKE])


def main():
    with tempfile.TemporaryDirectory(prefix="lakehead-debezium-") as folder:
        bench_ = Bench(pathlib.Path(folder))
        if ROWS:
            compare_speed(bench_)
        raise SystemExit(0 if compare_rows(bench_) else 1)


if __name__ == "__main__":
    main()
