"""What `tests/long/soak` does:  soak.py MINUTES

Entities of one service, each with the same number of keys that are set and deleted again and again. The writer commits every two seconds and
its care goes round every ten. Log clean-up keeps at least a day, which no soak waits for: entries of more than three minutes are made to look two
days old. A compaction holds what its files have until they reach their size, so that is small. Prints a line a minute and, at the end, JSON objects; ends with 1 where a bound is not kept or the lake is not what was produced.
"""
import contextlib
import csv
import json
import os
import pathlib
import random
import statistics
import sys
import tempfile
import threading
import time

import pyarrow.parquet as pq
from confluent_kafka import Producer

sys.path[:0] = [str(pathlib.Path(__file__).parents[1] / folder) for folder in ("bench", "e2e")]

from kafka_topic import Topic  # noqa: E402
from lake import Lake  # noqa: E402
from writer_run import WriterRun  # noqa: E402

RATE, CARE = int(os.environ.get("RATE", 1000)), os.environ.get("CARE", "true")
RESULTS = pathlib.Path(os.environ.get("RESULTS") or tempfile.mkdtemp(prefix="lakehead-soak-"))
ENTITIES, KEYS, PARTITIONS = 5, 4_000, 2
COMMIT_S, CHECKPOINT_VERSIONS, YOUNG_S, SAMPLE_S = 2, 20, 180, 2
# What may be left by chance of how the last minutes went, in MiB an hour. A fall is no leak, but where memory is given back for long the load was not steady.
SLOPE_MAX, SLOPE_MIN = 8, -32
# A checkpoint lists the files there are, with their statistics, and those that left in the last 7 days: it may grow with them, and by nothing else.
# Twice what it was in tables with these columns that were made up: 15 KiB, 1.3 for a file that is there and 0.1 for one that left.
CHECKPOINT_KIB, THERE_KIB, LEFT_KIB = 32, 2.6, 0.2
# Two thirds of it are more than a minute, so that there is a slope of each minute's least.
MINUTES_MIN = 3
CONFIG = """\
[lake]
url = "{lake}"
[kafka]
bootstrap_servers = "{kafka}"
assignment = "all"
[writer]
flush_age_max = "{commit}s"
checkpoint_interval = {versions}
[maintenance]
enabled = {care}
interval = "10s"
housekeeping_interval = "20s"
periods = ["month"]
bucket_bytes = "64 KiB"
[maintenance.compaction]
files_min = 4
quiet_age = "0s"
hot_files_max = 20
target_bytes = "1 MiB"
sort_bytes_max = "4 MiB"
[maintenance.log]
retention = "1d"
[[topic]]
match = "soak\\\\.([a-z]+)"
table = "soak.$1"
format = "json"
shape = "upsert"
contract = "contract.avsc"
"""
CONTRACT = {"type": "record", "name": "Entity", "lakehead.key": ["id"], "fields": [
    {"name": "id", "type": "long"}, {"name": "number", "type": "long"}, {"name": "name", "type": "string"}, {"name": "note", "type": ["null", "string"]}]}


class Load(threading.Thread):
    """A steady load, and what is left of it: the number of each key's newest row."""

    def __init__(self, kafka, topics):
        super().__init__(daemon=True)
        self.producer = Producer({"bootstrap.servers": kafka, "enable.idempotence": True, "linger.ms": 50})
        self.topics, self.random, self.ended = topics, random.Random(1), threading.Event()
        self.left = [{} for _ in topics]
        self.counts = [0] * len(topics)

    def run(self):
        self.began, number = time.monotonic(), 0
        while not self.ended.is_set():
            if number >= RATE * (time.monotonic() - self.began):
                self.producer.poll(0)
                self.ended.wait(0.01)
                continue
            self.change(number)
            number += 1
        self.seconds = time.monotonic() - self.began
        assert not self.producer.flush(120)

    def rate(self):
        return sum(self.counts) / self.seconds

    def change(self, number):
        entity, id_ = number % len(self.topics), self.random.randrange(KEYS)
        left, key = self.left[entity], json.dumps({"id": id_})
        if id_ in left and self.random.random() < 0.1:
            del left[id_]
            value = None
        else:
            left[id_] = number
            value = json.dumps({"id": id_, "number": number, "name": f"name {id_ % 97}", "note": f"note {number}" if number % 3 else None})
        self.producer.produce(self.topics[entity].name, value, key)
        self.counts[entity] += 1

    def end(self):
        self.ended.set()
        self.join()


