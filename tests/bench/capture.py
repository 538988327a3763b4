"""What `tests/bench/capture` measures. Prints one JSON object a stage; CPU is user and system time of the whole process, its start included."""
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from datetime import datetime, timezone

import psycopg
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

ROWS = int(os.environ.get("ROWS", 2_000_000))
UPDATES = int(os.environ.get("UPDATES", 500_000))
RATE = int(os.environ.get("RATE", 5_000))
SECONDS = int(os.environ.get("SECONDS_MAX", 20))
# Changes of so many first seconds do not count: the capture starts with them.
WARM_S = 2
KAFKA = os.environ["LAKEHEAD_TEST_KAFKA"]
PARTITIONS = 8

TABLE = """
    CREATE TABLE booking (id bigint PRIMARY KEY, guest text NOT NULL, flight text, price numeric(10, 2), placed_at timestamptz, changed int);
    ALTER TABLE booking REPLICA IDENTITY FULL;
"""
FILL = """
    INSERT INTO booking SELECT n, 'guest ' || md5(n::text), 'LH' || n %% 1000, n %% 100000 / 100.0,
        timestamptz '2013-01-01 00:00:00+00' + n * interval '1 s', 0 FROM generate_series(1, %s) n
"""
CONFIG = """\
[kafka]
bootstrap_servers = "{kafka}"
[registry]
url = "{registry}"
[capture]
service = "{service}"
database_url = {{ env = "OWNER_URL" }}
directory = "capture"
slot_unbounded = true
topic_partitions = {partitions}
[[capture.table]]
name = "public.booking"
"""


