"""A request body, as it arrives, into one file for each part: constant memory whatever is sent."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Protocol

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser

from dicomsync.sandbox.media import DICOM, Refusal

MOST_HEADER_BYTES = 16_384  # for one part, as ASP.NET Core's reader has it

_silent = logging.getLogger(f"{__name__}.parser")
_silent.disabled = True  # it quotes what it was sent


@dataclass(slots=True)
class Part:
    """One part that is being received or is whole, in a file of its own."""

    path: Path
    content_type: str | None = None
    whole: bool = False


class Spool(Protocol):
    """What takes a body piece by piece and gives back its parts."""

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes."""

    def finish(self) -> list[Path]:
        """Return the files of the whole parts, in the order sent; a part cut off is not among them."""


class SinglePart:
    """A body that is one DICOM file (conformance statement: Content-Type application/dicom)."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "0"
        self._file = self._path.open("wb")

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes."""
        self._file.write(chunk)

    def finish(self) -> list[Path]:
        """Return the one file, even of no bytes: that is an instance which cannot be read."""
        self._file.close()
        return [self._path]

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


class ManyParts:
    """A multipart/related body (PS3.18 8.6.1.2); 400 if it is not one, 415 for a part of another type.

    A body that ends before its last boundary gives the parts that are whole, and no error: that is
    how the Medical Imaging Server reads it.
    """

    def __init__(self, boundary: str, folder: Path) -> None:
        self._folder = folder
        self._parts: list[Part] = []
        self._file: IO[bytes] | None = None
        self._name = bytearray()
        self._value = bytearray()
        self._header_bytes = 0
        callbacks: dict[str, Callable[..., None]] = {
            "on_part_begin": self._begin,
            "on_header_field": self._header_field,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_headers_finished": self._headers_finished,
            "on_part_data": self._data,
            "on_part_end": self._end,
        }
        try:
            self._parser = MultipartParser(boundary, callbacks)  # type: ignore[arg-type]  # a TypedDict of the same names
        except (FormParserError, UnicodeEncodeError):
            raise Refusal(400, "The boundary cannot be used.") from None

        self._parser.logger = _silent

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes."""
        try:
            self._parser.write(chunk)
        except FormParserError:
            raise Refusal(400, "The multipart body is malformed.") from None

    def finish(self) -> list[Path]:
        """Return the files of the whole parts, in the order sent."""
        self.close()
        return [part.path for part in self._parts if part.whole]

    def close(self) -> None:
        """Let go of the file of a part that was cut off."""
        if self._file is not None:
            self._file.close()

    def _begin(self) -> None:
        self._parts.append(Part(self._folder / str(len(self._parts))))
        self._header_bytes = 0

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]
        self._count_header(end - start)

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]
        self._count_header(end - start)

    def _count_header(self, length: int) -> None:
        self._header_bytes += length
        if self._header_bytes > MOST_HEADER_BYTES:
            raise Refusal(400, "The headers of a part are too long.")

    def _header_end(self) -> None:
        if self._name.strip().lower() == b"content-type":
            self._parts[-1].content_type = self._value.decode("latin-1").strip().lower()
        self._name.clear()
        self._value.clear()

    def _headers_finished(self) -> None:
        # Only the first part may leave its type out; a parameter is as wrong as another type.
        missing_is_right = len(self._parts) == 1
        content_type = self._parts[-1].content_type
        if content_type != DICOM and not (content_type is None and missing_is_right):
            raise Refusal(415, f"The Content-Type of each part must be {DICOM}.")
        self._file = self._parts[-1].path.open("wb")

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._file is not None:
            self._file.write(data[start:end])

    def _end(self) -> None:
        self.close()
        self._file = None
        self._parts[-1].whole = True


class Incoming:
    """A folder for one request's parts, gone with them when the request is over."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = tempfile.TemporaryDirectory(dir=folder, prefix="request-")
        self._spool: SinglePart | ManyParts | None = None

    def spool(self, boundary: str | None) -> Spool:
        """Return what takes the body: multipart with a boundary, one file without."""
        folder = Path(self._folder.name)
        self._spool = SinglePart(folder) if boundary is None else ManyParts(boundary, folder)
        return self._spool

    def __enter__(self) -> Incoming:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._spool is not None:
            self._spool.close()
        self._folder.cleanup()
