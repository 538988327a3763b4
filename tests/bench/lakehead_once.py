#!/usr/bin/env python3
"""`lakehead write --once` as a peer of the loop: the clock runs from just before the process starts until it has ended.

    lakehead_once.py --topic TOPIC --format json|avro|debezium --lake DIR --records N
"""
import argparse
import json
import os
import pathlib
import resource
import subprocess
import sys
import time

CONFIG = """\
[lake]
url = "{lake}"
{lake_options}
[kafka]
bootstrap_servers = "{kafka}"
group_id = "bench-{topic}"
assignment = "all"
[registry]
url = "{registry}"
[writer]
{writer}
[[topic]]
{topics}
format = "{format}"
shape = "{shape}"
key = ["flight_id"]
contract = "{contract}"
"""


def config(lake, topic, form="json", topics=None, writer="", lake_options=""):
    """The configuration of a writer of `topic`; `topics` are the lines that say which topics and tables, `writer` its settings,
    `lake_options` the section `[lake.options]`."""
    return CONFIG.format(
        lake=lake, lake_options=lake_options, kafka=os.environ["LAKEHEAD_TEST_KAFKA"], registry=os.environ.get("LAKEHEAD_TEST_REGISTRY", "http://127.0.0.1:1"), topic=topic,
        topics=topics or f'name = "{topic}"\ntable = "bench.flight"', writer=writer, format="avro" if form == "avro" else "json",
        shape="debezium" if form == "debezium" else "append", contract=pathlib.Path(__file__).with_name("flight.avsc"))


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--topic", required=True)
    args.add_argument("--format", required=True)
    args.add_argument("--lake", type=pathlib.Path, required=True)
    args.add_argument("--records", type=int, required=True)
    args = args.parse_args()
    path = args.lake.with_suffix(".toml")
    path.write_text(config(args.lake, args.topic, args.format))
    print(f"MARK start_1 {time.time()}", flush=True)
    code = subprocess.run([os.environ["LAKEHEAD_BIN"], "write", "--config", path, "--once"]).returncode
    print(f"MARK end_1 {time.time()}", flush=True)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f"FACT cpu_s_1 {used.ru_utime + used.ru_stime}")
    print(f"FACT max_rss_mib_1 {json.dumps(used.ru_maxrss / 1024)}")
    print(f"FACT records_1 {args.records}", flush=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