class Watch(threading.Thread):
    """Samples of the writer's memory and of its lake's logs, kept and in `soak.csv`; makes old log files look old."""

    def __init__(self, run, lake):
        super().__init__(daemon=True)
        self.run_, self.lake, self.ended, self.samples, self.houses = run, lake, threading.Event(), [], []
        self.is_whole = False

    def run(self):
        with open(RESULTS / "soak.csv", "w") as file:
            out = csv.writer(file)
            out.writerow(["second", "rss_mib"])
            while not self.ended.wait(SAMPLE_S) and self.run_.runs():
                sample = (round(time.monotonic() - self.run_.started, 1), round(self.run_.rss_mib(), 2))
                self.samples.append(sample)
                out.writerow(sample)
                if sample[0] >= 60 * (len(self.houses) + 1):
                    file.flush()
                    # A clean-up came in between: the next sample looks again.
                    with contextlib.suppress(FileNotFoundError):
                        self.look(*sample)
        self.is_whole = True

    def look(self, second, rss):
        logs = [log for log in self.lake.rglob("_delta_log") if "periods" not in log.parts]
        checkpoints = [checkpoint for checkpoint in map(newest_checkpoint, logs) if checkpoint]
        kib, there, left = max(checkpoints, default=(0, 0, 0))
        house = {"minute": round(second / 60), "rss_mib": rss, "cpu_s": self.run_.cpu_now_s(), "commits": len(self.run_.commits),
                 "refreshes": len(self.run_.said("current table refreshed")), "compactions": len(self.run_.said("compacted")),
                 "log_files_max": max((len(list(log.iterdir())) for log in logs), default=0), "checkpoints": len(checkpoints),
                 "checkpoint_kib_max": round(kib, 1), "files_in_it": there, "files_that_left_in_it": left,
                 "share_of_bound_max": round(max((kib / checkpoint_bound_kib(*files) for kib, *files in checkpoints), default=0), 2)}
        self.houses.append(house)
        print(json.dumps(house), flush=True)
        for log in logs:
            age(log)

    def end(self):
        self.ended_s = time.monotonic() - self.run_.started
        self.ended.set()
        self.join()


def newest_checkpoint(log):
    """The KiB of a log's newest checkpoint, if there is one, and the numbers of files in it that there are and that have left."""
    path = max(log.glob("*.checkpoint.parquet"), default=None)
    if not path:
        return None
    actions = pq.ParquetFile(path).read(columns=["add.path", "remove.path"])
    return path.stat().st_size / 1024, *(len(actions) - actions[kind].null_count for kind in ("add", "remove"))


def checkpoint_bound_kib(there, left):
    return CHECKPOINT_KIB + THERE_KIB * there + LEFT_KIB * left


def age(log):
    """Files that are not young look two days old; they keep their order."""
    now = time.time()
    for path in log.iterdir():
        try:
            written = path.stat().st_mtime
            if now - 86_400 < written < now - YOUNG_S:
                os.utime(path, (written - 2 * 86_400,) * 2)
        except FileNotFoundError:
            # Cleaned up meanwhile.
            pass


def slope(points):
    """MiB an hour by least squares, and the standard error of that were all samples independent."""
    x, y = statistics.mean(at for at, _ in points), statistics.mean(rss for _, rss in points)
    spread = sum((at - x) ** 2 for at, _ in points)
    found = sum((at - x) * (rss - y) for at, rss in points) / spread
    rest = sum((rss - y - found * (at - x)) ** 2 for at, rss in points) / max(len(points) - 2, 1)
    return found * 3600, (rest / spread) ** 0.5 * 3600


