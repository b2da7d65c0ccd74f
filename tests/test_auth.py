"""Secrets: read when they are used, read again when they change, and never shown."""

from __future__ import annotations

import base64
import os
import pickle
from pathlib import Path

import pytest

from dicomsync.dicomweb.auth import Auth, Azure, Basic, Bearer, ClientCredentials, NoAuth
from dicomsync.dicomweb.authorizer import Authorizer
from dicomsync.dicomweb.secrets import Secret
from dicomsync.errors import SecretProblem, UsageProblem

SECRET = "s3cr3t-c4n4ry"


def a_file(path: Path, content: bytes) -> Secret:
    path.write_bytes(content)
    return Secret(str(path))


def test_no_authentication_sends_no_header() -> None:
    assert Authorizer(NoAuth()).header() is None


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
def test_a_line_end_is_no_part_of_a_secret(tmp_path: Path, end: bytes) -> None:
    path = a_file(tmp_path / "t", SECRET.encode() + end)
    assert Authorizer(Bearer(path)).header() == f"Bearer {SECRET}"


def test_basic_joins_name_and_password_as_utf_8(tmp_path: Path) -> None:
    header = Authorizer(Basic("modalität", a_file(tmp_path / "p", b"p:a s\xc3\xa4\n"))).header()
    assert header is not None
    assert base64.b64decode(header.removeprefix("Basic ")).decode() == "modalität:p:a sä"


def test_a_changed_file_is_read_again_and_an_unchanged_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "t"
    authorizer = Authorizer(Bearer(a_file(path, b"first")))
    assert authorizer.header() == "Bearer first"
    reader = authorizer._reader
    assert reader is not None
    remembered = reader._remembered
    assert authorizer.header() == "Bearer first"
    assert reader._remembered is remembered
    a_file(tmp_path / "new", b"other")
    os.replace(tmp_path / "new", path)  # same size, and perhaps the same time: another inode
    assert authorizer.header() == "Bearer other"


def test_a_file_that_vanishes_is_a_problem_even_if_it_was_read_before(tmp_path: Path) -> None:
    path = tmp_path / "t"
    authorizer = Authorizer(Bearer(a_file(path, b"first")))
    authorizer.header()
    path.unlink()
    with pytest.raises(SecretProblem, match="No such file"):
        authorizer.header()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"\n", "empty"),
        (b"  \n", "empty"),
        (SECRET.encode() + b"\nsecond\n", "several lines"),
        (SECRET.encode() + b"\rX-Header: 1", "several lines"),
        (SECRET.encode() + b" blank", "blanks"),
        (b"\xff\xfe" + SECRET.encode(), "UTF-8"),
        (b"\xef\xbb\xbf" + SECRET.encode(), "characters"),
        (SECRET.encode() * 10_000, "larger"),
    ],
)
def test_an_unusable_token_is_said_without_saying_it(tmp_path: Path, content: bytes, words: str) -> None:
    with pytest.raises(SecretProblem, match=words) as caught:
        Authorizer(Bearer(a_file(tmp_path / "t", content))).header()
    error = caught.value
    assert SECRET not in f"{error} {error!r} {error.hint} {error.__cause__!r}"


@pytest.mark.parametrize("username", ["a:b", "a\nb"])
def test_a_user_name_that_basic_cannot_carry_is_refused(tmp_path: Path, username: str) -> None:
    with pytest.raises(SecretProblem):
        Authorizer(Basic(username, a_file(tmp_path / "p", b"x"))).header()


@pytest.mark.parametrize(
    "auth",
    [
        NoAuth(),
        Basic("me", Secret("/run/p")),
        Bearer(Secret("env:TOKEN")),
        ClientCredentials("https://issuer/token", "me", Secret("credential:client")),
        Azure("secret", secret=Secret("/run/s")),
    ],
)
def test_a_description_travels_between_processes_and_holds_no_secret(auth: Auth) -> None:
    assert pickle.loads(pickle.dumps(auth)) == auth
    assert hash(auth) == hash(pickle.loads(pickle.dumps(auth)))


# Where a secret is


def test_a_secret_may_be_in_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    authorizer = Authorizer(Bearer(Secret("env:ZZ_TOKEN")))
    with pytest.raises(SecretProblem, match="environment variable that is not set") as caught:
        authorizer.header()
    assert "ZZ_TOKEN" not in str(caught.value), "it may be the secret, typed into the wrong place"
    monkeypatch.setenv("ZZ_TOKEN", SECRET)
    assert authorizer.header() == f"Bearer {SECRET}"
    monkeypatch.setenv("ZZ_TOKEN", "two words")
    with pytest.raises(SecretProblem, match="blanks"):
        authorizer.header()


def test_a_secret_may_be_a_credential_of_systemds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    authorizer = Authorizer(Bearer(Secret("credential:token")))
    with pytest.raises(SecretProblem, match="systemd credential, and this process was given none") as caught:
        authorizer.header()
    assert "LoadCredential=" in caught.value.hint
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    with pytest.raises(SecretProblem, match="No such file"):
        authorizer.header()
    a_file(tmp_path / "token", SECRET.encode())
    assert authorizer.header() == f"Bearer {SECRET}"


@pytest.mark.parametrize(
    "typed",
    [
        SECRET,
        "",
        "relative/" + SECRET,
        "env:" + SECRET,
        "env:",
        "credential:../" + SECRET,
        "credential:.." + SECRET,
        "credential:",
        "ENV:" + SECRET,
        "file:" + SECRET,
        "/" + SECRET + "\0",
    ],
)
def test_a_secret_itself_is_no_place_of_one_and_is_not_repeated(typed: str) -> None:
    with pytest.raises(UsageProblem) as caught:
        Secret(typed)
    assert SECRET not in f"{caught.value} {caught.value!r} {caught.value.hint}"


def test_a_secret_that_looks_like_a_path_is_not_repeated_either() -> None:
    typed = Secret("/" + SECRET)
    with pytest.raises(SecretProblem) as caught:
        Authorizer(Basic("me", typed)).header()
    assert SECRET not in f"{caught.value!r} {caught.value.hint} {typed!r} {Basic('me', typed)!r}"
