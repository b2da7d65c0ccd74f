"""TOML text to one frozen `Config`; every problem is told at once, with its place."""

from __future__ import annotations

import difflib
import itertools
import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from dicomsync import addresses, credentials
from dicomsync.bwlimit import Timetable, timetable
from dicomsync.errors import UsageProblem

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = {
    "": 1,
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
}


def seconds(value: object) -> float:
    """Read a duration such as "10s", "500ms", "10min" or "1h30min"; a bare number is seconds."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        number: float = value  # not float(value): TOML has integers that are too large for that
    else:
        text = str(value).strip().lower().replace(" ", "")
        pieces = re.findall(r"(\d+(?:\.\d+)?)(ms|s|min|m|h|d)", text)
        if not pieces or "".join(n + u for n, u in pieces) != text:
            raise ValueError('expected a duration such as "10s", "500ms" or "10min"')
        number = sum(float(n) * _SECONDS[u] for n, u in pieces)
    if not 0 <= number <= 366 * 86400:
        raise ValueError("expected a duration between nothing and a year")
    return float(number)


def size_bytes(value: object) -> int:
    """Read a size such as "32MiB" or "500 MB"; a bare number is bytes."""
    if isinstance(value, int) and not isinstance(value, bool):
        number: float = value
    else:
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]*)", str(value).strip().lower())
        if match is None or match[2] not in _BYTES:
            raise ValueError('expected a size such as "32MiB" or "500MB"')
        number = float(match[1]) * _BYTES[match[2]]
    if not 1 <= number <= 2**50:
        raise ValueError("expected a size of at least one byte")
    return int(number)


def share(value: object) -> float:
    """Read a share such as "2%" or 0.02; it lies between none and all of it."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        number: float = value
    else:
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*%", str(value).strip())
        if match is None:
            raise ValueError('expected a share such as "2%" or 0.02')
        number = float(match[1]) / 100
    if not 0 <= number <= 1:
        raise ValueError("expected a share between 0 and 1, or 0% and 100%")
    return float(number)


def _unless(word: str, value: object) -> float | None:
    return None if value in (word, None) else seconds(value)


def _auto(value: object) -> float | None:
    return None if value in ("auto", None) else seconds(value)


def _path(path: str) -> str:
    if "\0" in path:
        raise ValueError("a path cannot hold a zero byte")
    return path


PlainPath = Annotated[str, AfterValidator(_path)]


def _url(url: str) -> str:
    if not url:
        return url
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - reading it is what checks it
    except ValueError:
        raise ValueError("url is not a URL") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("url must begin with https:// or http:// and name a host")
    if parts.username is not None or parts.password is not None:
        raise ValueError("url must not hold a user name or password: use auth and a file")
    return url