def quietly(points, seconds=60):
    """The least of each minute: what is held between flushes and refreshes, whose peaks come and go. A minute that was watched for less than half,
    like the last one, may have nothing but peaks."""
    minutes = {}
    for at, rss in points:
        minutes.setdefault(int(at // seconds), []).append((rss, at))
    whole = (samples for samples in minutes.values() if len(samples) * SAMPLE_S >= seconds / 2)
    return [(at, rss) for rss, at in map(min, whole)]


def told(failed, what, kept, **facts):
    print(json.dumps({"soak": what, **facts, "kept": kept}), flush=True)
    if not kept:
        failed.append(what)


def judge_samples(failed, watch):
    """Whether it was watched to the end: of what comes after the last sample nothing is known."""
    unseen_s = watch.ended_s - watch.samples[-1][0] if watch.samples else watch.ended_s
    looks_min = int(watch.ended_s // 60) - 1
    told(failed, "samples", watch.is_whole and unseen_s <= 15 * SAMPLE_S and len(watch.houses) >= looks_min, samples=len(watch.samples),
         unseen_at_end_s=round(unseen_s, 1), looks=len(watch.houses), looks_min=looks_min)


def judge_memory(failed, run, samples):
    begin = samples[-1][0] / 3 if samples else 0
    settled = [sample for sample in samples if sample[0] >= begin]
    of_minutes = quietly(settled)
    if len(of_minutes) < 2:
        return told(failed, "memory", False, samples=len(settled), why="it has no slope")
    (mib, error), (least, _) = slope(settled), slope(of_minutes)
    told(failed, "memory", SLOPE_MIN <= least <= SLOPE_MAX, from_minute=round(begin / 60, 1), samples=len(settled), mib_per_hour=round(mib, 2),
         standard_error=round(error, 2), mib_per_hour_of_each_minutes_least=round(least, 2), rss_first_mib=settled[0][1], rss_last_mib=settled[-1][1],
         rss_max_mib=round(run.peak_mib, 1), bounds=[SLOPE_MIN, SLOPE_MAX])


def judge_logs(failed, houses):
    half = houses[len(houses) // 2:]
    if not half:
        return told(failed, "logs", False, why="nobody looked at them")
    # Entries and checkpoints of what counts as retained, up to the next look, the next checkpoint and the next clean-up.
    most, bound = max(house["log_files_max"] for house in half), 2 * (YOUNG_S + 60 + CHECKPOINT_VERSIONS * COMMIT_S + 60) / COMMIT_S
    told(failed, "log files of a table", most <= bound, most=most, last=half[-1]["log_files_max"], bound=bound)
    share = max(house["share_of_bound_max"] for house in half)
    told(failed, "checkpoints", share <= 1 and half[-1]["checkpoints"] >= ENTITIES, share_of_bound_max=share, count=half[-1]["checkpoints"],
         count_min=ENTITIES, kib_at_half=half[0]["checkpoint_kib_max"], kib_last=half[-1]["checkpoint_kib_max"])


def judge_lake(failed, load, topics, lake):
    foreign = Lake(str(lake))

    def answer(what, path):
        """Nothing of a table that was never made."""
        return foreign.query(f"SELECT {what} FROM delta_scan('{path}')") if (path / "_delta_log").exists() else []

    for topic, left, count in zip(topics, load.left, load.counts):
        path = lake.joinpath(*topic.name.split("."))
        rows = answer("count(*), count(DISTINCT (_partition, _offset))", path / "changes")
        current = answer("id, number", path / "current")
        told(failed, topic.name, rows == [(count, count)] and sorted(current) == sorted(left.items()), rows=rows, count=count, keys=len(left))


def judge(run, watch, load, topics, lake, last_round):
    failed = []
    judge_samples(failed, watch)
    judge_memory(failed, run, watch.samples)
    judge_logs(failed, watch.houses)
    told(failed, "the load", load.rate() >= 0.95 * RATE, records_per_s=round(load.rate()), bound=0.95 * RATE)
    told(failed, "the writer", run.code == 0, code=run.code, cpu_s=round(run.cpu_s, 1), records=sum(load.counts), commits=len(run.commits),
         warnings=sum(event.get("level") in ("WARN", "ERROR") for _, event in run.events))
    told(failed, "the last round", last_round.code == 0, code=last_round.code)
    judge_lake(failed, load, topics, lake)
    return failed


def soak(minutes):
    kafka, lake = os.environ["LAKEHEAD_TEST_KAFKA"], RESULTS / "lake"
    topics = [Topic.create(kafka, f"soak.entity{chr(97 + number)}", PARTITIONS) for number in range(ENTITIES)]
    (RESULTS / "contract.avsc").write_text(json.dumps(CONTRACT))
    config = RESULTS / "lakehead.toml"
    config.write_text(CONFIG.format(lake=lake, kafka=kafka, commit=COMMIT_S, versions=CHECKPOINT_VERSIONS, care=CARE))
    load, run = Load(kafka, topics), WriterRun(config, once=False)
    watch = Watch(run, lake)
    load.start()
    watch.start()
    deadline = time.monotonic() + minutes * 60
    while time.monotonic() < deadline and run.runs():
        time.sleep(1)
    load.end()
    while run.rows() < sum(load.counts) and time.monotonic() < deadline + 120 and run.runs():
        time.sleep(0.2)
    watch.end()
    run.stop()
    # The care ends with the writer: one round more for what came last.
    last_round = WriterRun(config, once=True).wait()
    return judge(run, watch, load, topics, lake, last_round)


def main():
    minutes = float(sys.argv[1])
    if minutes < MINUTES_MIN:
        sys.exit(f"a soak takes {MINUTES_MIN} minutes at least: a shorter one says nothing of what grows")
    RESULTS.mkdir(parents=True, exist_ok=True)
    failed = soak(minutes)
    print(f"lake, logs and samples: {RESULTS}", file=sys.stderr)
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
