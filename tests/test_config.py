"""The config: every problem at once, each with its place, and never a secret in what is told."""

from __future__ import annotations

import dataclasses
import pickle
import tomllib
import typing
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dicomsync import config, wiring
from dicomsync.config import Config
from dicomsync.errors import UsageProblem

ARCHIVE = '[archive]\nurl = "https://pacs.example/v2"\n'
LEDGER = '[ledger]\npath = "/var/lib/dicomsync/ledger.db"\n'
WHOLE = ARCHIVE + LEDGER
FOLDER = '[[folders]]\npath = "/data/ct"\n'


def told(text: str, *overrides: str, given: Mapping[str, Mapping[str, Any]] | None = None) -> list[str]:
    """The problems of a config that cannot be used, one each."""
    with pytest.raises(UsageProblem) as caught:
        config.parse(text, overrides, given=given)
    assert caught.value.exit_code == 2
    first, *lines = caught.value.message.splitlines()
    assert first == "the config cannot be used:"
    return [line.removeprefix("  - ") for line in lines]


def only(text: str, *overrides: str) -> str:
    problems = told(text, *overrides)
    assert len(problems) == 1, problems
    return problems[0]


# what is told


def test_every_problem_is_told_at_once_with_its_place() -> None:
    problems = told(
        """
        [archive]
        kind = "pacs"
        confirm_wait = "soon"
        [ledger]
        path = 5
        [batch]
        max_instances = 0
        quiet = -1
        [upload]
        transfers = 65
        [[folders]]
        path = "/data/ct"
        [[folders]]
        path = ""
        start = "later"
        """
    )
    places = [problem.partition(":")[0] for problem in problems]
    assert places == [
        "archive.url",
        "archive.kind",
        "archive.confirm_wait",
        "ledger.path",
        "folders.2.path",
        "folders.2.start",
        "batch.quiet",
        "batch.max_instances",
        "upload.transfers",
    ]


def test_what_is_wrong_between_keys_is_told_beside_what_is_wrong_with_one() -> None:
    problems = told(
        """
        [archive]
        url = "ftp://h"
        auth = "bearer"
        bla = 1
        [ledger]
        path = "/data/ct/ledger.db"
        [upload]
        transfers = 0
        [[folders]]
        path = "/data/ct"
        [[folders]]
        path = "/data/ct/today"
        """
    )
    assert [problem.partition(":")[0] for problem in problems] == [
        "archive.url",
        "archive.bla",
        "upload.transfers",
        "archive",
        "folders 1 and 2 overlap; keep the outer one",
        "ledger.path lies inside folder 1",
    ]


def test_an_empty_config_lacks_an_archive_and_a_ledger() -> None:
    assert told("") == ["archive: is missing", "ledger: is missing"]
    assert told("[archive]\n[ledger]") == ["archive.url: is missing", "ledger.path: is missing"]


def test_what_is_no_toml_is_told_with_its_line_and_nothing_is_guessed() -> None:
    with pytest.raises(UsageProblem, match=r"ct\.toml is not TOML: .*line 3") as caught:
        config.parse('[archive]\nurl = "x"\nkind = \n', source="ct.toml")
    assert caught.value.hint == "Nothing was done."


