#!/usr/bin/env python3
"""Fill one topic with flight change events, the same ones for every seed and every run.

    workload.py --topic flights_json --records 2000000 --format json
    workload.py --topic flights_avro --records 2000000 --format avro
    workload.py --topic flights_debezium --records 2000000 --format debezium

Format `json` is plain JSON; `debezium` the same rows in Debezium's JSON envelope (without schema); `avro` is the Confluent wire format: magic byte 0, schema id (big endian), Avro body of flight.avsc, which is
registered first under the topic's name.
Key: the 16-byte flight id. Partition: CRC32 of the key modulo the partition count, so that events of one flight stay in order.
Every flight gets four events. Records are uncompressed and carry the time of producing; with `--days N` they carry times of N days, which
alternate from flight to flight: the most that a writer of one file per day can be asked. With `--topics N` the flights are spread over topics
TOPIC_000, TOPIC_001 and so on; `--rate N` paces them to N records a second and
`--note N` makes records larger. Topics are created, and must not
exist, unless `--more` adds to them.
Prints one JSON object: records per partition, mean key and value size, and sums that a reader can check its table against.
"""
import argparse
import datetime
import io
import json
import os
import pathlib
import random
import struct
import sys
import time
import zlib

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

CARRIERS = "9E AA AS B6 DL EV F9 FL HA MQ OO UA US VX WN YV".split()
ORIGINS = "EWR JFK LGA".split()
DESTS = """ABQ ACK ALB ANC ATL AUS AVL BDL BGR BHM BNA BOS BQN BTV BUF BUR BWI BZN CAE CAK CHO CHS CLE CLT CMH CRW CVG DAY DCA DEN
DFW DSM DTW EGE EYW FLL GRR GSO GSP HDN HNL HOU IAD IAH ILM IND JAC JAX LAS LAX LEX LGB MCI MCO MDW MEM MHT MIA MKE MSN MSP MSY MTJ
MVY MYR OAK OKC OMA ORD ORF PBI PDX PHL PHX PIT PSE PSP PVD PWM RDU RIC ROC RSW SAN SAT SAV SBN SDF SEA SFO SJC SJU SLC SMF SNA SRQ
STL STT SYR TPA TUL TVC TYS XNA""".split()
STATUS = ["scheduled", "boarding", "departed", "arrived"]
ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
NOTE_TABLE = bytes(ALPHABET[i & 63] for i in range(256))
YEAR_START = datetime.datetime(2013, 1, 1, tzinfo=datetime.timezone.utc)
YEAR_START_MS, DAY_MS = int(YEAR_START.timestamp()) * 1000, 86_400_000
EVENTS_PER_FLIGHT = 4


def iso(minute):
    return (YEAR_START + datetime.timedelta(minutes=minute)).strftime("%Y-%m-%dT%H:%M:%SZ")


def micros(minute):
    return (int(YEAR_START.timestamp()) + minute * 60) * 1_000_000


