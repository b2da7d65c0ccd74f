"""The ledger by what it promises: sums that are always true, one writer, all or nothing, and plain words."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from dicomsync.errors import LedgerInUse, LedgerProblem, UsageProblem
from dicomsync.ledger import Arrival, DueStudy, Ledger, NewFile, Reader, many, migrations, opening
from dicomsync.model import CLAIMING, DUE, Due, FileState, InstanceState, StatKey, Transition, Whole

PENDING, SENDING, UNCONFIRMED = InstanceState.PENDING, InstanceState.SENDING, InstanceState.UNCONFIRMED
STORED, CONFLICT = InstanceState.STORED, InstanceState.CONFLICT
KEY = StatKey(100, 1, 2, 3)
WALL = 1_800_000_000.0


def whole(sop: str = "1.2.3.4", *, study: str = "1.2", series: str = "1.2.3", size_bytes: int = 100) -> Whole:
    key = StatKey(size_bytes, 1, 2, 3)
    return Whole(key, study, series, sop, "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.1")


def add(
    ledger: Ledger,
    sop: str = "1.2.3.4",
    *,
    study: str = "1.2",
    state: InstanceState = PENDING,
    due_at: float = 0.0,
    size_bytes: int = 100,
    sha256: bytes | None = None,
) -> int:
    found = whole(sop, study=study, size_bytes=size_bytes)
    return ledger.add_instance(found, state, "", WALL, due_at, sha256)


def put(
    ledger: Ledger, path: bytes, instance_id: int | None = None, state: FileState = FileState.READY
) -> int:
    scan = ledger.begin_scan(b"/in")
    directory = ledger.directory(os.path.dirname(path), scan)
    return ledger.put_file(
        NewFile(directory, os.path.basename(path), KEY, state, instance_id=instance_id), WALL
    )


def arrival(ledger: Ledger, sop: str, *, study: str = "1.2") -> Arrival:
    directory = ledger.directory(b"/in", ledger.begin_scan(b"/in"))
    file = NewFile(directory, sop.encode(), KEY, FileState.READY)
    return Arrival(whole(sop, study=study), file, PENDING, "", live=False)


def become(ledger: Ledger, instance_id: int, state: InstanceState, due_at: float = 0.0) -> None:
    ledger.move([Transition(instance_id, state)], WALL, [due_at])


def turn(ledger: Ledger, *verbs: Callable[[], object]) -> None:
    """Do these in one transaction."""
    with ledger.transaction():
        for verb in verbs:
            verb()


def break_off() -> None:
    raise ZeroDivisionError


@pytest.fixture
def ledger() -> Iterator[Ledger]:
    """A ledger that leaves nothing behind, inside a transaction."""
    with closing(Ledger.scratch()) as made, made.transaction():
        yield made


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a ledger may be made."""
    return tmp_path / "state" / "ledger.db"


@contextmanager
def opened(path: Path) -> Iterator[Ledger]:
    with closing(Ledger.open(path)) as made:
        yield made


def raw(path: Path, *statements: str) -> list[tuple[object, ...]]:
    """Touch the file as another program would."""
    with closing(sqlite3.connect(path)) as db:
        rows = [row for statement in statements for row in db.execute(statement).fetchall()]
        db.commit()
        return rows


# the sums


def recount(db: sqlite3.Connection) -> tuple[dict[tuple[str, str], int], dict[int, tuple[int, int]]]:
    counts = {
        (what, state): n
        for what in ("file", "instance")
        for state, n in db.execute(f"SELECT state, count(*) FROM {what}s GROUP BY state")
    }
    studies = dict.fromkeys((row[0] for row in db.execute("SELECT id FROM studies")), (0, 0))
    pending = "SELECT study_id, count(*), sum(size_bytes) FROM instances WHERE state = 'pending' GROUP BY 1"
    studies |= {row[0]: (row[1], row[2]) for row in db.execute(pending)}
    return counts, studies


def kept(db: sqlite3.Connection) -> tuple[dict[tuple[str, str], int], dict[int, tuple[int, int]]]:
    counts = {(what, state): n for what, state, n in db.execute("SELECT what, state, n FROM counts") if n}
    rows = db.execute("SELECT id, pending, pending_bytes FROM studies")
    return counts, {row[0]: (row[1], row[2]) for row in rows}


sops = st.integers(1, 5).map(lambda n: f"1.2.3.{n}")
studies = st.integers(1, 3).map(lambda n: f"1.{n}")
sizes = st.sampled_from([0, 1, 100, 4096])
states = st.sampled_from(InstanceState)
picks = st.integers(0, 10**6)