@pytest.mark.parametrize(
    "text", ["x = " + "[" * 3000, "x = " + "9" * 5000, "a = 1\na = 2", "\x00", "[a]\n[a]"]
)
def test_toml_no_parser_takes_is_a_problem_of_the_config_and_not_of_the_program(text: str) -> None:
    with pytest.raises(UsageProblem, match="is not TOML"):
        config.parse(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "[archive]\nurl='http://h'\nkinds = 1\n" + LEDGER,
            "archive.kinds: no such key (did you mean 'kind'?)",
        ),
        (
            "[archive]\nurl='http://h'\npassword = 'hunter2'\n" + LEDGER,
            "archive.password: no such key (did you mean 'password_from'?)",
        ),
        (WHOLE + "pth = 1\n", "ledger.pth: no such key (did you mean 'path'?)"),
        (WHOLE + FOLDER + "exlude = []\n", "folders.1.exlude: no such key (did you mean 'exclude'?)"),
        (
            WHOLE + FOLDER + FOLDER.replace("ct", "mr") + "setle = 1\n",
            "folders.2.setle: no such key (did you mean 'settle'?)",
        ),
        (
            WHOLE + "[batch]\nmax_instance = 1\n",
            "batch.max_instance: no such key (did you mean 'max_instances'?)",
        ),
        (WHOLE + "[upload]\ntransfer = 1\n", "upload.transfer: no such key (did you mean 'transfers'?)"),
        (WHOLE + "[folder]\n", "folder: no such key (did you mean 'folders'?)"),
        ("uploads = 1\n" + WHOLE, "uploads: no such key (did you mean 'upload'?)"),
        ("zzzz = 1\n" + WHOLE, "zzzz: no such key"),
        (WHOLE + "[archive.tls]\nca = 'x'\n", "archive.tls: no such key"),
        ('"[" = 1\n' + WHOLE, "[: no such key"),
        ('"a.b[c]" = 1\n' + WHOLE, "a.b[c]: no such key"),
    ],
)
def test_an_unknown_key_is_refused_with_what_was_probably_meant(text: str, expected: str) -> None:
    assert only(text) == expected
    assert "hunter2" not in expected


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("archive = 5\n" + LEDGER, "archive"),
        ('[[archive]]\nurl = "http://h"\n' + LEDGER, "archive"),
        ("folders = 5\n" + WHOLE, "folders"),
        ('folders = ["/data"]\n' + WHOLE, "folders.1"),
        ("[folders]\npath = '/data'\n" + WHOLE, "folders"),
        (WHOLE + FOLDER + 'include = "*.dcm"\n', "folders.1.include"),
        (WHOLE + FOLDER + "include = [1]\n", "folders.1.include.1"),
        (WHOLE + "[upload]\ntransfers = true\n", "upload.transfers"),
        (WHOLE + "[upload]\ntransfers = 2.0\n", "upload.transfers"),
        (WHOLE + '[upload]\ntransfers = "2"\n', "upload.transfers"),
        (WHOLE + "[upload]\ntransfers = nan\n", "upload.transfers"),
        ("[archive]\nurl = 5\n" + LEDGER, "archive.url"),
        (
            ARCHIVE + "auth = 'basic'\nusername = 1979-05-27\npassword_from = '/p'\n" + LEDGER,
            "archive.username",
        ),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused_and_never_taken_for_another(text: str, place: str) -> None:
    assert only(text).startswith(f"{place}: ")


@pytest.mark.parametrize(
    ("key", "written", "expected"),
    [
        (
            "archive.kind",
            '"pacs"',
            '"auto", "dicom-server", "orthanc", "dcm4chee", "google", "healthimaging" or',
        ),
        ("archive.username", "5", "a text"),
        ("archive.azure_authority", '"https://h"', 'a host such as "login.microsoftonline.us"'),
        ("control.access", "true", '"owner" or "group"'),
        ("upload.transfers", "0", "a whole number from 1 to 64"),
        ("upload.transfers", '"2"', "a whole number from 1 to 64"),
        ("upload.transfers", "true", "a whole number from 1 to 64"),
        ("batch.max_instances", "2.0", "a whole number from 1 to 10,000"),
        ("alerts.use_proxy", '"yes"', "true or false"),
        ("alerts.use_proxy", "1", "true or false"),
        ("alerts.name", f'"{"x" * 61}"', "one line of plain text, at most 60 characters"),
        ("alerts.repeat", '"59s"', 'a duration of at least "60s"'),
        ("folders.settle", '"soon"', 'a duration such as "10s", "500ms" or "10min", or "auto"'),
        ("folders.expect_every", "0", 'a duration of at least "1s", or "off"'),
        ("folders.include", '"*.dcm"', 'a list such as ["*.dcm"]'),
        ("folders.path", '""', "a path"),
        ("web.listen", "9646", 'an address and a port such as "127.0.0.1:9646"'),
    ],
)
def test_a_refusal_says_what_was_expected(key: str, written: str, expected: str) -> None:
    name, _, rest = key.partition(".")
    place = f"folders.1.{rest}" if name == "folders" else key
    assert told(WHOLE + FOLDER, f"{key}={written}")[0].startswith(f"{place}: expected {expected}")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("archive = 5\n" + LEDGER, "archive: expected a table"),
        ('folders = ["/data"]\n' + WHOLE, "folders.1: expected a table"),
        ("[folders]\npath = '/data'\n" + WHOLE, "folders: expected a list such as [[folders]]"),
        (WHOLE + '[web]\ntoken_from = "/t"\nhosts = ["a", 5]\n', "web.hosts.2: expected the name of a host"),
    ],
)
def test_what_is_wanted_is_named_as_toml_names_it(text: str, expected: str) -> None:
    assert only(text).startswith(expected)


