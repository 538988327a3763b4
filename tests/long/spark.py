"""What `tests/long/spark` does. Prints one JSON object for each table that was compared; ends with 1 where readers differ."""
import datetime
import decimal
import io
import json
import os
import pathlib
import random
import struct
import subprocess
import sys
import tempfile

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable

sys.path[:0] = [str(pathlib.Path(__file__).parents[1] / "e2e")]

from kafka_topic import Record, Topic  # noqa: E402
from lake import Lake  # noqa: E402
from shop import KEY, SOURCE, register  # noqa: E402

HERE = pathlib.Path(__file__).parent
TABLE = "shop.order"
KEYS = 120
UTC = datetime.timezone.utc
FIRST = datetime.datetime(2023, 12, 30, 12, tzinfo=UTC)
# From one change to the next: 1,000 of them pass the end of a year, on four dates.
STEP = datetime.timedelta(minutes=4, microseconds=7)
CONFIG = """\
[lake]
url = "{lake}"
[kafka]
bootstrap_servers = "{kafka}"
assignment = "all"
[registry]
url = "{registry}"
[writer]
checkpoint_interval = 4
[[topic]]
name = "{topic}"
table = "shop.order"
format = "avro"
shape = "debezium"
[maintenance]
bucket_bytes = "8 KiB"
{maintenance}
"""
EAGER = """\
housekeeping_interval = "0s"
[maintenance.compaction]
files_min = 2
quiet_age = "0s"
hot_files_max = 2
"""


def logical(kind, name, **more):
    return {"type": kind, "logicalType": name, **more}


def maybe(kind):
    return ["null", kind]


POINT = {"type": "record", "name": "Point", "fields": [{"name": "x", "type": "double"}, {"name": "y", "type": maybe("double")}]}
ADDRESS = {"type": "record", "name": "Address", "fields": [
    {"name": "city", "type": "string"}, {"name": "zip", "type": maybe("string")}, {"name": "place", "type": maybe(POINT)}]}
LINE = {"type": "record", "name": "Line", "fields": [
    {"name": "item", "type": "string"}, {"name": "amount", "type": logical("bytes", "decimal", precision=8, scale=3)},
    {"name": "at", "type": maybe(logical("long", "timestamp-micros"))}]}
COLUMNS = {
    "id": "long", "customer": maybe("string"), "quantity": "int", "price": logical("bytes", "decimal", precision=6, scale=2),
    "total": maybe(logical("bytes", "decimal", precision=38, scale=10)), "weight": maybe("double"),
    "single": {"type": "float", "lakehead.type": "float"}, "small": {"type": "int", "lakehead.type": "int"}, "open": maybe("boolean"),
    "placed_at": logical("long", "timestamp-micros"), "seen_at": maybe(logical("long", "timestamp-millis")),
    "day": maybe(logical("int", "date")), "clock": logical("long", "time-micros"), "wall": maybe(logical("long", "local-timestamp-micros")),
    "raw": maybe("bytes"), "colour": {"type": "enum", "name": "Colour", "symbols": ["RED", "BLUE"]}, "seat": logical("string", "uuid"),
    "address": maybe(ADDRESS), "tags": {"type": "array", "items": maybe("string")}, "lines": maybe({"type": "array", "items": LINE}),
    "counts": {"type": "map", "values": maybe("long")}, "either": ["null", "long", "string"],
}
# What comes in the middle: a column that widens, one that is new.
LATER = {**COLUMNS, "quantity": "double", "priority": maybe("int")}


def envelope(columns):
    row = {"type": "record", "name": "Value", "fields": [
        {"name": name, "type": kind, **({"default": None} if isinstance(kind, list) else {})} for name, kind in columns.items()]}
    return {"type": "record", "name": "Envelope", "namespace": "shop.order", "fields": [
        {"name": "before", "type": ["null", row], "default": None}, {"name": "after", "type": ["null", "Value"], "default": None},
        {"name": "source", "type": SOURCE}, {"name": "op", "type": "string"}, {"name": "ts_ms", "type": ["null", "long"], "default": None}]}