def events(records, seed, note_bytes=40):
    """Yields tuples in the field order of flight.avsc; times are minutes since 2013-01-01T00:00Z."""
    flights = records // EVENTS_PER_FLIGHT or 1
    rng = random.Random(seed)
    mask = (1 << 64) - 1
    for number in range(records):
        flight = number % flights
        step = (number // flights) % EVENTS_PER_FLIGHT
        mixed = (flight + 1) * 0x9E3779B97F4A7C15 & mask
        mixed = (mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9 & mask
        mixed ^= mixed >> 31
        minute = mixed % (364 * 24 * 60)
        bits = rng.getrandbits(352)
        note = (bits & ((1 << 320) - 1)).to_bytes(40, "little").translate(NOTE_TABLE).decode()
        if note_bytes > 40:
            note = (note * (note_bytes // 40 + 1))[:note_bytes]
        noise = bits >> 320
        yield (
            f"{mixed:016x}", CARRIERS[mixed >> 8 & 15], (mixed >> 16) % 8500 + 1, ORIGINS[(mixed >> 32) % 3],
            DESTS[(mixed >> 36) % len(DESTS)], minute, float((noise & 0xFF) - 20), float((noise >> 8 & 0xFF) - 30),
            STATUS[step], f"N{(mixed >> 40) % 90000 + 10000}", minute + 30 * step + (noise >> 16 & 15), note,
        )


def as_json(event, iso_of):
    fid, carrier, flight, origin, dest, sched, dep, arr, status, tail, when, note = event
    return (f'{{"flight_id":"{fid}","carrier":"{carrier}","flight":{flight},"origin":"{origin}","dest":"{dest}",'
            f'"sched_dep":"{iso_of(sched)}","dep_delay":{dep},"arr_delay":{arr},"status":"{status}","tailnum":"{tail}",'
            f'"event_time":"{iso_of(when)}","note":"{note}"}}').encode()


def as_debezium(event, iso_of):
    return (b'{"before":null,"after":' + as_json(event, iso_of)
            + b',"source":{"connector":"postgresql","name":"bench","lsn":%d,"ts_ms":1357000000000},"op":"c"}' % (event[2] << 20))


def avro_encoder(registry, topic):
    import fastavro
    import requests
    schema = json.loads(pathlib.Path(__file__).with_name("flight.avsc").read_text())
    answer = requests.post(f"{registry}/subjects/{topic}-value/versions", json={"schema": json.dumps(schema)}, timeout=60)
    answer.raise_for_status()
    schema_id = answer.json()["id"]
    names = [field["name"] for field in schema["fields"]]
    # fastavro would ask for datetime objects; the body of a timestamp-micros is the plain long.
    for field in schema["fields"]:
        if isinstance(field["type"], dict):
            field["type"] = field["type"]["type"]
    parsed = fastavro.parse_schema(schema)
    header = struct.pack(">bI", 0, schema_id)

    def encode(event, micros_of):
        out = io.BytesIO()
        out.write(header)
        row = dict(zip(names, event))
        row["sched_dep"] = micros_of(event[5])
        row["event_time"] = micros_of(event[10])
        fastavro.schemaless_writer(out, parsed, row)
        return out.getvalue()

    return encode


def topic_names(topic, count):
    return [topic] if count == 1 else [f"{topic}_{number:03}" for number in range(count)]


def create(bootstrap, names, partitions):
    topics = [NewTopic(name, partitions, 1, config={"retention.ms": "-1", "retention.bytes": "-1"}) for name in names]
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for made in admin.create_topics(topics).values():
        made.result(60)


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--bootstrap", default=os.environ["LAKEHEAD_TEST_KAFKA"])
    args.add_argument("--registry", default=os.environ.get("LAKEHEAD_TEST_REGISTRY"))
    args.add_argument("--topic", required=True)
    args.add_argument("--records", type=int, default=2_000_000)
    args.add_argument("--partitions", type=int, default=4)
    args.add_argument("--format", choices=["json", "avro", "debezium"], default="json")
    args.add_argument("--seed", type=int, default=20130101)
    args.add_argument("--topics", type=int, default=1)
    args.add_argument("--days", type=int, default=0)
    args.add_argument("--rate", type=int, default=0)
    args.add_argument("--note", type=int, default=40, help="bytes of each record's note")
    args.add_argument("--more", action="store_true", help="add to topics that exist")
    args = args.parse_args()
    names = topic_names(args.topic, args.topics)

    if not args.more:
        create(args.bootstrap, names, args.partitions)

    failures = []
    producer = Producer({
        "bootstrap.servers": args.bootstrap, "acks": "all", "enable.idempotence": True, "linger.ms": 50,
        "batch.size": 1_000_000, "queue.buffering.max.messages": 400_000, "queue.buffering.max.kbytes": 1_000_000,
    })

    def delivered(error, _message):
        if error is not None:
            failures.append(str(error))

    cache = {}
    render = micros if args.format == "avro" else iso

    def cached(minute):
        text = cache.get(minute)
        if text is None:
            text = cache[minute] = render(minute)
        return text

    encode = {"json": as_json, "debezium": as_debezium}.get(args.format) or avro_encoder(args.registry, args.topic)
    per_partition = [0] * args.partitions
    value_bytes = flight_sum = 0
    delay_sum = 0.0
    started = time.monotonic()
    for number, event in enumerate(events(args.records, args.seed, args.note)):
        key = event[0].encode()
        value = encode(event, cached)
        spread = zlib.crc32(key)
        partition, name = spread % args.partitions, names[spread // args.partitions % args.topics]
        # 0: the time of producing.
        timestamp = YEAR_START_MS + spread // args.partitions // args.topics % args.days * DAY_MS if args.days else 0
        while True:
            try:
                producer.produce(name, value, key, partition, on_delivery=delivered, timestamp=timestamp)
                break
            except BufferError:
                producer.poll(0.1)
        per_partition[partition] += 1
        value_bytes += len(value)
        flight_sum += event[2]
        delay_sum += event[6]
        if number % 2000 == 0:
            producer.poll(0)
            if args.rate:
                time.sleep(max(0, started + number / args.rate - time.monotonic()))
    producer.flush(120)
    if failures or len(producer):
        sys.exit(f"{args.topic}: {len(failures)} failed, {len(producer)} undelivered; first: {failures[:1]}")
    print(json.dumps({
        "topic": args.topic, "topics": args.topics, "days": args.days, "format": args.format, "records": args.records, "seed": args.seed,
        "per_partition": per_partition, "mean_value_bytes": round(value_bytes / args.records, 1), "key_bytes": 16,
        "sum_flight": flight_sum, "sum_dep_delay": delay_sum, "seconds": round(time.monotonic() - started, 1),
    }))


if __name__ == "__main__":
    main()