def every_key() -> list[tuple[str, str]]:
    sections = typing.get_type_hints(Config).items()
    models = [(name, (typing.get_args(kind) or [kind])[0]) for name, kind in sections]
    return [(name, one.name) for name, model in models for one in dataclasses.fields(model)]


@pytest.mark.parametrize("key", every_key(), ids=".".join)
def test_no_key_takes_a_table_or_repeats_in_its_refusal_what_was_given(key: tuple[str, str]) -> None:
    with pytest.raises(UsageProblem) as caught:
        config.parse(WHOLE + FOLDER, [f"{'.'.join(key)}={{hunter2 = 'hunter2'}}"])
    assert "expected " in caught.value.for_logs
    assert "hunter" not in f"{caught.value} {caught.value.for_logs}"


@pytest.mark.parametrize("key", ["token_url", "proxy", "password_from", "ca_file", "azure_authority"])
def test_an_empty_text_is_as_good_as_nothing_where_nothing_need_be_given(key: str) -> None:
    assert config.parse(WHOLE, [f'archive.{key}=""']) == config.parse(WHOLE)


def test_a_log_gets_no_value_and_no_key_that_looks_like_none_of_ours() -> None:
    with pytest.raises(UsageProblem) as caught:
        config.parse(WHOLE + '[batch]\nquite = 1\nquiet = "hunter2"\n"http://anna:hunter2@h" = 1\n')
    assert caught.value.for_logs == (
        'batch.quiet: expected a duration such as "10s", "500ms" or "10min"; '
        "batch.quite: no such key (did you mean 'quiet'?); batch.(a key): no such key"
    )


# durations and sizes

DURATIONS: list[tuple[object, float]] = [
    (0, 0.0),
    (10, 10.0),
    (0.5, 0.5),
    ("10s", 10.0),
    ("500ms", 0.5),
    ("1.5s", 1.5),
    ("2m", 120.0),
    ("10min", 600.0),
    ("1h", 3600.0),
    ("1h30min", 5400.0),
    ("1 h 30 min", 5400.0),
    ("2D", 172_800.0),
    (" 5S ", 5.0),
    ("0s", 0.0),
    ("366d", 366 * 86_400.0),
]
NO_DURATIONS: list[object] = [
    *("", "s", "10", "ten seconds", "-5s", "+5s", "5 s s", "1e3s", "5sx", "x5s", "5.s", ".5s", "10 years"),
    *("367d", "9" * 400 + "s", "nan", "infs", True, False, -1, -0.001, float("nan"), float("inf")),
    *(float("-inf"), 10**400, -(10**400), 366 * 86_400 + 1, [], {}, [1], None),
]


@pytest.mark.parametrize(("value", "seconds"), DURATIONS, ids=repr)
def test_a_duration_is_read_as_people_write_it(value: object, seconds: float) -> None:
    assert config.seconds(value) == pytest.approx(seconds)


@pytest.mark.parametrize("value", NO_DURATIONS, ids=lambda value: repr(value)[:20])
def test_what_is_no_duration_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="expected a duration"):
        config.seconds(value)


SIZES: list[tuple[object, int]] = [
    (1, 1),
    (4096, 4096),
    ("1", 1),
    ("512B", 512),
    ("1kB", 1000),
    ("1KiB", 1024),
    ("500MB", 500_000_000),
    ("500 mb", 500_000_000),
    ("32MiB", 33_554_432),
    ("1.5GiB", 1_610_612_736),
    ("2GB", 2_000_000_000),
]
NO_SIZES: list[object] = [
    *("", "MB", "-1MB", "1TB", "1e3", "0", "0.4", "32 Mi B", "1,000", 0, -1, 2**50 + 1, 10**400, "9" * 400),
    *(float("nan"), float("inf"), True, False, [], {}, None),
]


@pytest.mark.parametrize(("value", "size"), SIZES, ids=repr)
def test_a_size_is_read_as_people_write_it(value: object, size: int) -> None:
    assert config.size_bytes(value) == size


@pytest.mark.parametrize("value", NO_SIZES, ids=lambda value: repr(value)[:20])
def test_what_is_no_size_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="expected a size"):
        config.size_bytes(value)


@pytest.mark.parametrize(
    "written", ["nan", "inf", "-inf", "-1", "true", "[]", '"soon"', "1979-05-27", "07:32:00"]
)
@pytest.mark.parametrize(
    "key", ["batch.quiet", "batch.max_wait", "archive.confirm_wait", "archive.answer_timeout"]
)
def test_no_wait_of_the_config_can_be_endless_or_negative_or_something_else(key: str, written: str) -> None:
    assert only(WHOLE, f"{key}={written}").startswith(f"{key}: expected a duration")