class Orders:
    """Orders that are made, changed, cancelled and made again; what is left of them at the end, and at the ends of periods."""

    def __init__(self, registry, topic):
        self.random, self.number, self.state, self.history = random.Random(5), 0, {}, []
        self.registry, self.topic, self.key = registry, topic, fastavro.parse_schema(KEY)
        self.key_id = register(registry, f"{topic}-key", KEY)

    def changes(self, count, columns):
        schema = envelope(columns)
        schema_id, parsed = register(self.registry, f"{self.topic}-value", schema), fastavro.parse_schema(schema)
        for _ in range(count):
            self.number += 1
            id_, when = self.random.randrange(KEYS), FIRST + STEP * self.number
            row = {name: value for name, value in self.row(id_).items() if name in columns}
            known, is_end = id_ in self.state, self.random.random() < 0.2
            op = "d" if known and is_end else "u" if known else "c"
            self.state.pop(id_, None) if op == "d" else self.state.update({id_: self.number})
            self.history.append((when, dict(self.state)))
            event = {"before": row if op != "c" else None, "after": row if op != "d" else None, "op": op, "ts_ms": None,
                     "source": {"version": "3.6.1.Final", "connector": "postgresql", "name": "shop", "ts_ms": int(when.timestamp() * 1000),
                                "db": "shop", "schema": "public", "table": "order", "txId": None, "lsn": self.number}}
            key = framed(self.key_id, self.key, {"id": id_})
            yield Record(framed(schema_id, parsed, event), key)
            if op == "d":
                yield Record(None, key)

    def row(self, id_):
        number, pick = self.number, self.random
        some = lambda value: None if pick.random() < 0.2 else value  # noqa: E731
        moment = pick.choice([FIRST + STEP * number, datetime.datetime(1500, 2, 28, 23, 59, 59, 999_999, UTC),
                              datetime.datetime(1969, 12, 31, 23, 59, 59, 1, UTC), datetime.datetime(9999, 12, 31, 23, 59, 59, 999_999, UTC)])
        amount = decimal.Decimal(pick.randrange(-999_999, 999_999)).scaleb(-2)
        return {
            "id": id_, "customer": some(pick.choice(["", "Ænne \U0001f6eb", 'quoted "so",\n', "plain"])), "quantity": number % 13, "price": amount,
            "total": some(pick.choice([decimal.Decimal("-9999999999999999999999999999.9999999999"), decimal.Decimal("0E-10"), amount])),
            "weight": some(pick.choice([0.1, -0.0, 1e300, float("nan"), float("-inf"), number / 3])), "single": pick.choice([0.5, -1.25]),
            "small": pick.choice([2**31 - 1, -(2**31)]), "open": some(number % 2 == 0), "placed_at": moment,
            "seen_at": some(moment.replace(microsecond=moment.microsecond // 1000 * 1000)), "day": some(moment.date()),
            "clock": datetime.time(23, 59, 59, number), "wall": some(datetime.datetime(2023, 7, 1, 12, 0, 0, number)),
            "raw": some(bytes([0, 255, number % 256])), "colour": pick.choice(["RED", "BLUE"]), "seat": f"0fdb4a7a-1d2e-4b8c-9c3f-{number:012x}",
            "address": some({"city": pick.choice(["Oslo", "Rio"]), "zip": some("0150"), "place": some({"x": number / 7, "y": some(-1.5)})}),
            "tags": pick.choice([[], ["a"], [None, "b,c", ""]]),
            "lines": some([{"item": f"item {line}", "amount": amount.scaleb(-1), "at": some(moment)} for line in range(number % 3)]),
            "counts": pick.choice([{}, {"a": number, "é": None}]), "either": pick.choice([None, number, "text"]), "priority": some(number),
        }

    def left_at(self, moment):
        """How many orders there were just before."""
        return len(next((state for when, state in reversed(self.history) if when < moment), {}))


def framed(schema_id, schema, datum):
    out = io.BytesIO(struct.pack(">bI", 0, schema_id))
    out.seek(0, io.SEEK_END)
    fastavro.schemaless_writer(out, schema, datum)
    return out.getvalue()


def kind(type_):
    """A type's name, the same whichever of Arrow's ways a reader chose to hold it."""
    if pa.types.is_struct(type_):
        return {field.name: kind(field.type) for field in type_}
    if pa.types.is_map(type_):
        return ["map", kind(type_.key_type), kind(type_.item_type)]
    if pa.types.is_list(type_) or pa.types.is_large_list(type_):
        return ["list", kind(type_.value_type)]
    return str(type_).removeprefix("large_")


def plain(type_, value):
    """A value that can be compared and sorted, and hides no difference: 1.20 is not 1.2, -0.0 not 0.0, and NaN is itself."""
    if value is None:
        return None
    if pa.types.is_struct(type_):
        return [plain(field.type, value.get(field.name)) for field in type_]
    if pa.types.is_map(type_):
        pairs = value.items() if isinstance(value, dict) else value
        return sorted([key, plain(type_.item_type, item)] for key, item in pairs)
    if pa.types.is_list(type_) or pa.types.is_large_list(type_):
        return [plain(type_.value_type, item) for item in value]
    if pa.types.is_timestamp(type_):
        moment = datetime.datetime.fromisoformat(value) if isinstance(value, str) else value
        return moment.astimezone(UTC).isoformat(timespec="microseconds")
    if pa.types.is_floating(type_):
        return repr(float(value))
    if pa.types.is_decimal(type_):
        return format(decimal.Decimal(value) if isinstance(value, str) else value, "f")
    if pa.types.is_binary(type_) or pa.types.is_large_binary(type_):
        return value if isinstance(value, str) else value.hex()
    return str(value)


PLACE, KEY_COLUMNS = ["_partition", "_generation", "_offset"], ["id"]


def rows_of(table, names):
    """Rows by the record they are of."""
    types = {name: table.schema.field(name).type for name in names}
    columns = {name: [plain(types[name], value) for value in table[name].to_pylist()] for name in names}
    return {tuple(columns[name][row] for name in PLACE): {name: columns[name][row] for name in names} for row in range(len(table))}


class Readers:
    """The readers of one lake. Those of a path give an Arrow table, at a version if one is named."""

    def __init__(self, folder, lake, config):
        self.folder, self.lake, self.config, self.asked = folder, lake, config, 0
        self.program = subprocess.Popen([f"{os.environ['SPARK_FOLDER']}/bin/python", HERE / "spark_reads.py", folder / "spark"], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=open(folder / "spark.log", "w"),
                                        env=os.environ | {"TZ": "UTC"})

    def close(self):
        self.program.stdin.close()
        self.program.wait(60)

    def ask_spark(self, path, version, **asked):
        self.program.stdin.write(json.dumps({"path": path, "version": version, **asked}) + "\n")
        self.program.stdin.flush()
        answer = self.program.stdout.readline()
        assert answer, (self.folder / "spark.log").read_text()[-5000:]
        return json.loads(answer)

    def spark(self, path, version):
        self.asked += 1
        to = str(self.folder / f"answer-{self.asked}")
        self.ask_spark(path, version, to=to)
        return pq.read_table(to)

    def duckdb(self, path, version):
        return self.lake.connection.execute(f"SELECT * FROM {scan(path, version)}").to_arrow_table()

    def package(self, path, version):
        return DeltaTable(path, version=version).to_pyarrow_table()

    def sql(self, query):
        """Answers of `lakehead sql`: rows by the names of their columns. A number with a point stays the text it is."""
        command = [os.environ["LAKEHEAD_BIN"], "sql", "--config", self.config, "--output", "json", "-c", query]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:]
        return json.loads(done.stdout, parse_float=str)

    def sql_rows(self, source, schema, names, by):
        # JSON has no NaN.
        asked = [f'CAST("{name}" AS VARCHAR) AS "{name}"' if pa.types.is_floating(schema.field(name).type) else f'"{name}"' for name in names]
        answer = self.sql(f"SELECT {', '.join(asked)} FROM {source}")
        types = {name: schema.field(name).type for name in names}
        rows = [{name: plain(types[name], as_decimal(types[name], row[name])) for name in names} for row in answer]
        return {tuple(row[name] for name in by): row for row in rows}


def as_decimal(type_, value):
    """Whole numbers of a decimal column are written without a point by nobody but a JSON parser that found none."""
    return str(value) if value is not None and pa.types.is_decimal(type_) else value


def scan(path, version):
    return f"delta_scan('{path}'{'' if version is None else f', version = {version}'})"


def differences(expected, found):
    """Where rows differ, at most three of them: place, column, what two readers see."""
    places = [("rows", place, "only one of them has it") for place in expected.keys() ^ found.keys()]
    cells = [(place, name, value, found[place].get(name)) for place, row in expected.items() if place in found
             for name, value in row.items() if value != found[place].get(name)]
    return (places + cells)[:3]


class Comparison:
    def __init__(self, readers):
        self.readers, self.differs = readers, False

    def told(self, what, rows, found, **more):
        print(json.dumps({"compared": what, "rows": rows, **more, "differences": found}), flush=True)
        self.differs |= bool(found)

    def rows(self, what, path, version=None, sql=None, count=None):
        """Every row and every column, of the package beside each of the others; `sql` is the same in words of `lakehead sql`."""
        package = self.readers.package(path, version)
        names = package.column_names
        expected, found = rows_of(package, names), {}
        for reader in (self.readers.spark, self.readers.duckdb):
            table = reader(path, version)
            types = [(name, kind(package.schema.field(name).type), kind(table.schema.field(name).type)) for name in names]
            found[reader.__name__] = [of for of in types if of[1] != of[2]] + differences(expected, rows_of(table, names))
        if sql:
            # Its state of an entity has the entity's columns.
            own, by = (names, PLACE) if "_op" in names else ([name for name in names if not name.startswith("_")], KEY_COLUMNS)
            theirs = {tuple(row[name] for name in by): {name: row[name] for name in own} for row in expected.values()}
            found["sql"] = differences(theirs, self.readers.sql_rows(sql, package.schema, own, by))
        if count is not None and count != len(expected):
            found["count"] = [count]
        self.told(what, len(expected), {name: of for name, of in found.items() if of}, columns=len(names), version=version)

    def questions(self, what, path, source, questions):
        """Questions of which readers may leave out files, pages or rows."""
        found = {}
        for condition in questions:
            query = f"SELECT count(*), count(DISTINCT id), sum(id) FROM {{}} WHERE {condition}"
            answers = {
                "spark": self.readers.ask_spark(path, None, sql=query.format("t"))["row"],
                "duckdb": [None if value is None else str(value) for value in self.readers.lake.connection.execute(query.format(scan(path, None))).fetchone()],
            }
            if not condition.startswith("_") or "_changes" in source:
                [row] = self.readers.sql(query.format(source))
                answers["sql"] = [None if value is None else str(value) for value in row.values()]
            if len({tuple(answer) for answer in answers.values()}) > 1 or answers["spark"][0] == "0":
                found[condition] = answers
        self.told(f"{what}, {len(questions)} questions", None, found)


class SparkLake(Lake):
    @property
    def connection(self):
        from lake import duckdb_connection
        return duckdb_connection(None)


# Each is true of some rows of the end, as a count of 0 would say nothing.
QUESTIONS = [
    "price > 1234.50", "total < 0", "weight > 1e6", "single < 0", "small > 0", "open",
    "placed_at >= TIMESTAMP '2024-01-01 00:00:00' AND placed_at < TIMESTAMP '2024-02-01 00:00:00'", "placed_at < TIMESTAMP '1970-01-01 00:00:00'",
    "seen_at > TIMESTAMP '2200-01-01 00:00:00'", "day < DATE '1600-01-01'", "customer = 'plain'", "customer = ''", "colour = 'RED' AND quantity > 6",
    "address['city'] = 'Oslo'", "total IS NULL", "_event_time >= TIMESTAMP '2023-12-31 00:00:00'", "_partition = 1 AND _offset >= 100",
]
OF_CHANGES = [*QUESTIONS, "_event_date = DATE '2023-12-31'", "_op = 'd'"]
OF_CURRENT = [*QUESTIONS, "_bucket = 0"]


def of_orders(ids):
    """Questions of orders that there are."""
    some = sorted(ids)[len(ids) // 2]
    return [f"id = {some}", f"id BETWEEN {some} AND {some + 2}"]


def lakehead(config, *arguments):
    done = subprocess.run([os.environ["LAKEHEAD_BIN"], *arguments, "--config", config], capture_output=True, text=True)
    assert done.returncode == 0, f"{arguments} ended with {done.returncode}: {done.stderr[-3000:]}"


def compare(folder):
    kafka, registry = os.environ["LAKEHEAD_TEST_KAFKA"], os.environ["LAKEHEAD_TEST_REGISTRY"]
    topic, lake, config = Topic.create(kafka, "shop.order", 3), folder / "lake", folder / "lakehead.toml"
    changes, current = f"{lake}/shop/order/changes", f"{lake}/shop/order/current"
    orders = Orders(registry, topic.name)

    def configure(maintenance=""):
        config.write_text(CONFIG.format(lake=lake, kafka=kafka, registry=registry, topic=topic.name, maintenance=maintenance))

    def publish(count, columns):
        for _ in range(count // 100):
            topic.produce(orders.changes(100, columns))
            lakehead(config, "write", "--once")

    configure()
    publish(600, COLUMNS)
    lakehead(config, "maintain", "--once")
    readers = Readers(folder, SparkLake(str(lake)), config)
    comparison = Comparison(readers)
    comparison.rows("changes in small files", changes, sql=f"{TABLE}_changes", count=600)
    comparison.rows("the current table", current, sql=TABLE, count=len(orders.state))
    before, left = DeltaTable(changes).version(), len(orders.state)

    publish(400, LATER)
    small = len(DeltaTable(changes).file_uris())
    configure(EAGER)
    lakehead(config, "maintain", "--once")
    large = len(DeltaTable(changes).file_uris())
    assert large < small, f"nothing was compacted: {small} files became {large}"
    comparison.rows("changes after evolution and compaction", changes, sql=f"{TABLE}_changes", count=1000)
    known = of_orders(orders.state)
    comparison.questions("changes", changes, f"{TABLE}_changes", known + OF_CHANGES)
    comparison.rows("the current table after a refresh", current, sql=TABLE, count=len(orders.state))
    comparison.questions("the current table", current, TABLE, known + OF_CURRENT)
    comparison.rows("changes, the version before", changes, version=before, count=600)
    comparison.rows("the current table, the version before", current, version=1, count=left)

    for period in ("2023-12", "2023"):
        lakehead(config, "rebuild", TABLE, "--period", period)
    for made in readers.sql("SELECT period, path, until FROM system.periods ORDER BY period"):
        until = datetime.datetime.fromisoformat(made["until"])
        comparison.rows(f"the snapshot of {made['period']}", f"{lake}/{made['path']}", sql=as_of(until), count=orders.left_at(until))
    readers.close()
    return not comparison.differs


def as_of(until):
    """Orders as they were, by a query of the changes: the times of a partition rise with its offsets."""
    past = f"(SELECT * FROM {TABLE}_changes WHERE _event_time < '{until.isoformat()}')"
    newest = f"(SELECT id AS newest_id, max(_offset) AS newest FROM {past} GROUP BY id)"
    return f"{past} p JOIN {newest} n ON p.id = n.newest_id AND p._offset = n.newest WHERE p._op <> 'd'"


def main():
    with tempfile.TemporaryDirectory(prefix="lakehead-spark-") as folder:
        (pathlib.Path(folder) / "spark").mkdir()
        raise SystemExit(0 if compare(pathlib.Path(folder)) else 1)


if __name__ == "__main__":
    main()
