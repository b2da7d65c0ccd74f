"""The config: TOML text to one frozen `Config`.

`model` is the table of every key. `values` says what a value may be, `sections` how values make a whole,
and `reading` what becomes of a text.
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
    UploadConfig,
    VerifyConfig,
    WebConfig,
)
from .reading import archive_alone, build, parse, shown, warnings
from .sections import Section
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
