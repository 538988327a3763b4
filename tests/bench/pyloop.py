#!/usr/bin/env python3
"""Peer: a plain Python loop, confluent-kafka -> pyarrow -> deltalake, the batch appended with its offsets as a Delta app transaction.

    pyloop.py --topic flights_json --table DIR [--batch 100000]

The clock starts at the first subscription: the start of Python and its imports is not counted.
"""
import argparse
import io
import json
import os
import resource
import time
import uuid

import pyarrow as pa
import pyarrow.json as pa_json
from confluent_kafka import Consumer, TopicPartition
from deltalake import CommitProperties, Transaction, write_deltalake

UTC = pa.timestamp("us", tz="UTC")
SCHEMA = pa.schema([
    ("flight_id", pa.string()), ("carrier", pa.string()), ("flight", pa.int32()), ("origin", pa.string()), ("dest", pa.string()),
    ("sched_dep", UTC), ("dep_delay", pa.float64()), ("arr_delay", pa.float64()), ("status", pa.string()), ("tailnum", pa.string()),
    ("event_time", UTC), ("note", pa.string())])
PARSE = pa_json.ParseOptions(explicit_schema=SCHEMA, unexpected_field_behavior="ignore")
READ = pa_json.ReadOptions(block_size=8 << 20)


def to_arrow(messages):
    values, partitions, offsets, times = [], [], [], []
    for message in messages:
        values.append(message.value())
        partitions.append(message.partition())
        offsets.append(message.offset())
        times.append(message.timestamp()[1])
    table = pa_json.read_json(io.BytesIO(b"\n".join(values)), read_options=READ, parse_options=PARSE)
    table = table.append_column("_partition", pa.array(partitions, pa.int32()))
    table = table.append_column("_offset", pa.array(offsets, pa.int64()))
    return table.append_column("_timestamp", pa.array(times, pa.timestamp("ms", tz="UTC")).cast(UTC))


def cpu_seconds():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--bootstrap", default=os.environ["LAKEHEAD_TEST_KAFKA"])
    args.add_argument("--topic", required=True)
    args.add_argument("--table")
    args.add_argument("--batch", type=int, default=100_000)
    args.add_argument("--chunk", type=int, default=10_000, help="messages per consume() call")
    args.add_argument("--conf", action="append", default=[], help="further librdkafka settings, key=value")
    args = args.parse_args()

    consumer = Consumer({
        "bootstrap.servers": args.bootstrap, "group.id": f"pyloop-{uuid.uuid4()}", "enable.auto.commit": False,
        "auto.offset.reset": "earliest", **dict(setting.split("=", 1) for setting in args.conf)})
    ids = sorted(consumer.list_topics(args.topic, 30).topics[args.topic].partitions)
    ends = {p: consumer.get_watermark_offsets(TopicPartition(args.topic, p), 30)[1] for p in ids}
    expected = sum(ends.values())

    print(f"MARK start_1 {time.time()}", flush=True)
    before = cpu_seconds()
    consumer.assign([TopicPartition(args.topic, p, 0) for p in ids])
    seen, commits, batch = 0, 0, []
    while seen < expected:
        messages = consumer.consume(min(args.chunk, args.batch - len(batch), expected - seen), 1.0)
        for message in messages:
            if message.error():
                raise SystemExit(str(message.error()))
        seen += len(messages)
        batch += messages
        if len(batch) < args.batch and seen < expected:
            continue
        reached = {m.partition(): m.offset() for m in batch}
        commits += 1
        write_deltalake(args.table, to_arrow(batch), mode="append", commit_properties=CommitProperties(
            app_transactions=[Transaction(f"{args.topic}-{p}", offset) for p, offset in reached.items()]))
        batch = []
    print(f"FACT cpu_s_1 {cpu_seconds() - before}")
    print(f"MARK end_1 {time.time()}", flush=True)
    print(f"FACT records_1 {seen}")
    print(f"FACT commits_1 {json.dumps(commits)}", flush=True)
    consumer.close()


if __name__ == "__main__":
    main()