@pytest.mark.parametrize("written", ["nan", "inf", "-1", "0", "true", "[]", '"much"'])
def test_no_size_of_the_config_can_be_nothing_or_endless(written: str) -> None:
    assert only(WHOLE, f"batch.max_bytes={written}").startswith("batch.max_bytes: expected a size")


def test_settle_is_a_duration_or_left_to_us() -> None:
    for written, expected in (('"auto"', None), ('"30s"', 30.0), ("0", 0.0)):
        read = config.parse(WHOLE + FOLDER + f"settle = {written}\n")
        assert read.folders[0].settle == expected
    for written in ("true", "nan", '"Auto "', '"soon"', "-1"):
        problems = told(WHOLE + FOLDER + f"settle = {written}\n")
        assert all(problem.startswith("folders.1.settle: ") for problem in problems)


# the archive


@pytest.mark.parametrize(
    "url",
    [
        "https://anna:hunter2@pacs.example/v2",
        "https://anna@pacs.example/v2",
        "https://:hunter2@pacs.example/v2",
        "https://@pacs.example/v2",
        "https://anna:hunter2@pacs.example:port/",
        "https://anna:hunter2@[::1/",
        "https://pacs.example\\@hunter2/",
        "ftp://anna:hunter2@pacs.example/",
        "anna:hunter2@pacs.example",
        "https://pacs.example/v2?sig=hunter2",
        "https://pacs.example/v2#hunter2",
    ],
)
def test_a_url_that_holds_a_secret_is_refused_without_saying_the_secret(url: str) -> None:
    for text, overrides in ((f"[archive]\nurl = '{url}'\n" + LEDGER, ()), (WHOLE, (f"archive.url={url}",))):
        with pytest.raises(UsageProblem) as caught:
            config.parse(text, overrides)
        said = f"{caught.value.message} {caught.value.hint} {caught.value!r} {caught.value.__cause__!r}"
        assert "archive.url: expected a URL " in said
        assert "hunter2" not in said
        assert "anna" not in said
        assert caught.value.__context__ is None, "an error below it may quote what was given"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "pacs.example",
        "/v2",
        "//pacs.example/v2",
        "https://",
        "https:///v2",
        "http://h:99999",
        "file:///v2",
    ],
)
def test_a_url_that_is_no_address_of_a_server_is_refused(url: str) -> None:
    assert only(f"[archive]\nurl = '{url}'\n" + LEDGER).startswith("archive.url: expected a URL ")


@pytest.mark.parametrize(
    "url", ["https://pacs.example/v2", "http://[::1]:8042/dicom-web/", "HTTPS://PACS.EXAMPLE"]
)
def test_a_url_is_kept_as_it_was_given(url: str) -> None:
    assert config.parse(f"[archive]\nurl = '{url}'\n" + LEDGER).archive.url == url


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ('auth = "basic"', "needs password_from and username"),
        ('auth = "basic"\nusername = "anna"', "needs password_from"),
        ('auth = "basic"\npassword_from = "/p"', "needs username"),
        ('auth = "bearer"', "needs token_from"),
        ('username = "anna"', 'auth = "none" does not use'),
        ('token_from = "/t"', 'auth = "none" does not use'),
        ('password_from = "/p"', 'auth = "none" does not use'),
    ],
)
def test_a_credential_that_would_not_be_used_or_is_missing_is_told(lines: str, expected: str) -> None:
    assert expected in only(ARCHIVE + lines + "\n" + LEDGER)


OAUTH = """auth = "oauth2"
token_url = "https://issuer.example/token"
client_id = "dicomsync"
client_secret_from = "credential:client"
"""


