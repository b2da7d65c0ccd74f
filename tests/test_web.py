"""`dicomsync web` over HTTP: who may ask, what is told, and that it is the same story everywhere."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from dicomsync import addresses, facts, status
from dicomsync.concerns import How
from dicomsync.ledger import Ledger, Reader
from dicomsync.model import InstanceState
from dicomsync.web import guard, metrics
from dicomsync.web.app import unready

from . import lookout
from .conftest import Site
from .lookout import MARKERS, OUTAGE, TOKEN, Post, Web, posted, serving

S = InstanceState
KEYED = 'web.token_from="env:WEB_TOKEN"'


@pytest.fixture(scope="module")
def post(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Post]:
    """Something of everything, and an archive that is away."""
    with posted(tmp_path_factory.mktemp("post")) as one:
        one.put(S.STORED, n=12)
        one.put(S.PENDING, "no-answer", n=3, study=2)
        one.put(S.CONFLICT, "differs", n=2, study=3)
        one.put(S.REJECTED, "failure-A900", study=3)
        one.put(S.MISSED, "left", study=4)
        one.hold("truncated", n=4)
        one.batch(200, 2.0)
        one.freeze("many")
        one.tell(OUTAGE)
        yield one


@pytest.fixture(scope="module")
def web(post: Post) -> Iterator[Web]:
    """Without a token, on this machine alone."""
    with serving(post) as one:
        yield one


@pytest.fixture(scope="module")
def keyed(post: Post) -> Iterator[Web]:
    """With a token, and a name."""
    with serving(post, KEYED, 'web.hosts=["status.example"]') as one:
        yield one


@pytest.fixture(autouse=True)
def alive(post: Post) -> None:
    """The daemon gives a sign of life, as it does every few seconds."""
    post.tell(OUTAGE)


# one story


def test_text_page_json_and_metrics_tell_the_same_story(post: Post, web: Web) -> None:
    with Reader.over(post.ledger) as reader:
        counts = reader.counts()
    told = json.loads(web.get("/api/status").text)
    page, text = web.get().text, status.text(facts.look(post.path, told["at"], How.by(str(post.config))))
    measured = web.get("/metrics").text
    headline, _, _ = told["headline"].partition(" (for ")  # a second may have passed
    assert headline in page
    assert text.startswith(headline)
    assert 'dicomsync_level{level="wrong"} 1.0' in measured
    graves = {"wrong": "3.0", "person": "2.0", "note": "1.0"}
    assert {(one["code"], graves[one["level"]]) for one in told["concerns"]} == set(
        re.findall(r'dicomsync_concern{code="([\w-]+)"} ([123]\.0)', measured)
    )
    for one in told["concerns"]:
        assert one["words"] in text
        assert one["words"][1:] in page
        assert one["todo"] in text
        assert one["todo"] in page
    for state, n in counts.instances.items():
        assert told["counts"][state] == n
        assert f'dicomsync_instances{{state="{state}"}} {float(n)}' in measured
        assert re.search(rf'<th scope="row">{state}</th><td class="number">{n}</td>', page)
        assert not n or re.search(rf"^  {state} +{n}  ", text, re.MULTILINE)
    for file_state, n in counts.files.items():
        assert f'dicomsync_files{{state="{file_state}"}} {float(n)}' in measured


def test_what_waits_for_a_person_is_named_by_handles_that_explain_knows(
    post: Post, web: Web, site: Site
) -> None:
    handle = re.search(r">(file [0-9a-f]{6})<", web.get().text)
    assert handle is not None
    explained = site.run("explain", "--ledger", post.path, handle[1]).out
    assert "Doe^Jane" in explained
    assert "held" in explained


def test_deletions_that_are_frozen_are_told_everywhere(post: Post, web: Web, site: Site) -> None:
    assert "FROZEN: more left in 24 hours than" in web.get().text
    assert 'dicomsync_deletions_frozen{folder="1"} 1.0' in web.get("/metrics").text
    done = site.run("status", "-c", post.config)
    assert done.code == 22
    assert "mirrored deletions of folder 1 are frozen" in done.out


@pytest.mark.parametrize("path", ["/", "/live", "/api/status", "/metrics", "/healthz", "/readyz", "/page.js"])
def test_nothing_names_a_person_a_place_or_a_host_without_the_token(web: Web, path: str) -> None:
    text = web.get(path).text
    assert text
    for marker in MARKERS:
        assert marker not in text


# who may ask


@pytest.mark.parametrize(
    "path", ["/", "/live", "/live?names=1", "/api/status", "/metrics", "/page.js", "/nowhere"]
)
def test_where_there_is_a_token_everything_needs_it(keyed: Web, path: str) -> None:
    for answer in (
        keyed.get(path),
        keyed.get(path, bearer=TOKEN[:-1]),
        keyed.get(path, password=f"{TOKEN}x"),
        keyed.get(path, bearer="é"),
    ):
        assert answer.status == 401
        assert answer.headers["www-authenticate"].startswith("Basic")
        assert not any(marker in answer.text for marker in (*MARKERS, "held"))


def test_the_token_is_taken_as_a_password_and_as_a_bearer_token(keyed: Web) -> None:
    assert keyed.get(bearer=TOKEN).status == keyed.get(password=TOKEN).status == 200


def test_names_are_shown_with_the_token_and_only_where_they_are_asked_for(keyed: Web, web: Web) -> None:
    assert not any(marker in keyed.get("/live", bearer=TOKEN).text for marker in MARKERS)
    shown = keyed.get("/live?names=1", bearer=TOKEN).text
    assert all(marker in shown for marker in MARKERS)
    assert web.get("/live?names=1").status == 403
    assert not any(marker in web.get("/?names=1").text for marker in MARKERS)


def test_who_restarts_and_routes_needs_no_token(keyed: Web) -> None:
    assert keyed.get("/healthz").status == keyed.get("/readyz").status == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:9646", "127.0.0.1.evil.example", "a@localhost", ""]
)
def test_a_name_that_is_not_ours_is_refused_whoever_asks(keyed: Web, host: str) -> None:
    answer = keyed.get(bearer=TOKEN, host=host) if host else keyed.get(bearer=TOKEN, host=" ")
    assert answer.status in (400, 421)
    assert "held" not in answer.text


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:1", "[::1]:9646", "10.1.2.3", "STATUS.example:443"])
def test_addresses_and_names_of_ours_are_answered(keyed: Web, host: str) -> None:
    assert keyed.get(bearer=TOKEN, host=host).status == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_nothing_can_be_changed(web: Web, method: str) -> None:
    answer = web.get(method=method)
    assert answer.status == 405
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("path", ["/", "/live", "/metrics", "/nowhere", "/live?names=1"])
def test_every_answer_carries_the_headers_that_keep_a_browser_safe(web: Web, path: str) -> None:
    headers = web.get(path).headers
    assert {name: headers[name] for name in guard.HEADERS} == guard.HEADERS
    assert "unsafe" not in headers["content-security-policy"]
    assert "access-control-allow-origin" not in headers
    assert "server" not in headers


def test_the_page_holds_no_inline_style_or_script_and_nothing_from_elsewhere(web: Web) -> None:
    page = web.get().text
    assert not re.search(r"<style|style=|\son\w+=|javascript:", page)
    assert re.findall(r"<script[^>]*>", page) == ['<script src="page.js" defer>']
    assert not re.search(r'(src|href)="(https?:)?//', page)


def test_what_the_ledger_says_cannot_become_markup(tmp_path: Path) -> None:
    with posted(tmp_path) as post:
        with post.ledger.transaction():
            post.ledger.folder_lost(post.ledger.begin_scan(lookout.FOLDER), 1.0, "<script>x</script>")
        post.tell()
        with serving(post) as web:
            assert "&lt;script&gt;x" in web.get().text
            assert "<script>x" not in web.get().text


# health


def test_it_is_ready_while_a_daemon_takes_files_in_even_if_the_archive_is_away(web: Web) -> None:
    assert (web.get("/healthz").text, web.get("/readyz").text) == ("ok\n", "ok\n")


def test_it_is_not_ready_where_no_daemon_has_ever_run(tmp_path: Path) -> None:
    Ledger.open(tmp_path / "ledger.db").close()
    assert unready(facts.look(tmp_path / "ledger.db", 0.0, How())) == "no daemon has ever run"


@pytest.mark.parametrize(("seconds_ago", "words"), [(3600.0, "the daemon is silent\n")])
def test_it_is_not_ready_with_a_daemon_that_gives_no_sign_of_life(
    tmp_path: Path, seconds_ago: float, words: str
) -> None:
    with posted(tmp_path) as post:
        post.tell(seconds_ago=seconds_ago)
        with serving(post) as web:
            assert (web.get("/readyz").status, web.get("/readyz").text) == (503, words)
            assert web.get("/healthz").status == 200
            assert "dicomsync_up 0.0" in web.get("/metrics").text


def test_a_ledger_that_cannot_be_read_is_told_everywhere(tmp_path: Path) -> None:
    with posted(tmp_path) as post:
        post.tell()
        with serving(post) as web:
            for tail in ("", "-wal", "-shm"):
                Path(f"{post.path}{tail}").unlink()
            assert "is gone; nothing can be shown" in web.get().text
            assert web.get("/api/status").status == web.get("/readyz").status == 503
            measured = web.get("/metrics")
            assert measured.status == 200
            assert re.findall(r"^dicomsync\w+ .*", measured.text, re.MULTILINE) == [
                "dicomsync_ledger_readable 0.0"
            ]
            assert web.end() == 0


# starting


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (['web.listen="0.0.0.0:0"'], "needs token_from"),
        (['web.listen="[::]:0"'], "needs token_from"),
        (['web.hosts=["status.example"]'], "need token_from"),
        (['web.listen="somewhere:80"'], "expected an address of this machine"),
        (['web.listen="127.0.0.1"'], "expected an address and a port"),
        (['web.listen="192.0.2.1:9646"', KEYED], "Nothing can listen at 192.0.2.1"),
        (['web.token_from="env:NO_SUCH_TOKEN"'], "is not set"),
        (['web.token_from="env:SHORT_TOKEN"'], "fewer than 16 characters"),
        (['web.token_from="hunter2"'], "expected where the secret is"),
    ],
)
def test_what_would_be_unsafe_or_cannot_be_is_refused_in_a_sentence(
    post: Post, site: Site, settings: list[str], words: str
) -> None:
    site.environment = {"WEB_TOKEN": TOKEN, "SHORT_TOKEN": "short"}
    options = [part for one in settings for part in ("--set", one)]
    done = site.run("web", "-c", post.config, *options)
    assert done.code in (2, 5)
    assert words in done.err
    assert "hunter2" not in done.err
    assert "Traceback" not in done.err


def test_a_port_that_is_taken_is_told(post: Post, site: Site) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = site.run("web", "-c", post.config, "--listen", f"127.0.0.1:{port}")
    assert done.code == 2
    assert "Address already in use" in done.err


def test_it_listens_beyond_this_machine_with_a_token_and_ends_when_told(post: Post) -> None:
    with serving(post, 'web.listen="0.0.0.0:0"', KEYED) as web:
        local = Web(web.url.replace("0.0.0.0", "127.0.0.1"), web.process)
        assert local.get().status == 401
        assert local.get(bearer=TOKEN).status == 200
        assert local.end() == 0


@pytest.mark.parametrize(
    ("header", "token"),
    [
        ("", ""),
        ("Basic", ""),
        ("Basic !!", ""),
        ("Basic /w==", ""),
        ("Digest x", ""),
        ("bearer  abc ", "abc"),
        ("BASIC dTphOmI=", "a:b"),
    ],
)
def test_a_header_that_makes_no_sense_gives_no_token(header: str, token: str) -> None:
    assert guard.given(header) == token


@pytest.mark.parametrize(
    "text", ["", ":80", "127.0.0.1:", "127.0.0.1:99999", "::1:80", "[::1:80", "a b:1", "127.0.0.1:80/x"]
)
def test_what_is_no_address_is_none(text: str) -> None:
    with pytest.raises(ValueError):
        addresses.listening(text)


# the text file for node_exporter


def test_the_text_file_is_written_whole_readable_to_all_and_leaves_nothing_beside_it(
    post: Post, site: Site
) -> None:
    target = site.home / "dicomsync.prom"
    target.write_text("old")
    assert site.run("metrics", "-c", post.config, "--textfile", target).code == 0
    assert target.read_text().endswith("\n")
    assert 'dicomsync_instances{state="stored"} 12.0' in target.read_text()
    assert target.stat().st_mode & 0o777 == 0o644
    assert [one.name for one in site.home.iterdir() if "prom" in one.name] == ["dicomsync.prom"]


def test_a_text_file_that_cannot_be_written_is_told(post: Post, site: Site) -> None:
    done = site.run("metrics", "-c", post.config, "--textfile", site.home / "nowhere" / "x.prom")
    assert (done.code, "cannot be written" in done.err) == (2, True)


def test_a_text_file_that_node_exporter_would_not_read_is_refused(post: Post, site: Site) -> None:
    done = site.run("metrics", "-c", post.config, "--textfile", site.home / "dicomsync.txt")
    assert (done.code, "*.prom" in done.err) == (2, True)
    assert not (site.home / "dicomsync.txt").exists()


def test_a_text_file_without_a_ledger_says_so_and_is_a_failure(site: Site) -> None:
    target = site.home / "x.prom"
    assert site.run("metrics", "--ledger", site.home / "none.db", "--textfile", target).code == 1
    assert "dicomsync_ledger_readable 0.0" in target.read_text()


def test_a_histogram_counts_everything_once(post: Post) -> None:
    text, _ = metrics.exposition(post.path)
    buckets = re.findall(
        r'time_to_archive_seconds_bucket{folder="1",kind="live",le="([^"]+)"} (\S+)', text.decode()
    )
    assert dict(buckets) == {
        "10.0": "0.0",
        "30.0": "12.0",
        "60.0": "12.0",
        "120.0": "12.0",
        "300.0": "12.0",
        "900.0": "12.0",
        "3600.0": "12.0",
        "14400.0": "12.0",
        "86400.0": "12.0",
        "+Inf": "12.0",
    }
    assert 'dicomsync_time_to_archive_seconds_count{folder="1",kind="live"} 12.0' in text.decode()
    assert 'dicomsync_stored_bytes_total{folder="1",kind="live"} 1.2e+07' in text.decode()
    assert 'dicomsync_request_duration_seconds_bucket{answer="200",le="3.0"} 1.0' in text.decode()
    assert 'dicomsync_retries_total{cause="no-answer"} 3.0' in text.decode()
