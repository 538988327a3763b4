"""`lakehead verify` against real Postgres: changes that carry their transaction, and an outbox whose service never rests."""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Iterator

import deltalake
import psycopg
import pytest

import cabin
import parts
import postgres
import purchases
from cabin import Cabin
from conftest import real
from program import wait_until
from purchases import change
from road import Road, shop_topic


@pytest.fixture
def url(stack: dict[str, str]) -> Iterator[str]:
    """A database that writes dates and instants its own way, and where the tables of a user named `lakehead` are not in the kit's schema."""
    with postgres.database(real(stack, parts.POSTGRES)) as found:
        with psycopg.connect(found, autocommit=True) as connection:
            name = found.rsplit("/", 1)[1]
            connection.execute(f"ALTER DATABASE {name} SET timezone = 'Asia/Kolkata'".encode())
            connection.execute(f"ALTER DATABASE {name} SET datestyle = German".encode())
            connection.execute(f"ALTER DATABASE {name} SET search_path = public".encode())
        yield found


def against(road: Road, url: str, table: str, *more: str, wait: str = "0s") -> subprocess.CompletedProcess[str]:
    return road.run("verify", "--config", "lakehead.toml", "--table", table, "--against", url, "--wait-max", wait, *more)


def assert_same(answer: subprocess.CompletedProcess[str], rows: int | None = None) -> None:
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert ": the same: " in answer.stdout
    if rows is not None:
        assert f"the same: {rows} rows at the owner, {rows} in the lake" in answer.stdout


def differences(answer: subprocess.CompletedProcess[str]) -> list[str]:
    """Without the numbers of their ranges."""
    assert answer.returncode == 4, answer.stdout + answer.stderr
    lines = [line.strip() for line in answer.stdout.splitlines() if " (range " in line]
    return sorted(head + tail.split(")", 1)[1] for head, tail in (line.split(" (range ", 1) for line in lines))


def test_changes_with_their_transactions(s3_road: Road, url: str) -> None:
    """Every type; what a transaction that was open at the snapshot has written is no difference, wherever it stands in the log."""
    road = s3_road
    topic = road.topic(partitions=2)
    contract = road.contract(purchases.CONTRACT)
    road.configure(shop_topic(topic, format="json", contract=contract), flush_age_max="1s")
    with psycopg.connect(url, autocommit=True) as service, psycopg.connect(url) as slow:
        service.execute(purchases.TABLE)
        topic.produce(change(service, "c", purchases.FIVE_HUNDRED))
        topic.produce(change(service, "u", "UPDATE purchase SET quantity = quantity + 1, price = 0.1 WHERE id % 5 = 0"))
        topic.produce(change(service, "d", "DELETE FROM purchase WHERE id % 50 = 0"))
        road.write_once()
        assert_same(against(road, url, "shop.purchase"), 490)

        # Written before the snapshot and committed after it: in the lake already, and no difference.
        early = change(slow, "u", "UPDATE purchase SET quantity = 77 WHERE id = 7")
        topic.produce(change(service, "u", "UPDATE purchase SET quantity = 78 WHERE id = 8"))
        topic.produce(early)
        road.write_once("second")
        assert_same(against(road, url, "shop.purchase"), 490)
        slow.commit()
        assert_same(against(road, url, "shop.purchase"), 490)

        # On its way: found missing at once, and not when it is waited for.
        late = change(service, "u", "UPDATE purchase SET item = 'late' WHERE id = 9")
        assert differences(against(road, url, "shop.purchase")) == ['altered {"id":9}: other values in item']
        verifying = road.start("verifying", "verify", "--config", "lakehead.toml", "--table", "shop.purchase", "--against", url,
                               "--wait-max", "150s")
        topic.produce(late)
        road.write_once("third")
        assert verifying.wait() == 0, verifying.text

        # Never published at all.
        service.execute("UPDATE purchase SET cost = cost + 0.01 WHERE id = 11")
        service.execute("DELETE FROM purchase WHERE id = 12")
        service.execute("INSERT INTO purchase SELECT 1000, item, quantity, price, cost, placed_at FROM purchase WHERE id = 13")
        assert differences(against(road, url, "shop.purchase")) == [
            'altered {"id":11}: other values in cost', 'not_at_owner {"id":12}: the lake has it, the owner does not',
            'not_in_lake {"id":1000}: the owner has it, the lake does not']
        assert road.lake.progress("shop.purchase", topic.name, 2) == topic.end_offsets()
        mine = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'lakehead verify' AND datname = current_database()"
        wait_until("the snapshots are closed", lambda: service.execute(mine).fetchone() == (0,))


