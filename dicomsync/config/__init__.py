"""The config: TOML text to one frozen `Config`.

`values` says what a value may be, `model` has every key, `reading` finds and tells what is wrong.
"""

from __future__ import annotations

from .model import (
    AlertsConfig,
    ArchiveConfig,
    BatchConfig,
    Config,
    ControlConfig,
    DeletionsConfig,
    FolderConfig,
    LedgerConfig,
    Section,
    UploadConfig,
    VerifyConfig,
    WebConfig,
)
from .reading import archive_alone, build, parse, shown, warnings
from .values import seconds, share, size_bytes

__all__ = [
    "AlertsConfig",
    "ArchiveConfig",
    "BatchConfig",
    "Config",
    "ControlConfig",
    "DeletionsConfig",
    "FolderConfig",
    "LedgerConfig",
    "Section",
    "UploadConfig",
    "VerifyConfig",
    "WebConfig",
    "archive_alone",
    "build",
    "parse",
    "seconds",
    "share",
    "shown",
    "size_bytes",
    "warnings",
]
