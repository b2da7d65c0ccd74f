"""Nothing of a patient, a path, a secret or the archive's own words gets out: markers are planted and sought.

The ledger is the one place that may hold them (never a secret), and it is its owner's alone.
"""

from __future__ import annotations

import base64
import json
import os
import resource
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from dicomsync import copies, samples, sandbox
from tests import orthanc as orthancs
from tests.conftest import Done, Site, eventually, finished, small, uid_of
from tests.issuer import Issuer
from tests.scripted_server import Request, ScriptedServer, answer, answering

NAME, PATIENT, BIRTH = "ZZNAME7K^QUILLON", "ZZPID52903", "18870613"
DESCRIPTION, ACCESSION = "zzdescription of a rare thing", "ZZACC88127"
DIRECTORY, FILE = "zzdirectory-vandermeer", "zzfile-vandermeer"
USER, PASSWORD, TOKEN = "zzuser-portal", "zzpassword-Tr0ub4dor", "zztoken-eyJhbGciOi"
SECRETS_AT, PATTERN = "zzsecrets-of-the-site", "zzpattern-*.bak"
COMMENT, BODY, HEADER = "zzcomment about vandermeer", "zzbody of the server", "zzheader-of-the-server"

PHI: dict[str, Any] = {
    "PatientName": NAME,
    "PatientID": PATIENT,
    "PatientBirthDate": BIRTH,
    "StudyDescription": DESCRIPTION,
    "AccessionNumber": ACCESSION,
}
SECRETS = (PASSWORD, TOKEN)
WORDS = (NAME, PATIENT, BIRTH, DESCRIPTION, ACCESSION, DIRECTORY, FILE, USER, SECRETS_AT, PATTERN)
FROM_OUTSIDE = (COMMENT, BODY, HEADER)
UIDS = (samples.uid("s"), samples.uid("s", "1"), samples.uid("s", "1", "1"), samples.uid("s", "1", "2"))
MARKERS = (*WORDS, *SECRETS, *FROM_OUTSIDE, *UIDS)


