#!/usr/bin/env python3
"""What the writer keeps within, measured through the shipped binary against a real Kafka:  bounds.py [CHECK...]

Every check prints lines `CHECK what: figure (bound)`. CPU time is user + system of the writer's process, memory its peak RSS.
"""
import glob
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

from far import Far
from lakehead_once import config
from writer_run import WriterRun

HERE = pathlib.Path(__file__).parent
SCALE = float(os.environ.get("SCALE", 1))
RESULTS = pathlib.Path(os.environ.get("RESULTS") or tempfile.mkdtemp(prefix="lakehead-bounds-"))
# The issue's bound of the memory of all, with the default budget; in MB of 1,000,000 bytes, where budgets are MiB. What is not a buffer
# of rows (code, Kafka's queue and fetches, encoders, the allocator's slack) has the rest of it, whatever the budget.
ISSUE_MB, DEFAULT_BUDGET_MIB = 400, 128
STORE_DELAY_S = 0.05
S3 = "LAKEHEAD_TEST_S3_ENDPOINT"
failed = []


def say(check, what, figure, bound, kept):
    print(f"{check:8} {what}: {figure} ({bound}) {'' if kept else 'NOT KEPT'}", flush=True)
    if not kept:
        failed.append(f"{check} {what}")


def megabytes(mib):
    return mib * 2**20 / 1e6


def say_peak(check, what, run, budget_mib):
    """The peak RSS beside the issue's bound, or, with another budget, what that leaves."""
    bound = ISSUE_MB + megabytes(budget_mib - DEFAULT_BUDGET_MIB)
    whose = "the issue's bound" if budget_mib == DEFAULT_BUDGET_MIB else f"the issue's {ISSUE_MB} MB less {DEFAULT_BUDGET_MIB - budget_mib} MiB of budget"
    peak = megabytes(run.peak_mib)
    say(check, what, f"{peak:.0f} MB = {run.peak_mib:.0f} MiB, {peak - megabytes(budget_mib):.0f} MB outside the budget", f"at most {bound:.0f} MB, {whose}",
        run.code == 0 and peak <= bound)


def produce(topic, records, wait=True, **options):
    """Fills topics; returns the report that tables are checked against, once it is there. Topics that are filled already are left."""
    report = RESULTS / f"topic-{topic}.json"
    if report.exists() and report.stat().st_size and not options.get("more"):
        return report
    flags = [word for name, value in options.items() for word in ([f"--{name}"] if value is True else [f"--{name}", str(value)])]
    process = subprocess.Popen([sys.executable, HERE / "workload.py", "--topic", topic, "--records", str(int(records)), *flags],
                               stdout=open(report, "w"))
    if not wait:
        return process
    if process.wait():
        sys.exit(f"topic {topic} could not be filled")
    return report


def configure(name, topic, fresh=True, far=None, form="json", more="", **settings):
    """The configuration file of a writer of all topics whose names begin with this one, each into its table of a lake of its own; with `far`,
    the proxy of an object store, in that store. `more` are further lines of it."""
    lake, options = RESULTS / f"lake-{name}", ""
    if far:
        os.environ |= {"S3_ACCESS_KEY": os.environ["LAKEHEAD_TEST_S3_ACCESS_KEY"], "S3_SECRET_KEY": os.environ["LAKEHEAD_TEST_S3_SECRET_KEY"]}
        lake = f"s3://{os.environ['LAKEHEAD_TEST_S3_BUCKET']}/{RESULTS.name}/{name}"
        options = "\n".join(["[lake.options]", f'aws_endpoint = "{far.url}"', 'aws_allow_http = "true"', 'aws_region = "us-east-1"',
                             'aws_access_key_id = { env = "S3_ACCESS_KEY" }', 'aws_secret_access_key = { env = "S3_SECRET_KEY" }'])
    elif fresh:
        shutil.rmtree(lake, ignore_errors=True)
    writer = "\n".join(f"{key} = {json.dumps(value)}" for key, value in settings.items())
    path = RESULTS / f"{name}.toml"
    topics = f'match = "({topic}(_[0-9]+)?)"\ntable = "bench.$1"'
    path.write_text(config(lake, name, form, topics=topics, writer=writer, lake_options=options) + more)
    return path