class Walk(RuleBasedStateMachine):
    """Any verbs in any order, some of them broken off; the sums stay true."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger.scratch()
        self.db = self.ledger.connection

    def teardown(self) -> None:
        self.ledger.close()

    def do(self, verb: Callable[[], object]) -> None:
        """Do it in a transaction; where it would make a second claim to a UID, nothing of it stays."""
        before = kept(self.db)
        told = ""
        try:
            turn(self.ledger, verb)
        except LedgerProblem as problem:
            told = problem.message
        if told:
            assert "UNIQUE" in told
            assert kept(self.db) == before

    def pick(self, table: str, at: int, where: str = "1") -> int:
        rows = self.db.execute(f"SELECT id FROM {table} WHERE {where} ORDER BY id").fetchall()
        return int(rows[at % len(rows)][0]) if rows else 0

    def has(self, table: str) -> bool:
        return bool(self.db.execute(f"SELECT count(*) FROM {table}").fetchone()[0])

    @rule(sop=sops, study=studies, size=sizes, state=states)
    def add_instance(self, sop: str, study: str, size: int, state: InstanceState) -> None:
        self.do(lambda: add(self.ledger, sop, study=study, size_bytes=size, state=state))

    @precondition(lambda self: self.has("instances"))
    @rule(at=picks, state=states)
    def move(self, at: int, state: InstanceState) -> None:
        self.do(lambda: become(self.ledger, self.pick("instances", at), state))

    @precondition(lambda self: self.has("instances"))
    @rule(at=picks, study=studies, size=sizes)
    def rewrite(self, at: int, study: str, size: int) -> None:
        found = whole(study=study, size_bytes=size)
        self.do(lambda: self.ledger.rewrite_instance(self.pick("instances", at), found, None, WALL))

    @rule(name=st.sampled_from([b"a", b"\xff", b"c d"]), state=st.sampled_from(FileState), at=picks)
    def put_file(self, name: bytes, state: FileState, at: int) -> None:
        instance = self.pick("instances", at) or None
        self.do(lambda: put(self.ledger, b"/in/" + name, instance, state))

    @precondition(lambda self: self.has("files"))
    @rule(at=picks, state=st.sampled_from(FileState))
    def move_file(self, at: int, state: FileState) -> None:
        self.do(lambda: self.ledger.move_file(self.pick("files", at), state, ""))

    @rule()
    def open_batches(self) -> None:
        def verb() -> None:
            for study in self.ledger.due_studies(1e12):
                due = self.ledger.pending_of(study, 1e12, 3)
                if due:
                    self.ledger.open_batch(study.study_id, due, WALL)

        with self.ledger.transaction():
            for study, _ in self.ledger.touched_studies():
                self.ledger.schedule(study.study_id, study.first_at, study.first_at)
        self.do(verb)

    @rule()
    def recover(self) -> None:
        self.do(lambda: self.ledger.recover(WALL, WALL, WALL + 900))

    @rule(sop=sops, study=studies)
    def break_off(self, sop: str, study: str) -> None:
        before = kept(self.db)
        with pytest.raises(ZeroDivisionError):
            turn(
                self.ledger,
                lambda: add(self.ledger, sop, study=study, state=CONFLICT),
                lambda: put(self.ledger, b"/elsewhere/x"),
                break_off,
            )
        assert kept(self.db) == before

    @precondition(lambda self: self.has("instances"))
    @rule(at=picks)
    def drop_by_hand(self, at: int) -> None:
        row = self.pick("instances", at)
        self.db.execute("DELETE FROM files WHERE instance_id = ?", (row,))
        self.db.execute("DELETE FROM instances WHERE id = ?", (row,))

    @invariant()
    def sums_are_true(self) -> None:
        assert kept(self.db) == recount(self.db)

    @invariant()
    def one_row_claims_a_uid(self) -> None:
        marks = ", ".join(f"'{state}'" for state in CLAIMING)
        most = self.db.execute(
            f"""SELECT max(n) FROM (SELECT count(*) AS n FROM instances WHERE state IN ({marks})
            GROUP BY sop_instance_uid)"""
        ).fetchone()[0]
        assert (most or 0) <= 1


def test_counts_and_study_figures_are_true_after_any_verbs_in_any_order() -> None:
    run_state_machine_as_test(Walk, settings=settings(deadline=None, max_examples=40, stateful_step_count=30))


def test_a_new_ledger_counts_every_state_as_none() -> None:
    with closing(Ledger.scratch()) as made:
        counts = Reader.over(made).counts()
    assert counts.files == dict.fromkeys(FileState, 0)
    assert counts.instances == dict.fromkeys(InstanceState, 0)


# one content a UID


@pytest.mark.parametrize(("one", "other"), [*itertools.combinations_with_replacement(CLAIMING, 2)])
def test_sqlite_itself_refuses_a_second_claim_to_a_uid(one: InstanceState, other: InstanceState) -> None:
    with closing(Ledger.scratch()) as made:
        with made.transaction():
            add(made, state=one)
        with pytest.raises(LedgerProblem, match="UNIQUE"), made.transaction():
            add(made, state=other, study="1.9")
        assert made.count(one) == 1


@pytest.mark.parametrize("state", [state for state in InstanceState if state not in CLAIMING])
def test_any_number_of_rows_may_stand_beside_the_claim(ledger: Ledger, state: InstanceState) -> None:
    add(ledger, state=STORED)
    for _ in range(3):
        add(ledger, state=state)
    assert ledger.count(state) == 3
    assert {known.state for known in ledger.known("1.2.3.4")} == {STORED, state}
    assert ledger.known("1.2.3.4")[0].state is STORED, "the claim comes first"


@pytest.mark.parametrize(
    ("state", "reason", "yielded"),
    [
        (CONFLICT, "other-file", True),
        (CONFLICT, "differs", False),  # it has lost to what the archive has
        (CONFLICT, "", False),
        (PENDING, "other-file", False),
        (InstanceState.MISSED, "other-file", False),
    ],
)
def test_a_conflict_has_yielded_only_where_another_unsent_file_went_first(
    ledger: Ledger, state: InstanceState, reason: str, yielded: bool
) -> None:
    ledger.add_instance(whole(), state, reason, WALL, 0.0, None)
    assert [known.yielded for known in ledger.known("1.2.3.4")] == [yielded]


def test_a_conflict_cannot_take_over_a_uid_that_is_claimed() -> None:
    with closing(Ledger.scratch()) as made:
        with made.transaction():
            add(made, state=STORED)
            other = add(made, state=CONFLICT)
        with pytest.raises(LedgerProblem), made.transaction():
            become(made, other, PENDING)
        assert made.state_of(other) is CONFLICT


def test_a_state_nobody_knows_is_refused_by_the_schema(ledger: Ledger) -> None:
    put(ledger, b"/in/a", add(ledger, state=CONFLICT))
    for table in ("instances", "files"):
        with pytest.raises(sqlite3.IntegrityError):
            ledger.connection.execute(f"UPDATE {table} SET state = 'lost'")


def test_a_look_for_damage_makes_no_table_for_a_row_to_tell_whether_its_state_is_known(
    ledger: Ledger,
) -> None:
    steps = {row[1] for row in ledger.connection.execute("EXPLAIN PRAGMA quick_check")}
    assert "Rewind" in steps
    assert "OpenEphemeral" not in steps


# files and paths

NAMES = [
    b"\xff\xfe.dcm",
    b"two words.dcm",
    b"line\nbreak.dcm",
    "M\u00fcller.dcm".encode(),
    b"quote'.dcm",
    b"%s?.dcm",
]


@pytest.mark.parametrize("name", NAMES)
def test_paths_are_bytes_and_survive_whatever_they_are(path: Path, name: bytes) -> None:
    where = b"/in/\xfe\xff dir/" + name
    with opened(path) as made, made.transaction():
        instance = add(made)
        file_id = put(made, where, instance)
    with opened(path) as made:
        directory_id, found, row = made.file(file_id) or (0, b"", None)
        assert found == where
        assert row is not None
        assert row.name == name
        assert row.key == KEY
        source = made.source(instance)
        assert source is not None
        assert (source.path, source.key) == (where, KEY)
        assert list(made.files_between(directory_id, b"", None)) == [name]
        assert made.known("1.2.3.4")[0].path == where
    with Reader.open(path) as reader:
        at = reader.file_at(where)
        assert at is not None
        assert at["path"] == where
        assert reader.files_of(instance)[0]["path"] == where


def test_the_largest_key_that_stat_gives_fits(ledger: Ledger) -> None:
    most = 2**63 - 1
    directory = ledger.directory(b"/in", ledger.begin_scan(b"/in"))
    key = StatKey(most, most, most, most)
    file_id = ledger.put_file(NewFile(directory, b"a", key, FileState.READY), WALL)
    assert (ledger.file(file_id) or (0, b"", None))[2] is not None
    assert ledger.files_between(directory, b"", None)[b"a"].key == key


def test_the_source_is_the_smallest_live_path_by_its_bytes(ledger: Ledger) -> None:
    instance = add(ledger)
    for where, state in (
        (b"/in/0.dcm", FileState.GONE),
        (b"/in/1.dcm", FileState.SETTLING),
        (b"/in/\xff.dcm", FileState.READY),
        (b"/in/Z.dcm", FileState.READY),
        (b"/in/a.dcm", FileState.READY),
        (b"/in/sub/A.dcm", FileState.READY),
    ):
        put(ledger, where, instance, state)
    source = ledger.source(instance)
    assert source is not None
    assert source.path == b"/in/Z.dcm"


def test_an_instance_without_a_live_file_has_no_source(ledger: Ledger) -> None:
    instance = add(ledger)
    put(ledger, b"/in/a.dcm", instance, FileState.GONE)
    assert ledger.source(instance) is None
    assert ledger.known("1.2.3.4")[0].path is None


def test_files_between_takes_the_first_name_out_and_the_last_one_in(ledger: Ledger) -> None:
    directory = 0
    for name in (b"a", b"b", b"c", b"\xff"):
        file_id = put(ledger, b"/in/" + name)
        directory = (ledger.file(file_id) or (0,))[0]
    put(ledger, b"/in/sub/b")
    assert list(ledger.files_between(directory, b"a", b"c")) == [b"b", b"c"]
    assert list(ledger.files_between(directory, b"b", None)) == [b"c", b"\xff"]
    assert list(ledger.files_between(directory, b"", b"a")) == [b"a"]


def test_a_file_recorded_anew_keeps_its_row_and_when_it_was_first_seen(ledger: Ledger) -> None:
    first = put(ledger, b"/in/a", None, FileState.SETTLING)
    directory = (ledger.file(first) or (0,))[0]
    changed = StatKey(7, 8, 9, 10)
    again = ledger.put_file(NewFile(directory, b"a", changed, FileState.HELD, "truncated"), WALL + 60)
    assert again == first
    assert ledger.connection.execute("SELECT seen_at, size_bytes, state FROM files").fetchall() == [
        (WALL, 7, "held")
    ]


def test_unread_files_are_those_in_directories_a_pass_did_not_come_by_in_parts(ledger: Ledger) -> None:
    names = [b"/in/old/1", b"/in/old/2", b"/in/other/1", b"/in/read/1"]
    for name in names:
        put(ledger, name)
    put(ledger, b"/in/old/0", None, FileState.GONE)
    put(ledger, b"/in2/old/1")  # begins alike, lies elsewhere
    scan = ledger.begin_scan(b"/in")
    ledger.directory(b"/in/read", scan)
    elsewhere = ledger.begin_scan(b"/elsewhere")
    ledger.put_file(NewFile(ledger.directory(b"/elsewhere", elsewhere), b"x", KEY, FileState.READY), WALL)
    found: list[bytes] = []
    after = (b"", b"")
    while part := ledger.unread_files(scan, after, 2):
        assert len(part) <= 2
        found += [os.path.join(where, row.name) for where, row in part]
        after = (part[-1][0], part[-1][1].name)
    assert found == [b"/in/old/1", b"/in/old/2", b"/in/other/1"]


def test_what_agrees_is_given_only_where_nothing_else_of_the_directory_is_to_be_recorded(
    ledger: Ledger,
) -> None:
    scan = ledger.begin_scan(b"/in")
    directory = ledger.directory(b"/in/a", scan)
    assert ledger.agreed(b"/in/a", scan) is None
    ledger.agree(directory, b"digest")
    assert ledger.agreed(b"/in/a", scan) == (directory, b"digest")
    assert ledger.agreed(b"/in/a", scan, nested=True) is None
    assert ledger.agreed(b"/in/a", ledger.begin_scan(b"/in/a")) is None, "it is another folder's now"
    assert ledger.agreed(b"/in/b", scan) is None
    ledger.directory(b"/in/a", scan, nested=True)
    assert ledger.agreed(b"/in/a", scan, nested=True) == (directory, b"digest")
    assert ledger.agreed(b"/in/a", scan) == (directory, b"digest"), "once nested, that is kept"


def test_a_rename_is_known_by_its_inode_size_and_time_in_the_same_directory(ledger: Ledger) -> None:
    old = put(ledger, b"/in/a.tmp")
    directory = (ledger.file(old) or (0,))[0]
    assert not ledger.renamed_within(directory, KEY, old), "a file is not its own new name"
    other = put(ledger, b"/in/sub/a")
    assert not ledger.renamed_within(directory, KEY, old)
    new = put(ledger, b"/in/a")
    assert ledger.renamed_within(directory, KEY, old)
    assert not ledger.renamed_within(directory, StatKey(100, 1, 2, 4), old)
    ledger.move_file(new, FileState.GONE, "gone")
    assert not ledger.renamed_within(directory, KEY, old)
    assert other


# studies, batches, waits


def due_study(ledger: Ledger, study: str = "1.2") -> DueStudy:
    for found, _ in ledger.touched_studies():
        ledger.schedule(found.study_id, found.first_at, found.first_at)
    return next(one for one in ledger.due_studies(1e12) if one.study_instance_uid == study)


def test_a_batch_takes_its_instances_out_of_what_is_due_before_anything_is_sent(ledger: Ledger) -> None:
    for number in range(5):
        put(ledger, b"/in/%d" % number, add(ledger, f"1.2.3.{number}", due_at=float(number)))
    study = due_study(ledger)
    assert (study.pending, study.pending_bytes) == (5, 500)
    batch = ledger.pending_of(study, 3.0, 3)
    assert [due.sop_instance_uid for due in batch] == ["1.2.3.0", "1.2.3.1", "1.2.3.2"], (
        "the longest due first"
    )
    assert all(due.source is not None for due in batch)
    ledger.open_batch(study.study_id, batch, WALL)
    assert ledger.count(SENDING) == 3
    assert [due.sop_instance_uid for due in ledger.pending_of(study, 3.0, 9)] == ["1.2.3.3"]
    assert ledger.waiting() == (1, 5, 500), "what is on its way is still due"


def test_what_is_not_due_yet_is_not_given(ledger: Ledger) -> None:
    add(ledger, due_at=50.0)
    add(ledger, "1.2.3.5", study="1.3", due_at=70.0)
    for found, _ in ledger.touched_studies():
        ledger.schedule(found.study_id, found.first_at, found.first_at)
    assert ledger.due_studies(49.9) == []
    assert [one.study_instance_uid for one in ledger.due_studies(50.0)] == ["1.2"]
    assert [one.study_instance_uid for one in ledger.due_studies(99.0)] == ["1.2", "1.3"]
    assert len(ledger.due_studies(99.0, most=1)) == 1
    assert ledger.next_due() == 50.0


def test_the_next_thing_due_may_be_a_question(ledger: Ledger) -> None:
    assert ledger.next_due() is None
    instance = add(ledger, state=UNCONFIRMED, due_at=30.0)
    assert ledger.next_due() == 30.0
    assert ledger.unconfirmed(29.0, 9) == []
    assert [due.instance_id for due in ledger.unconfirmed(30.0, 9)] == [instance]


def test_a_study_with_nothing_pending_is_never_due_whatever_its_moment_says(ledger: Ledger) -> None:
    instance = add(ledger)
    study = due_study(ledger)
    become(ledger, instance, STORED)
    assert ledger.due_studies(1e12) == []
    assert ledger.next_due() is None
    assert study.pending == 1


def test_studies_are_told_once_after_they_were_touched(ledger: Ledger) -> None:
    add(ledger, due_at=9.0)
    add(ledger, "1.2.3.5", due_at=4.0)
    ledger.arrived("1.2", 77.0, WALL)
    ((study, quiet_at),) = ledger.touched_studies()
    assert (study.pending, study.first_at, quiet_at) == (2, 4.0, 77.0)
    assert ledger.touched_studies() == []


def test_quieten_reaches_only_studies_with_something_pending_in_that_directory(ledger: Ledger) -> None:
    put(ledger, b"/in/a/1", add(ledger, "1.1.1", study="1.1"))
    put(ledger, b"/in/a/2", add(ledger, "1.2.1", study="1.2", state=STORED))
    put(ledger, b"/in/b/3", add(ledger, "1.3.1", study="1.3"))
    for study in ("1.1", "1.2", "1.3"):
        ledger.arrived(study, 500.0, WALL)
    ledger.touched_studies()
    directory = ledger.directory(b"/in/a", ledger.begin_scan(b"/in"))
    ledger.quieten([directory], 100.0)
    assert [(study.study_instance_uid, quiet) for study, quiet in ledger.touched_studies()] == [
        ("1.1", 100.0)
    ]


def test_moving_keeps_what_is_known_and_counts_what_was_tried(ledger: Ledger) -> None:
    instance = add(ledger)
    first = Transition(instance, STORED, "warning", "text", sha256=b"\x01" * 32, counts=True, together=3)
    ledger.move([first], WALL + 1, [5.0])
    second = Transition(instance, STORED, "", verified=True, counts=True)
    ledger.move([second], WALL + 2, [6.0])
    row = Reader.over(ledger).instance(instance)
    assert row is not None
    assert (row["stored_at"], row["verified_at"]) == (WALL + 1, WALL + 2)
    assert (row["sha256"], row["attempts"], row["together"]) == (b"\x01" * 32, 2, None)
    assert (row["reason"], row["detail"], row["due_at"]) == ("", "", 6.0)


def test_more_instances_than_a_statement_takes_move_together_each_with_its_own_hash(ledger: Ledger) -> None:
    count = many.AT_ONCE + 3
    arrivals = [arrival(ledger, f"1.2.3.{number}") for number in range(count)]
    ledger.add_arrivals(arrivals, WALL, 0.0)
    instances = list(range(1, count + 1))
    hashes = [number.to_bytes(32, "big") for number in range(count)]
    moves = [Transition(one, STORED, sha256=digest) for one, digest in zip(instances, hashes, strict=True)]
    refused = Transition(instances[-1], InstanceState.REJECTED, "failure-0110")
    ledger.move([*moves[:-1], refused], WALL, [0.0] * count)
    assert (ledger.count(STORED), ledger.count(InstanceState.REJECTED)) == (count - 1, 1)
    rows = ledger.connection.execute("SELECT sha256 FROM instances ORDER BY id").fetchall()
    assert [row[0] for row in rows] == [*hashes[:-1], None]
    assert [study.pending for study, _ in ledger.touched_studies()] == [0]


@pytest.mark.parametrize("state", list(InstanceState))
def test_a_new_instance_has_its_file_in_whatever_state_it_begins(
    ledger: Ledger, state: InstanceState
) -> None:
    ledger.add_arrivals([arrival(ledger, "1.2.3.1")._replace(state=state)], WALL, 0.0)
    source = ledger.source(1)
    assert source is not None
    assert source.path == b"/in/1.2.3.1"


def test_new_instances_and_their_files_are_tied_together_and_found_taken(ledger: Ledger) -> None:
    arrivals = [arrival(ledger, "1.2.3.1"), arrival(ledger, "1.2.3.2", study="1.9")]
    ledger.add_arrivals(arrivals, WALL, 0.0)
    become(ledger, 2, CONFLICT)
    assert ledger.taken(["1.2.3.1", "1.2.3.2", "1.2.3.3"]) == {"1.2.3.1", "1.2.3.2"}
    source = ledger.source(1)
    assert source is not None
    assert (source.path, source.key) == (b"/in/1.2.3.1", KEY)
    assert ledger.taken([]) == set()


def test_of_several_files_that_hold_an_instance_the_smallest_path_supplies_it(ledger: Ledger) -> None:
    instances = [add(ledger, f"1.2.3.{number}") for number in range(3)]
    for name in (b"/in/b", b"/in/a", b"/in/c"):
        put(ledger, name, instances[0])
    put(ledger, b"/in/z", instances[1])
    put(ledger, b"/in/left", instances[2], FileState.GONE)
    found = ledger.pending_of(due_study(ledger), 1.0, 9)
    assert [due.source and due.source.path for due in found] == [b"/in/a", b"/in/z", None]
    assert [due.source for due in found] == [ledger.source(one) for one in instances]


def test_a_rewritten_instance_moves_its_pending_bytes_to_its_new_study(ledger: Ledger) -> None:
    instance = add(ledger, size_bytes=100)
    ledger.rewrite_instance(instance, whole(study="1.9", size_bytes=7), None, WALL)
    rows = ledger.connection.execute(
        "SELECT study_instance_uid, pending, pending_bytes FROM studies ORDER BY 1"
    )
    assert rows.fetchall() == [("1.2", 0, 0), ("1.9", 1, 7)]


def test_what_was_tried_with_an_instances_former_content_does_not_count_for_its_new_one(
    ledger: Ledger,
) -> None:
    instance = add(ledger)
    ledger.move(
        [Transition(instance, PENDING, "failure-0110", counts=True, unclear=True)] * 4, WALL, [0.0] * 4
    )
    ledger.rewrite_instance(instance, whole(size_bytes=7), None, WALL)
    (due,) = ledger.pending_of(due_study(ledger), 1.0, 9)
    assert (due.size_bytes, due.attempts, due.unclear) == (7, 0, 0)


# after a restart


def test_what_was_on_its_way_at_a_restart_becomes_a_question_and_nothing_is_sent_again(
    ledger: Ledger,
) -> None:
    instances = [add(ledger, f"1.2.3.{number}") for number in range(3)]
    study = due_study(ledger)
    batch_id = ledger.open_batch(study.study_id, ledger.pending_of(study, 1.0, 2), WALL)
    assert ledger.recover(WALL + 5, WALL + 10, WALL + 900) == 2
    assert [ledger.state_of(one) for one in instances] == [UNCONFIRMED, UNCONFIRMED, PENDING]
    row = Reader.over(ledger).instance(instances[0])
    assert row is not None
    assert (row["reason"], row["looks"], row["due_at"]) == ("restart", 0, WALL + 10)
    batch = Reader.over(ledger).batch(batch_id)
    assert batch is not None
    assert (batch["answered_at"], batch["outcome"], batch["status"]) == (WALL + 5, "restart", None)
    assert ledger.recover(WALL + 6, WALL + 11, WALL + 900) == 0, "a second start finds nothing new"


@pytest.mark.parametrize("state", [PENDING, UNCONFIRMED])
def test_a_clock_that_was_set_back_puts_nothing_off_beyond_the_latest_moment(
    ledger: Ledger, state: InstanceState
) -> None:
    far = add(ledger, "1.2.3.1", state=state, due_at=WALL + 10 * 365 * 86_400)
    near = add(ledger, "1.2.3.2", state=state, due_at=WALL + 60)
    stored = add(ledger, "1.2.3.3", state=STORED, due_at=WALL + 1e9)
    for study, _ in ledger.touched_studies():
        ledger.schedule(study.study_id, WALL + 1e9, WALL + 1e9)
    ledger.recover(WALL, WALL + 5, WALL + 900)
    rows = dict(ledger.connection.execute("SELECT id, due_at FROM instances").fetchall())
    assert rows == {far: WALL + 900, near: WALL + 60, stored: WALL + 1e9}
    next_due = ledger.next_due()
    assert next_due is not None
    assert next_due <= WALL + 900


def test_a_study_that_has_something_pending_and_no_moment_is_given_one(ledger: Ledger) -> None:
    instance = add(ledger, state=CONFLICT)
    ledger.touched_studies()
    ledger.connection.execute("UPDATE instances SET state = 'pending' WHERE id = ?", (instance,))
    assert ledger.due_studies(1e12) == [], "as if a program had died between two steps, or a person helped"
    ledger.recover(WALL, WALL + 5, WALL + 900)
    assert [study.study_instance_uid for study in ledger.due_studies(WALL + 900)] == ["1.2"]
    next_due = ledger.next_due()
    assert next_due is not None
    assert next_due <= WALL + 900


def test_a_row_is_never_again_that_of_another_instance(path: Path) -> None:
    with opened(path) as ledger:
        with ledger.transaction():
            first = add(ledger, "1.2.3.1")
            ledger.drop_instance(first)
        with ledger.transaction():
            assert add(ledger, "1.2.3.2") > first


# one writer


def test_a_second_writer_in_this_process_is_refused(path: Path) -> None:
    with opened(path):
        with pytest.raises(LedgerInUse) as caught:
            Ledger.open(path)
        assert caught.value.exit_code == 73
    with opened(path):
        pass


def test_a_link_to_the_ledger_is_no_second_ledger(path: Path, tmp_path: Path) -> None:
    with opened(path):
        os.symlink(path, tmp_path / "alias.db")
        os.symlink(path.parent, tmp_path / "other")
        for alias in (tmp_path / "alias.db", tmp_path / "other" / "ledger.db"):
            with pytest.raises(LedgerInUse):
                Ledger.open(alias)


CHILD = """
import sys
from pathlib import Path
from dicomsync.ledger import Ledger
ledger = Ledger.open(Path(sys.argv[1]))
with ledger.transaction():
    ledger.set_fact("committed", "yes")
