"""The measuring itself: that it starts what it says, counts what arrives, and judges figures rightly."""

from __future__ import annotations

import dataclasses
import json
import sqlite3
import sys
import urllib.request
from contextlib import closing
from pathlib import Path

import pytest

from benchmarks import __main__ as command_line
from benchmarks import by_dicomweb_client, measuring, profiles, senders, servers, trees, uploads
from benchmarks.corpora import Shelf, paths_in
from benchmarks.goals import Finding, at_least, at_most
from benchmarks.measuring import FailedRun, Sample
from dicomsync.dicomweb import Archive, BytesPart, client_for, close_clients
from dicomsync.ledger import Ledger
from dicomsync.model import InstanceState
from dicomsync.samples import write_ct_files


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.corpora.SETTLED_SECONDS", 0.0)


def test_a_figure_on_its_bound_meets_the_goal_and_one_beyond_it_does_not() -> None:
    assert at_least(2.0).met(2.0)
    assert not at_least(2.0).met(1.99)
    assert at_most(0.0).met(0.0)
    assert not at_most(0.0).met(1.0)
    assert at_most(10.0).verdict(12.5) == "not met (+25%)"


def test_what_is_missing_is_named_and_meets_no_goal() -> None:
    finding = Finding("ct to orthanc", "dcmsend", goal=at_least(2.0), missing="dcmsend is not installed")
    assert finding.met is None
    assert "not measured" in finding.row
    assert "dcmsend is not installed" in command_line._as_text({}, "quick", [finding])


def test_a_peer_that_is_not_installed_or_brings_too_little_is_named(tmp_path: Path) -> None:
    absent = dataclasses.replace(senders.CURL, missing=lambda: "curl is not installed")
    lazy = senders.Sender("lazy", lambda folder, server, place: ["true"])
    corpus = Shelf(tmp_path / "cache", 0).mr(2)
    findings, runs = uploads.contest("mr to the sink", corpus, servers.sink, [absent, lazy], 1, tmp_path)
    assert [(one.against, one.missing) for one in findings] == [
        (absent.name, "curl is not installed"),
        ("lazy", "lazy brought 0 of 2 instances"),
    ]
    assert list(runs) == [senders.OURS]
    (sample,) = runs[senders.OURS]
    assert sample.seconds > 0
    assert 10e6 < sample.rss_bytes < 500e6


def test_a_request_whose_instances_were_not_all_stored_at_once_is_told(tmp_path: Path) -> None:
    assert uploads.unclear(tmp_path / "ledger.db") == [], "a peer has none"
    ledger = Ledger.open(tmp_path / "ledger.db")
    ledger.close()
    study = "INSERT INTO studies (id, study_instance_uid, seen_at) VALUES (1, '1.2', 0)"
    batch = """INSERT INTO batches (study_id, sent_at, instances, size_bytes, status, outcome)
        VALUES (1, 0, ?, 0, ?, ?)"""
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as database, database:
        database.execute(study)
        database.executemany(batch, [(63, 200, "63 stored"), (63, None, "63 unconfirmed (broken)")])
    assert uploads.unclear(tmp_path / "ledger.db") == [
        "a request of 63, status None: 63 unconfirmed (broken)"
    ]


def test_whoever_goes_first_in_one_round_goes_last_in_the_next() -> None:
    order: list[str] = []

    def runner(name: str) -> Sample:
        order.append(name)
        return Sample(1.0)

    measuring.in_turn({"a": lambda: runner("a"), "b": lambda: runner("b")}, 2)
    assert order == ["a", "b", "b", "a"]


def test_a_command_that_fails_is_told_with_what_it_said_last() -> None:
    with pytest.raises(FailedRun, match="ended with 3, and said: no such luck"):
        measuring.run(
            [sys.executable, "-c", "import sys; print('no such luck', file=sys.stderr); sys.exit(3)"]
        )


def test_a_run_takes_as_much_memory_as_it_takes_whatever_its_parent_has() -> None:
    ballast = b"\1" * 200_000_000
    assert measuring.run([sys.executable, "-S", "-c", "pass"]).rss_bytes < len(ballast) / 4


def test_our_own_failure_ends_the_contest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        uploads, "DICOMSYNC", senders.Sender(senders.OURS, lambda folder, server, place: ["true"])
    )
    with pytest.raises(FailedRun, match="dicomsync brought 0 of 3"):
        uploads.contest("", Shelf(tmp_path / "cache", 0).mr(3), servers.sink, [], 1, tmp_path)