@pytest.mark.parametrize(
    "lines",
    [
        'auth = "basic"\nusername = "anna"\npassword_from = "env:PASSWORD"',
        'auth = "bearer"\ntoken_from = "/etc/dicomsync/a token"',
        OAUTH,
        OAUTH + 'client_auth = "post"\nscope = "a b"\naudience = "pacs"\nresource = "https://pacs/"',
        'auth = "azure"',
        'auth = "azure"\nclient_id = "c"\nscope = "s"',
        'auth = "azure"\nazure_credential = "cli"',
        'auth = "azure"\nazure_credential = "default"\nazure_authority = "login.microsoftonline.us"',
        'auth = "azure"\nazure_credential = "secret"\ntenant_id = "t"\nclient_id = "c"\n'
        'client_secret_from = "/s"',
        'auth = "azure"\nazure_credential = "certificate"\ntenant_id = "t"\nclient_id = "c"\n'
        'azure_certificate = "/c.pem"\nazure_certificate_password_from = "env:P"',
        'ca_file = "/ca.pem"\nclient_certificate = "/c.pem"\nclient_key = "/k.pem"\n'
        'client_key_password_from = "credential:k"',
        'proxy = "http://proxy.example:3128"\nproxy_username = "me"\nproxy_password_from = "/p"',
    ],
)
def test_who_we_are_and_the_way_there_become_what_the_client_takes(lines: str) -> None:
    archive = wiring.archive_of(config.parse(ARCHIVE + lines + "\n" + LEDGER).archive)
    assert pickle.loads(pickle.dumps(archive)) == archive
    for key, value in tomllib.loads(lines).items():
        if key not in ("auth", "azure_credential", "client_auth"):
            assert str(value) in every_text(archive), key


def every_text(value: object) -> set[str]:
    """Collect all texts in a description."""
    if dataclasses.is_dataclass(value):
        return {text for one in dataclasses.fields(value) for text in every_text(getattr(value, one.name))}
    return {value} if isinstance(value, str) else set()


@pytest.mark.parametrize(
    "key",
    [
        "password_from",
        "token_from",
        "client_secret_from",
        "azure_certificate_password_from",
        "client_key_password_from",
        "proxy_password_from",
    ],
)
@pytest.mark.parametrize(
    "typed", ["hunter2", "env:hunter2 x", "credential:../hunter2", "file:hunter2", "env:hunter-2"]
)
def test_a_secret_typed_into_the_config_is_refused_and_not_repeated(key: str, typed: str) -> None:
    (line, *_) = told(ARCHIVE + f"{key} = '{typed}'\n" + LEDGER)
    assert line.startswith(f"archive.{key}: expected where the secret is")
    with pytest.raises(UsageProblem) as caught:
        config.parse(ARCHIVE + LEDGER, [f"archive.{key}={typed}"])
    assert "hunter" not in f"{line} {caught.value} {caught.value.hint}"


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ('auth = "oauth2"', "needs client_id and client_secret_from and token_url"),
        (OAUTH + 'token_from = "/t"', "does not use token_from"),
        ('auth = "azure"\nclient_secret_from = "/s"', "does not use client_secret_from"),
        (
            'auth = "azure"\nazure_credential = "secret"',
            "needs client_id and client_secret_from and tenant_id",
        ),
        ('auth = "azure"\nazure_authority = "https://login.example"', "archive.azure_authority: "),
        ('azure_credential = "cli"', 'auth = "none" does not use azure_credential'),
        ('client_key = "/k"', "client_key is given without client_certificate"),
        ('proxy_username = "me"', "proxy_username is given without proxy"),
        ('ca_file = "ca.pem"', "archive.ca_file: expected the path of a file"),
        (
            'proxy = "http://me:hunter2@proxy"',
            "archive.proxy: expected a URL without a user name",
        ),
        ('proxy = "socks5://proxy"', "archive.proxy: expected a URL that begins with"),
    ],
)
def test_keys_that_do_not_go_together_are_told(lines: str, expected: str) -> None:
    problems = told(ARCHIVE + lines + "\n" + LEDGER)
    assert any(expected in one for one in problems), problems
    assert "hunter2" not in str(problems)


@pytest.mark.parametrize(
    ("key", "url"), [("token_url", "http://issuer.example/token"), ("proxy", "http://proxy.example/path")]
)
def test_what_the_client_would_refuse_is_refused_beforehand_with_its_key(key: str, url: str) -> None:
    checked = config.parse(ARCHIVE + OAUTH + LEDGER, [f"archive.{key}={url}"]).archive
    with pytest.raises(UsageProblem, match=f"archive.{key}: "):
        wiring.archive_of(checked)


def test_a_bad_url_and_a_bad_credential_are_told_together() -> None:
    of_url, of_credential = told('[archive]\nurl = "x"\nauth = "bearer"\n' + LEDGER)
    assert of_url.startswith("archive.url: expected a URL that begins")
    assert of_credential == 'archive: auth = "bearer" needs token_from'


# places


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("/data/ct", "/data/ct"),
        ("/data/ct", "/data/ct/"),
        ("/data/ct", "/data/ct/today"),
        ("/data/ct/today", "/data/ct"),
        ("/data/../data/ct", "/data/./ct/today/"),
        ("in", "in/ct"),
        ("//data", "/data/ct"),  # abspath leaves two slashes standing
        ("/data/ct", "//data/ct"),
    ],
)
def test_folders_that_overlap_are_refused_because_a_file_would_be_in_both(one: str, other: str) -> None:
    text = WHOLE + f"[[folders]]\npath = '{one}'\n[[folders]]\npath = '{other}'\n"
    assert "overlap" in only(text)


