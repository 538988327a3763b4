#!/usr/bin/env python3
"""Count what a writer left behind, from the files that the newest version of its Delta table names.

    verify.py TABLE_DIR... --topic TOPIC_REPORT.json

Several tables are those of one report's topics.

Prints one JSON object: rows, distinct (partition, offset), gaps, nulls, files, bytes, codec, commits and the sums that workload.py
printed. Exit 1 when rows are missing or double, or a sum is not the producer's.
"""
import argparse
import json
import os
import pathlib
import sys
from urllib.parse import unquote, urlparse

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import DeltaTable

FIELDS = ["flight_id", "carrier", "flight", "origin", "dest", "sched_dep", "dep_delay", "arr_delay", "status", "tailnum", "event_time",
          "note"]


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("tables", nargs="+")
    args.add_argument("--topic", type=pathlib.Path, required=True, help="the report that workload.py printed")
    args = args.parse_args()
    produced = json.loads(args.topic.read_text())

    tables = [DeltaTable(path) for path in args.tables]
    names = [(number, unquote(urlparse(uri).path)) for number, table in enumerate(tables) for uri in table.file_uris()]
    places, flight_sum, delay_sum, nulls, codecs, types = [], 0, 0.0, 0, set(), {}
    for number, name in names:
        # One file's own columns only: partition columns of its path are not part of what is counted.
        file = pq.ParquetFile(name)
        codecs.add(file.metadata.row_group(0).column(0).compression)
        part = file.read(columns=["_partition", "_offset", *FIELDS])
        partition, offset = part["_partition"].to_numpy().astype(np.int64), part["_offset"].to_numpy().astype(np.int64)
        places.append(number << 56 | partition << 48 | offset)
        flight_sum += pc.sum(part["flight"]).as_py()
        delay_sum += pc.sum(part["dep_delay"]).as_py()
        nulls += sum(part[column].null_count for column in part.column_names)
        types = {column: str(part.schema.field(column).type) for column in FIELDS}
    all_places = np.concatenate(places)
    distinct = np.unique(all_places)
    gaps = 0
    for partition in np.unique(distinct >> 48):
        mine = distinct[distinct >> 48 == partition] & ((1 << 48) - 1)
        gaps += int(mine.max() - mine.min() + 1 - len(mine)) + int(mine.min())
    out = {
        "rows": len(all_places), "distinct": len(distinct), "gaps": gaps, "nulls": nulls, "files": len(names),
        "bytes": sum(os.path.getsize(name) for _, name in names), "commits": sum(table.version() + 1 for table in tables), "codec": sorted(codecs), "types": types,
        "sum_flight": flight_sum, "sum_dep_delay": delay_sum,
    }
    out["whole"] = (out["rows"] == out["distinct"] == produced["records"] and not gaps and not nulls
                    and flight_sum == produced["sum_flight"] and delay_sum == produced["sum_dep_delay"])
    print(json.dumps(out))
    sys.exit(not out["whole"])


if __name__ == "__main__":
    main()
