#!/usr/bin/env python3
"""Print every run of a results folder as a Markdown table, and the writer beside the sum of its parts:  table.py RESULTS"""
import json
import pathlib
import sys

COLUMNS = ["run", "records", "wall s", "records/s", "CPU s", "records/CPU-s", "peak RSS MiB", "broker CPU s", "other CPU s", "commits",
           "files", "MB", "codec", "sums"]
PARTS = ["consume CPU s", "decode CPU s", "encode CPU s", "sum CPU s", "whole CPU s", "sum, records/CPU-s", "whole, records/CPU-s", "whole / sum"]


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
    parts = sorted(folder.glob("parts-*.json"))
    if parts:
        print("\n| parts | " + " | ".join(PARTS) + " |\n|" + "---|" * (len(PARTS) + 1))
    for path in parts:
        name, part = path.stem.removeprefix("parts-"), json.loads(path.read_text())
        whole = folder / f"run-lakehead-{name}.json"
        cpu = json.loads(whole.read_text())["windows"]["1"]["cpu_s"] if whole.exists() else float("nan")
        told = (part["consume_cpu_s"], part["decode_cpu_s"], part["encode_cpu_s"], part["sum_cpu_s"], cpu)
        rates = (f"{part['records'] / (seconds or 1e-9):,.0f}" for seconds in (part["sum_cpu_s"], cpu))
        print(f"| {name} | " + " | ".join((*(f"{seconds:.2f}" for seconds in told), *rates, f"{part['sum_cpu_s'] / cpu:.0%}")) + " |")


if __name__ == "__main__":
    main()
