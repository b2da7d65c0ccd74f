"""Where a secret is, as a value that holds none, and the reading of it when it is needed.

No message made here repeats what the config says: a secret may have been typed there by mistake.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ..errors import SecretProblem, UsageProblem

_MOST_BYTES: Final = 64 << 10
_VARIABLE: Final = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_CREDENTIAL: Final = re.compile(r"credential:(?!\.)[A-Za-z0-9_.@-]{1,255}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Secret:
    """Where a secret is: a file ("/path"), a variable ("env:NAME"), a systemd credential ("credential:NAME").

    Raises UsageProblem for anything else.
    """

    source: str = field(repr=False)

    def __post_init__(self) -> None:
        whole = _VARIABLE.fullmatch(self.source) or _CREDENTIAL.fullmatch(self.source)
        if not whole and (not self.source.startswith("/") or "\0" in self.source):
            raise UsageProblem(
                "a secret itself does not belong into a config; nothing was sent",
                hint='Name where it is: "/path/of/a/file", "env:NAME" or "credential:NAME".',
            )

    @property
    def path(self) -> str | None:
        """Say which file it is in; None for a variable, and for a credential that systemd has not given."""
        if self.source.startswith("/"):
            return self.source
        directory = os.environ.get("CREDENTIALS_DIRECTORY")
        if self.source.startswith("credential:") and directory:
            return os.path.join(directory, self.source.removeprefix("credential:"))
        return None


class SecretReader:
    """Reads one secret when it is asked for; remembers it while its file is unchanged.

    `what` it is ("password") is for messages.
    """

    def __init__(self, secret: Secret, what: str) -> None:
        self._secret = secret
        self._what = what
        self._remembered: tuple[tuple[int, ...], str] | None = None

    def read(self) -> str:
        """Say the secret as it is now, one line of text; raises SecretProblem."""
        path = self._secret.path
        if path is not None:
            return self._from_file(path)
        kind, _, name = self._secret.source.partition(":")
        if kind == "credential":
            raise self.problem(
                "is a systemd credential, and this process was given none",
                "Only the service has it: LoadCredential=NAME:FILE in its unit. To try it by hand:"
                " systemd-run -P -p LoadCredential=NAME:FILE dicomsync doctor -c CONFIG",
            )
        return self._from_environment(os.environ, name)

    def problem(self, what: str, hint: str = "") -> SecretProblem:
        """Say what is wrong with it."""
        return SecretProblem(
            f"no credential: the {self._what} {what}; nothing was sent",
            hint=hint or f"Put the {self._what} alone there, on one line, readable to this user.",
        )

    def _from_environment(self, environment: Mapping[str, str], name: str) -> str:
        try:
            return self._one_line(environment[name].encode("utf-8", "surrogateescape"))
        except KeyError:
            raise self.problem("is to be in an environment variable that is not set") from None

    def _from_file(self, path: str) -> str:
        """Read the file, or give what it held if size, times and inode still say the same."""
        try:
            with Path(path).open("rb") as file:
                stat = os.fstat(file.fileno())
                key = (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
                remembered = self._remembered
                if remembered is not None and remembered[0] == key:
                    return remembered[1]
                raw = file.read(_MOST_BYTES + 1)
        except OSError as error:
            raise self.problem(f"cannot be read ({os.strerror(error.errno or 0)})") from None
        secret = self._one_line(raw)
        self._remembered = (key, secret)
        return secret

    def _one_line(self, raw: bytes) -> str:
        if len(raw) > _MOST_BYTES:
            raise self.problem("is larger than any secret")
        try:
            text = raw.decode("utf-8")
        except UnicodeDecodeError:
            raise self.problem("is not UTF-8 text") from None
        text = text.removesuffix("\n").removesuffix("\r")
        if not text.strip():
            raise self.problem("is empty")
        if "\n" in text or "\r" in text:
            raise self.problem("has several lines where one is expected")
        return text