class Bench:
    def __init__(self, folder):
        server = os.environ["LAKEHEAD_TEST_POSTGRES"]
        self.service = f"b{uuid.uuid4().hex[:10]}"
        with psycopg.connect(server, autocommit=True) as admin:
            admin.execute(f"CREATE DATABASE {self.service}")
        self.url = f"{server.rsplit('/', 1)[0]}/{self.service}"
        self.owner = psycopg.connect(self.url, autocommit=True)
        self.topic = f"{self.service}.booking"
        self.create_topic(self.topic)
        self.config = folder / "capture.toml"
        self.config.write_text(CONFIG.format(kafka=KAFKA, registry=os.environ["LAKEHEAD_TEST_REGISTRY"], service=self.service,
                                             partitions=PARTITIONS))
        self.folder = folder
        self.owner.execute(TABLE)

    def create_topic(self, topic):
        """Where it is there already, it stays as it is. Records have the brokers' time: what is measured is when they could be read."""
        admin = AdminClient({"bootstrap.servers": KAFKA})
        made = admin.create_topics([NewTopic(topic, PARTITIONS, config={"message.timestamp.type": "LogAppendTime"})])
        try:
            made[topic].result()
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise
        consumer = self.consumer()

        def is_led():
            """A partition of a new topic has no leader at once."""
            try:
                return self.ends(consumer, topic)
            except KafkaException:
                return []
        wait_until(is_led)
        consumer.close()

    def start(self, *arguments):
        log = open(self.folder / "capture.log", "a")
        return subprocess.Popen([os.environ["LAKEHEAD_BIN"], "capture", "--config", self.config, *arguments], cwd=self.folder, stderr=log,
                                env=os.environ | {"OWNER_URL": self.url})

    def measured(self, stage, events):
        """Runs a capture to the end of what is committed; `events` more records must be there then."""
        before, began = self.records(), time.monotonic()
        usage = self.once()
        wall, cpu = time.monotonic() - began, usage.ru_utime + usage.ru_stime
        found = self.records() - before
        assert found == events, f"{stage}: {found} records of {events}"
        report(stage, events=events, wall_s=round(wall, 2), cpu_s=round(cpu, 2), events_per_cpu_s=round(events / cpu),
               events_per_s=round(events / wall), peak_rss_mib=round(usage.ru_maxrss / 1024))

    def once(self):
        """Captures what is committed now; what that took."""
        process = self.start("--once")
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0, (self.folder / "capture.log").read_text()[-3000:]
        return usage

    def update(self, rows):
        """Changes so many rows, a thousand a transaction."""
        for first in range(1, rows + 1, 1000):
            self.owner.execute("UPDATE booking SET changed = changed + 1 WHERE id BETWEEN %s AND %s", (first, min(first + 999, rows)))

    def consumer(self):
        return Consumer({"bootstrap.servers": KAFKA, "group.id": self.service, "fetch.queue.backoff.ms": "10"})

    def ends(self, consumer, topic=None):
        places = [TopicPartition(topic or self.topic, partition) for partition in range(PARTITIONS)]
        return [consumer.get_watermark_offsets(place, timeout=30)[1] for place in places]

    def records(self):
        consumer = self.consumer()
        try:
            return sum(self.ends(consumer))
        finally:
            consumer.close()

    def write(self, seconds):
        """So many changes a second, fifty a transaction."""
        per_transaction, begun, written = 50, time.monotonic(), 0
        with psycopg.connect(self.url, autocommit=True) as writer:
            while (elapsed := time.monotonic() - begun) < seconds:
                if written >= RATE * elapsed:
                    time.sleep(0.001)
                    continue
                first = written % ROWS + 1
                last = min(first + per_transaction - 1, ROWS)
                written += writer.execute("UPDATE booking SET changed = changed + 1 WHERE id BETWEEN %s AND %s", (first, last)).rowcount
        self.written, self.reached = written, written / (time.monotonic() - begun)

    def lateness(self):
        """From the owner's commit to the brokers' log, of every change but those of the first seconds. Where the owner could not write as many a
        second as asked for, that is said."""
        consumer = self.consumer()
        starts = self.ends(consumer)
        process = self.start()
        try:
            writing = threading.Thread(target=self.write, args=(SECONDS,))
            writing.start()
            writing.join()
            wait_until(lambda: self.records() - sum(starts) >= self.written)
        finally:
            process.terminate()
            process.wait(30)
        consumer.assign([TopicPartition(self.topic, partition, start) for partition, start in enumerate(starts)])
        late = sorted(self.late(consumer, self.written))
        consumer.close()
        at = {name: late[min(int(len(late) * share), len(late) - 1)] for name, share in (("p50_ms", 0.5), ("p99_ms", 0.99), ("max_ms", 1))}
        report("lateness", changes=self.written, changes_per_s=round(self.reached), asked_per_s=RATE, as_asked=self.reached >= 0.99 * RATE, **at)

    @staticmethod
    def late(consumer, count):
        found, times = 0, []
        while found < count:
            for message in consumer.consume(1000, 10):
                found += 1
                committed = dict(message.headers())["ce_time"].decode()
                times.append((message.timestamp()[1], microseconds(committed)))
        begun = min(committed for _, committed in times)
        return [max(appended - committed // 1000, 0) for appended, committed in times if committed > begun + WARM_S * 1_000_000]


def microseconds(rfc3339):
    time_ = datetime.fromisoformat(rfc3339.replace("Z", "+00:00")).astimezone(timezone.utc)
    return round(time_.timestamp() * 1_000_000)


def wait_until(holds, seconds=120):
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.1)


def report(stage, **facts):
    print(json.dumps({"stage": stage} | facts), flush=True)


def check_sizes():
    if UPDATES > ROWS:
        sys.exit(f"UPDATES is {UPDATES}, but no more rows can be updated than there are: ROWS is {ROWS}")
    if SECONDS <= WARM_S:
        sys.exit(f"SECONDS_MAX is {SECONDS}, but changes of the first {WARM_S} seconds do not count: more are needed")


def main():
    check_sizes()
    with tempfile.TemporaryDirectory(prefix="lakehead-bench-") as folder:
        bench = Bench(pathlib.Path(folder))
        bench.owner.execute(FILL, (ROWS,))
        bench.owner.execute("ANALYZE booking")
        bench.measured("copy", ROWS)
        bench.update(UPDATES)
        bench.measured("stream", UPDATES)
        bench.owner.execute("UPDATE booking SET changed = changed + 1 WHERE id <= %s", (UPDATES,))
        bench.measured("stream, one transaction", UPDATES)
        bench.lateness()


if __name__ == "__main__":
    main()
