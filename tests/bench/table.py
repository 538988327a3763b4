#!/usr/bin/env python3
"""Print every run of a results folder as a Markdown table:  table.py RESULTS"""
import json
import pathlib
import sys

COLUMNS = ["run", "records", "wall s", "records/s", "CPU s", "records/CPU-s", "peak RSS MiB", "broker CPU s", "other CPU s", "commits",
           "files", "MB", "codec", "sums"]


def main():
    folder = pathlib.Path(sys.argv[1])
    print("| " + " | ".join(COLUMNS) + " |\n|" + "---|" * len(COLUMNS))
    for path in sorted(folder.glob("run-*.json")):
        report = json.loads(path.read_text())
        check = json.loads((folder / path.name.replace("run-", "check-", 1)).read_text())
        w = report["windows"]["1"]
        print("| " + " | ".join(str(cell) for cell in (
            report["name"].removeprefix("run-"), w["records"], w["wall_s"], f"{w['records_per_s']:,.0f}", w["cpu_s"],
            f"{w['records_per_cpu_s']:,.0f}", round(w["peak_rss_mib"]), w["broker_cpu_s"], w["other_cpu_s"], check["commits"],
            check["files"], round(check["bytes"] / 1e6), ",".join(check["codec"]), "equal" if check["whole"] else "DIFFER")) + " |")


if __name__ == "__main__":
    main()
