#!/usr/bin/env python3
"""Run a command and account for it: wall time, CPU seconds of its whole process tree, peak RSS, and what the broker spent meanwhile.

    measure.py --name spark --out results [--broker-pid PID] -- command ...

Every 0.1 s it reads user+system time and RSS of each process of the command's session. The command prints lines
`MARK <name> <unix seconds>` and `FACT <name> <json>`; a pair of marks `start_X` / `end_X` becomes window X, with the wall time, the CPU
and, from the fact `records_X`, the rates of that stretch; a fact `cpu_s_X`, which the process took from its own accounting, goes before
the samples. Writes <out>/<name>.json and <out>/<name>.log.
"""
import argparse
import bisect
import json
import os
import pathlib
import resource
import subprocess
import threading
import time

TICK = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


def stat_fields(pid):
    """(session, cpu seconds, rss bytes) of a process, or None when it is gone."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            rest = file.read().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return int(rest[3]), (int(rest[11]) + int(rest[12])) / TICK, int(rest[21]) * PAGE


def machine_ticks():
    """(busy, steal) seconds of all CPUs since boot."""
    with open("/proc/stat") as file:
        user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, file.readline().split()[1:9])
    return (user + nice + system + irq + softirq) / TICK, steal / TICK


def busy_cores(broker, seconds=2.0):
    """How many cores others than the broker keep busy right now."""
    def busy():
        found = stat_fields(broker) if broker else None
        return machine_ticks()[0] - (found[1] if found else 0)
    before = busy()
    time.sleep(seconds)
    return (busy() - before) / seconds


def wait_for_quiet(broker, patience):
    """Waits until three looks in a row find the machine idle, or patience (seconds) runs out; returns the last look."""
    until, calm = time.monotonic() + patience, 0
    while True:
        cores = busy_cores(broker)
        calm = calm + 1 if cores < 0.2 else 0
        if calm == 3 or time.monotonic() > until:
            return round(cores, 2)


class Sampler(threading.Thread):
    def __init__(self, session, broker):
        super().__init__(daemon=True)
        self.session, self.broker = session, broker
        self.cpu, self.series, self.peak_rss, self.done = {}, [], 0, threading.Event()

    def run(self):
        while not self.done.is_set():
            self.sample()
            self.done.wait(0.1)

    def sample(self):
        rss = 0
        for name in os.listdir("/proc"):
            if name.isdigit():
                found = stat_fields(name)
                if found and found[0] == self.session:
                    self.cpu[name] = found[1]
                    rss += found[2]
        self.peak_rss = max(self.peak_rss, rss)
        broker = stat_fields(self.broker) if self.broker else None
        self.series.append((time.time(), sum(self.cpu.values()), broker[1] if broker else 0.0, *machine_ticks(), rss))

    def at(self, moment, column):
        """The cumulative column at a moment, by linear interpolation between samples."""
        times = [row[0] for row in self.series]
        right = min(max(bisect.bisect(times, moment), 1), len(times) - 1)
        (t0, *_), (t1, *_) = self.series[right - 1], self.series[right]
        v0, v1 = self.series[right - 1][column], self.series[right][column]
        return v0 + (v1 - v0) * min(max((moment - t0) / (t1 - t0 or 1), 0), 1)

    def peak_between(self, start, end):
        return max((row[5] for row in self.series if start <= row[0] <= end), default=0)


def window(sampler, start, end, records, cpu, process_start):
    spent = {name: sampler.at(end, column) - sampler.at(start, column)
             for name, column in (("cpu_s", 1), ("broker_cpu_s", 2), ("machine_busy_s", 3), ("steal_s", 4))}
    if cpu is not None:
        spent["cpu_s"] = cpu
    wall = end - start
    out = {"wall_s": wall, "since_process_start_s": end - process_start, **spent,
           "other_cpu_s": spent["machine_busy_s"] - spent["cpu_s"] - spent["broker_cpu_s"],
           "peak_rss_mib": sampler.peak_between(start, end) / 2**20}
    if records:
        out |= {"records": records, "records_per_s": records / wall, "records_per_cpu_s": records / (spent["cpu_s"] or 1e-9)}
    return {key: round(value, 2) if isinstance(value, float) else value for key, value in out.items()}


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--name", required=True)
    args.add_argument("--out", type=pathlib.Path, default=pathlib.Path(os.environ.get("RESULTS", "results")))
    args.add_argument("--broker-pid", default=os.environ.get("LAKEHEAD_TEST_KAFKA_PID", ""))
    args.add_argument("--quiet-wait", type=float, default=float(os.environ.get("QUIET_WAIT", 0)),
                      help="seconds to wait for the machine to fall idle before starting")
    args.add_argument("command", nargs=argparse.REMAINDER)
    args = args.parse_args()
    command = args.command[1:] if args.command[:1] == ["--"] else args.command
    args.out.mkdir(parents=True, exist_ok=True)

    busy_before = wait_for_quiet(args.broker_pid, args.quiet_wait)
    started = time.time()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
                               start_new_session=True)
    sampler = Sampler(process.pid, args.broker_pid)
    sampler.start()
    marks, facts = {}, {}
    with open(args.out / f"{args.name}.log", "w") as log:
        for line in process.stdout:
            log.write(line)
            words = line.split(None, 2)
            if words[:1] == ["MARK"]:
                marks[words[1]] = float(words[2])
                print(f"{args.name}: {words[1]} at {marks[words[1]] - started:.2f} s", flush=True)
            elif words[:1] == ["FACT"]:
                facts[words[1]] = json.loads(words[2])
    code = process.wait()
    ended = time.time()
    sampler.done.set()
    sampler.join()
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)

    windows = {}
    for mark, start in marks.items():
        label = mark.removeprefix("start_")
        if mark.startswith("start_") and f"end_{label}" in marks:
            windows[label] = window(sampler, start, marks[f"end_{label}"], facts.get(f"records_{label}"),
                                    facts.get(f"cpu_s_{label}"), started)
    report = {
        "name": args.name, "command": command, "exit": code, "wall_s": round(ended - started, 2),
        "cpu_s": round(max(sampler.series[-1][1], usage.ru_utime + usage.ru_stime), 2),
        "peak_rss_mib": round(sampler.peak_rss / 2**20), "busy_cores_before": busy_before,
        "windows": windows, "facts": facts,
    }
    (args.out / f"{args.name}.json").write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps({"name": args.name, "exit": code, "wall_s": report["wall_s"], "cpu_s": report["cpu_s"],
                      "peak_rss_mib": report["peak_rss_mib"], "windows": windows}, indent=1))
    raise SystemExit(code)


if __name__ == "__main__":
    main()
