#!/usr/bin/env python3
"""What the lake's care takes, and what it leaves to a writer, through the shipped binary against a real Kafka:  maintenance.py [CHECK...]

Every check prints lines `CHECK what: figure (bound)`. CPU time is user + system of the process, memory its RSS. CPU-seconds can be
believed on a machine that others use, too; times by the clock only beside each other, as what is compared runs in turn.
"""
import os
import statistics
import sys
import time

from bounds import RESULTS, S3, SCALE, configure, failed, produce, say, start, whole
from far import Far
from program_run import ProgramRun
from writer_run import WriterRun

RUNS = int(os.environ.get("RUNS", 3))
# Published for RisingWave's Iceberg compaction, of one vCPU.
COMPACTION_MB_PER_CPU_S = 44
WRITER_SHARE = 0.8
# A twelfth of the default interval, and compaction at once: a benchmark is shorter than a day.
CARE = """
[maintenance]
enabled = {inside}
interval = "5s"
housekeeping_interval = "5s"
[maintenance.compaction]
files_min = 4
quiet_age = "0s"
hot_files_max = 16
"""
ROUNDS = """
[maintenance]
interval = "{interval}"
housekeeping_interval = "{housekeeping}"
"""
# What the loops say at the end of a round: that of derived tables, and that of files and logs.
DERIVED, HOUSES = "round over", "houses round over"


def compaction():
    """Files as a writer makes them that commits 5,000 flights at a time."""
    report = produce("flights", 2_000_000 * SCALE)
    start("flights", "flights", more=CARE.format(inside="false"), flush_rows_max=5_000).wait()
    run = ProgramRun(RESULTS / "compaction.log", "maintain", "--once", "--config", RESULTS / "flights.toml").wait()
    done = [event for _, event in run.said("compacted")]
    total = {name: sum(event[name] for event in done) for name in ("rows", "files_removed", "files_added", "bytes_removed", "bytes_added")}
    rate = total["bytes_removed"] / 1e6 / run.cpu_s
    say("compaction", f"{total['files_removed']} files of {total['bytes_removed'] / 1e6:.0f} MB became {total['files_added']} of "
        f"{total['bytes_added'] / 1e6:.0f} MB, {total['rows']} rows, {run.cpu_s:.1f} CPU-s, peak RSS {run.peak_mib:.0f} MiB: MB in a CPU-second",
        f"{rate:.0f}", f"at least {COMPACTION_MB_PER_CPU_S}, RisingWave's", run.code == 0 and rate >= COMPACTION_MB_PER_CPU_S)
    whole("compaction", "flights", report)


def copied(way, number, report, records):
    """One writer until all is committed: its rate by the clock and by its CPU time, and what was done beside it."""
    name = f"{way}-{number}"
    lake = RESULTS / f"lake-{name}"
    path = configure(name, "cared", form="debezium", more=CARE.format(inside=str(way == "inside").lower()), flush_rows_max=100_000)
    lake.mkdir()
    beside = ProgramRun(RESULTS / f"{name}-care.log", "maintain", "--config", path) if way == "process" else None
    run = WriterRun(path, once=False)
    while run.rows() < records and time.monotonic() < run.started + 900 and run.runs():
        time.sleep(0.05)
    # It may have died before it committed, or used, anything.
    rows, cpu_s, wall_s = run.rows(), max(run.cpu_now_s(), 0.01), run.commits[-1][0] if run.commits else time.monotonic() - run.started
    care_cpu_s = beside.cpu_now_s() if beside else 0
    events = (beside or run).events
    done = {message: sum(event.get("message") == message for _, event in events) for message in ("current table refreshed", "compacted")}
    for each in (run, beside):
        if each and each.stop().code:
            failed.append(f"beside: {name} ended with {each.code}, see {each.log}")
    print(f"beside   {name}: {rows / wall_s:,.0f} records a second, {rows / cpu_s:,.0f} a CPU-second of the writer's process, which took {cpu_s:.1f}"
          f"{f' and the other {care_cpu_s:.1f}' if beside else ''}; {done['current table refreshed']} refreshes, {done['compacted']} compactions, "
          f"peak RSS {run.peak_mib:.0f} MiB{f' and {beside.peak_mib:.0f} MiB' if beside else ''}", flush=True)
    if way != "alone" and not all(done.values()):
        failed.append(f"beside: {name} was over before there was any care: {done}")
    whole("beside", name, report)
    return rows / wall_s, rows / (cpu_s + care_cpu_s)