def test_folders_that_only_begin_alike_do_not_overlap() -> None:
    read = config.parse(WHOLE + FOLDER + "[[folders]]\npath = '/data/ct2'\n[[folders]]\npath = '/data/c'\n")
    assert [folder.path for folder in read.folders] == ["/data/ct", "/data/ct2", "/data/c"]


@pytest.mark.parametrize("path", ["/", "//", "/.", "/data/.."])
def test_the_whole_file_system_is_no_folder(path: str) -> None:
    of_folder, of_ledger = told(WHOLE + f"[[folders]]\npath = '{path}'\n")
    assert of_folder == "folders: '/' is the whole file system; name the folder"
    assert of_ledger.startswith("ledger.path lies inside folder 1"), "as everything does"


@pytest.mark.parametrize(
    "path", ["/data/ct/ledger.db", "/data/ct/x/../ledger.db", "/data/ct/state/l", "/data/ct"]
)
def test_a_ledger_inside_a_folder_is_refused_because_folders_are_only_read(path: str) -> None:
    assert only(ARCHIVE + f"[ledger]\npath = '{path}'\n" + FOLDER).startswith(
        "ledger.path lies inside folder 1"
    )


def test_a_socket_inside_a_folder_is_refused_too() -> None:
    assert only(WHOLE + FOLDER + "[control]\nsocket = '/data/ct/control.sock'\n").startswith(
        "control.socket lies inside folder 1"
    )


def test_a_ledger_beside_a_folder_is_fine() -> None:
    assert config.parse(ARCHIVE + "[ledger]\npath = '/data/ct.db'\n" + FOLDER).folders


def test_overlaps_and_a_misplaced_ledger_are_told_together() -> None:
    of_folders, of_ledger = told(
        ARCHIVE + "[ledger]\npath = '/data/ct/l'\n" + FOLDER + "[[folders]]\npath = '/data/ct/a'\n"
    )
    assert of_folders.startswith("folders 1 and 2 overlap")
    assert of_ledger.startswith("ledger.path lies inside folder 1")


def test_a_path_with_a_zero_byte_is_refused_as_no_disk_can_hold_it() -> None:
    zero = "\\u0000"
    assert only(WHOLE + f'[[folders]]\npath = "/a{zero}b"\n').startswith(
        "folders.1.path: expected a path without"
    )
    assert only(WHOLE, f'ledger.path="/a{zero}b"').startswith("ledger.path: expected a path without")
    assert only(WHOLE, f'control.socket="/a{zero}b"').startswith("control.socket: expected a path without")


def test_a_key_that_would_move_the_terminal_is_shown_in_escapes() -> None:
    assert only(WHOLE + '[control]\n"\\u001b[2J\\n" = 1\n').startswith("control.\\x1b[2J\\n: no such key")


# names


@pytest.mark.parametrize("key", ["include", "exclude"])
@pytest.mark.parametrize("pattern", ["ct/*.dcm", "/", "*/", "/data/ct/a.dcm"])
def test_a_pattern_is_about_names_and_holds_no_slash(key: str, pattern: str) -> None:
    problem = only(WHOLE + FOLDER + f"{key} = ['*.ok', '{pattern}']\n")
    assert problem.startswith(f"folders.1.{key}.2: expected a pattern of names")


def test_a_folder_that_includes_nothing_is_refused_and_one_that_excludes_nothing_is_not() -> None:
    assert only(WHOLE + FOLDER + "include = []\n").startswith("folders.1.include: names nothing")
    assert config.parse(WHOLE + FOLDER + "exclude = []\n").folders[0].exclude == ()


# what may be left out, and what is laid over


def test_the_smallest_config_has_the_defaults_that_are_promised() -> None:
    read = config.parse(WHOLE + FOLDER)
    assert (read.archive.kind, read.archive.auth) == ("auto", "none")
    assert (read.archive.confirm_wait, read.archive.answer_timeout) == (30.0, 300.0)
    assert (read.batch.quiet, read.batch.max_wait) == (10.0, 60.0)
    assert (read.batch.max_instances, read.batch.max_bytes) == (100, 32 * 2**20)
    assert read.upload.transfers == 8
    (folder,) = read.folders
    assert (folder.include, folder.settle, folder.start) == (("*.dcm",), None, "all")