SecretPlace = Annotated[str, BeforeValidator(credentials.secret_place)]
FilePlace = Annotated[str, BeforeValidator(credentials.file_place)]
Duration = Annotated[float, BeforeValidator(seconds)]
Size = Annotated[int, BeforeValidator(size_bytes)]
Share = Annotated[float, BeforeValidator(share)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class ArchiveConfig(_Section):
    """`[archive]`: the one archive everything goes to."""

    url: str = Field(description="DICOMweb base URL, such as https://host/v2 or http://host:8042/dicom-web")
    kind: Literal["auto", "dicom-server", "orthanc", "dcm4chee", "google", "healthimaging", "generic"] = (
        "auto"
    )
    auth: Literal["none", "basic", "bearer", "oauth2", "azure"] = "none"
    username: str = ""
    password_from: SecretPlace = ""
    token_from: SecretPlace = ""
    token_url: str = ""
    client_id: str = ""
    client_secret_from: SecretPlace = ""
    client_auth: Literal["basic", "post"] = "basic"
    scope: str = ""
    audience: str = ""
    resource: str = ""
    azure_credential: Literal["managed", "default", "secret", "certificate", "cli"] = "managed"
    azure_authority: str = Field(default="", pattern=r"^([A-Za-z0-9.-]+(:[0-9]{1,5})?)?$")
    azure_certificate: FilePlace = ""
    azure_certificate_password_from: SecretPlace = ""
    tenant_id: str = ""
    ca_file: FilePlace = ""
    client_certificate: FilePlace = ""
    client_key: FilePlace = ""
    client_key_password_from: SecretPlace = ""
    proxy: str = ""
    proxy_username: str = ""
    proxy_password_from: SecretPlace = ""
    confirm_wait: Duration = 30.0
    answer_timeout: Duration = 300.0

    @field_validator("url", "token_url", "proxy")
    @classmethod
    def _base_url(cls, url: str, info: ValidationInfo) -> str:
        if not url and info.field_name == "url":
            raise ValueError("url must begin with https:// or http:// and name a host")
        parts = urlsplit(_url(url))
        if parts.query or parts.fragment:
            raise ValueError("url must not have a ? or # part")
        return url


class LedgerConfig(_Section):
    """`[ledger]`: the SQLite file that accounts for everything."""

    path: PlainPath = Field(min_length=1)


class FolderConfig(_Section):
    """One of `[[folders]]`: a folder to look into. It is never written to."""

    path: PlainPath = Field(min_length=1)
    include: tuple[str, ...] = ("*.dcm",)
    exclude: tuple[str, ...] = ("*.tmp", "*.part", "*.partial")
    settle: Annotated[float | None, BeforeValidator(lambda value: _auto(value))] = None  # None: "auto"
    start: Literal["all", "new"] = "all"
    watch: Literal["auto", "events", "scan"] = "auto"
    scan_interval: Annotated[float | None, BeforeValidator(lambda value: _auto(value))] = None
    full_scan_interval: Duration = 600.0
    scan_ops_per_second: int = Field(default=0, ge=0, le=1_000_000)
    mirror_deletions: Literal["off", "report", "on"] = "off"
    delete_within: Annotated[  # None: "always"
        float | None, BeforeValidator(lambda value: _unless("always", value))
    ] = 86_400.0
    expect_every: Annotated[  # None: "off"
        Annotated[float, Field(ge=1)] | None, BeforeValidator(lambda value: _unless("off", value))
    ] = None

    @field_validator("include", "exclude")
    @classmethod
    def _names(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        if any("/" in pattern for pattern in patterns):
            raise ValueError("patterns are about names, not paths: leave out the /")
        return patterns

    @field_validator("include")
    @classmethod
    def _some(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        if not patterns:
            raise ValueError('names nothing: ["*.dcm"] is usual, ["*"] looks into every file')
        return patterns


class BatchConfig(_Section):
    """`[batch]`: when a study's instances go, and how many at once."""

    quiet: Duration = 10.0
    max_wait: Duration = 60.0
    max_instances: int = Field(default=50, ge=1, le=10_000)
    max_bytes: Size = 32 * 2**20


class UploadConfig(_Section):
    """`[upload]`: how much at a time."""

    transfers: int = Field(default=4, ge=1, le=64)
    bwlimit: Annotated[Timetable, BeforeValidator(timetable)] = ()


class VerifyConfig(_Section):
    """`[verify]`: how what was stored is checked in the background."""

    after_store: Literal["none", "search", "bytes"] = "none"


class DeletionsConfig(_Section):
    """`[deletions]`: the care with which mirrored deletions are made."""

    confirm_after: Duration = 600.0
    grace: Duration = 259_200.0
    max_deletions: int = Field(default=20, ge=1, le=1_000_000)
    max_deletion_share: Share = 0.02
    undo_window: Annotated[  # None: "off"
        float | None, BeforeValidator(lambda value: _unless("off", value))
    ] = 2_592_000.0
    undo_max_bytes: Size = 10 * 2**30


class ControlConfig(_Section):
    """`[control]`: how commands reach a running daemon, and whose they may be."""

    socket: PlainPath = ""
    access: Literal["owner", "group"] = "owner"


class WebConfig(_Section):
    """`[web]`: where `dicomsync web` serves its page and metrics, and to whom."""

    listen: str = "127.0.0.1:9646"
    token_from: SecretPlace = ""
    hosts: tuple[str, ...] = ()

    @field_validator("listen")
    @classmethod
    def _listen(cls, text: str) -> str:
        addresses.listening(text)
        return text

    @field_validator("hosts")
    @classmethod
    def _hosts(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(map(addresses.name, names))


class AlertsConfig(_Section):
    """`[alerts]`: who is told how it stands without asking, and from where on something is to be told."""

    name: str = Field(default="", max_length=60)
    webhook: Annotated[str, AfterValidator(_url)] = ""
    webhook_from: SecretPlace = ""
    webhook_body: Literal["json", "chat", "text"] = "json"
    heartbeat: Annotated[str, AfterValidator(_url)] = ""
    heartbeat_from: SecretPlace = ""
    heartbeat_every: Annotated[Duration, Field(ge=1)] = 60.0
    heartbeat_method: Literal["GET", "POST"] = "GET"
    use_proxy: bool = False
    least: Literal["wrong", "person", "note"] = "person"
    after: Duration = 600.0
    repeat: Annotated[Duration, Field(ge=60)] = 86_400.0
    oldest_pending: Annotated[Duration, Field(ge=60)] = 3600.0
    disk_free: Size = 10**9
    certificate: Duration = 1_209_600.0

    @field_validator("name")
    @classmethod
    def _plain(cls, name: str) -> str:
        if not name.isprintable():
            raise ValueError("is one line of plain text")
        return name


class Config(_Section):
    """The whole configuration, checked."""

    archive: ArchiveConfig
    ledger: LedgerConfig
    folders: tuple[FolderConfig, ...] = ()
    batch: BatchConfig = BatchConfig()
    upload: UploadConfig = UploadConfig()
    verify: VerifyConfig = VerifyConfig()
    deletions: DeletionsConfig = DeletionsConfig()
    control: ControlConfig = ControlConfig()
    web: WebConfig = WebConfig()
    alerts: AlertsConfig = AlertsConfig()


def _across(data: Mapping[str, Any]) -> list[str]:
    """Say what is wrong between keys; looked for in the plain values, so that it is told with the rest."""
    archive = _table(data.get("archive"))
    written = {
        "ledger.path": _table(data.get("ledger")).get("path"),
        "control.socket": _table(data.get("control")).get("socket"),
    }
    listed = data.get("folders")
    folders = [_table(one).get("path") for one in listed] if isinstance(listed, (list, tuple)) else []
    paths = {
        number: path
        for number, path in enumerate(folders, 1)
        if isinstance(path, str) and path and "\0" not in path
    }
    web, alerts = addresses.problems(_table(data.get("web"))), _table(data.get("alerts"))
    problems = [*credentials.problems(archive), *_overlaps(paths), *web]
    problems += [
        f"alerts: {key} and {key}_from are two places for one URL: leave one out"
        for key in ("webhook", "heartbeat")
        if alerts.get(key) and alerts.get(f"{key}_from")
    ]
    problems += [
        f"{key} lies inside folder {number}: folders are only read, so put it elsewhere"
        for key, place in written.items()
        if isinstance(place, str) and place
        for number, path in paths.items()
        if _inside(_absolute(place), _absolute(path))
    ]
    return problems


def _table(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _overlaps(paths: Mapping[int, str]) -> list[str]:
    """Say which folders overlap: by their numbers, as paths are not for logs."""
    real = {number: _absolute(path) for number, path in paths.items()}
    told = ["folders: '/' is the whole file system; name the folder" for path in real.values() if path == "/"]
    told += [
        f"folders {first} and {second} overlap; keep the outer one"
        for (first, one), (second, other) in itertools.combinations(real.items(), 2)
        if _inside(one, other) or _inside(other, one)
    ]
    return told


def _absolute(path: str) -> str:
    return re.sub("^//+", "/", os.path.abspath(path))


def _inside(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def parse(
    text: str,
    overrides: Sequence[str] = (),
    *,
    given: Mapping[str, Mapping[str, Any]] | None = None,
    source: str = "the config",
) -> Config:
    """Read a config from TOML text, with `given` sections and `KEY=VALUE` overrides laid over it.

    Raises UsageProblem that tells every problem, with the key it is about; never a value of a secret
    (the config holds none: only the files they are in).
    """
    try:
        data: dict[str, Any] = tomllib.loads(text.removeprefix("\ufeff"))
    except (ValueError, RecursionError) as error:  # numbers of 5,000 digits and the like are bare ValueErrors
        where = re.search(r"\(at [^()]*\)$", str(error))
        raise UsageProblem(
            f"{source} is not TOML: {error}.",
            hint="Nothing was done.",
            for_logs=f"it is not TOML {where[0] if where else ''}".strip(),
        ) from None
    for section, values in (given or {}).items():
        if isinstance(data.setdefault(section, {}), dict):  # what is no table is told below
            data[section] |= values
    for override in overrides:
        _lay_over(data, override)
    return build(data, source=source)


def warnings(config: Config) -> list[str]:
    """Say what is allowed and unwise, fit for a log: mirrored deletions with less care than is usual."""
    if all(folder.mirror_deletions == "off" for folder in config.folders):
        return []
    told = []
    for key, least, words in (
        ("confirm_after", 600.0, "10min"),
        ("grace", 86_400.0, "24h"),
    ):
        if getattr(config.deletions, key) < least:
            told.append(f"deletions.{key} is under {words}: that is for trials")
    if config.deletions.undo_window is None:
        told.append("deletions.undo_window is off: a mirrored deletion cannot be taken back")
    return told


def archive_alone(url: str, overrides: Sequence[str] = ()) -> ArchiveConfig:
    """Check an archive given by its URL, for a command that needs neither ledger nor folders."""
    return parse("", overrides, given={"archive": {"url": url}, "ledger": {"path": os.devnull}}).archive


def build(data: Mapping[str, Any], *, source: str = "the config") -> Config:
    """Check a config given as plain values."""
    problems = logged = _across(data)
    try:
        # Lists of TOML become tuples; strict mode keeps "yes" from passing for true.
        config = Config.model_validate(_frozen(data))
        if not problems:
            return config
    except ValidationError as error:
        found = [dict(one) for one in error.errors(include_url=False, include_input=False)]
        problems = list(dict.fromkeys(map(_told, found))) + problems
        logged = list(dict.fromkeys(_told(one | {"loc": _plain(one["loc"])}) for one in found)) + logged
    raise UsageProblem(
        f"{source} cannot be used:\n" + "\n".join(f"  - {line}" for line in problems),
        hint="Nothing was done. config.example.toml shows every key.",
        for_logs="; ".join(logged),
    )


def _frozen(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _frozen(one) for key, one in value.items()}
    if isinstance(value, list):
        return tuple(_frozen(one) for one in value)
    return value


def _plain(place: Any) -> tuple[str | int, ...]:
    """Leave out of a place what was given as a key and looks like none of ours: it may be anything."""
    return tuple(one if re.fullmatch(r"[\w\[\],-]{1,40}", str(one), re.ASCII) else "(a key)" for one in place)


def _told(error: dict[str, Any]) -> str:
    """Say one problem: where, what, and for an unknown key what was probably meant."""
    unknown = error["type"] == "extra_forbidden"  # then every part is a key; else one may name a validator
    place = [part for part in error["loc"] if unknown or not (isinstance(part, str) and "[" in part)]
    key = ".".join(str(part + 1) if isinstance(part, int) else shown(part) for part in place)
    if unknown:
        return f"{key}: no such key{_meant(place)}"
    message = str(error["msg"]).removeprefix("Value error, ")
    message = message.replace("a valid tuple", "a list").replace("a valid dictionary", "a table")
    if error["type"] == "missing":
        message = "is missing"
    return f"{key}: {message}" if key else message


def shown(key: str) -> str:
    """Show a key to a person: TOML lets one hold any character at all."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in key)


def _meant(place: Sequence[str | int]) -> str:
    section: Any = Config
    for part in place[:-1]:
        if isinstance(part, int):
            continue
        section = _SECTIONS.get(part, section)
    near = difflib.get_close_matches(str(place[-1]), list(section.model_fields), n=1, cutoff=0.5)
    return f" (did you mean {near[0]!r}?)" if near else ""


_SECTIONS: dict[str, type[_Section]] = {
    "archive": ArchiveConfig,
    "ledger": LedgerConfig,
    "folders": FolderConfig,
    "batch": BatchConfig,
    "upload": UploadConfig,
    "verify": VerifyConfig,
    "deletions": DeletionsConfig,
    "control": ControlConfig,
    "web": WebConfig,
    "alerts": AlertsConfig,
}


def _lay_over(data: dict[str, Any], override: str) -> None:
    """Lay one `archive.confirm_wait=1s` over the config; `folders.settle=1s` means every folder."""
    key, equals, value = override.partition("=")
    section, dot, name = key.strip().partition(".")
    if not (equals and dot and section and name):
        raise UsageProblem(
            f"--set {override!r} is not KEY=VALUE.", hint="Such as --set archive.confirm_wait=1s"
        )
    for table in _tables(data, section):
        table[name] = _value(value)


def _tables(data: dict[str, Any], section: str) -> list[dict[str, Any]]:
    """Give the tables that a section stands for; what is none is told when the whole is checked."""
    found = data.setdefault(section, [] if section == "folders" else {})
    listed = found if isinstance(found, list) else [found]
    return [table for table in listed if isinstance(table, dict)]


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):  # as for the whole config: not every ValueError is tomllib's own
        return text
