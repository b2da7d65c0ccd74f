"""What `doctor` says of sites with something wrong, and that it never raises, writes or tells a secret."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import ssl
import subprocess
import threading
import time
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from dicomsync import config, doctor, mounts, sandbox, scan
from dicomsync.certificates import expiry
from dicomsync.dicomweb import Archive
from dicomsync.doctor import certificate as certificates
from dicomsync.doctor import folders, ledger
from dicomsync.doctor.check import Check, State, attempt
from dicomsync.doctor.folders import Tally
from dicomsync.ledger import Ledger, holding
from dicomsync.model import Folder
from tests.conftest import Site, small
from tests.issuer import Authority, Issuer, guarded
from tests.orthanc import Orthanc, free_port
from tests.scripted_server import TEST_CERTIFICATE, Request, ScriptedServer, answer, answering
from tests.test_proxy import tunnel

SECRET = "correct-horse-battery"
OK, WARNING, PROBLEM = State.OK, State.WARNING, State.PROBLEM


@pytest.fixture
def absent() -> str:
    """An archive that nobody runs."""
    return f"http://127.0.0.1:{free_port()}/dicom-web"


def look(site: Site, url: str, **sections: dict[str, Any]) -> dict[str, Check]:
    """Look at a site; every check has a name of its own, and all are fit to print."""
    checks = doctor.examine("site.toml", lambda: config.build(site.settings(url, **sections)))
    named = {one.name: one for one in checks}
    assert len(named) == len(checks)
    text = doctor.text(checks)
    assert max(map(len, text.splitlines())) <= 100
    assert SECRET not in text + json.dumps(doctor.as_json(checks))
    assert all(one.todo for one in checks if one.state is PROBLEM), "a problem without a way out"
    return named


def refusing(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    """Let opening this directory fail, as the tests may run as root, for whom every mode is open."""
    real = os.open

    def refuse(name: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if os.fsencode(name) == bytes(path):
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))
        return real(name, flags, mode, dir_fd=dir_fd)

    monkeypatch.setattr(scan.os, "open", refuse)  # type: ignore[attr-defined]  # the outside


# The config


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "cannot be read"),
        ("[archive", "is not TOML"),
        ('[archive]\nurl = "x"\n[ledger]\npath = ""\n[nonsense]\n', "begins with https"),
    ],
)
def test_a_config_that_cannot_be_used_is_the_one_thing_told(site: Site, text: str | None, words: str) -> None:
    if text is not None:
        site.config_file.write_text(text)
    plain = site.start("doctor", "-c", site.config_file)
    program = site.run("doctor", "-c", site.config_file, "--json")
    out, err = plain.communicate(timeout=30)
    assert (plain.returncode, err) == (2, "")
    assert words in " ".join(out.split())
    (told,) = program.json["checks"]
    assert (program.code, told["name"], told["state"]) == (2, "config", "problem")


def test_an_url_that_the_client_refuses_is_a_problem_and_the_rest_is_looked_at(site: Site) -> None:
    told = look(site, "http://host/a b")
    assert told["archive"].state is PROBLEM
    assert "blanks" in told["archive"].words
    assert told["folder 1"].state is OK


# Never raises


@pytest.mark.parametrize(
    ("error", "state", "words"),
    [
        (ZeroDivisionError(SECRET), WARNING, "could not be looked at (ZeroDivisionError)"),
        (OSError(errno.EIO, "Input/output error"), WARNING, "could not be looked at (Input/output error)"),
        (TimeoutError("timed out"), WARNING, "could not be looked at (TimeoutError)"),
    ],
)
def test_a_look_that_fails_says_so(error: Exception, state: State, words: str) -> None:
    def fail() -> None:
        raise error

    assert attempt("it", fail) == Check("it", state, words)


def test_a_mount_that_hangs_is_told_and_holds_nothing_up(
    site: Site, absent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    back, real = threading.Event(), mounts.kind

    def kind(path: bytes) -> str:
        return real(path) if path != bytes(site.folder) or back.wait(30) else "local"

    monkeypatch.setattr(folders, "COUNT_SECONDS", 0.05)
    monkeypatch.setattr(folders, "PATIENCE_SECONDS", 0.05)
    monkeypatch.setattr(mounts, "kind", kind)
    told = look(site, absent)
    back.set()
    assert told["folder 1"].state is PROBLEM
    assert "no answer within" in told["folder 1"].words
    assert str(site.folder) in told["folder 1"].words
    assert told["ledger"].state is OK


# The credential


@pytest.mark.parametrize(
    ("mode", "state", "todo"),
    [(0o600, OK, ""), (0o440, OK, ""), (0o644, WARNING, "chmod 0640"), (0o660, WARNING, "chmod g-w")],
)
def test_a_secret_that_others_can_read_is_a_warning(
    site: Site, sandboxed: sandbox.Archive, mode: int, state: State, todo: str
) -> None:
    secret = site.home / "token"
    secret.write_text(SECRET + "\n")
    secret.chmod(mode)
    told = look(site, sandboxed.url, archive={"auth": "bearer", "token_from": str(secret)})
    assert told["credential"].state is state
    assert told["credential"].todo.startswith(todo)
    assert str(secret) in told["credential"].words


def test_a_credential_that_is_missing_is_a_problem_and_a_wrong_one_is_the_archives_answer(
    site: Site, sandboxed: sandbox.Archive
) -> None:
    secret = site.home / "token"
    auth = {"auth": "bearer", "token_from": str(secret)}
    told = look(site, sandboxed.url, archive=auth)
    assert (told["credential"].state, told["archive"].state) == (PROBLEM, PROBLEM)
    assert not sandboxed.requests, "something was sent"
    sandboxed.set_faults([f"token={SECRET}"])
    secret.write_text("wrong")
    told = look(site, sandboxed.url, archive=auth)
    assert told["archive"].state is PROBLEM
    assert "401" in told["archive"].words
    assert "credential was not accepted" in told["archive"].todo
    secret.write_text(SECRET)
    assert look(site, sandboxed.url, archive=auth)["archive"].state is OK


def nothing(_: Request) -> bytes:
    return answer(200, b"[]", Content_Type="application/dicom+json")


def oauth2(issuer: Issuer, secret: Path) -> dict[str, str]:
    secret.write_text(SECRET)
    secret.chmod(0o600)
    return {
        "auth": "oauth2",
        "token_url": issuer.url,
        "client_id": "me",
        "client_secret_from": str(secret),
    }


def test_a_token_is_asked_for_and_its_life_is_told(site: Site) -> None:
    with Issuer() as issuer, guarded(issuer, nothing) as archive:
        auth = oauth2(issuer, site.home / "secret")
        told = look(site, archive.url, archive=auth)
        assert told["credential"].state is OK
        assert "good for 1 h" in told["credential"].words or "good for 60 min" in told["credential"].words
        assert told["archive"].state is not PROBLEM
        issuer.lifetime_seconds = 5
        told = look(site, archive.url, archive=auth)
        assert told["credential"].state is WARNING
        assert "longer life" in told["credential"].todo


def test_an_issuer_that_gives_no_token_or_is_not_there_is_a_problem_with_a_way_out(site: Site) -> None:
    with Issuer() as issuer, guarded(issuer, nothing) as archive:
        auth = oauth2(issuer, site.home / "secret")
        issuer.respond = lambda _: answer(401, b'{"error": "invalid_client"}')
        told = look(site, archive.url, archive=auth)
        assert told["credential"].state is PROBLEM
        assert "expired" in told["credential"].todo
        auth["token_url"] = f"http://127.0.0.1:{free_port()}/token"
        told = look(site, archive.url, archive=auth)
        assert told["credential"].state is PROBLEM
        assert "token endpoint" in told["credential"].words


def test_a_systemd_credential_outside_of_its_service_is_told_with_how_to_try_it(
    site: Site, absent: str
) -> None:
    told = look(site, absent, archive={"auth": "bearer", "token_from": "credential:token"})
    assert told["credential"].state is PROBLEM
    assert "systemd-run -P -p LoadCredential=" in told["credential"].todo


def test_our_own_certificate_is_looked_at_too(site: Site, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.client("modality")
    ours = {"ca_file": authority.file, "client_certificate": certificate, "client_key": key}
    with ScriptedServer(module(), tls=authority.server(asks=authority)) as server:
        told = look(site, server.url, archive=ours)
        assert told["archive"].state is not PROBLEM
        assert told["client certificate"].state is OK
        assert "expires in" in told["client certificate"].words
        told = look(site, server.url, archive={**ours, "client_key": certificate})
        assert told["client certificate"].state is PROBLEM


def test_through_a_proxy_the_certificate_is_looked_at_and_nobody_reached_past_it(
    site: Site, tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    with (
        ScriptedServer(module(), tls=authority.server()) as server,
        ScriptedServer(tunnel) as proxy,
    ):
        way = {"ca_file": authority.file, "proxy": proxy.url.removesuffix("/v2")}
        told = look(site, server.url, archive=way)
        assert "expires in" in told["certificate"].words
        assert server.connections == proxy.connections > 0


# The folders


def test_a_folder_that_is_missing_or_a_file_is_a_problem(site: Site, absent: str) -> None:
    site.folder.joinpath("x").write_bytes(b"")
    settings = site.settings(absent)
    settings["folders"] = [{"path": str(site.home / "away")}, {"path": str(site.folder / "x")}]
    told = {one.name: one for one in doctor.examine("c", lambda: config.build(settings))}
    assert told["folder 1"].state is PROBLEM
    assert str(site.home / "away") in told["folder 1"].words
    assert "No such file" in told["folder 1"].words
    assert told["folder 2"].state is PROBLEM
    assert "not a folder" in told["folder 2"].words
    assert "folder 1 files" not in told


def test_a_folder_that_cannot_be_read_or_not_all_of_it_is_a_problem(
    site: Site, absent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.write("a/1.dcm", small("1"))
    site.write("b/2.dcm", small("2"))
    with monkeypatch.context() as patch:
        refusing(patch, site.folder / "b")
        told = look(site, absent)
    assert told["folder 1"].state is PROBLEM
    assert "1 directory in it cannot be read: Permission denied" in told["folder 1"].words
    assert "1 file to take" in told["folder 1 files"].words
    refusing(monkeypatch, site.folder)
    told = look(site, absent)
    assert "cannot be read: Permission denied" in told["folder 1"].words
    assert "folder 1 files" not in told


def test_files_and_bytes_that_would_go_and_dicom_that_would_not_are_counted(site: Site, absent: str) -> None:
    content = small("1")
    site.write("a/1.dcm", content)
    site.write("a/2.DCM", content)
    site.write("b/IM0001", content)
    site.write("notes.txt", b"x")
    told = look(site, absent)
    assert told["folder 1 files"].words.startswith("2 files to take")
    assert told["folder 1 excluded"].state is WARNING
    assert "2 files left out by name, and 1 of the 2 looked at are DICOM" in told["folder 1 excluded"].words
    assert told["inotify"].words.startswith("3 directories")
    told = look(site, absent, folders={"include": ["*"], "start": "new"})
    assert told["folder 1 files"].words.startswith("4 files to take")
    assert "leaves alone" in told["folder 1 files"].words
    assert told["folder 1 excluded"].state is OK


def test_a_folder_too_large_to_count_is_told_as_at_least(
    site: Site, absent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.write("1.dcm", small("1"))
    monkeypatch.setattr(folders, "COUNT_SECONDS", -1.0)
    told = look(site, absent)
    assert told["folder 1 files"].words.startswith("at least 0 files to take, at least 0 B")
    assert folders.tally(Folder(bytes(site.folder)), 5).whole


@pytest.mark.parametrize(("kind", "words"), [("network", "a network share"), ("fuse", "a FUSE file system")])
def test_what_follows_from_a_share_is_told_and_it_needs_no_watches(
    site: Site, absent: str, monkeypatch: pytest.MonkeyPatch, kind: str, words: str
) -> None:
    real = mounts.kind
    monkeypatch.setattr(mounts, "kind", lambda path: kind if path == bytes(site.folder) else real(path))
    told = look(site, absent, folders={"settle": "auto"})
    assert words in told["folder 1"].words
    assert "still for 30 s" in told["folder 1"].words
    assert "scanned" in told["folder 1"].words
    assert told["inotify"].words.startswith("0 directories")
    told = look(site, absent, folders={"watch": "events"})
    assert told["folder 1"].state is WARNING
    assert told["inotify"].words.startswith("1 directory")


def test_a_folder_that_is_only_scanned_needs_no_watches(site: Site, absent: str) -> None:
    told = look(site, absent, folders={"watch": "scan"})
    assert "local disk: scanned" in told["folder 1"].words
    assert told["inotify"].words.startswith("0 directories")


@pytest.mark.parametrize(
    ("tallies", "limit", "state", "words", "todo"),
    [
        ([], 10, OK, "0 directories", ""),
        ([Tally(directories=10)], 10, OK, "10 directories", ""),
        ([Tally(directories=5), Tally(directories=6)], 10, WARNING, "11 directories", "=65536"),
        ([Tally(directories=400_000)], 8192, WARNING, "400,000 directories", "=800000 "),
        ([Tally(directories=5, whole=False)], 10, WARNING, "at least 5 directories", "find"),
        (
            [Tally(directories=11, whole=False)],
            10,
            WARNING,
            "at least 11 directories",
            "sysctl -w fs.inotify",
        ),
    ],
)
def test_the_limit_on_watches_is_told_before_it_is_reached(
    tallies: list[Tally], limit: int, state: State, words: str, todo: str
) -> None:
    told = folders.inotify(tallies, limit)
    assert told.state is state
    assert told.words.startswith(words)
    assert todo in told.todo


def test_a_limit_too_low_is_read_from_the_kernel_and_an_absent_one_is_told(
    site: Site, absent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = site.home / "max_user_watches"
    monkeypatch.setattr(folders, "WATCHES", limit)
    assert "could not be looked at" in look(site, absent)["inotify"].words
    site.write("a/b/1.dcm", b"")
    limit.write_text("2\n")
    told = look(site, absent)["inotify"]
    assert told.state is WARNING
    assert "sysctl -w fs.inotify.max_user_watches=65536" in told.todo


def test_a_config_without_folders_is_told(site: Site, absent: str) -> None:
    settings = {**site.settings(absent), "folders": []}
    told = {one.name: one for one in doctor.examine("c", lambda: config.build(settings))}
    assert told["folders"].state is WARNING


# The ledger


def test_a_ledger_of_another_archive_is_a_problem_and_one_at_work_is_fine(
    site: Site, sandboxed: sandbox.Archive
) -> None:
    other = Ledger.open(site.ledger)
    with other.transaction():
        other.bind("http://other/v2")
    told = look(site, sandboxed.url)
    assert told["ledger archive"].state is PROBLEM
    assert "http://other/v2" in told["ledger archive"].words
    assert told["ledger lock"].state is OK
    assert f"process {os.getpid()}" in told["ledger lock"].words
    other.close()
    assert look(site, "http://other/v2/")["ledger archive"].state is OK
    assert look(site, "http://other/v2")["ledger lock"].words == "free"


def test_looking_never_takes_the_lock_from_a_daemon_that_starts(
    site: Site, absent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Ledger.open(site.ledger).close()

    def never(*_: object) -> None:
        raise AssertionError("the lock was taken")

    monkeypatch.setattr(fcntl, "flock", never)
    assert look(site, absent)["ledger lock"].words == "free"


def test_who_holds_the_lock_is_in_the_kernels_table_which_may_be_hidden(
    site: Site, absent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = Ledger.open(site.ledger)
    assert f"held by process {os.getpid()}:" in look(site, absent)["ledger lock"].words
    monkeypatch.setattr(holding, "LOCKS", site.home / "none")
    assert "could not be looked at" in look(site, absent)["ledger lock"].words
    ledger.close()
    assert look(site, absent)["ledger lock"].words == "free"


def test_a_kernel_without_marks_on_open_files_stops_no_writer_and_its_table_is_asked(
    site: Site, absent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(*_: object) -> None:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(fcntl, "fcntl", unknown)
    ledger = Ledger.open(site.ledger)
    assert f"held by process {os.getpid()}:" in look(site, absent)["ledger lock"].words
    ledger.close()
    assert look(site, absent)["ledger lock"].words == "free"


def test_a_file_that_is_no_ledger_is_a_problem_and_is_left_as_it_is(site: Site, absent: str) -> None:
    site.ledger.parent.mkdir()
    site.ledger.write_bytes(b"not a database, but long enough to look like one" * 40)
    before = site.ledger.read_bytes()
    assert look(site, absent)["ledger archive"].state is PROBLEM
    assert site.ledger.read_bytes() == before


def test_a_ledger_that_cannot_be_where_it_should_is_a_problem(
    site: Site, absent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (site.home / "file").write_text("")
    told = look(site, absent, ledger={"path": str(site.home / "file" / "l.db")})
    assert told["ledger"].state is PROBLEM
    told = look(site, absent, ledger={"path": str(site.folder.parent)})
    assert told["ledger"].state is PROBLEM
    with monkeypatch.context() as patch:
        patch.setattr(os, "access", lambda *_, **__: False)
        assert "cannot be written" in look(site, absent)["ledger"].words
    monkeypatch.setattr(mounts, "kind", lambda _path: "network")
    assert "network file system" in look(site, absent)["ledger"].words


@pytest.mark.parametrize(("free", "state"), [(10**7, PROBLEM), (5 * 10**8, WARNING), (10**10, OK)])
def test_a_disk_without_room_for_the_ledger_is_told(
    site: Site, absent: str, monkeypatch: pytest.MonkeyPatch, free: int, state: State
) -> None:
    class Usage:
        def __init__(self) -> None:
            self.free = free

    monkeypatch.setattr(ledger.shutil, "disk_usage", lambda _: Usage())  # type: ignore[attr-defined]  # the outside
    assert look(site, absent)["ledger disk"].state is state
    enough = look(site, absent, alerts={"disk_free": "5MB"})  # as `status` has it
    assert enough["ledger disk"].state is OK


def test_looking_leaves_nothing_behind(site: Site, sandboxed: sandbox.Archive) -> None:
    site.write("1.dcm", small("1"))
    before = sorted(site.home.rglob("*"))
    told = look(site, sandboxed.url)
    assert "can be made" in told["ledger"].words
    assert sorted(site.home.rglob("*")) == before
    assert {request.method for request in sandboxed.requests} == {"GET"}
    assert not sandboxed.stored()


# The archive


def test_an_archive_that_is_not_there_is_a_problem(site: Site, absent: str) -> None:
    told = look(site, absent)
    assert told["archive"].state is PROBLEM
    assert "Connection refused" in told["archive"].words
    assert "archive.url" in told["archive"].todo
    assert "could not be compared" in told["clock"].words


@pytest.mark.parametrize(
    ("status", "body", "media_type", "words"),
    [
        (200, b"<html>hello</html>", "text/html", "not with DICOM JSON"),
        (404, b"", "text/plain", "answered 404"),
        (302, b"", "text/plain", "answered 302"),
        (503, SECRET.encode(), "text/plain", "answered 503"),
    ],
)
def test_what_answers_and_is_no_archive_is_a_problem(
    site: Site, status: int, body: bytes, media_type: str, words: str
) -> None:
    with ScriptedServer(answering(lambda _: answer(status, body, Content_Type=media_type))) as server:
        told = look(site, server.url)
    assert told["archive"].state is PROBLEM
    assert words in told["archive"].words


def test_a_sandbox_is_recognised_and_a_kind_that_it_is_not_is_told(
    site: Site, sandboxed: sandbox.Archive
) -> None:
    assert look(site, sandboxed.url)["archive"].state is OK
    told = look(site, sandboxed.url, archive={"kind": "orthanc"})
    assert told["archive"].state is WARNING
    assert 'not "orthanc"' in told["archive"].words


@pytest.mark.orthanc
def test_a_real_orthanc_is_well(site: Site, orthanc: Orthanc) -> None:
    site.write("1.dcm", small("1"))
    told = look(site, orthanc.url)
    assert "Orthanc" in told["archive"].words
    assert {one.state for one in told.values()} == {OK}
    assert orthanc.count() == 0
    site.configure(orthanc.url)
    done = site.run("doctor", "-c", site.config_file)
    assert (done.code, done.err) == (0, "")
    assert done.out.endswith("Nothing is in the way.\n")


# Its certificate and its clock


def module(offset_seconds: float = 0.0, **more: str) -> Any:
    """Answer every search with nothing, by a clock that is off by so much."""

    def respond(_request: Request) -> bytes:
        date = format_datetime(datetime.fromtimestamp(time.time() + offset_seconds, UTC), usegmt=True)
        return answer(200, b"[]", Content_Type="application/dicom+json", **{"Date": date, **more})

    return answering(respond)


@pytest.mark.parametrize(
    ("offset", "state", "words"),
    [
        (0, OK, "the same"),
        (-30, OK, "the same"),
        (3600, WARNING, "1 h behind the archive's"),
        (-3600, WARNING, "1 h ahead of the archive's"),
    ],
)
def test_a_clock_that_is_off_is_told(site: Site, offset: float, state: State, words: str) -> None:
    with ScriptedServer(module(offset)) as server:
        told = look(site, server.url)
    assert told["clock"].state is state
    if state is OK:
        assert words in told["clock"].words
    else:
        assert "ours is" in told["clock"].words
        assert words.split(" ", 2)[2] in told["clock"].words


@pytest.mark.parametrize("date", ["", "yesterday", "Sun, 99 Nov 2026 10:00:00 GMT"])
def test_a_date_that_is_none_is_told(site: Site, date: str) -> None:
    with ScriptedServer(module(Date=date)) as server:
        told = look(site, server.url)
    assert told["clock"].words.startswith("could not be compared")


@pytest.fixture(scope="module")
def short_lived(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate, with its key, that ends in ten days."""
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 10"
    more = ("-subj", "/CN=localhost", "-keyout", "-", "-out", "-")
    made = subprocess.run([*command.split(), *more], capture_output=True, check=True)
    path.write_bytes(made.stdout)
    return path