def test_a_corpus_is_made_once_and_again_if_it_was_not_finished(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path, 7)
    first = shelf.mixed(10)
    assert first.files == len(list(paths_in(first.path))) > 8
    kept = {path: path.stat().st_ino for path in paths_in(first.path)}
    assert shelf.mixed(10) == first
    assert {path: path.stat().st_ino for path in paths_in(first.path)} == kept
    (first.path.parent / "complete").unlink()
    (first.path / "half.dcm").touch()
    assert shelf.mixed(10) == first
    assert not (first.path / "half.dcm").exists()


def test_a_tree_is_scanned_to_its_end_sent_nothing_of_and_found_pending_again(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    trees.grow(tree, 2 * trees.FILES_A_DIRECTORY + 3)
    ledger = Ledger.open(tmp_path / "ledger.db")
    try:
        for _ in range(2):
            trees.scanned(tree, ledger)
            assert ledger.count(InstanceState.PENDING) == ledger.count(*InstanceState) == 203
        trees.restarted(tree, ledger)
        assert ledger.count(InstanceState.SENDING) > 0
    finally:
        ledger.close()


@pytest.mark.parametrize(
    "peer",
    [senders.LIMIT, senders.DICOMWEB_CLIENT, senders.ONE_BY_ONE, senders.ALL_AT_ONCE, senders.CURL],
    ids=lambda p: p.name,
)
def test_a_peer_brings_every_instance_to_the_sink(peer: senders.Sender, tmp_path: Path) -> None:
    if why := peer.missing():
        pytest.skip(why)
    uploads.send(peer, Shelf(tmp_path / "cache", 0).ct(3, 2), servers.sink, tmp_path)


def test_the_sink_acknowledges_what_it_read_and_nothing_else(tmp_path: Path) -> None:
    files = write_ct_files(tmp_path, count=3, studies=1, size=300)
    parts = [BytesPart(path.read_bytes()) for path in files]
    with servers.sink() as server:
        client = client_for(Archive(server.url, kind=server.kind))
        answer = client.store(parts)
        assert answer.response is not None
        assert answer.response.failed == ()
        assert len({one.sop_instance_uid for one in answer.response.referenced}) == 3
        assert server.count() == 3
        client.store(parts[:1])
        assert server.count() == 3
        close_clients()


def test_the_sink_hangs_up_on_what_is_not_dicom() -> None:
    with servers.sink() as server:
        request = urllib.request.Request(f"{server.url}/studies", b"x" * 400)
        with pytest.raises(OSError):
            urllib.request.urlopen(request, timeout=10)
        assert server.count() == 0


def test_a_sections_trouble_is_told_and_stops_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.senders.COMMAND", ["false"])
    tiny = dataclasses.replace(profiles.QUICK, tree_files=4, tree_directories=2, rounds=1)
    bench = profiles.Bench(tiny, Shelf(tmp_path / "cache", 0), tmp_path, 0)
    (finding,) = profiles.measured("scan", bench)
    assert finding.what == "the rest of scan"
    assert "false ended with 1" in finding.missing


def test_requests_of_the_peer_are_as_large_as_ours_at_most(tmp_path: Path) -> None:
    for number in range(120):
        (tmp_path / f"{number:03}.dcm").touch()
    groups = list(by_dicomweb_client.groups([str(path) for path in paths_in(tmp_path)]))
    assert [len(group) for group in groups] == [100, 20]
    assert [len(group) for group in by_dicomweb_client.groups([str(tmp_path / "000.dcm")] * 2, 1)] == [1, 1]


def test_the_command_prints_what_a_program_can_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        command_line, "QUICK", dataclasses.replace(profiles.QUICK, header_files=4, tree_files=4, rounds=1)
    )
    arguments = ["--json", "--only", "header", "scan", "--cache", str(tmp_path), "--work", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["benchmarks", *arguments])
    code = command_line.main()
    told = json.loads(capsys.readouterr().out)
    assert code == (1 if any(one["met"] is False for one in told["findings"]) else 0)
    assert {one["what"] for one in told["findings"]} >= {"header of a CT", "unchanged rescan"}
    assert all(one["figure"] > 0 for one in told["findings"] if one["unit"] == "MB")