ledger.connection.execute("BEGIN IMMEDIATE")
ledger.set_fact("committed", "no")
print("ready", flush=True)
sys.stdin.read()
"""


def test_a_writer_in_another_process_holds_the_lock_until_it_is_killed_and_leaves_only_what_it_committed(
    path: Path,
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        try:
            assert child.stdout.readline() == b"ready\n"
            with pytest.raises(LedgerInUse):
                Ledger.open(path)
        finally:
            child.send_signal(signal.SIGKILL)
            child.wait()
    with opened(path) as made:
        assert made.fact("committed") == "yes"


def test_a_ledger_that_could_not_be_opened_keeps_no_lock(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: sqlite3.Connection) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    with monkeypatch.context() as patch:
        patch.setattr(opening, "migrate", refuse)
        with pytest.raises(LedgerProblem, match="its disk fails"):
            Ledger.open(path)
    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "set_fact", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            Ledger.open(path)
    with opened(path):
        pass


def test_no_room_for_the_index_of_the_log_is_a_full_disk_and_no_failing_one() -> None:
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorname = "SQLITE_IOERR_SHMSIZE"
    assert "its disk is full" in opening.problem(error, "nothing was sent").message


def test_a_program_that_writes_into_it_is_told_in_words(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "BUSY_SECONDS", 0.01)
    with opened(path) as made, closing(sqlite3.connect(path)) as intruder:
        intruder.execute("BEGIN IMMEDIATE")
        with pytest.raises(LedgerProblem, match="locked by another program") as caught, made.transaction():
            raise AssertionError("it must not get here")
        assert caught.value.hint


# the file


def test_everything_is_for_the_owner_alone_even_under_a_generous_umask(path: Path) -> None:
    before = os.umask(0o022)
    try:
        with opened(path) as made, made.transaction():
            add(made)
        with opened(path) as made, made.transaction():
            modes = {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()}
    finally:
        os.umask(before)
    assert {"ledger.db", "ledger.db-wal", "ledger.db.lock"} <= set(modes)
    assert set(modes.values()) == {0o600}
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_what_was_committed_survives_a_power_cut_because_every_commit_is_synced(path: Path) -> None:
    with opened(path) as made:
        pragmas = {
            name: made.connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("journal_mode", "synchronous")
        }
    assert pragmas == {"journal_mode": "wal", "synchronous": 2}


def test_a_ledger_has_a_name_of_its_own_for_life(path: Path, tmp_path: Path) -> None:
    with opened(path) as made:
        name = made.fact("ledger")
    with opened(path) as made:
        assert made.fact("ledger") == name
    with opened(tmp_path / "other.db") as made:
        assert made.fact("ledger") not in (None, name)


def test_a_ledger_speaks_of_one_archive_and_refuses_another(path: Path) -> None:
    with opened(path) as made, made.transaction():
        made.bind("https://one/v2")
    with opened(path) as made:
        with made.transaction():
            made.bind("https://one/v2")
        with pytest.raises(UsageProblem, match="https://one/v2, not of https://two/v2"), made.transaction():
            made.bind("https://two/v2")
        assert made.fact("archive") == "https://one/v2"


@pytest.mark.parametrize("kind", ["network", "fuse"])
def test_a_ledger_on_a_disk_sqlite_cannot_trust_is_refused_and_not_even_made(
    path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(opening.mounts, "kind", lambda _: kind)  # type: ignore[attr-defined]  # the outside
    with pytest.raises(LedgerProblem, match=f"{kind} file system"):
        Ledger.open(path)
    assert not path.parent.exists()


def test_a_link_does_not_hide_that_a_ledger_lies_on_a_network_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    share = tmp_path / "share"
    share.mkdir()
    os.symlink(share / "ledger.db", tmp_path / "ledger.db")
    kinds = {bytes(share): "network"}
    monkeypatch.setattr(opening.mounts, "kind", lambda where: kinds.get(where, "local"))  # type: ignore[attr-defined]  # the outside
    with pytest.raises(LedgerProblem, match="network file system"):
        Ledger.open(tmp_path / "ledger.db")
    assert list(share.iterdir()) == []


# what is no ledger of ours, or no longer one


def foreign(path: Path) -> None:
    raw(path, "CREATE TABLE patients (name TEXT)", "INSERT INTO patients VALUES ('Demo')")


def foreign_wal(path: Path) -> None:
    raw(path, "PRAGMA journal_mode = WAL", "CREATE TABLE patients (name TEXT)")


def newer(path: Path) -> None:
    with opened(path) as made, made.transaction():
        add(made)
    raw(
        path,
        "INSERT INTO _sqlite_migrations (migration_set, name, applied_at) VALUES ('dicomsync', 'm999', '')",
        "ALTER TABLE instances ADD COLUMN mood TEXT",
    )


def text(path: Path) -> None:
    path.write_bytes(b"These are notes, not a ledger.\n" * 100)


def short(path: Path) -> None:
    path.write_bytes(b"no")


def damaged(path: Path) -> None:
    with opened(path) as made, made.transaction():
        add(made)
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xa5" * (len(content) - 4096)
    path.write_bytes(content)


def cut(path: Path) -> None:
    with opened(path) as made, made.transaction():
        add(made)
    path.write_bytes(path.read_bytes()[:5000])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (foreign, "not a ledger of dicomsync; it was left as it is"),
        (foreign_wal, "not a ledger of dicomsync; it was left as it is"),
        (newer, "written by a newer dicomsync; it was left as it is"),
        (text, "is not an SQLite file"),
        (short, "is not an SQLite file"),
        (damaged, "is damaged"),
        (cut, "is damaged"),
    ],
)
def test_what_is_no_ledger_of_ours_is_refused_in_words_and_left_byte_for_byte(
    tmp_path: Path, make: Callable[[Path], None], words: str
) -> None:
    path = tmp_path / "ledger.db"
    make(path)
    content = path.read_bytes()
    for _ in range(2):  # the first leaves no lock behind
        with pytest.raises(LedgerProblem, match=words) as caught:
            Ledger.open(path)
        assert caught.value.hint
        assert caught.value.exit_code == 1
    assert path.read_bytes() == content
    assert {file.name for file in tmp_path.iterdir()} == {"ledger.db", "ledger.db.lock"}


def test_a_ledger_cannot_be_a_directory_or_lie_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "dir").mkdir()
    (tmp_path / "file").write_bytes(b"x")
    for path in (tmp_path / "dir", tmp_path / "file" / "ledger.db"):
        with pytest.raises(LedgerProblem) as caught:
            Ledger.open(path)
        assert caught.value.hint


def test_a_ledger_that_may_not_be_written_to_says_so(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(path) as made:
        made.connection.execute("PRAGMA query_only = 1")  # as a disk remounted read-only answers
        with pytest.raises(LedgerProblem, match="may not be written to"), made.transaction():
            add(made)
    real = os.open

    def refuse(name: str | Path, flags: int, mode: int = 0o777) -> int:
        if str(name) == str(path):
            raise PermissionError(13, "Permission denied")
        return real(name, flags, mode)

    monkeypatch.setattr(opening.os, "open", refuse)  # type: ignore[attr-defined]  # the tests may run as root
    with pytest.raises(LedgerProblem, match="cannot be written"):
        Ledger.open(path)


def test_a_full_disk_rolls_the_whole_turn_back_and_the_ledger_goes_on_when_there_is_room(path: Path) -> None:
    with opened(path) as made:
        with made.transaction():
            kept_id = add(made, "1.2.3.0")
        pages = made.connection.execute("PRAGMA page_count").fetchone()[0]
        made.connection.execute(f"PRAGMA max_page_count = {pages + 2}")

        def many() -> None:
            for number in range(1, 2000):
                add(made, f"1.2.3.{number}", study=f"1.{number}")

        with pytest.raises(LedgerProblem, match="its disk is full") as caught:
            turn(made, lambda: become(made, kept_id, STORED), many)
        assert "nothing was sent" in caught.value.message
        assert made.state_of(kept_id) is PENDING
        assert kept(made.connection) == recount(made.connection)
        made.connection.execute("PRAGMA max_page_count = 100000")
        with made.transaction():
            assert made.touched_studies() == [], "nothing of the broken turn is remembered"
            add(made, "1.2.3.1", study="1.1")
        assert made.count(PENDING) == 2


def test_a_study_of_a_broken_turn_is_made_anew_and_not_remembered(path: Path) -> None:
    with opened(path) as made:
        with pytest.raises(ZeroDivisionError):
            turn(made, lambda: made.study("1.7", WALL), break_off)
        with made.transaction():
            add(made, study="1.8")
            add(made, "1.2.3.5", study="1.7")
        assert made.connection.execute("PRAGMA foreign_key_check").fetchall() == []
        assert kept(made.connection) == recount(made.connection)


def test_a_migration_that_breaks_off_leaves_the_ledger_as_it_was(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(migrations, "_VIEWS", (*migrations._VIEWS, "CREATE VIEW broken AS SELECT FROM"))
        with pytest.raises(LedgerProblem):
            Ledger.open(path)
    assert ("instances",) not in raw(path, "SELECT name FROM sqlite_schema")
    with opened(path) as made, made.transaction():
        add(made)


# readers


def test_a_reader_sees_only_what_is_committed_and_never_holds_the_writer_up(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "BUSY_SECONDS", 0.0)
    with opened(path) as made, closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as slow:
        slow.execute("BEGIN")
        assert slow.execute("SELECT count(*) FROM instances").fetchone() == (0,)
        with made.transaction():
            add(made)
            with Reader.open(path) as reader:
                assert reader.counts().instances[PENDING] == 0
        with Reader.open(path) as reader:
            assert reader.counts().instances[PENDING] == 1
        assert slow.execute("SELECT count(*) FROM instances").fetchone() == (0,), "one look is one moment"
        slow.execute("COMMIT")


def test_a_reader_cannot_write(path: Path) -> None:
    refused = pytest.raises(LedgerProblem, match="may not be written to; nothing can be shown")
    with opened(path), refused, Reader.open(path) as reader:
        reader._connection.execute("DELETE FROM facts")


def test_a_reader_needs_no_lock(path: Path) -> None:
    with opened(path), Reader.open(path) as reader, Reader.open(path) as another:
        assert reader.fact("ledger") == another.fact("ledger") is not None


@pytest.mark.parametrize(
    ("make", "words"),
    [(None, "There is no ledger"), (foreign, "not a ledger"), (text, "is not an SQLite file")],
)
def test_a_reader_says_what_is_wrong_and_makes_nothing(
    tmp_path: Path, make: Callable[[Path], None] | None, words: str
) -> None:
    path = tmp_path / "ledger.db"
    if make is not None:
        make(path)
    before = {file: file.read_bytes() for file in tmp_path.iterdir()}
    with pytest.raises(LedgerProblem, match=words):
        Reader.open(path)
    assert {file: file.read_bytes() for file in tmp_path.iterdir()} == before


@pytest.mark.parametrize("look", [Reader.open, Ledger.scratch])
def test_a_look_at_a_ledger_leaves_nothing_behind(
    path: Path, look: Callable[[Path], Reader | Ledger]
) -> None:
    with opened(path) as made, made.transaction():
        add(made)
    before = {file: file.read_bytes() for file in path.parent.iterdir()}
    with closing(look(path)) as found:
        assert found.fact("ledger") is not None
        assert set(path.parent.iterdir()) == set(before)
    assert {file: file.read_bytes() for file in path.parent.iterdir()} == before


def test_a_look_at_a_ledger_whose_writer_died_sees_what_it_committed(path: Path, tmp_path: Path) -> None:
    (tmp_path / "left").mkdir()
    with opened(path) as made:
        with made.transaction():
            add(made)
        for name in ("ledger.db", "ledger.db-wal"):  # as a killed writer leaves them
            shutil.copy(path.parent / name, tmp_path / "left" / name)
    with Reader.open(tmp_path / "left" / "ledger.db") as reader:
        assert reader.counts().instances[PENDING] == 1


@pytest.mark.parametrize("make", [damaged, cut])
def test_a_look_at_a_damaged_ledger_ends_in_words(tmp_path: Path, make: Callable[[Path], None]) -> None:
    path = tmp_path / "ledger.db"
    make(path)
    told = pytest.raises(LedgerProblem, match="is damaged; nothing can be shown")
    with told as caught, Reader.open(path) as reader:
        reader.counts()
    assert caught.value.hint


def test_whatever_a_look_ends_in_the_file_is_closed(path: Path) -> None:
    with opened(path):
        pass
    before = len(os.listdir("/proc/self/fd"))
    for error in (sqlite3.DatabaseError("malformed"), ZeroDivisionError()):
        with pytest.raises((LedgerProblem, ZeroDivisionError)), Reader.open(path):
            raise error
    assert len(os.listdir("/proc/self/fd")) == before


def test_what_goes_wrong_beside_the_ledger_is_not_blamed_on_it(path: Path) -> None:
    with opened(path), pytest.raises(ZeroDivisionError), Reader.open(path):
        break_off()


def test_a_ledger_of_somebody_else_is_told_in_words(path: Path) -> None:
    with opened(path):
        pass
    path.parent.chmod(0)
    root = os.geteuid() == 0
    try:
        if root:
            os.seteuid(65534)  # for root every mode is open
        with pytest.raises(LedgerProblem) as caught:
            Reader.open(path)
    finally:
        if root:
            os.seteuid(0)
        path.parent.chmod(0o700)
    assert caught.value.hint


def test_a_reader_over_the_writers_own_connection_leaves_it_open() -> None:
    with closing(Ledger.scratch()) as made:
        with Reader.over(made) as reader:
            assert reader.counts().instances[PENDING] == 0
        Reader.over(made).close()
        with made.transaction():
            add(made)
        assert made.count(PENDING) == 1


def test_reports_below_a_folder_leave_out_one_that_only_begins_alike(ledger: Ledger) -> None:
    for where in (b"/in/ct/a", b"/in/ct/deep/b", b"/in/ct2/c", b"/in/ct-old/d", b"/in/e"):
        put(ledger, where, None, FileState.HELD)
    reader = Reader.over(ledger)
    assert sum(one.n for one in reader.outcomes([b"/in/ct"])) == 2
    assert sum(one.n for one in reader.outcomes([b"/in/ct/", b"/in/ct2"])) == 2
    assert sum(one.n for one in reader.outcomes()) == 5
    assert {row["path"] for row in reader.problems(9, [b"/in/ct"])} == {b"/in/ct/a", b"/in/ct/deep/b"}
    assert len(reader.problems(1)) == 1


def test_where_nothing_lies_outside_files_are_counted_as_they_lie_and_as_ever(ledger: Ledger) -> None:
    for number in range(4):
        put(ledger, b"/in/a/%d" % number, add(ledger, f"1.1.{number}", state=STORED))
    put(ledger, b"/in/a/x", None, FileState.HELD)
    put(ledger, b"/out/b/y", None, FileState.HELD)
    reader = Reader.over(ledger)

    def counted(*roots: bytes) -> tuple[bool, list[int]]:
        with traced(ledger.connection) as statements:
            found = sorted(one.n for one in reader.outcomes(roots))
        return any("NOT INDEXED" in one for one in statements), found

    assert counted() == (True, [2, 4])
    assert counted(b"/in", b"/out/b") == (True, [2, 4])
    assert counted(b"/in") == (False, [1, 4])
    assert counted(b"/in/a", b"/out") == (True, [2, 4])
    assert counted(b"/in/a/x", b"/out") == (False, [2]), "a single file of a directory is not all of it"


def test_outcomes_add_up_to_every_file(ledger: Ledger) -> None:
    stored, rejected = add(ledger, "1.1.1", state=STORED), add(ledger, "1.1.2", state=InstanceState.REJECTED)
    put(ledger, b"/in/1", stored)
    put(ledger, b"/in/2", stored)
    put(ledger, b"/in/3", rejected)
    put(ledger, b"/in/4", None, FileState.IGNORED)
    found = {(one.file_state, one.instance_state): one.n for one in Reader.over(ledger).outcomes()}
    assert found == {
        (FileState.READY, STORED): 2,
        (FileState.READY, InstanceState.REJECTED): 1,
        (FileState.IGNORED, None): 1,
    }
    assert [row["path"] for row in Reader.over(ledger).problems(9)] == [b"/in/3"]


def test_history_is_told_in_its_order_the_latest_last(ledger: Ledger) -> None:
    for number in range(5):
        ledger.remember("file", 7, f"event {number}", "", WALL + number)
    ledger.remember("instance", 7, "another", "", WALL)
    assert [row["event"] for row in Reader.over(ledger).history("file", 7, 3)] == [
        "event 2",
        "event 3",
        "event 4",
    ]


def test_every_row_under_a_uid_is_given(ledger: Ledger) -> None:
    add(ledger, state=STORED)
    add(ledger, state=CONFLICT)
    add(ledger, "1.2.3.5")
    assert [row["state"] for row in Reader.over(ledger).instances_under("1.2.3.4")] == ["stored", "conflict"]


def test_the_views_say_in_one_line_what_became_of_a_file(ledger: Ledger) -> None:
    put(ledger, "/in/M\u00fcller.dcm".encode(), add(ledger, state=CONFLICT))
    views = ("file_list", "instance_list", "study_list", "problem_list")
    rows = {view: ledger.connection.execute(f"SELECT * FROM {view}").fetchall() for view in views}
    assert {view: len(found) for view, found in rows.items()} == dict.fromkeys(views, 1)
    assert rows["problem_list"][0] == ("/in/M\u00fcller.dcm", "ready", "", "conflict", "1.2", "1.2.3.4")


@pytest.mark.parametrize(
    ("where", "shown"),
    [
        (b"/in/\xff.dcm", "/in/\\xff.dcm"),
        (b"/in/\xfe dir/a.dcm", "/in/\\xfe dir/a.dcm"),
        (b"/in/\xfe/\xff", "/in/\\xfe/\\xff"),
        ("/in/M\u00fcller".encode() + b"\xff.dcm", "/in/M\u00fcller\\xff.dcm"),
        ("/in/M\u00fcller.dcm".encode(), "/in/M\u00fcller.dcm"),
    ],
)
def test_the_views_show_a_name_that_is_not_utf8_in_escapes(ledger: Ledger, where: bytes, shown: str) -> None:
    put(ledger, b"/in/b.dcm", add(ledger, "1.2.3.5"))
    put(ledger, where, add(ledger, state=CONFLICT))
    listed = ledger.connection.execute("SELECT path FROM file_list").fetchall()
    assert set(listed) == {("/in/b.dcm",), (shown,)}
    assert ledger.connection.execute("SELECT path FROM problem_list").fetchall() == [(shown,)]


# dry runs


def test_a_dry_run_sees_what_the_ledger_holds_and_leaves_nothing(path: Path) -> None:
    with opened(path) as made:
        with made.transaction():
            add(made)
        before = {file.name: file.read_bytes() for file in path.parent.iterdir() if file.suffix != ".db-shm"}
        with closing(Ledger.scratch(path)) as scratch:
            assert scratch.count(PENDING) == 1
            assert scratch.fact("ledger") == made.fact("ledger")
            with scratch.transaction():
                add(scratch, "1.2.3.5")
                scratch.recover(WALL, WALL, WALL)
        after = {file.name: file.read_bytes() for file in path.parent.iterdir() if file.suffix != ".db-shm"}
        assert after == before
        assert made.count(PENDING) == 1


def test_a_dry_run_without_a_ledger_makes_none(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.parent.mkdir()
    monkeypatch.chdir(path.parent)
    with closing(Ledger.scratch(path)) as scratch, scratch.transaction():
        for number in range(100):
            add(scratch, f"1.2.3.{number}")
    assert list(path.parent.iterdir()) == []


def files_of_its_own(path: Path) -> None:
    raw(path, "CREATE TABLE files (a)")  # a table named as one of ours


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (text, "is not an SQLite file"),
        (foreign, "is not a ledger of dicomsync"),
        (foreign_wal, "is not a ledger of dicomsync"),
        (files_of_its_own, "is not a ledger of dicomsync"),
        (newer, "newer dicomsync"),
        (damaged, "is damaged"),
    ],
)
def test_a_dry_run_over_what_is_no_ledger_of_ours_says_so_and_leaves_it_as_it_is(
    tmp_path: Path, make: Callable[[Path], None], words: str
) -> None:
    path = tmp_path / "ledger.db"
    make(path)
    before = {file: file.read_bytes() for file in tmp_path.iterdir()}
    with pytest.raises(LedgerProblem, match=words):
        Ledger.scratch(path)
    assert {file: file.read_bytes() for file in tmp_path.iterdir()} == before


# how the hot questions are answered

STUDY = DueStudy(1, "1.2", 1, 1, 0.0, 0.0)
HOT: dict[str, tuple[Callable[[Ledger], object], set[str]]] = {
    "known": (
        lambda made: made.known("1.2.3.4"),
        {"instances_claim", "files_of_instance"},
    ),
    "due_studies": (lambda made: made.due_studies(1.0), {"studies_due"}),
    "pending_of": (lambda made: made.pending_of(STUDY, 1.0, 50), {"instances_pending"}),
    "unconfirmed": (lambda made: made.unconfirmed(1.0, 50), {"instances_asked"}),
    "next_due": (lambda made: made.next_due(), {"studies_due (ahead=? AND due_at>?)", "instances_asked"}),
    "oldest_due": (lambda made: Reader.over(made).oldest_due(), {"instances_waiting"}),
    "files_between": (lambda made: made.files_between(1, b"a", b"z"), {"sqlite_autoindex_files_1"}),
    "files_between, to the end": (
        lambda made: made.files_between(1, b"a", None),
        {"sqlite_autoindex_files_1"},
    ),
    "source": (lambda made: made.source(1), {"files_of_instance"}),
    "linked_files": (lambda made: made.linked_files(1), {"files_of_instance"}),
    "touched_studies": (lambda made: made.touched_studies(), {"instances_pending"}),
    "instances_under": (
        lambda made: Reader.over(made).instances_under("1.2.3.4"),
        {"instances_claim"},
    ),
    "file_at": (lambda made: Reader.over(made).file_at(b"/in/a"), {"sqlite_autoindex_files_1"}),
    "history": (lambda made: Reader.over(made).history("file", 1), {"history_of"}),
    "due_study_count": (lambda made: made.due_study_count(), {"studies_due", "batches_open"}),
    "cases": (lambda made: Reader.over(made).cases(), {"instances_odd", "files_odd", "instances_lost"}),
    "counting": (lambda made: made.count(PENDING, STORED), {"PRIMARY KEY"}),
}


@contextmanager
def traced(db: sqlite3.Connection) -> Iterator[list[str]]:
    found: list[str] = []
    db.set_trace_callback(found.append)
    try:
        yield found
    finally:
        db.set_trace_callback(None)


def plan(db: sqlite3.Connection, statements: Sequence[str]) -> list[str]:
    return [row[3] for one in statements for row in db.execute(f"EXPLAIN QUERY PLAN {one}")]


@pytest.mark.parametrize("question", HOT)
def test_a_hot_question_is_answered_from_its_index_and_never_by_reading_a_table(
    ledger: Ledger, question: str
) -> None:
    ask, indexes = HOT[question]
    put(ledger, b"/in/a", add(ledger, due_at=0.0))
    add(ledger, "1.2.3.5", state=UNCONFIRMED)
    with traced(ledger.connection) as statements:
        ask(ledger)
    assert statements
    steps = plan(ledger.connection, statements)
    for index in indexes:
        assert any(index in step for step in steps), steps
    covering = [step for step in steps if step.startswith("SCAN") and "INDEX" not in step]
    given = ("SCAN (", "SCAN CONSTANT ROW", "SCAN given")  # the rows of the statement itself
    assert [step for step in covering if not step.startswith(given)] == [], steps


def test_taking_in_and_moving_an_instance_reads_no_table(ledger: Ledger) -> None:
    instance = add(ledger)
    put(ledger, b"/in/a", instance)
    with traced(ledger.connection) as statements:
        added = add(ledger, "1.2.3.9")
        file_id = put(ledger, b"/in/b", added)
        become(ledger, added, SENDING)
        become(ledger, added, STORED)
        ledger.move_file(file_id, FileState.GONE, "gone")
    verbs = [one for one in statements if one.split()[0] in ("SELECT", "INSERT", "UPDATE")]
    read = [step for step in plan(ledger.connection, verbs) if step.startswith("SCAN")]
    assert [step for step in read if step != "SCAN CONSTANT ROW"] == []  # a row of the statement itself


@pytest.mark.parametrize("state", InstanceState)
def test_what_the_indexes_go_by_is_as_the_state_says_whoever_changed_it(
    ledger: Ledger, state: InstanceState
) -> None:
    by_hand, moved = add(ledger), add(ledger, "1.2.3.5")
    ledger.connection.execute("UPDATE instances SET state = ? WHERE id = ?", (state, by_hand))
    become(ledger, moved, state)
    added = add(ledger, "1.2.3.6", state=state)
    ledger.connection.execute(
        """INSERT INTO instances (study_id, series_instance_uid, sop_instance_uid, sop_class_uid,
            transfer_syntax_uid, size_bytes, state, seen_at)
        VALUES (1, '1.2', '1.2.3.7', '1.2', '1.2', 1, ?, 1)""",
        (state,),
    )
    found = ledger.connection.execute("SELECT id, claims, waits FROM instances ORDER BY id").fetchall()
    goes_by = (1 if state in CLAIMING else None, int(state in DUE))
    assert found == [(one, *goes_by) for one in (by_hand, moved, added, added + 1)]


def test_two_contents_under_one_uid_never_both_claim_it(ledger: Ledger) -> None:
    add(ledger)
    conflict = add(ledger, state=InstanceState.CONFLICT)
    for state in CLAIMING:
        with pytest.raises(sqlite3.IntegrityError):
            ledger.connection.execute("UPDATE instances SET state = ? WHERE id = ?", (state, conflict))
        with pytest.raises(sqlite3.IntegrityError):
            add(ledger, state=state)


def test_what_is_on_its_way_in_no_open_batch_is_asked_about_all_the_same(ledger: Ledger) -> None:
    instance = add(ledger)
    ledger.connection.execute("UPDATE instances SET state = 'sending' WHERE id = ?", (instance,))
    assert ledger.recover(1.0, 2.0, 3.0) == 1
    assert ledger.state_of(instance) is UNCONFIRMED


def test_the_longest_due_come_out_of_the_index_already_in_order(ledger: Ledger) -> None:
    add(ledger)
    add(ledger, "1.2.3.5", state=UNCONFIRMED)
    with traced(ledger.connection) as statements:
        ledger.due_studies(1.0)
        ledger.next_due()
        ledger.pending_of(STUDY, 1.0, 50)
        ledger.unconfirmed(1.0, 50)
    hot = [one for one in statements if "FROM files" not in one]
    assert not any("TEMP B-TREE" in step for step in plan(ledger.connection, hot))


def test_a_due_instance_carries_what_a_request_needs(ledger: Ledger) -> None:
    found = Whole(KEY, "1.2", "1.2.3", "1.2.3.4", "1.2.840", "1.2.840.10008.1.2.1", b"\x07" * 128)
    instance = ledger.add_instance(found, PENDING, "", WALL, 0.0, b"\x01" * 32)
    file_id = put(ledger, b"/in/a", instance)
    ledger.move([Transition(instance, PENDING, "absent", counts=True, looks=1, together=4)], WALL, [0.0])
    ledger.move(
        [Transition(instance, PENDING, "absent", counts=True, unclear=True, looks=1, together=4)],
        WALL,
        [0.0],
    )
    (due,) = ledger.pending_of(due_study(ledger), 1.0, 9)
    source = ledger.source(instance)
    assert source is not None
    assert source.file_id == file_id
    assert due == Due(
        instance, "1.2", "1.2.3", "1.2.3.4", 100, b"\x07" * 128, b"\x01" * 32, "absent", 2, 1, 1, 4, source
    )