@pytest.mark.parametrize(
    ("days_on", "state", "words"),
    [(0, WARNING, "expires in 9 days"), (13, PROBLEM, "has expired, 3 days ago"), (-300, OK, "in 309 days")],
)
def test_a_certificate_says_when_it_ends_whether_it_is_trusted_or_not(
    short_lived: Path, monkeypatch: pytest.MonkeyPatch, days_on: float, state: State, words: str
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(short_lived)
    now = time.time() + days_on * 86400
    with ScriptedServer(module(), tls=context) as server:
        monkeypatch.setattr(certificates.time, "time", lambda: now)  # type: ignore[attr-defined]  # the outside
        (told,) = certificates.examine(Archive(server.url))
    assert told.state is state
    assert words in told.words
    assert not server.seen, "something was sent without trust"


def test_a_certificate_that_is_not_trusted_is_the_archives_problem(site: Site, short_lived: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(short_lived)
    with ScriptedServer(module(), tls=context) as server:
        told = look(site, server.url)
    assert told["archive"].state is PROBLEM
    assert "certificate was not accepted" in told["archive"].words
    assert not server.seen


@pytest.mark.parametrize(
    ("url", "state", "words"),
    [
        ("http://127.0.0.1:8042/dicom-web", OK, "on this machine"),
        ("http://[::1]:8042/dicom-web", OK, "on this machine"),
        ("http://pacs.example/v2", WARNING, "can be read on their way"),
        ("http://127.evil.example/v2", WARNING, "can be read on their way"),
    ],
)
def test_plain_http_is_for_this_machine(url: str, state: State, words: str) -> None:
    (told,) = certificates.examine(Archive(url))
    assert told.state is state
    assert words in told.words


def test_an_end_that_cannot_be_looked_at_is_told(absent: str) -> None:
    (told,) = certificates.examine(Archive(absent.replace("http:", "https:")))
    assert told.state is WARNING
    assert "could not be looked at" in told.words


def test_ends_are_read_as_openssl_reads_them() -> None:
    context = httpx.create_ssl_context(trust_env=False)
    decoded, raw = context.get_ca_certs(), context.get_ca_certs(binary_form=True)
    assert len(raw) > 50
    for one, der in zip(decoded, raw, strict=True):
        assert expiry(der) == ssl.cert_time_to_seconds(str(one["notAfter"]))
    der = ssl.PEM_cert_to_DER_cert(TEST_CERTIFICATE)
    assert expiry(der) == datetime(2120, 1, 1, tzinfo=UTC).timestamp()
    for cut in range(len(der)):
        with pytest.raises((ValueError, IndexError)):
            expiry(bytes(cut) + der[cut : cut + 40])


# What is read


def test_a_person_reads_lines_that_are_aligned_and_a_program_stable_keys() -> None:
    checks = [
        Check("config", OK, "fine"),
        Check("folder 1", WARNING, "word " * 40, "do " * 60),
        Check("archive", PROBLEM, "/a/" + "very-long" * 30, "do"),
    ]
    lines = doctor.text(checks).splitlines()
    assert max(map(len, lines)) <= 100
    assert lines[0] == "ok       config    fine"
    assert lines[-1] == "1 problem, 1 warning."
    assert any(line.lstrip().startswith("-> do") for line in lines)
    told = doctor.as_json(checks)
    assert told["schema"] == 1
    assert told["checks"][0] == {"name": "config", "state": "ok", "words": "fine", "todo": ""}


@pytest.mark.parametrize(
    ("states", "code"), [([OK], 0), ([OK, WARNING], 0), ([WARNING, PROBLEM], 1), ([], 0)]
)
def test_only_a_problem_is_a_failure(states: list[State], code: int) -> None:
    assert doctor.exit_code([Check("x", state, "") for state in states]) == code


def test_quiet_says_only_what_is_a_problem(site: Site, absent: str) -> None:
    site.configure(absent)
    done = site.run("doctor", "-q", "-c", site.config_file)
    assert (done.code, done.err) == (1, "")
    assert done.out.startswith("problem")
    assert not any(line.startswith(("ok", "warning")) for line in done.out.splitlines())
    assert done.out.endswith("1 problem.\n")