def start(name, topic, once=True, memory_max_mib=None, **settings):
    """Starts a writer with the settings of `configure`."""
    return WriterRun(configure(name, topic, **settings), once, memory_max_mib)


def whole(check, name, report):
    """Whether the tables hold what was produced."""
    tables = sorted(glob.glob(str(RESULTS / f"lake-{name}" / "bench" / "*" / "changes")))
    checked = subprocess.run([sys.executable, HERE / "verify.py", *tables, "--topic", report], capture_output=True, text=True)
    if checked.returncode:
        say(check, f"{name} holds what was produced", checked.stdout or checked.stderr[-300:], "all of it", False)
    shutil.rmtree(RESULTS / f"lake-{name}")


def memory():
    """One budget, held with 2,000 open (table, date) buffers and a backlog of 2 GB."""
    shapes = [("many", 7_200_000, {"topics": 100, "days": 20}), ("wide", 2_000_000, {"days": 2000})]
    for topic, records, options in shapes:
        report = produce(topic, records * SCALE, **options)
        for budget in (128, 64):
            run = start(f"{topic}-{budget}", topic, buffer_bytes_max=f"{budget} MiB", flush_bytes_max="64 MiB", flush_age_max="60s").wait()
            files = [event["files"] for _, event in run.commits]
            what = (f"{options.get('topics', 1)} tables x {options['days']} dates, {json.loads(report.read_text())['records']} records, budget {budget} MiB, "
                    f"{len(files)} commits, {sum(files)} files, {run.cpu_s:.1f} CPU-s: peak RSS")
            say_peak("memory", what, run, budget)
            whole("memory", f"{topic}-{budget}", report)


def changes():
    """Topics whose rate, and then whose records, grow and shrink 100-fold under one running writer."""
    topic, seconds, produced = "change", 10 * SCALE, 0
    steps = [("slow", 200, {}), ("100 x the rate", 20_000, {}), ("slow again", 200, {}), ("records 100 x as large", 200, {"note": 28_000}), ("small again", 200, {})]
    produce(topic + "_none", 10, topics=1)
    run = None
    for number, (what, rate, options) in enumerate(steps):
        feed = produce(f"{topic}", rate * seconds, wait=False, topics=20, rate=rate, more=number > 0, **options)
        feed.wait()
        produced += int(rate * seconds)
        os.replace(RESULTS / f"topic-{topic}.json", RESULTS / f"topic-{topic}-{number}.json")
        run = run or start(topic, topic, once=False, flush_age_max="1s")
        ended = time.monotonic()
        while run.rows() < produced and time.monotonic() < ended + 30:
            time.sleep(0.02)
        late = time.monotonic() - ended
        say("changes", f"{what}: all committed after the last record", f"{late:.1f} s, RSS {run.rss_mib():.0f} MiB", "at most 5 s", late <= 5)
    run.stop()
    say_peak("changes", "peak RSS", run, DEFAULT_BUDGET_MIB)


def restart():
    """A budget above what the machine has: killed for its memory again and again, the writer still gets through."""
    report = produce("many", 7_200_000 * SCALE, topics=100, days=20)
    lives, most = [], 30
    while len(lives) < most and (not lives or lives[-1].code):
        lives.append(start("restart", "many", fresh=not lives, memory_max_mib=200, buffer_bytes_max="1 GiB", flush_age_max="60s").wait())
    idle = sum(life.killed and not life.commits for life in lives)
    say("restart", f"killed at 200 MiB with a budget of 1 GiB, {len(lives)} lives: lives without a commit", idle, "0, and caught up at last", not idle and not lives[-1].code)
    whole("restart", "restart", report)


def first_commits(check, what, run, topics):
    """Waits until every table has rows of this run, ends it and says when the first and the last had."""
    while len({event["table"] for _, event in run.commits if event["rows"]}) < topics and time.monotonic() < run.started + 60:
        time.sleep(0.02)
    first = next((at for at, event in run.commits if event["rows"]), 99)
    last = time.monotonic() - run.started
    run.stop()
    say(check, f"{what}: first commit after start", f"{first:.2f} s", "at most 5", first <= 5)
    say(check, f"{what}: first commits of all", f"{last:.2f} s", "at most 5", last <= 5)