def beside():
    """A writer that has more to copy than it can, alone, with the care inside it, and beside `lakehead maintain`: in turn."""
    records = int(4_000_000 * SCALE)
    report = produce("cared", records, format="debezium")
    rates = {"alone": [], "inside": [], "process": []}
    for number in range(RUNS):
        for way, of in rates.items():
            of.append(copied(way, number, report, records))
    for way, what in (("inside", "with the care inside it"), ("process", "beside `lakehead maintain`")):
        share, of_cpu = (statistics.median(cared[by] / alone[by] if alone[by] else 0 for cared, alone in zip(rates[way], rates["alone"])) for by in (0, 1))
        say("beside", f"records a second {what}, as a share of those alone", f"{share:.2f}; of records in a CPU-second of both: {of_cpu:.2f}",
            f"at least {WRITER_SHARE}", share >= WRITER_SHARE)


def slope(points):
    """Least squares of (x, y)."""
    x, y = statistics.mean(at for at, _ in points), statistics.mean(value for _, value in points)
    return sum((at - x) * (value - y) for at, value in points) / sum((at - x) ** 2 for at, _ in points)


def rounds(path, count, store, what, loop, housekeeping, growth_max_kib):
    """One process that goes round all tables again and again; what a round of this loop takes once nothing is left to be done, with what the
    other loop does meanwhile."""
    text = path.read_text().partition("\n[maintenance]")[0]
    path.write_text(text + ROUNDS.format(interval="100ms", housekeeping=housekeeping))
    run, asked, seen, known = ProgramRun(RESULTS / "rounds.log", "maintain", "--config", path), store.requests.total(), [], 0
    while len(seen) < count and time.monotonic() < run.started + 1800 and run.runs():
        over = run.said(loop)
        # In its first round either loop has much to do.
        if len(over) > known and run.said(DERIVED) and run.said(HOUSES):
            known = len(over)
            seen.append((over[-1][1], run.cpu_now_s(), store.requests.total() - asked, run.rss_mib()))
        time.sleep(0.01)
    if run.stop().code or len(seen) < count:
        return say("tables", f"{what}: rounds until it ended with {run.code}", len(seen), f"{count}, and 0", False)
    steps = [(now[1] - before[1], now[2] - before[2]) for before, now in zip(seen, seen[1:])]
    first_s, other = max(run.said(each)[0][0] for each in (DERIVED, HOUSES)), HOUSES if loop == DERIVED else DERIVED
    print(f"tables   {what}: both loops were round once after {first_s:.1f} s, {seen[0][1]:.1f} CPU-s, {seen[0][2]} requests; "
          f"beside {len(run.said(loop))} rounds there were {len(run.said(other))} of the other loop", flush=True)
    # What is learned in the first rounds is kept.
    settled = seen[len(seen) // 3:]
    grows = slope([(number, rss * 1024) for number, (_, _, _, rss) in enumerate(settled)])
    say("tables", f"{what}: median of {len(steps)} further rounds {statistics.median(event['seconds'] for event, *_ in seen[1:]):.2f} s, "
        f"{statistics.median(cpu for cpu, _ in steps):.2f} CPU-s, {statistics.median(requests for _, requests in steps):.0f} requests, "
        f"RSS {settled[0][3]:.0f} to {settled[-1][3]:.0f} MiB, peak {run.peak_mib:.0f}: RSS grows in a round", f"{grows:.0f} KiB",
        f"at most {growth_max_kib}", grows <= growth_max_kib)


def tables():
    """A thousand small tables in an object store, taken care of by one process."""
    if not os.environ.get(S3):
        return print(f"tables   left out: {S3} is not set and MinIO is not in the cache", flush=True)
    count = int(1000 * SCALE)
    produce("care", count * 20, format="debezium", topics=count, partitions=1)
    with Far(os.environ[S3]) as store:
        writer = start("care", "care", far=store, form="debezium", more=ROUNDS.format(interval="1s", housekeeping="1h")).wait()
        made = len({event["table"] for _, event in writer.commits})
        say("tables", "tables that the writer made", made, str(count), made == count)
        path = RESULTS / "care.toml"
        for number in range(4):
            before = store.requests.total()
            run = ProgramRun(RESULTS / "once.log", "maintain", "--once", "--config", path).wait(1800)
            say("tables", f"{count} tables, `maintain --once`, {'all current tables are made' if not number else 'nothing to do'}: {run.wall_s:.1f} s, "
                f"{run.cpu_s:.1f} CPU-s, {store.requests.total() - before} requests, peak RSS", f"{run.peak_mib:.0f} MiB", "ends with 0", run.code == 0)
        os.environ["LAKEHEAD_LOG"] = "warn,lakehead=info,lake_writer=debug"
        rounds(path, 30, store, f"{count} tables, one process, idle", DERIVED, "1h", 64)
        rounds(path, 12, store, f"{count} tables, one process, files and logs looked at each time", HOUSES, "0s", 256)


CHECKS = {"compaction": compaction, "beside": beside, "tables": tables}


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