def disguises(marker: str) -> set[bytes]:
    """Give all the forms under which a marker would still be one, in lower case."""
    raw = marker.encode()
    forms = {
        raw,
        quote(marker).encode(),
        "".join(f"%{byte:02x}" for byte in raw).encode(),
        raw.hex().encode(),
    }
    forms |= {marker.encode("utf-16-le"), marker.encode("utf-16-be")}
    for shift in range(3):  # wherever it stands in a longer text: the letters that depend on it alone
        coded = base64.b64encode(b"x" * shift + raw + b"xxx")
        forms.add(coded[-(-8 * shift // 6) : (shift + len(raw)) * 8 // 6])
    return {form.lower() for form in forms}


def found_in(content: bytes, markers: tuple[str, ...] = MARKERS) -> list[str]:
    content = content.lower()
    return [marker for marker in markers if any(form in content for form in disguises(marker))]


@dataclass
class Sinks:
    """All that dicomsync writes at a site, and the ways to look through it."""

    site: Site

    def check(self, *done: Done) -> None:
        """Fail if a marker got into what was printed, or into any file but the ledger."""
        for one in done:
            assert "Traceback" not in one.err
            for printed in (one.out, one.err):
                assert found_in(printed.encode()) == [], printed
        for path in self.written():
            if path.name.startswith(self.site.ledger.name) and not path.name.endswith(".lock"):
                assert found_in(path.read_bytes(), SECRETS) == [], "not even the ledger holds a secret"
            else:
                assert found_in(path.read_bytes()) == [], path
                assert found_in(os.fsencode(path)) == []
        self.check_modes()

    def written(self) -> list[Path]:
        """List what dicomsync has written: everything at the site that the test has not."""
        given = (self.site.folder, self.site.home / SECRETS_AT, self.site.config_file)
        files = (path for path in self.site.home.rglob("*") if path.is_file())
        return [path for path in files if not any(path.is_relative_to(one) for one in given)]

    def check_modes(self) -> None:
        """Fail if anybody but its owner may read the ledger."""
        state = self.site.ledger.parent
        if state.exists():
            assert stat.S_IMODE(state.stat().st_mode) == 0o700
        for path in self.site.home.glob("state/*"):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path.name


@pytest.fixture
def sinks(site: Site) -> Sinks:
    """A site full of markers, whose every place to write to is looked through."""
    for name in ("tmp", "home"):
        (site.home / name).mkdir()
    site.environment = {
        "TMPDIR": str(site.home / "tmp"),
        "HOME": str(site.home / "home"),
        "PYTHONWARNINGS": "always",
    }
    (site.home / SECRETS_AT).mkdir()
    (site.home / SECRETS_AT / "password").write_text(PASSWORD + "\n")
    (site.home / SECRETS_AT / "token").write_text(TOKEN + "\n")
    site.write(f"{DIRECTORY}/{FILE}-1.dcm", small("1", **PHI))
    site.write(f"{DIRECTORY}/{FILE}-2.dcm", small("2", **PHI))
    return Sinks(site)


def secret(site: Site, name: str) -> str:
    return str(site.home / SECRETS_AT / name)


def configure(site: Site, url: str, **archive: object) -> None:
    site.configure(url, archive={**archive}, folders={"exclude": [PATTERN]})


def all_commands(site: Site, *arguments: str) -> list[Done]:
    """Run what a person runs, again and again, as loudly as can be."""
    return [
        site.run_backfill("-vv", *arguments),
        site.run_backfill("-vv", "--json", *arguments),
        site.run("status", "-vv", "-c", site.config_file),
        site.run("status", "--json", "--ledger", site.ledger),
        site.run("metrics", "-vv", "--ledger", site.ledger),
    ]


# What can be printed


def test_the_search_finds_a_marker_in_every_disguise() -> None:
    for marker in MARKERS:
        for shift in range(5):
            raw = b"x" * shift + marker.encode() + b"y" * shift
            for hidden in (raw, base64.b64encode(raw), raw.hex().encode(), raw.hex().upper().encode()):
                assert marker in found_in(b"before " + hidden + b" after")
        for quoted in (quote(marker), "".join(f"%{byte:02X}" for byte in marker.encode())):
            assert marker in found_in(quoted.encode())
        for coding in ("utf-16-le", "utf-16-be"):
            assert marker in found_in(b"\0" + marker.encode(coding))
    assert found_in(b"batch d4eb2f of study 3779b1: 8 unconfirmed (server-error)") == []


@pytest.fixture
def served(sinks: Sinks) -> Iterator[Callable[..., str]]:
    """Start `dicomsync sandbox` as a process; what it printed is looked through at the end."""
    started: list[subprocess.Popen[str]] = []

    def serve(*faults: str) -> str:
        arguments = [text for fault in faults for text in ("--fault", fault)]
        store = sinks.site.home.parent / "store"
        process = sinks.site.start("sandbox", "--store", store, "-v", *arguments)
        started.append(process)
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("listening: http://127.0.0.1:")
        return line.removeprefix("listening: ").strip()

    yield serve
    for process in started:
        process.terminate()
        done = finished(process)
        assert done.code == 0
        sinks.check(done)


def test_a_run_that_goes_well_says_nothing_of_anybody(sinks: Sinks, served: Callable[..., str]) -> None:
    site = sinks.site
    configure(
        site, served(f"token={TOKEN}"), auth="bearer", token_from=secret(site, "token"), kind="dicom-server"
    )
    dry = site.run_backfill("-n", "-vv")
    done = all_commands(site)
    assert [one.code for one in done] == [0, 0, 0, 0, 0]
    assert site.instances() == {"stored": 2}
    sinks.check(dry, *done)
    assert str(site.folder) in done[2].out, "status tells the folder that the person gave"
    assert str(site.folder) not in "".join(one.out + one.err for one in (dry, *done[:2]))
    patient = (NAME, PATIENT, BIRTH, DESCRIPTION, ACCESSION)
    assert found_in(site.ledger.read_bytes(), patient) == [], "the ledger knows UIDs, and nobody's name"


def test_files_that_are_held_are_told_by_handles_alone(sinks: Sinks, served: Callable[..., str]) -> None:
    site = sinks.site
    whole = small("3", **PHI)
    uid = uid_of(whole).encode()
    odd = samples.instance(
        study_uid=UIDS[0],
        series_uid=UIDS[1],
        sop_uid=samples.uid("s", "1", "4"),
        transfer_syntax="1.2.840.10008.1.2.2",
        rows=8,
        columns=8,
        extra=PHI,
    )
    site.write(f"{DIRECTORY}/{FILE}-cut.dcm", whole[:-40])
    site.write(f"{DIRECTORY}/{FILE}-empty.dcm", b"")
    site.write(
        f"{DIRECTORY}/{FILE}-uid.dcm",
        whole.replace(uid, b"zz" + uid[2:]),
    )
    site.write(f"{DIRECTORY}/{FILE}-odd.dcm", odd[:-30])
    site.write(f"{DIRECTORY}/{FILE}-odd-date.dcm", odd.replace(BIRTH.encode(), b"18870x13"))
    site.write(f"{DIRECTORY}/{FILE}-letter.dcm", f"Dear {NAME}, ".encode() * 99)
    site.write(f"{DIRECTORY}/\x1b[31m{FILE}\n.dcm", whole[:900])
    (site.folder / DIRECTORY / f"{FILE}-pipe.dcm").symlink_to(site.folder / FILE)
    login = {"auth": "basic", "username": USER, "password_from": secret(site, "password")}
    configure(site, served(f"basic={USER}:{PASSWORD}"), **login)
    done = all_commands(site)
    assert [one.code for one in done] == [20, 20, 0, 0, 0]
    sinks.check(*done)


def test_conflicts_are_told_by_handles_alone(sinks: Sinks, served: Callable[..., str]) -> None:
    site = sinks.site
    site.write(f"{DIRECTORY}/{FILE}-other.dcm", small("1", **PHI, Modality="MR"))
    configure(site, served())
    done = all_commands(site)
    assert [one.code for one in done] == [20, 20, 0, 0, 0]
    assert site.instances() == {"stored": 2, "conflict": 1}
    sinks.check(*done)


# What an archive can say


def loud(status: int, body: bytes, content_type: str = "application/dicom+json", **headers: str) -> bytes:
    """Give an answer with markers in its headers, and a body."""
    return answer(
        status,
        body,
        Content_Type=content_type,
        Server=HEADER,
        X_Patient=HEADER,
        Set_Cookie=f"session={HEADER}",
        **headers,
    )


def module(request: Request, *, reason: int | None) -> bytes:
    """Give a Store Instances Response with comments about each instance sent."""
    items = []
    for uid in UIDS[2:]:
        if uid.encode() in request.body:
            item: dict[str, object] = {
                "00081155": {"vr": "UI", "Value": [uid]},
                "00000902": {"vr": "LO", "Value": [COMMENT]},
                "00741048": {
                    "vr": "SQ",
                    "Value": [{"00000902": {"vr": "LO", "Value": [f"{NAME} {COMMENT}"]}}],
                },
                "00081196" if reason is None else "00081197": {"vr": "US", "Value": [reason or 1]},
            }
            items.append(item)
    tag = "00081199" if reason is None else "00081198"
    return json.dumps({tag: {"vr": "SQ", "Value": items}, "00090097": {"vr": "LO", "Value": [BODY]}}).encode()


HTML = f"<html><title>{BODY}</title><p>{NAME} {COMMENT}</p></html>".encode()

ANSWERS: dict[str, tuple[Callable[[Request], bytes], int]] = {
    "stored with a warning": (lambda request: loud(202, module(request, reason=None)), 0),
    "rejected with a comment": (lambda request: loud(409, module(request, reason=0xA900)), 20),
    "refused in plain text": (lambda _: loud(400, HTML, "text/plain"), 20),
    "a redirect": (lambda _: loud(302, HTML, "text/html", Location=f"http://127.0.0.1:9/{BODY}"), 5),
    "a wrong credential": (lambda _: loud(401, HTML, "text/html", WWW_Authenticate=f"Basic {HEADER}"), 5),
    "forbidden": (lambda _: loud(403, HTML, "text/html"), 5),
    "broken down": (lambda _: loud(500, HTML, "text/html", Retry_After=HEADER), 5),
    "a page of a proxy": (lambda _: loud(200, HTML, "text/html"), 5),
    "a strange encoding": (lambda _: loud(200, HTML, HEADER, Content_Encoding=HEADER), 5),
    "no HTTP at all": (lambda _: f"{BODY} {NAME}\r\n\r\n".encode(), 5),
    "a header without end": (lambda _: b"HTTP/1.1 200 " + BODY.encode() + b"\r\nX: " + b"y" * 200_000, 5),
}


@pytest.mark.parametrize("said", ANSWERS)
def test_the_archives_own_words_stay_in_the_ledger(said: str, sinks: Sinks) -> None:
    respond, code = ANSWERS[said]

    def answered(request: Request) -> bytes:
        if request.method == "POST":
            return respond(request)
        if "studies" in request.target and "instances" not in request.target:
            return loud(200, b"[]")
        return loud(404, HTML, "text/html")

    site = sinks.site
    with ScriptedServer(answering(answered)) as server:
        configure(site, server.url, kind="dicom-server")
        done = site.run_backfill("-vv", "--patience", "2s", "--max-duration", "20s")
    sinks.check(done, site.run("status", "-vv", "-c", site.config_file))
    assert done.code == code, done


@pytest.mark.parametrize("said", ["a wrong credential", "broken down", "a page of a proxy", "a redirect"])
def test_what_an_archive_says_before_anything_is_sent_is_not_repeated(said: str, sinks: Sinks) -> None:
    respond, _ = ANSWERS[said]
    site = sinks.site
    with ScriptedServer(answering(respond)) as server:
        configure(site, server.url, auth="bearer", token_from=secret(site, "token"))
        done = site.run_backfill("-vv")
    sinks.check(done, site.run("status", "--json", "--ledger", site.ledger))
    assert done.code == 5


def test_an_archive_that_is_not_there_is_told_without_saying_for_whom(sinks: Sinks) -> None:
    configure(
        sinks.site,
        f"http://127.0.0.1:{orthancs.free_port()}/v2",
        auth="bearer",
        token_from=secret(sinks.site, "token"),
    )
    done = sinks.site.run_backfill("-vv")
    assert done.code == 5
    sinks.check(done, sinks.site.run("status", "-c", sinks.site.config_file))


# Secrets


@pytest.mark.parametrize(
    "content",
    [f"{TOKEN}\nsecond line\n".encode(), f"{TOKEN} blank".encode(), b"\xff" + TOKEN.encode(), b"", None],
)
def test_a_secret_that_cannot_be_used_is_not_shown(content: bytes | None, sinks: Sinks) -> None:
    site = sinks.site
    path = Path(secret(site, "token"))
    path.unlink() if content is None else path.write_bytes(content)
    configure(site, f"http://127.0.0.1:{orthancs.free_port()}/v2", auth="bearer", token_from=str(path))
    done = site.run_backfill("-vv")
    assert done.code == 5
    sinks.check(done)


def test_a_token_of_an_issuer_and_the_secret_it_is_got_by_are_shown_nowhere(
    sinks: Sinks, served: Callable[..., str]
) -> None:
    site = sinks.site
    with Issuer() as issuer:
        issuer.more = {"access_token": TOKEN}
        oauth2 = {
            "auth": "oauth2",
            "token_url": issuer.url,
            "client_id": USER,
            "client_secret_from": secret(site, "password"),
        }
        configure(site, served(f"token={TOKEN}"), **oauth2, kind="dicom-server")
        site.run("doctor", "-c", site.config_file)
        done = all_commands(site)
        assert [one.code for one in done] == [0, 0, 0, 0, 0]
        assert site.instances() == {"stored": 2}
        sinks.check(*done)
        issuer.respond = lambda _: loud(400, f'{{"error": "{BODY} {PASSWORD}"}}'.encode(), "application/json")
        refused = all_commands(site)
        assert refused[0].code in (0, 5)
        told = site.run("doctor", "-c", site.config_file, "--json")
        assert found_in((told.out + told.err).encode(), (*SECRETS, *FROM_OUTSIDE)) == []
    sinks.check(*refused)


@pytest.mark.parametrize(
    "line",
    [
        f'password = "{PASSWORD}"',
        f'auth = "basic"\nusername = "{USER}"\npassword_from = "{PASSWORD}"',
        f'auth = "bearer"\ntoken_from = "/{TOKEN}\\u0000"',
        f'client_secret_from = "env:{PASSWORD}"',
        f'token_url = "https://{USER}:{PASSWORD}@issuer.example/token"',
        f'proxy = "http://{USER}:{PASSWORD}@proxy.example"',
        f'auth = "{PASSWORD}"',
        f'confirm_wait = "{PASSWORD}"',
        f'kind = "{PASSWORD}"',
        f"auth = {PASSWORD}",
        f'url = "https://{USER}:{PASSWORD}@archive.example/v2"',
        f'auth = "basic"\nauth = "{PASSWORD}"',
    ],
)
def test_a_secret_in_the_wrong_place_of_the_config_is_not_repeated(line: str, sinks: Sinks) -> None:
    site = sinks.site
    start = "" if line.startswith("url") else 'url = "http://127.0.0.1:9/v2"\n'
    site.config_file.write_text(f'[archive]\n{start}{line}\n[ledger]\npath = "{site.ledger}"\n')
    done = site.run_backfill("-vv")
    assert done.code == 2
    sinks.check(done)


def test_while_it_runs_no_secret_shows_in_the_list_of_processes_and_the_ledger_is_its_owners(
    sinks: Sinks,
) -> None:
    def held(request: Request) -> bytes:
        if request.method == "POST":
            server.wait(20)
        return loud(200, b"[]")

    site = sinks.site
    with ScriptedServer(answering(held)) as server:
        configure(
            site,
            server.url,
            kind="dicom-server",
            auth="basic",
            username=USER,
            password_from=secret(site, "password"),
        )
        process = site.start_backfill("-vv")
        eventually(lambda: [one for one in server.seen if one.method == "POST"])
        assert [one for one in server.seen if "authorization" in one.headers] == server.seen
        proc = Path(f"/proc/{process.pid}")
        for name in ("cmdline", "environ"):
            assert found_in((proc / name).read_bytes(), SECRETS) == []
        names = {path.name for path in site.ledger.parent.iterdir()}
        assert {"ledger.db", "ledger.db-wal", "ledger.db-shm"} <= names
        sinks.check()
        process.kill()
        sinks.check(finished(process))


# Crashes


def test_a_corrupted_ledger_is_told_without_what_it_holds(sinks: Sinks, served: Callable[..., str]) -> None:
    site = sinks.site
    configure(site, served())
    assert site.run_backfill().code == 0
    content = bytearray(site.ledger.read_bytes())
    page = 4096
    for start in range(page, len(content), page):  # every page but the first: the schema can be read
        content[start : start + 64] = b"\xa5" * 64
    site.ledger.write_bytes(content)
    done = all_commands(site)
    assert done[0].code == 0  # moved aside, made anew, and the archive asked
    assert "ledger" in done[0].err
    sinks.check(*done)
    site.ledger.write_bytes(f"{NAME} wrote over it".encode() * 99)
    done = all_commands(site)
    assert {one.code for one in done} == {0}
    sinks.check(*done)


@pytest.mark.parametrize(
    "broken",
    ["scan.step", "jobs.store", "batching.choose", "rules.after_answer"],
)
def test_a_crash_inside_says_where_and_not_what(
    broken: str, sinks: Sinks, served: Callable[..., str]
) -> None:
    site = sinks.site
    configure(site, served(), kind="dicom-server")
    module_name, name = broken.split(".")
    code = f"""
import pathlib
from dicomsync import cli, {module_name}
def broken(*arguments, **named):
    secret = pathlib.Path({secret(site, "token")!r}).read_text()
    raise RuntimeError(f"{{arguments!r}} {{named!r}} {{secret}} {NAME} {FILE}")
{module_name}.{name} = broken
cli.main()
"""
    done = finished(site.start_python(code, "backfill", "-vv", "-c", site.config_file), within=30)
    assert done.code == 1
    assert "something went wrong inside dicomsync (RuntimeError at <string>:" in done.err
    sinks.check(done)
    assert site.run_backfill("--set", "archive.confirm_wait=0.1s").code == 0, "and the next run goes on"
    assert site.instances() == {"stored": 2}


def test_an_error_in_a_thread_or_a_finalizer_says_where_and_not_what(site: Site) -> None:
    code = f"""
import gc, threading
from dicomsync import secrecy
secrecy.keep_to_ourselves()
def fails():
    raise ValueError({NAME!r})
class Fails:
    def __del__(self):
        raise ValueError({NAME!r})
one = threading.Thread(target=fails)
one.start()
one.join()
Fails()
gc.collect()
"""
    done = finished(site.start_python(code))
    assert done.err.count("something went wrong inside dicomsync (ValueError at <string>:") == 2
    assert found_in((done.out + done.err).encode()) == []


# The daemon

WIDE_OPEN = "import os; os.umask(0); from dicomsync.__main__ import main; main()"


@dataclass
class Watched:
    """A daemon at a site full of markers, run as openly as a machine allows: umask 0, as loud as can be."""

    sinks: Sinks
    process: subprocess.Popen[str]
    notified: socket.socket
    said: bytes = b""

    @property
    def status(self) -> Path:
        return self.sinks.site.home / "runtime" / "status.json"

    @property
    def proc(self) -> Path:
        return Path(f"/proc/{self.process.pid}")

    def heard(self) -> bytes:
        """Everything the manager was told so far."""
        while True:
            try:
                self.said += self.notified.recv(4096) + b"\n"
            except BlockingIOError:
                return self.said

    def children(self) -> str:
        return "".join(one.read_text() for one in self.proc.glob("task/*/children"))


@pytest.fixture
def watched(sinks: Sinks, sandboxed: sandbox.Archive) -> Iterator[Watched]:
    site = sinks.site
    sandboxed.set_faults([f"token={TOKEN}"])
    configure(site, sandboxed.url, auth="bearer", token_from=secret(site, "token"), kind="dicom-server")
    (site.home / "runtime").mkdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
        notified.bind(str(site.home.parent / "notify"))
        notified.setblocking(False)
        site.environment |= {
            "RUNTIME_DIRECTORY": str(site.home / "runtime"),
            "NOTIFY_SOCKET": str(site.home.parent / "notify"),
            "PYTHONFAULTHANDLER": "1",
        }
        process = site.start_python(WIDE_OPEN, "run", "-vv", "-c", site.config_file)
        eventually(lambda: len(sandboxed.stored()) == 2)  # so that there is a ledger
        eventually(lambda: site.instances() == {"stored": 2})
        del site.environment["PYTHONFAULTHANDLER"]
        yield Watched(sinks, process, notified)


def test_a_daemon_in_trouble_tells_nobody_whom_it_is_about(
    watched: Watched, sandboxed: sandbox.Archive
) -> None:
    """Held, in conflict, rejected with the patient's name in the answer, missed, a bad config, commands."""
    sinks, site = watched.sinks, watched.sinks.site
    cut = site.write(f"{DIRECTORY}/{FILE}-cut.dcm", small("3", **PHI)[:-40])
    site.write(f"{DIRECTORY}/{FILE}-other.dcm", small("1", **PHI, Modality="MR"))
    sandboxed.set_faults([f"token={TOKEN}", "tattle"])
    site.write(f"{DIRECTORY}/{FILE}-4.dcm", small("4", **PHI))
    eventually(lambda: (site.instances().get("rejected"), site.instances().get("conflict")) == (1, 1))
    eventually(lambda: site.files().get("held") == 1)
    cut.unlink()
    done = [
        site.run("backfill", "-vv", "-c", site.config_file, str(site.folder)),
        site.run("retry", "-vv", "-c", site.config_file, "--rejected"),
        site.run("conflicts", "list", "-vv", "-c", site.config_file, "--compare"),
        site.run("status", "-vv", "--json", "--ledger", site.ledger),
    ]
    assert [one.code for one in done] == [20, 0, 0, 0], done
    good = site.config_file.read_text()
    site.config_file.write_text(good.replace("[archive]", f'[archive]\npassword = "{PASSWORD}"'))
    watched.process.send_signal(signal.SIGHUP)
    eventually(lambda: b"READY=1" in watched.heard().partition(b"RELOADING=1")[2])
    eventually(watched.status.exists)
    sinks.check(*done)
    assert stat.S_IMODE(watched.status.stat().st_mode) == 0o640, "for the operators' group"
    assert site.ledger.with_name("control.sock").is_socket()
    watched.process.send_signal(signal.SIGTERM)
    end = finished(watched.process)
    assert end.code == 0
    assert "the new config was not taken" in end.err
    sinks.check(end)
    assert b"STATUS=" in watched.heard()
    assert found_in(watched.said) == []


def test_a_daemon_shows_no_secret_in_proc_starts_no_process_and_leaves_no_core(watched: Watched) -> None:
    site = watched.sinks.site
    assert found_in((watched.proc / "cmdline").read_bytes(), (*SECRETS, *UIDS)) == []
    if os.geteuid() == 0:  # to others the kernel does not show it at all
        assert found_in((watched.proc / "environ").read_bytes(), SECRETS) == []
    else:
        with pytest.raises(PermissionError):
            (watched.proc / "environ").read_bytes()
    assert watched.children() == ""
    limits = (watched.proc / "limits").read_text().splitlines()
    (core,) = (line.split() for line in limits if line.startswith("Max core file size"))
    assert core[4:6] == ["0", "0"]
    watched.process.send_signal(signal.SIGABRT)
    _, how = os.waitpid(watched.process.pid, 0)
    watched.process.returncode = os.waitstatus_to_exitcode(how)
    assert watched.process.returncode == -signal.SIGABRT
    assert not os.WCOREDUMP(how)
    done = finished(watched.process)
    assert "Fatal Python error: Aborted" in done.err
    assert found_in(done.err.encode()) == []
    watched.sinks.check()
    assert site.instances() == {"stored": 2}


def test_the_kernel_dumps_no_core_even_where_the_limit_would_let_it(tmp_path: Path) -> None:
    def aborts(before: str) -> int:
        code = f"import os, resource\n{before}\nos.abort()"
        process = subprocess.Popen(
            [sys.executable, "-c", code], cwd=tmp_path, stderr=subprocess.DEVNULL, env=os.environ
        )
        how = os.waitpid(process.pid, 0)[1]
        process.returncode = os.waitstatus_to_exitcode(how)
        return how

    most = resource.getrlimit(resource.RLIMIT_CORE)[1]
    allow = f"resource.setrlimit(resource.RLIMIT_CORE, ({most}, {most}))"
    keeps = f"from dicomsync import secrecy\nreal = resource.setrlimit\n{allow}\n"
    keeps += "resource.setrlimit = lambda *_: None\nsecrecy.keep_to_ourselves()"
    if not os.WCOREDUMP(aborts(allow)):
        pytest.skip("this machine dumps no core of anybody")
    assert not os.WCOREDUMP(aborts(keeps))


# Whom files belong to


def test_whatever_the_umask_all_that_is_written_is_its_owners(
    sinks: Sinks, sandboxed: sandbox.Archive
) -> None:
    site = sinks.site
    configure(site, sandboxed.url)

    def run(*arguments: str | Path) -> Done:
        return finished(site.start_python(WIDE_OPEN, *arguments, "-c", site.config_file))

    assert run("backfill", "-vv").code == 0
    copy = site.ledger.with_name("copy.db")
    assert run("ledger", "backup", copy).code == 0
    site.ledger.write_bytes(f"{NAME} wrote over it".encode() * 99)
    assert run("backfill", "-q").code == 0
    assert run("ledger", "rebuild", "--yes").code == 0
    names = {path.name.split("-")[0] for path in site.ledger.parent.iterdir()}
    assert names == {"ledger.db", "ledger.db.lock", "copy.db", "ledger.db.damaged", "ledger.db.rebuilt"}
    sinks.check_modes()


def test_the_archives_copy_lies_in_a_file_without_a_name_for_its_owner_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sandboxed: sandbox.Archive
) -> None:
    from dicomsync import dicomweb

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    client = dicomweb.client_for(dicomweb.Archive(sandboxed.url, "dicom-server"))
    client.store([dicomweb.BytesPart(small("1", **PHI))])
    before = os.umask(0)
    try:
        with copies.fetched(client, (samples.uid("s"), samples.uid("s", "1"), UIDS[2])) as copy:
            found = os.fstat(copy.fileno())
            assert (stat.S_IMODE(found.st_mode), found.st_nlink) == (0o600, 0)
            assert list(tmp_path.glob("dicomsync*")) == []
    finally:
        os.umask(before)
        dicomweb.close_clients()
