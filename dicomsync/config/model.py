"""Every section and key, with its default and what it may be."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
)

from dicomsync import addresses
from dicomsync.bwlimit import Timetable, timetable

from .values import Duration, FilePlace, PlainPath, SecretPlace, Share, Size, auto, unless, url_of


class Section(BaseModel):
    """What all sections are: strict, frozen, and without a key that nobody knows."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class ArchiveConfig(Section):
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
        parts = urlsplit(url_of(url))
        if parts.query or parts.fragment:
            raise ValueError("url must not have a ? or # part")
        return url


class LedgerConfig(Section):
    """`[ledger]`: the SQLite file that accounts for everything."""

    path: PlainPath = Field(min_length=1)


class FolderConfig(Section):
    """One of `[[folders]]`: a folder to look into. It is never written to."""

    path: PlainPath = Field(min_length=1)
    include: tuple[str, ...] = ("*.dcm",)
    exclude: tuple[str, ...] = ("*.tmp", "*.part", "*.partial")
    settle: Annotated[float | None, BeforeValidator(lambda value: auto(value))] = None  # None: "auto"
    start: Literal["all", "new"] = "all"
    watch: Literal["auto", "events", "scan"] = "auto"
    scan_interval: Annotated[float | None, BeforeValidator(lambda value: auto(value))] = None
    full_scan_interval: Duration = 600.0
    scan_ops_per_second: int = Field(default=0, ge=0, le=1_000_000)
    mirror_deletions: Literal["off", "report", "on"] = "off"
    delete_within: Annotated[  # None: "always"
        float | None, BeforeValidator(lambda value: unless("always", value))
    ] = 86_400.0
    expect_every: Annotated[  # None: "off"
        Annotated[float, Field(ge=1)] | None, BeforeValidator(lambda value: unless("off", value))
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


class BatchConfig(Section):
    """`[batch]`: when a study's instances go, and how many at once."""

    quiet: Duration = 10.0
    max_wait: Duration = 60.0
    max_instances: int = Field(default=50, ge=1, le=10_000)
    max_bytes: Size = 32 * 2**20


class UploadConfig(Section):
    """`[upload]`: how much at a time."""

    transfers: int = Field(default=8, ge=1, le=64)
    bwlimit: Annotated[Timetable, BeforeValidator(timetable)] = ()


class VerifyConfig(Section):
    """`[verify]`: how what was stored is checked in the background."""

    after_store: Literal["none", "search", "bytes"] = "none"


class DeletionsConfig(Section):
    """`[deletions]`: the care with which mirrored deletions are made."""

    confirm_after: Duration = 600.0
    grace: Duration = 259_200.0
    max_deletions: int = Field(default=20, ge=1, le=1_000_000)
    max_deletion_share: Share = 0.02
    undo_window: Annotated[  # None: "off"
        float | None, BeforeValidator(lambda value: unless("off", value))
    ] = 2_592_000.0
    undo_max_bytes: Size = 10 * 2**30


class ControlConfig(Section):
    """`[control]`: how commands reach a running daemon, and whose they may be."""

    socket: PlainPath = ""
    access: Literal["owner", "group"] = "owner"


class WebConfig(Section):
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


class AlertsConfig(Section):
    """`[alerts]`: who is told how it stands without asking, and from where on something is to be told."""

    name: str = Field(default="", max_length=60)
    webhook: Annotated[str, AfterValidator(url_of)] = ""
    webhook_from: SecretPlace = ""
    webhook_body: Literal["json", "chat", "text"] = "json"
    heartbeat: Annotated[str, AfterValidator(url_of)] = ""
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


class Config(Section):
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


SECTIONS: dict[str, type[Section]] = {
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
