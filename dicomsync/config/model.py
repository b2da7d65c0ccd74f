"""Every section and key: how its value is read, and what it is where it is left out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dicomsync.addresses import name as host_name
from dicomsync.bwlimit import Timetable, timetable
from dicomsync.credentials import authority, file_place, secret_place

from .sections import Section, key, listed, needed, table
from .values import (
    address,
    any_path,
    base_url,
    either,
    flag,
    http_url,
    line,
    one_of,
    pattern,
    seconds,
    seconds_from,
    share,
    size_bytes,
    text,
    whole,
)

Kind = Literal["auto", "dicom-server", "orthanc", "dcm4chee", "google", "healthimaging", "generic"]
Auth = Literal["none", "basic", "bearer", "oauth2", "azure"]
ClientAuth = Literal["basic", "post"]
AzureCredential = Literal["managed", "default", "secret", "certificate", "cli"]
Start = Literal["all", "new"]
Watch = Literal["auto", "events", "scan"]
Mirror = Literal["off", "report", "on"]
AfterStore = Literal["none", "search", "bytes"]
Access = Literal["owner", "group"]
Body = Literal["json", "chat", "text"]
Method = Literal["GET", "POST"]
Least = Literal["wrong", "person", "note"]


@dataclass(frozen=True)
class ArchiveConfig(Section):
    """`[archive]`: the one archive everything goes to."""

    url: str = needed(base_url)  # such as https://host/v2 or http://host:8042/dicom-web
    kind: Kind = key(one_of(Kind), "auto")
    auth: Auth = key(one_of(Auth), "none")
    username: str = key(text, "")
    password_from: str = key(secret_place, "")
    token_from: str = key(secret_place, "")
    token_url: str = key(base_url, "")
    client_id: str = key(text, "")
    client_secret_from: str = key(secret_place, "")
    client_auth: ClientAuth = key(one_of(ClientAuth), "basic")
    scope: str = key(text, "")
    audience: str = key(text, "")
    resource: str = key(text, "")
    azure_credential: AzureCredential = key(one_of(AzureCredential), "managed")
    azure_authority: str = key(authority, "")
    azure_certificate: str = key(file_place, "")
    azure_certificate_password_from: str = key(secret_place, "")
    tenant_id: str = key(text, "")
    ca_file: str = key(file_place, "")
    client_certificate: str = key(file_place, "")
    client_key: str = key(file_place, "")
    client_key_password_from: str = key(secret_place, "")
    proxy: str = key(base_url, "")
    proxy_username: str = key(text, "")
    proxy_password_from: str = key(secret_place, "")
    confirm_wait: float = key(seconds, 30.0)
    answer_timeout: float = key(seconds, 300.0)


@dataclass(frozen=True)
class LedgerConfig(Section):
    """`[ledger]`: the SQLite file that accounts for everything."""

    path: str = needed(any_path)


@dataclass(frozen=True)
class FolderConfig(Section):
    """One of `[[folders]]`: a folder to look into. It is never written to."""

    path: str = needed(any_path)
    include: tuple[str, ...] = key(listed(pattern, '["*.dcm"] or ["*"]', empty=False), ("*.dcm",))
    exclude: tuple[str, ...] = key(listed(pattern, '["*.tmp"]'), ("*.tmp", "*.part", "*.partial"))
    settle: float | None = key(either("auto", seconds), None)
    start: Start = key(one_of(Start), "all")
    watch: Watch = key(one_of(Watch), "auto")
    scan_interval: float | None = key(either("auto", seconds), None)
    full_scan_interval: float = key(seconds, 600.0)
    scan_ops_per_second: int = key(whole(0, 1_000_000), 0)
    mirror_deletions: Mirror = key(one_of(Mirror), "off")
    delete_within: float | None = key(either("always", seconds), 86_400.0)
    expect_every: float | None = key(either("off", seconds_from(1)), None)


@dataclass(frozen=True)
class BatchConfig(Section):
    """`[batch]`: when a study's instances go, and how many at once."""

    quiet: float = key(seconds, 10.0)
    max_wait: float = key(seconds, 60.0)
    max_instances: int = key(whole(1, 10_000), 100)
    max_bytes: int = key(size_bytes, 32 * 2**20)


@dataclass(frozen=True)
class UploadConfig(Section):
    """`[upload]`: how much at a time."""

    transfers: int = key(whole(1, 64), 8)
    bwlimit: Timetable = key(timetable, ())


@dataclass(frozen=True)
class VerifyConfig(Section):
    """`[verify]`: how what was stored is checked in the background."""

    after_store: AfterStore = key(one_of(AfterStore), "none")


@dataclass(frozen=True)
class DeletionsConfig(Section):
    """`[deletions]`: the care with which mirrored deletions are made."""

    confirm_after: float = key(seconds, 600.0)
    grace: float = key(seconds, 259_200.0)
    max_deletions: int = key(whole(1, 1_000_000), 20)
    max_deletion_share: float = key(share, 0.02)
    undo_window: float | None = key(either("off", seconds), 2_592_000.0)
    undo_max_bytes: int = key(size_bytes, 10 * 2**30)


@dataclass(frozen=True)
class ControlConfig(Section):
    """`[control]`: how commands reach a running daemon, and whose they may be."""

    socket: str = key(any_path, "")
    access: Access = key(one_of(Access), "owner")


@dataclass(frozen=True)
class WebConfig(Section):
    """`[web]`: where `dicomsync web` serves its page and metrics, and to whom."""

    listen: str = key(address, "127.0.0.1:9646")
    token_from: str = key(secret_place, "")
    hosts: tuple[str, ...] = key(listed(host_name, '["status.example"]'), ())


@dataclass(frozen=True)
class AlertsConfig(Section):
    """`[alerts]`: who is told how it stands without asking, and from where on something is to be told."""

    name: str = key(line(60), "")
    webhook: str = key(http_url, "")
    webhook_from: str = key(secret_place, "")
    webhook_body: Body = key(one_of(Body), "json")
    heartbeat: str = key(http_url, "")
    heartbeat_from: str = key(secret_place, "")
    heartbeat_every: float = key(seconds_from(1), 60.0)
    heartbeat_method: Method = key(one_of(Method), "GET")
    use_proxy: bool = key(flag, False)
    least: Least = key(one_of(Least), "person")
    after: float = key(seconds, 600.0)
    repeat: float = key(seconds_from(60), 86_400.0)
    oldest_pending: float = key(seconds_from(60), 3600.0)
    disk_free: int = key(size_bytes, 10**9)
    certificate: float = key(seconds, 1_209_600.0)


@dataclass(frozen=True)
class Config(Section):
    """The whole configuration, checked."""

    archive: ArchiveConfig = needed(table(ArchiveConfig))
    ledger: LedgerConfig = needed(table(LedgerConfig))
    folders: tuple[FolderConfig, ...] = key(listed(table(FolderConfig), "[[folders]]"), ())
    batch: BatchConfig = key(table(BatchConfig), BatchConfig())
    upload: UploadConfig = key(table(UploadConfig), UploadConfig())
    verify: VerifyConfig = key(table(VerifyConfig), VerifyConfig())
    deletions: DeletionsConfig = key(table(DeletionsConfig), DeletionsConfig())
    control: ControlConfig = key(table(ControlConfig), ControlConfig())
    web: WebConfig = key(table(WebConfig), WebConfig())
    alerts: AlertsConfig = key(table(AlertsConfig), AlertsConfig())
