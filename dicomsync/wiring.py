"""Wiring: a checked config becomes the values that the rooms take: archive, folders, caps."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import wait
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from dicomsync import dicomweb, mounts
from dicomsync.batching import Caps
from dicomsync.concerns import Level, Limits
from dicomsync.config import ArchiveConfig, Config, FolderConfig
from dicomsync.deletion import Rules
from dicomsync.errors import UsageProblem
from dicomsync.hands import Threads
from dicomsync.model import Folder

if TYPE_CHECKING:
    from dicomsync.alerting import Settings
    from dicomsync.receivers import Receiver

LOOK_SECONDS = 5.0  # a start does not wait for a mount that hangs
LOCAL_SETTLE_SECONDS = 5.0
NETWORK_SETTLE_SECONDS = 30.0
LOCAL_SCAN_SECONDS = 60.0
NETWORK_SCAN_SECONDS = 300.0


def archive_of(config: ArchiveConfig) -> dicomweb.Archive:
    """Turn `[archive]` into what the client takes; raises UsageProblem."""
    problems = {
        "url": dicomweb.check_url(config.url),
        "token_url": dicomweb.check_token_url(config.token_url) if config.token_url else None,
        "proxy": dicomweb.check_proxy(config.proxy) if config.proxy else None,
    }
    for key, problem in problems.items():
        if problem:
            words = f"archive.{key}: {problem}"
            raise UsageProblem(f"{words}.", hint="Nothing was sent.", for_logs=words)
    return dicomweb.Archive(
        config.url,
        config.kind,
        _auth_of(config),
        answer_timeout=config.answer_timeout,
        network=_network_of(config),
    )


def uploads_of(config: Config) -> dicomweb.Archive:
    """Give the archive as what is stored goes to it, with `[upload]` in mind."""
    return replace(archive_of(config.archive), bandwidth=config.upload.bwlimit)


def _auth_of(config: ArchiveConfig) -> dicomweb.Auth:
    match config.auth:
        case "basic":
            return dicomweb.Basic(config.username, dicomweb.Secret(config.password_from))
        case "bearer":
            return dicomweb.Bearer(dicomweb.Secret(config.token_from))
        case "oauth2":
            return dicomweb.ClientCredentials(
                config.token_url,
                config.client_id,
                dicomweb.Secret(config.client_secret_from),
                config.scope,
                config.audience,
                config.resource,
                config.client_auth,
            )
        case "azure":
            return dicomweb.Azure(
                config.azure_credential,
                config.scope or dicomweb.DICOM_SCOPE,
                config.tenant_id,
                config.client_id,
                _secret(config.client_secret_from or config.azure_certificate_password_from),
                config.azure_certificate,
                config.azure_authority,
            )
        case _:
            return dicomweb.NoAuth()


def _network_of(config: ArchiveConfig) -> dicomweb.Network:
    proxy = None
    if config.proxy:
        proxy = dicomweb.Proxy(config.proxy, config.proxy_username, _secret(config.proxy_password_from))
    return dicomweb.Network(
        config.ca_file or None,
        config.client_certificate or None,
        config.client_key or None,
        _secret(config.client_key_password_from),
        proxy,
    )


def _secret(place: str) -> dicomweb.Secret | None:
    return dicomweb.Secret(place) if place else None


def alerts_of(config: Config) -> Settings:
    """Turn `[alerts]` into what alerting takes; raises UsageProblem, which repeats no URL."""
    from dicomsync.alerting import Settings  # a backfill tells nobody
    from dicomsync.alerts import Policy

    given = config.alerts
    network = dicomweb.Network(config.archive.ca_file or None)
    if given.use_proxy:
        network = replace(network, proxy=_network_of(config.archive).proxy)
    return Settings(
        given.name,
        _receiver("webhook", "POST", network, given.webhook, given.webhook_from),
        given.webhook_body,
        _receiver("heartbeat", given.heartbeat_method, network, given.heartbeat, given.heartbeat_from),
        given.heartbeat_every,
        Policy(Level(given.least), given.after, given.repeat),
        Limits(given.oldest_pending, given.disk_free, given.certificate),
    )


def _receiver(name: str, method: str, network: dicomweb.Network, url: str, place: str) -> Receiver | None:
    from dicomsync.receivers import Receiver

    if place:
        return Receiver(name, method, network, secret=dicomweb.Secret(place))
    if problem := dicomweb.check_receiver_url(url, secret=False) if url else None:
        words = f"alerts.{name}: {problem}"
        raise UsageProblem(f"{words}.", hint="Nothing was sent.", for_logs=words)
    return Receiver(name, method, network, url) if url else None


def expected_of(config: Config) -> dict[bytes, float]:
    """Say how often something is expected to come into which folder, by its path (seconds)."""
    return {
        os.fsencode(os.path.abspath(one.path)): one.expect_every
        for one in config.folders
        if one.expect_every is not None
    }


def caps_of(config: Config) -> Caps:
    """Turn `[batch]` into what the batcher takes."""
    batch = config.batch
    return Caps(batch.quiet, batch.max_wait, batch.max_instances, batch.max_bytes)


def deletions_of(config: Config) -> Rules:
    """Turn `[deletions]` into what mirrored deletions are judged by."""
    given = config.deletions
    return Rules(
        given.confirm_after,
        given.grace,
        given.max_deletions,
        given.max_deletion_share,
        given.undo_window,
        given.undo_max_bytes,
    )


def trash_of(config: Config) -> bytes:
    """Give the private directory beside the ledger that keeps copies of what was deleted."""
    return os.fsencode(f"{os.path.realpath(config.ledger.path)}.trash")


def folders_of(config: Config, paths: Sequence[Path] = ()) -> list[Folder]:
    """Turn the configured folders, or just `paths`, into what the scan takes.

    A path inside a configured folder is taken by that folder's rules; one that lies inside another
    given path is left out, as that one covers it.
    """
    if not paths:
        if not config.folders:
            raise UsageProblem("There is no folder to look into.", hint="Name a PATH, or add [[folders]].")
        return _folders([(one, os.path.abspath(one.path)) for one in config.folders])
    wanted = sorted({_place(path) for path in paths})
    outer = [path for path in wanted if not any(_below(path, other) for other in wanted)]
    named = []
    for path in outer:
        rules = [one for one in config.folders if _below(path, os.path.abspath(one.path)) or _same(path, one)]
        named.append((rules[0] if rules else FolderConfig(path=path), path))
    return _folders(named)


def keep_out(ledger: Path, folders: Sequence[Folder]) -> None:
    """Refuse a ledger among the images: folders are only read, and the ledger is written."""
    places = (os.path.abspath(ledger), os.path.realpath(ledger))  # also by a link that leads there
    for folder in folders:
        if any(_below(where, os.fsdecode(folder.path)) for where in places):
            raise UsageProblem(
                "The ledger would lie inside the folder it is about; nothing was done.",
                hint="Folders are only ever read: put the ledger somewhere else.",
            )


def _place(path: Path) -> str:
    """Give the path as it is kept; of a file that was named, the file that a link leads to."""
    return os.path.realpath(path) if path.is_file() else os.path.abspath(path)


def _folders(named: Sequence[tuple[FolderConfig, str]]) -> list[Folder]:
    """Look at each place for a bounded time; what does not answer is taken for a network share."""
    hands = Threads(len(named))
    looks = [hands.submit(_seen, path) for _, path in named]
    wait(looks, LOOK_SECONDS)
    hands.shutdown()
    return [
        _folder(config, path, *(look.result() if look.done() else ("network", False)))
        for (config, path), look in zip(named, looks, strict=True)
    ]


def _seen(path: str) -> tuple[str, bool]:
    """Say what kind of file system a place is on, and whether it is a file: either may hang."""
    return mounts.kind(os.fsencode(path)), os.path.isfile(path)


def _folder(config: FolderConfig, path: str, kind: str, is_file: bool) -> Folder:
    local = kind == "local"  # others do not tell of what other machines do to them
    settle = config.settle
    if settle is None:
        settle = LOCAL_SETTLE_SECONDS if local else NETWORK_SETTLE_SECONDS
    include = config.include
    if is_file:
        include = ("*",)  # someone named just this file
    scan = config.scan_interval
    if scan is None:
        scan = LOCAL_SCAN_SECONDS if local else NETWORK_SCAN_SECONDS
    return Folder(
        os.fsencode(path),
        include,
        config.exclude,
        settle,
        scan,
        config.full_scan_interval,
        config.start == "new",
        config.watch == "events" or (config.watch == "auto" and local),
        config.scan_ops_per_second,
        config.mirror_deletions,
        config.delete_within,
    )


def _below(path: str, folder: str) -> bool:
    return path != folder and path.startswith(folder.rstrip("/") + "/")


def _same(path: str, config: FolderConfig) -> bool:
    return path == os.path.abspath(config.path)