def test_a_config_without_folders_is_one_for_commands_that_need_none() -> None:
    assert config.parse(WHOLE).folders == ()


def test_a_config_is_frozen() -> None:
    read = config.parse(WHOLE + FOLDER)
    with pytest.raises(dataclasses.FrozenInstanceError):
        read.batch.quiet = 1.0  # type: ignore[misc]  # mypy knows it too: it is frozen


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_a_byte_order_mark_and_windows_lines_are_no_problem(newline: str) -> None:
    assert config.parse("\ufeff" + (WHOLE + FOLDER).replace("\n", newline)) == config.parse(WHOLE + FOLDER)


def test_set_lays_one_key_over_whether_it_was_there_or_not() -> None:
    read = config.parse(
        WHOLE + FOLDER + "[batch]\nquiet = 5\n",
        ["batch.quiet=1s", " archive.confirm_wait =2", "upload.transfers=9", 'archive.kind="orthanc"'],
    )
    assert (read.batch.quiet, read.archive.confirm_wait, read.upload.transfers) == (1.0, 2.0, 9)
    assert read.archive.kind == "orthanc"
    assert config.parse(WHOLE, ["archive.kind=orthanc"]).archive.kind == "orthanc", "quotes may be left out"


def test_set_of_a_folders_key_means_every_folder() -> None:
    read = config.parse(
        WHOLE + FOLDER + FOLDER.replace("ct", "mr"), ["folders.settle=1s", 'folders.include=["*"]']
    )
    assert [(folder.settle, folder.include) for folder in read.folders] == [(1.0, ("*",))] * 2


def test_the_last_of_two_sets_counts_and_a_value_may_hold_an_equals_sign() -> None:
    read = config.parse(WHOLE, ["ledger.path=/a", "ledger.path=/b=c"])
    assert read.ledger.path == "/b=c"


@pytest.mark.parametrize(
    "override", ["", "=", "quiet=1", "batch.quiet", "batch.=1", ".quiet=1", "=batch.quiet"]
)
def test_a_set_that_is_not_key_and_value_is_refused(override: str) -> None:
    with pytest.raises(UsageProblem, match="is not KEY=VALUE"):
        config.parse(WHOLE, [override])


@pytest.mark.parametrize(
    ("override", "place"),
    [
        ("batch.quite=1", "batch.quite: no such key (did you mean 'quiet'?)"),
        ("bach.quiet=1", "bach: no such key (did you mean 'batch'?)"),
        ("archive.kind=pacs", "archive.kind: "),
        ("archive.auth.kind=1", "archive.auth.kind: no such key"),
        ("ledger.path=", "ledger.path: "),
        ("upload.transfers=" + "9" * 5000, "upload.transfers: "),  # more digits than Python reads
        ("upload.transfers=" + "[" * 5000, "upload.transfers: "),
    ],
)
def test_what_is_set_is_checked_as_if_it_stood_in_the_file(override: str, place: str) -> None:
    assert only(WHOLE, override).startswith(place)


def test_given_sections_go_over_the_file_and_sets_over_both() -> None:
    given: dict[str, dict[str, Any]] = {"ledger": {"path": "/given"}, "batch": {"quiet": 3, "max_wait": 4}}
    read = config.parse(WHOLE + "[batch]\nquiet = 1\nmax_instances = 7\n", ["batch.max_wait=5"], given=given)
    assert read.ledger.path == "/given"
    assert (read.batch.quiet, read.batch.max_wait, read.batch.max_instances) == (3.0, 5.0, 7)


def test_given_alone_can_be_a_whole_config() -> None:
    given = {"archive": {"url": "http://h"}, "ledger": {"path": "/l"}}
    assert config.parse("", given=given).archive.url == "http://h"


@pytest.mark.parametrize(
    ("text", "overrides", "given", "place"),
    [
        ("archive = 5\n" + LEDGER, (), {"archive": {"url": "http://h"}}, "archive"),
        ("[[archive]]\nkind = 'auto'\n" + LEDGER, (), {"archive": {"url": "http://h"}}, "archive"),
        ('ledger = "/x"\n' + ARCHIVE, ("ledger.path=/y",), None, "ledger"),
        ("[[ledger]]\npath = '/x'\n" + ARCHIVE, ("ledger.path=/y",), None, "ledger"),
        ("folders = 5\n" + WHOLE, ("folders.settle=1s",), None, "folders"),
        ("[folders]\npath = '/data'\n" + WHOLE, ("folders.settle=1s",), None, "folders"),
        ('folders = ["/a"]\n' + WHOLE, ("folders.settle=1s",), None, "folders.1"),
    ],
)
def test_what_is_laid_over_something_that_is_no_table_is_a_problem_of_that_key(
    text: str, overrides: tuple[str, ...], given: dict[str, dict[str, Any]] | None, place: str
) -> None:
    (problem,) = told(text, *overrides, given=given)
    assert problem.startswith(f"{place}: ")


