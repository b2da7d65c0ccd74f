"""Build a large ledger and time what the daemon and a person ask of it.

    python -m benchmarks.ledger --instances 1000000

Prints the size, the speed of building, and for each question the 50th and 95th percentile and the
worst of `--rounds` tries with different subjects.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.measuring import median, percentile
from dicomsync.ledger import Ledger, NewFile, Reader
from dicomsync.model import FileState, InstanceState, StatKey, Transition, Whole

STUDY_INSTANCES = 500
PENDING_SHARE = 0.1
ROOT = "1.2.826.0.1.3680043.8.498."
OF_THE_LOOP = ("batcher: due studies and one batch", "a whole batch: intent and outcome, committed", "counts")


def study_uid(study: int) -> str:
    """A UID as long as those of real modalities, in no order."""
    return f"{ROOT}{study * 2654435761 % 2**32:037d}"


def instance_uid(number: int) -> str:
    """A UID as long as those of real modalities: in order within a study, and in none across."""
    study, place = divmod(number, STUDY_INSTANCES)
    return f"{ROOT}{study * 2654435761 % 2**32:026d}.{place:010d}"


def build(ledger: Ledger, instances: int) -> float:
    """Fill a ledger as a backfill that is nine tenths done would have; gives rows a second."""
    started = time.perf_counter()
    with ledger.transaction():
        scan = ledger.begin_scan(b"/data/modality")
    numbers = iter(range(instances))
    while chunk := [n for _, n in zip(range(2_000), numbers, strict=False)]:
        with ledger.transaction():
            _add(ledger, scan, chunk, instances)
            for study, _ in ledger.touched_studies():
                ledger.schedule(study.study_id, study.first_at, study.first_at)
    return 2 * instances / (time.perf_counter() - started)


def _add(ledger: Ledger, scan: object, numbers: list[int], instances: int) -> None:
    directories: dict[int, int] = {}
    done = []
    for number in numbers:
        study = number // STUDY_INSTANCES
        if study not in directories:
            path = f"/data/modality/2026/{study // 1000:04d}/study-{study:08d}".encode()
            directories[study] = ledger.directory(path, scan)  # type: ignore[arg-type]
        key = StatKey(526_000 + number % 997, 1_780_000_000_000_000_000 + number, number, number)
        whole = Whole(
            key,
            study_uid(study),
            f"{study_uid(study)[:60]}.{number % 3}",
            instance_uid(number),
            "1.2.840.10008.5.1.4.1.1.2",
            "1.2.840.10008.1.2.1",
        )
        row = ledger.add_instance(whole, InstanceState.PENDING, "", 1.78e9 + number / 100, number / 100, None)
        name = f"IM{number % STUDY_INSTANCES:06d}.dcm".encode()
        ledger.put_file(NewFile(directories[study], name, key, FileState.READY, instance_id=row), 1.78e9)
        if number < instances * (1 - PENDING_SHARE):
            digest = number.to_bytes(32, "big")
            done.append(Transition(row, InstanceState.STORED, verified=number % 2 == 0, sha256=digest))
    ledger.move(done, 1.78e9, [0.0] * len(done))


def questions(
    ledger: Ledger, reader: Reader, instances: int, luck: random.Random
) -> dict[str, Callable[[], object]]:
    """What is asked, each time of another subject."""
    studies = instances // STUDY_INSTANCES

    def any_instance() -> int:
        return luck.randrange(instances)

    def batcher() -> object:
        due = ledger.due_studies(1e12, 100)
        return ledger.pending_of(luck.choice(due), 1e12, 100)

    def one_turn() -> object:
        """Take a study's batch as the engine does: intent, outcome, counts."""
        with ledger.transaction():
            study = luck.choice(ledger.due_studies(1e12, 100))
            batch = ledger.pending_of(study, 1e12, 100)
            row = ledger.open_batch(study.study_id, batch, 1.78e9)
            back = [Transition(one.instance_id, InstanceState.PENDING) for one in batch]
            ledger.move(back, 1.78e9, [0.0] * len(back))
            ledger.close_batch(row, 1.78e9, 200, "stored")
            for touched, _ in ledger.touched_studies():
                ledger.schedule(touched.study_id, touched.first_at, touched.first_at)
        return None

    def header_job() -> object:
        """Record that 64 headers are about to be read, and that they were."""
        with ledger.transaction():
            files = [(_path(any_instance()), StatKey(1, 2, 3, 4)) for _ in range(64)]
            ledger.close_reading(ledger.open_reading(files))
        return None

    return {
        "a header job of 64 files: intent and outcome": header_job,
        "batcher: due studies and one batch": batcher,
        "a whole batch: intent and outcome, committed": one_turn,
        "counts": reader.counts,
        "oldest due": reader.oldest_due,
        "next due": ledger.next_due,
        "questions due": lambda: ledger.unconfirmed(1e12, 200),
        "is this UID known": lambda: ledger.known(instance_uid(any_instance())),
        "one instance, with its files": lambda: [
            reader.files_of(row["id"]) for row in reader.instances_under(instance_uid(any_instance()))
        ],
        "one study by UID": lambda: reader.study_under(study_uid(luck.randrange(studies))),
        "a study's states": lambda: reader.states_in(1 + luck.randrange(studies)),
        "one file by path": lambda: reader.file_at(_path(any_instance())),
        "a directory of 500, as a rescan reads it": lambda: ledger.files_between(
            1 + luck.randrange(studies), b"", None
        ),
    }


def _path(number: int) -> bytes:
    study = number // STUDY_INSTANCES
    name = f"IM{number % STUDY_INSTANCES:06d}.dcm"
    return f"/data/modality/2026/{study // 1000:04d}/study-{study:08d}/{name}".encode()


def timed(question: Callable[[], object], rounds: int) -> Iterator[float]:
    """Time a question, in milliseconds."""
    for _ in range(rounds):
        started = time.perf_counter()
        question()
        yield 1e3 * (time.perf_counter() - started)


def main() -> None:
    """Build, ask, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--instances", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=400)
    parser.add_argument("--directory", type=Path, help="where to build it (default: a temporary one)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.directory) as home:
        path = Path(home) / "ledger.db"
        ledger = Ledger.open(path)
        speed = build(ledger, options.instances)
        ledger.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        size = path.stat().st_size
        each = size / options.instances
        print(f"{options.instances:,} instances and files: {size / 1e6:,.0f} MB, {each:.0f} B each")
        print(f"built at {speed:,.0f} rows a second (files and instances, through the triggers)")
        print(f"\n{'milliseconds':<48}{'p50':>10}{'p95':>10}{'worst':>10}")
        reader = Reader.open(path)
        for name, question in questions(ledger, reader, options.instances, random.Random(1)).items():
            times = list(timed(question, options.rounds))
            p95 = percentile(times, 0.95)
            print(f"{name:<48}{median(times):>10.3f}{p95:>10.3f}{max(times):>10.3f}")
        reader.close()
        ledger.close()


if __name__ == "__main__":
    main()