def test_an_outbox_while_its_service_writes(road: Road, url: str) -> None:
    """Transactions that commit out of the order of their events, all the while: nothing differs; then what is spoilt is named."""
    road.configure({"name": road.name, "table": cabin.TABLE, "format": "avro", "shape": "debezium"}, flush_age_max="200ms")
    cabin.configure(road, road.name)
    relaying = ("relay", "--config", "lakehead.toml")
    assert road.start("create", *relaying, "--create", "--once", DATABASE_URL=url).wait() == 0
    service = Cabin(url, 5)
    service.create()
    service.start()
    relay, writer = road.start("relay", *relaying, DATABASE_URL=url), road.writer()
    try:
        wait_until("every seat has changed and landed", lambda: road.lake.exists(cabin.TABLE) and all(service.changes().values()))
        for _ in range(4):
            before = sum(service.changes().values())
            answer = against(road, url, cabin.TABLE, wait="100s")
            assert_same(answer, cabin.SEATS)
            assert "only in the lake, not compared: holder" in answer.stdout
            wait_until("the service goes on", lambda: sum(service.changes().values()) > before)
    finally:
        service.stop()
    assert_same(against(road, url, cabin.TABLE, wait="100s"), cabin.SEATS)
    assert relay.end() == 0 and writer.end() == 0, relay.text + writer.text

    with psycopg.connect(url, autocommit=True) as owner:
        # Who may not read the outbox finds the same, by reading twice.
        role = f"reader_{uuid.uuid4().hex}"
        owner.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'x'; GRANT SELECT ON seat TO {role}".encode())
        reader = f"postgres://{role}:x@{url.split('@')[-1].split('://')[-1]}"
        limited = against(road, reader, cabin.TABLE)
        assert_same(limited, cabin.SEATS)
        assert "the outbox cannot be read by this user" in limited.stderr
        owner.execute("UPDATE seat SET version = version + 1 WHERE id = 1")
        owner.execute("DELETE FROM seat WHERE id = 2")
        owner.execute("INSERT INTO seat VALUES (100, 1)")
        delta = road.lake.delta(cabin.TABLE)
        assert delta
        delta.delete("id = 3")
        delta.update(predicate="id = 4", updates={"version": "version + 1000"})
        [[partition, last]] = road.lake.query(f"SELECT _partition, max(_offset) FROM {{{cabin.TABLE}}} WHERE id = 5 GROUP BY _partition")
        again = delta.to_pyarrow_table(filters=[("_offset", "=", last), ("_partition", "=", partition)])
        assert again.num_rows == 1
        deltalake.write_deltalake(delta, again, mode="append")
        expected = ['altered {"id":1}: other values in version', 'altered {"id":4}: other values in version',
                    'doubled {"id":5}: 1 at the owner, 2 in the lake', 'not_at_owner {"id":2}: the lake has it, the owner does not',
                    'not_in_lake {"id":100}: the owner has it, the lake does not',
                    'not_in_lake {"id":3}: the owner has it, the lake does not']
        assert differences(against(road, url, cabin.TABLE)) == expected
        assert differences(against(road, reader, cabin.TABLE)) == expected
        owner.execute(f"DROP OWNED BY {role}; DROP ROLE {role}".encode())