def first_commit():
    """How long the first commit takes, with the settings' defaults."""
    for topic, records, topics in (("one", 1_000_000, 1), ("hundred", 100_000, 100), ("quiet", 100, 1)):
        produce(topic, records if topic == "quiet" else records * SCALE, topics=topics)
        first_commits("start", f"{topics} topics, {records} records", start(f"start-{topic}", topic, once=False), topics)


def far_store():
    """The same into an object store whose every answer takes 50 ms: tables that are to be made, and then tables that are there."""
    if not os.environ.get(S3):
        return print(f"far      left out: {S3} is not set and MinIO is not in the cache", flush=True)
    topic, topics, records = "far", 100, 100_000 * SCALE
    produce(topic, records, topics=topics)
    with Far(os.environ[S3], STORE_DELAY_S) as far:
        what = f"{topics} topics, {records:.0f} records, a store {STORE_DELAY_S * 1000:.0f} ms away"
        first_commits("far", f"{what}, no tables", start(topic, topic, once=False, far=far), topics)
        produce(topic, records, wait=False, topics=topics, more=True).wait()
        first_commits("far", f"{what}, tables", start(topic, topic, once=False, far=far), topics)


def commits():
    """Commits every second beside commits every minute: two writers read one paced topic at the same time."""
    records, rate = 3_600_000 * SCALE, 40_000
    produce("paced", 1)
    feed = produce("paced_1", records, wait=False, rate=rate)
    runs = {age: start(f"paced-{age}", "paced", once=False, flush_age_max=age, flush_bytes_max="128 MiB", flush_rows_max=100_000_000) for age in ("1s", "60s")}
    feed.wait()
    deadline = time.monotonic() + 70
    while any(run.rows() <= records for run in runs.values()) and time.monotonic() < deadline:
        time.sleep(0.1)
    often, seldom = (run.stop() for run in runs.values())
    ratio = often.cpu_s / seldom.cpu_s
    say("commits", f"{int(records)} records at {rate} a second, CPU of {len(often.commits)} commits over that of {len(seldom.commits)}",
        f"{often.cpu_s:.2f} s / {seldom.cpu_s:.2f} s = {ratio:.2f}", "at most 1.3", ratio <= 1.3)


def tables():
    """100 tables beside one of the same volume, in turn, twice each; the better of each."""
    cpu = {}
    for topic, count in (("volume", 1), ("spread", 100)):
        produce(topic, 2_000_000 * SCALE, topics=count, days=1)
    for attempt in range(2):
        for topic in ("volume", "spread"):
            run = start(f"{topic}-{attempt}", topic).wait()
            cpu[topic] = min(cpu.get(topic, 1e9), run.cpu_s)
            print(f"tables   {topic}: {run.cpu_s:.2f} CPU-s, {run.wall_s:.1f} s, {len(run.commits)} commits, {run.peak_mib:.0f} MiB", flush=True)
            whole("tables", f"{topic}-{attempt}", RESULTS / f"topic-{topic}.json")
    ratio = cpu["spread"] / cpu["volume"]
    say("tables", "CPU of 100 tables over that of one", f"{cpu['spread']:.2f} s / {cpu['volume']:.2f} s = {ratio:.2f}", "at most 1.2", ratio <= 1.2)


CHECKS = {"memory": memory, "changes": changes, "restart": restart, "start": first_commit, "far": far_store, "commits": commits, "tables": tables}


def main():
    names = sys.argv[1:] or list(CHECKS)
    if unknown := set(names) - set(CHECKS):
        sys.exit(f"no check is named {', '.join(unknown)}; there are {', '.join(CHECKS)}")
    RESULTS.mkdir(parents=True, exist_ok=True)
    for name in names:
        CHECKS[name]()
    print(f"logs: {RESULTS}", file=sys.stderr)
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
