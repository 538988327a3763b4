"""What January 2013 must look like in the lake, computed from the shipped data set with nothing but Python."""

from __future__ import annotations

import csv
import datetime as dt
import gzip
import pathlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from zoneinfo import ZoneInfo

DATA = pathlib.Path(__file__).parents[2] / "producers" / "airline" / "data"
Key = tuple[int | str, ...]


@dataclass(frozen=True)
class January:
    """Counts of changes and sums over the final rows."""

    flights: int
    departed: int
    cancelled: int
    arrived: int
    dep_delay: int
    arr_delay: int
    distance: int
    by_carrier: dict[str, int]

    @property
    def changes(self) -> int:
        return self.flights + self.departed + self.cancelled + self.arrived


def rows() -> list[dict[str, str]]:
    """The flights of January."""
    with gzip.open(DATA / "flights.csv.gz", "rt", newline="") as file:
        return [row for row in csv.DictReader(file) if row["month"] == "1"]


def number(text: str) -> int | None:
    return None if text in ("", "NA") else int(float(text))


def january() -> January:
    flights = rows()
    delays = [(number(row["dep_time"]), number(row["dep_delay"]), number(row["arr_delay"])) for row in flights]
    return January(
        flights=len(flights),
        departed=sum(departed is not None for departed, _, _ in delays),
        cancelled=sum(departed is None for departed, _, _ in delays),
        arrived=sum(arrival is not None for _, _, arrival in delays),
        dep_delay=sum(departure or 0 for _, departure, _ in delays),
        arr_delay=sum(arrival or 0 for _, _, arrival in delays),
        distance=sum(number(row["distance"]) or 0 for row in flights),
        by_carrier=dict(Counter(row["carrier"] for row in flights)),
    )



def zones() -> dict[str, ZoneInfo]:
    """Airport to zone; four airports that flights go to are not in the file."""
    with open(DATA / "airports.csv", newline="") as file:
        found = {row["faa"]: ZoneInfo(row["tzone"]) for row in csv.DictReader(file) if row["tzone"] not in ("", "NA", "\\N")}
    return found | dict.fromkeys(("BQN", "SJU", "STT", "PSE"), ZoneInfo("America/Puerto_Rico"))


def wrong_times(landed: Iterable[tuple[Key, dt.datetime | None, dt.datetime | None]]) -> list[tuple[Key, str]]:
    """Flights whose instants of departure and arrival are not those that the clocks of their airports showed."""
    zone, flights = zones(), {key(row): row for row in rows()}
    wrong: list[tuple[Key, str]] = []
    for place, departed, arrived in landed:
        row = flights.pop(place)
        if (delay := number(row["dep_delay"])) is None or departed is None:
            if departed or number(row["dep_time"]) is not None:
                wrong.append((place, "departed"))
            continue
        scheduled = int(row["sched_dep_time"])
        year, month, day = (int(row[name]) for name in ("year", "month", "day"))
        plan = dt.datetime(year, month, day, scheduled // 100, scheduled % 100, tzinfo=zone[row["origin"]])
        if departed != plan.astimezone(dt.UTC) + dt.timedelta(minutes=delay):
            wrong.append((place, "departed"))
        landed_elsewhere = number(row["arr_delay"]) is None
        if arrived is None or landed_elsewhere:
            plausible = arrived is None and landed_elsewhere
        else:
            shown = clock(arrived, zone[row["dest"]])
            plausible = departed < arrived < departed + dt.timedelta(days=1) and shown == row["arr_time"]
        if not plausible:
            wrong.append((place, "arrived"))
    return wrong + [(place, "missing") for place in flights]


def key(row: dict[str, str]) -> Key:
    return (*(int(row[name]) for name in ("year", "month", "day", "flight", "sched_dep_time")), row["carrier"], row["origin"])


def clock(instant: dt.datetime, zone: ZoneInfo) -> str:
    """HHMM without leading zeros, midnight as 2400: as the data set writes it."""
    local = instant.astimezone(zone)
    return str(local.hour * 100 + local.minute or 2400)
