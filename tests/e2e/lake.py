"""A lake and the foreign readers on it: DuckDB and the Python deltalake package. Nothing of Lakehead reads here."""

from __future__ import annotations

import importlib.util
import pathlib
from dataclasses import dataclass
from typing import Any

import duckdb
import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import TableNotFoundError

PIPELINE = "lakehead"


@dataclass(frozen=True)
class Bucket:
    """An S3 endpoint and how to sign in."""

    endpoint: str
    access_key: str
    secret_key: str


def duckdb_connection(bucket: Bucket | None) -> duckdb.DuckDBPyConnection:
    """A connection with the delta extension from the PyPI package: no network."""
    connection = duckdb.connect(config={"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"})
    for extension in ("httpfs", "delta"):
        spec = importlib.util.find_spec(f"duckdb_extension_{extension}")
        assert spec and spec.submodule_search_locations, f"duckdb-extension-{extension} is not installed"
        file = next(pathlib.Path(spec.submodule_search_locations[0]).rglob("*.duckdb_extension"))
        connection.execute(f"LOAD '{file}'")
    connection.execute("SET TimeZone = 'UTC'")
    if bucket:
        host = bucket.endpoint.removeprefix("http://")
        connection.execute(f"CREATE SECRET (TYPE s3, KEY_ID '{bucket.access_key}', SECRET '{bucket.secret_key}', "
                           f"ENDPOINT '{host}', USE_SSL false, URL_STYLE 'path', REGION 'us-east-1')")
    return connection


@dataclass(frozen=True)
class Lake:
    """A lake at a URL; `bucket` only when it is an S3 one."""

    url: str
    bucket: Bucket | None = None

    @property
    def storage_options(self) -> dict[str, str]:
        if not self.bucket:
            return {}
        return {"AWS_ENDPOINT_URL": self.bucket.endpoint, "AWS_ALLOW_HTTP": "true", "AWS_REGION": "us-east-1",
                "AWS_ACCESS_KEY_ID": self.bucket.access_key, "AWS_SECRET_ACCESS_KEY": self.bucket.secret_key}

    def location(self, table: str) -> str:
        """`service.entity` is the table of all its changes; `dead_letters` the one of those that could not land."""
        path = "_system/dead_letters" if table == "dead_letters" else f"{table.replace('.', '/')}/changes"
        return f"{self.url}/{path}"

    def delta(self, table: str) -> DeltaTable | None:
        try:
            return DeltaTable(self.location(table), storage_options=self.storage_options)
        except TableNotFoundError:
            return None

    def exists(self, table: str) -> bool:
        return self.delta(table) is not None

    def progress(self, table: str, topic: str, partitions: int) -> list[int]:
        """The next offset of each partition as the Delta log has it; 0 where there is none."""
        delta = self.delta(table)
        if delta is None:
            return [0] * partitions
        return [delta.transaction_version(f"{PIPELINE}/{topic}/{number}") or 0 for number in range(partitions)]

    def query(self, sql: str, **relations: pa.Table) -> list[tuple[Any, ...]]:
        """Runs SQL in DuckDB; `{service.entity}` stands for the scan of a table, `relations` are Arrow tables by name."""
        connection = duckdb_connection(self.bucket)
        for name, table in relations.items():
            connection.register(name, table)
        return connection.execute(self.with_scans(sql)).fetchall()

    def with_scans(self, sql: str) -> str:
        head, *rest = sql.split("{")
        for piece in rest:
            table, _, tail = piece.partition("}")
            head += f"delta_scan('{self.location(table)}')" + tail
        return head
