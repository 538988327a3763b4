"""Fixtures: the real parts once per session, and a road of its own for every test."""

from __future__ import annotations

import os
import pathlib
import sys
import time
import uuid
from collections.abc import Generator, Iterator

import pytest
from pyarrow import fs

sys.path[:0] = [str(pathlib.Path(__file__).parent), str(pathlib.Path(__file__).parents[1] / "stack")]

import parts  # noqa: E402
from demo import Demo  # noqa: E402
from dev import Dev  # noqa: E402
from lake import Bucket, Lake  # noqa: E402
from listeners import Listeners  # noqa: E402
from road import Road  # noqa: E402

CI = os.environ.get("CI") == "true"
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR") or parts.CACHE / "target")


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Addresses of the real parts by environment variable: those given, and those started here."""
    started, found = parts.start_all(tmp_path_factory.mktemp("parts"))
    yield dict(os.environ) | found
    for part in started:
        part.stop()


def real(stack: dict[str, str], variable: str) -> str:
    if variable not in stack:
        (pytest.fail if CI else pytest.skip)(f"MISSING REAL PART: {variable} (tests/stack/fetch brings it)")
    return stack[variable]


@pytest.fixture(scope="session")
def kafka(stack: dict[str, str]) -> str:
    return real(stack, parts.KAFKA)


@pytest.fixture(scope="session")
def listeners(stack: dict[str, str], kafka: str) -> Listeners:
    """The listeners of Kafka that do not let everybody in."""
    sasl_ssl, mtls, certificates = (real(stack, name) for name in (parts.KAFKA_SASL_SSL, parts.KAFKA_MTLS, parts.KAFKA_CERTIFICATES))
    return Listeners(sasl_ssl, mtls, pathlib.Path(certificates))


@pytest.fixture(scope="session")
def registry(stack: dict[str, str]) -> str:
    return real(stack, parts.REGISTRY)


@pytest.fixture(scope="session")
def bucket(stack: dict[str, str]) -> Bucket:
    endpoint = real(stack, parts.S3)
    found = Bucket(endpoint, stack["LAKEHEAD_TEST_S3_ACCESS_KEY"], stack["LAKEHEAD_TEST_S3_SECRET_KEY"])
    store = fs.S3FileSystem(access_key=found.access_key, secret_key=found.secret_key, endpoint_override=endpoint, scheme="http",
                            region="us-east-1", allow_bucket_creation=True)
    store.create_dir("lakehead")
    return found


def built(variable: str, fallback: pathlib.Path) -> pathlib.Path:
    path = pathlib.Path(os.environ.get(variable) or fallback)
    assert path.exists(), f"{path} is not built; tests/run builds it (or set {variable})"
    return path


@pytest.fixture(scope="session")
def binary() -> pathlib.Path:
    return built("LAKEHEAD_BIN", TARGET / "release" / "lakehead")


@pytest.fixture(scope="session")
def faults_binary() -> pathlib.Path:
    return built("LAKEHEAD_FAULTS_BIN", parts.CACHE / "bin" / "lakehead-faults")


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A name that no other test and no earlier run has."""
    words = request.node.originalname.removeprefix("test_").replace("_", "-")[:40]
    return f"{words}-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def road(request: pytest.FixtureRequest, tmp_path: pathlib.Path, name: str, kafka: str, registry: str, binary: pathlib.Path,
         faults_binary: pathlib.Path) -> Iterator[Road]:
    """A road with the lake in a local directory."""
    yield from opened(request, Road(name, tmp_path, kafka, registry, Lake(str(tmp_path / "lake")), binary, faults_binary))


@pytest.fixture
def s3_road(request: pytest.FixtureRequest, tmp_path: pathlib.Path, name: str, kafka: str, registry: str, bucket: Bucket,
            binary: pathlib.Path, faults_binary: pathlib.Path) -> Iterator[Road]:
    """A road with the lake in a real bucket."""
    yield from opened(request, Road(name, tmp_path, kafka, registry, Lake(f"s3://lakehead/{name}", bucket), binary, faults_binary))


@pytest.fixture(scope="session")
def finished_demo(tmp_path_factory: pytest.TempPathFactory, binary: pathlib.Path) -> Demo:
    """The demo run once from nothing. Its first answer is to come in under a minute, on a machine that has nothing else to do."""
    demo, begun = Demo(binary, tmp_path_factory.mktemp("demo")), time.monotonic()
    program = demo.start()
    code = program.wait()
    print(f"the demo took {time.monotonic() - begun:.1f} s")
    assert code == 0, program.text[-3000:]
    return demo


def opened(request: pytest.FixtureRequest, road: Road) -> Iterator[Road]:
    request.node.road = road
    yield road
    road.close()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Several workers share the tests; those that look at the finished demo go to one, which runs it once."""
    for item in items:
        if "finished_demo" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("demo"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """On failure: where the logs are, and how each ends."""
    report = yield
    road = getattr(item, "road", None)
    if report.failed and road is not None:
        for log in sorted(road.folder.glob("*.log")):
            tail = log.read_text(errors="replace")[-2500:]
            report.sections.append((f"{log}", tail))
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    """With CI=true nothing may be skipped."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if CI and reporter and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture
def dev(binary: pathlib.Path, tmp_path: pathlib.Path) -> Dev:
    return Dev.at(binary, tmp_path)


@pytest.fixture
def running(dev: Dev) -> Iterator[Dev]:
    program = dev.start()
    yield dev
    program.kill()
