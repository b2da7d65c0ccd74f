"""The facts as Prometheus reads them. No label names a person, a path or a host: folders go by number.

Counters come out of the ledger, so that they outlive restarts and count backfills too; ages are told as
seconds, which cannot look healthy while they stand still.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from dicomsync import __version__, concerns, facts
from dicomsync.concerns import How, Level
from dicomsync.errors import LedgerProblem
from dicomsync.facts import Facts
from dicomsync.ledger import Reader, tallies

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Rows = list[dict[str, Any]]


def exposition(ledger: Path) -> tuple[bytes, bool]:
    """Give all metrics in the text format, and whether the ledger could be read.

    Where it cannot be, that is the one thing they say.
    """
    registry = CollectorRegistry(auto_describe=False)
    try:
        with Reader.open(ledger) as reader:
            found = facts.seen(reader.hold(), ledger, time.time(), How())
            stored, requests, retries = reader.stored_tally(), reader.request_tally(), reader.retry_tally()
    except LedgerProblem:
        registry.register(_Told(lambda: iter([_readable(False)])))
        return generate_latest(registry), False

    def families() -> Iterator[Metric]:
        yield _readable(True)
        yield from _standing(found)
        yield from _folders(found)
        yield from _deletions(found["deletions"])
        yield from _stored(stored)
        yield from _requests(requests)
        yield _counter("retries", "Instances that had to be asked about, or sent again.", "cause", retries)

    registry.register(_Told(families))
    return generate_latest(registry), True


def write(ledger: Path, path: Path) -> bool:
    """Write them to a file at once and whole, for node_exporter's textfile collector; as `exposition`.

    Raises OSError where the file cannot be written; nothing is left behind then.
    """
    text, readable = exposition(ledger)
    # node_exporter reads *.prom: a name that ends otherwise is not looked at
    descriptor, fresh = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with open(descriptor, "wb") as file:
            os.fchmod(descriptor, 0o644)
            file.write(text)
        os.replace(fresh, path)
    except OSError:
        os.unlink(fresh)
        raise
    return readable


class _Told(Collector):
    """What is told, as the library wants it."""

    def __init__(self, families: Callable[[], Iterator[Metric]]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        return self._families()


def _gauge(name: str, words: str, value: float | None) -> GaugeMetricFamily:
    """Make a gauge; without a value it is there and says nothing."""
    family = GaugeMetricFamily(f"dicomsync_{name}", words)
    if value is not None:
        family.add_metric([], value)
    return family


def _gauges(name: str, words: str, label: str, values: dict[str, Any]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"dicomsync_{name}", words, labels=[label])
    for key, value in values.items():
        if value is not None:
            family.add_metric([key], value)
    return family


def _counter(name: str, words: str, label: str, values: dict[str, int]) -> CounterMetricFamily:
    family = CounterMetricFamily(f"dicomsync_{name}", words, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


def _readable(value: bool) -> Metric:
    return _gauge("ledger_readable", "Whether the ledger could be read; if not, nothing else is told.", value)


_GRAVITY = {Level.WRONG: 3, Level.PERSON: 2, Level.NOTE: 1}


def _standing(found: Facts) -> Iterator[Metric]:
    daemon, archive, ledger = found["daemon"], found["archive"], found["ledger"]
    grave = {one["code"]: _GRAVITY[one["level"]] for one in reversed(found["concerns"])}  # the worst last
    info = GaugeMetricFamily("dicomsync_build_info", "The version that tells this.", labels=["version"])
    info.add_metric([__version__], 1)
    yield info
    yield _gauge("up", "Whether a daemon is at work and gives signs of life.", daemon["state"] == "running")
    yield _gauge("last_sign_of_life_seconds", "Since the daemon's last sign of life.", daemon["sign_seconds"])
    levels = {level.value: found["level"] == level for level in Level}
    yield _gauges("level", "How it stands on the whole: one of these is 1.", "level", levels)
    codes = {code: grave.get(code, 0) for code in concerns.CODES}
    words = "What is not as it should be: 3 wrong, 2 waits for a person, 1 worth knowing, 0 is not so."
    yield _gauges("concern", words, "code", codes)
    counts = found["counts"]
    yield _gauges("instances", "Instances by the state they are in.", "state", counts)
    yield _gauges("files", "Files by the state they are in.", "state", found["files"])
    yield _cases(found["cases"])
    yield _gauge("studies", "Studies known.", found["studies"]["known"])
    yield _gauge("studies_pending", "Studies of which something is pending.", found["studies"]["pending"])
    oldest, live = found["oldest_pending_seconds"] or 0.0, found["oldest_live"]
    yield _gauge("oldest_pending_seconds", "Age of what is due the longest; 0 if nothing is.", oldest)
    words = "The same, of what came as the daemon watched; 0 if nothing is."
    yield _gauge("oldest_live_pending_seconds", words, live["seconds"] if live else 0.0)
    yield _gauge("last_answer_seconds", "Since the archive answered a store.", found["last_answer_seconds"])
    troubled = archive["trouble"] is not None and daemon["state"] == "running"
    yield _gauge("circuit_open", "Whether the archive is left alone, as it cannot be used.", troubled)
    late = archive["trouble_seconds"] if troubled else 0.0
    yield _gauge("circuit_open_seconds", "For how long; 0 while it can be used.", late)
    yield _gauge("ledger_size_bytes", "The ledger's size with its write-ahead log.", ledger["size_bytes"])
    yield _gauge("ledger_disk_free_bytes", "Room left where the ledger is.", ledger["free_bytes"])
    left = found["certificates"]
    words = "Until a TLS certificate ends, the archive's or our own for it; negative: it has."
    yield _gauges("certificate_remaining_seconds", words, "whose", left)
    failing = {name: one["failing_seconds"] or 0.0 for name, one in found["alerts"].items()}
    words = "For how long a receiver of alerts or heartbeats has not taken them; 0 while it does."
    yield _gauges("alert_receiver_failing_seconds", words, "receiver", failing)
    doubted = found["doubt"]["unsettled"] if found["doubt"] else 0
    yield _gauge("doubted_instances", "Instances asked about because the ledger was in doubt.", doubted)


def _cases(cases: Rows) -> Metric:
    family = GaugeMetricFamily(
        "dicomsync_cases", "What waits for a person.", labels=["what", "state", "reason"]
    )
    for case in cases:
        family.add_metric([case["what"], case["state"], case["reason"]], case["n"])
    return family


_FOLDER = {
    # metric: its words, the key of the fact
    "folder_files": ("Files when the folder was last read whole.", "files"),
    "folder_last_scan_seconds": ("Since the folder was last read whole.", "last_scan_seconds"),
    "folder_scan_duration_seconds": ("How long the last whole pass over it took.", "scan_seconds"),
    "folder_unreadable_directories": ("Directories in it that could not be read.", "problems"),
    "folder_left_out_files": ("Files with names that are not included.", "excluded"),
}


def _folders(found: Facts) -> Iterator[Metric]:
    running = found["daemon"]["state"] == "running"
    ours = [one for one in found["folders"] if one["watch"] is not None or not running]

    def of(values: Callable[[Facts], Any]) -> dict[str, Any]:
        return {str(one["number"]): values(one) for one in ours}

    for name, (words, key) in _FOLDER.items():
        yield _gauges(name, words, "folder", of(itemgetter(key)))
    lost = of(lambda one: one["lost"] is not None)
    yield _gauges("folder_lost", "Whether the folder itself cannot be read.", "folder", lost)
    hangs = of(lambda one: one["hanging_seconds"] or 0.0)
    yield _gauges("folder_hanging_seconds", "For how long it has not answered.", "folder", hangs)
    silent = of(lambda one: one["silent_seconds"])
    words = "Since a file in it was last proved to be whole DICOM; else since it is known."
    yield _gauges("folder_silent_seconds", words, "folder", silent)
    watched = {key: one == "events" for key, one in of(lambda one: one["watch"]).items() if one is not None}
    yield _gauges("folder_watched", "Whether changes in it are heard of at once.", "folder", watched)


def _deletions(folders: Rows) -> Iterator[Metric]:
    def of(key: str) -> dict[str, Any]:
        return {str(one["number"]): one[key] for one in folders}

    frozen = {number: bool(why) for number, why in of("frozen").items()}
    words = "Whether a guard has frozen the mirrored deletions of a folder."
    yield _gauges("deletions_frozen", words, "folder", frozen)
    yield _gauges("deletions_waiting", "Mirrored deletions that wait.", "folder", of("waiting"))
    yield _gauges("deletions_done", "Instances that were deleted.", "folder", of("deleted"))


def _stored(rows: Rows) -> Iterator[Metric]:
    labels = ["folder", "kind"]
    took = HistogramMetricFamily(
        "dicomsync_time_to_archive_seconds",
        "From being proved whole to being stored, by whether it came as the daemon watched.",
        labels=labels,
    )
    instances = CounterMetricFamily(
        "dicomsync_stored_instances", "Instances that became stored.", labels=labels
    )
    size = CounterMetricFamily("dicomsync_stored_bytes", "Their bytes.", labels=labels)
    for (folder, live), group in _grouped(rows, lambda row: (str(row["folder_id"]), row["live"])).items():
        names = [folder, "live" if live else "backlog"]
        took.add_metric(names, *_histogram(group, "bucket", tallies.ARCHIVE_SECONDS, "seconds"))
        instances.add_metric(names, sum(row["n"] for row in group))
        size.add_metric(names, sum(row["size_bytes"] for row in group))
    yield from (took, instances, size)


def _requests(rows: Rows) -> Iterator[Metric]:
    took = HistogramMetricFamily(
        "dicomsync_request_duration_seconds",
        "Stores from being planned to their answer, by its status (none: no answer; found: nothing sent).",
        labels=["answer"],
    )
    size = HistogramMetricFamily("dicomsync_request_size_bytes", "Bytes of their files.", labels=["answer"])
    for answer, group in _grouped(rows, lambda row: row["answer"]).items():
        took.add_metric([answer], *_histogram(group, "seconds_bucket", tallies.REQUEST_SECONDS, "seconds"))
        size.add_metric([answer], *_histogram(group, "size_bucket", tallies.REQUEST_BYTES, "size_bytes"))
    yield from (took, size)


def _grouped(rows: Rows, key: Callable[[dict[str, Any]], Any]) -> dict[Any, Rows]:
    groups: dict[Any, Rows] = defaultdict(list)
    for row in rows:
        groups[key(row)].append(row)
    return groups


def _histogram(
    rows: Rows, bucket: str, bounds: Sequence[float], total: str
) -> tuple[list[tuple[str, float]], float]:
    """Give cumulative buckets and the sum."""
    buckets: list[tuple[str, float]] = []
    below = 0
    for number, bound in enumerate([*map(float, bounds), float("inf")]):
        below += sum(row["n"] for row in rows if row[bucket] == number)
        buckets.append(("+Inf" if bound == float("inf") else str(bound), below))
    return buckets, sum(row[total] for row in rows)