# whatever stands in the file

scalars: st.SearchStrategy[Any] = (
    st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.dates()
    | st.times()
    | st.just(10**400)
)
likely = st.sampled_from(
    ["", "auto", "10s", "32MiB", "basic", "http://h", "https://a:b@h", "/data", "/", "new"]
)
values: st.SearchStrategy[Any] = st.recursive(
    scalars | likely,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)
SECTIONS: dict[str, type[config.Section]] = {
    "archive": config.ArchiveConfig,
    "ledger": config.LedgerConfig,
    "batch": config.BatchConfig,
    "upload": config.UploadConfig,
}


def section(model: type[config.Section]) -> st.SearchStrategy[Any]:
    keys = [one.name for one in dataclasses.fields(model)]
    return st.dictionaries(st.sampled_from(keys) | st.text(max_size=5), values, max_size=4)


whole_configs = st.fixed_dictionaries(
    {},
    optional={
        **{name: section(model) | values for name, model in SECTIONS.items()},
        "folders": st.lists(section(config.FolderConfig) | values, max_size=3) | values,
    },
)
sound = {"archive": {"url": "http://h"}, "ledger": {"path": "/l"}}


@settings(deadline=None, max_examples=400)
@given(whole_configs, st.booleans(), st.dictionaries(st.text(max_size=5), values, max_size=1))
def test_whatever_stands_in_it_a_config_is_read_or_the_key_at_fault_is_named(
    drawn: dict[str, Any], complete: bool, more: dict[str, Any]
) -> None:
    data = {**(sound if complete else {}), **drawn, **more}
    try:
        assert isinstance(config.build(data), Config)
    except UsageProblem as problem:
        _, *lines = problem.message.split("\n  - ")
        assert lines
        keys = {config.shown(key) for key in data} | {"archive", "ledger", "folders"}
        for line in lines:
            assert any(line.startswith(key) for key in keys), line


# mirrored deletions


def test_mirrored_deletions_are_off_and_careful_unless_it_says_otherwise() -> None:
    found = config.parse(WHOLE + FOLDER)
    (folder,) = found.folders
    assert (folder.mirror_deletions, folder.delete_within) == ("off", 86_400)
    rules = wiring.deletions_of(found)
    assert (rules.confirm_after_seconds, rules.grace_seconds) == (600, 72 * 3600)
    assert (rules.max_deletions, rules.max_share, rules.undo_seconds) == (20, 0.02, 30 * 86_400)
    assert config.warnings(found) == []


def test_always_and_off_are_words_of_their_keys_and_shares_may_be_in_percent() -> None:
    text = FOLDER + 'mirror_deletions = "on"\ndelete_within = "always"\n'
    more = (
        '[deletions]\nmax_deletion_share = "2.5%"\nundo_window = "off"\nconfirm_after = "1s"\ngrace = "2s"\n'
    )
    found = config.parse(WHOLE + text + more)
    assert found.folders[0].delete_within is None
    assert (found.deletions.max_deletion_share, found.deletions.undo_window) == (0.025, None)
    told = config.warnings(found)
    assert [line.split()[0] for line in told] == [
        "deletions.confirm_after",
        "deletions.grace",
        "deletions.undo_window",
    ]


@pytest.mark.parametrize(
    "line",
    [
        "max_deletions = 0",
        "max_deletions = true",
        "max_deletion_share = 1.1",
        'max_deletion_share = "101%"',
        "max_deletion_share = nan",
        'max_deletion_share = "some"',
        'grace = "never"',
        'undo_window = "always"',
        "undo_max_bytes = 0",
    ],
)
def test_a_knob_that_makes_no_sense_is_told(line: str) -> None:
    assert only(f"{WHOLE}[deletions]\n{line}\n").startswith(f"deletions.{line.split()[0]}")


def test_a_mode_or_a_window_that_makes_no_sense_is_told() -> None:
    assert only(WHOLE + FOLDER + 'mirror_deletions = "yes"\n').startswith("folders.1.mirror_deletions")
    assert only(WHOLE + FOLDER + 'delete_within = "off"\n').startswith("folders.1.delete_within")
