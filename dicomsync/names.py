"""Which names a folder's patterns want, and which paths a scan of it comes by."""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Callable
from functools import lru_cache

from dicomsync.model import MARKER, Folder


def lies_in(path: bytes, folder: Folder) -> bool:
    """Say whether a path is that of a folder, or below it."""
    return is_below(path, folder.path)


def is_below(path: bytes, directory: bytes) -> bool:
    """Say whether a path is that of a directory, or below it."""
    return path == directory or path.startswith(directory.rstrip(b"/") + b"/")


def left_out(directory: bytes, folder: Folder) -> bool:
    """Say whether a scan of `folder` leaves out a directory in it, by its name or one above."""
    names = directory[len(folder.path) :].split(b"/")
    return any(name == MARKER or _matching(name, folder.exclude) for name in names if name)


def obstacle(path: bytes, folder: Folder) -> str:
    """Say in words why a scan of `folder` does not come by `path`, which lies in it; "" if it does."""
    below = path[len(folder.path) :].strip(b"/")
    if not below:
        return ""
    at = folder.path
    *parents, name = below.split(b"/")
    for parent in parents:
        at = os.path.join(at, parent)
        if os.path.islink(at):
            return "not looked at: it lies below a symbolic link, and those are not followed"
        if pattern := _matching(parent, folder.exclude):
            return f"not looked at: a directory above it is excluded by '{pattern}'"
    if pattern := _matching(name, folder.exclude):
        return f"left out: its name is excluded by '{pattern}'"
    if not os.path.isdir(path) and not _matching(name, folder.include):
        included = ", ".join(folder.include)
        return f"left out: its name is none of those included ({included}); `include` in the config adds some"
    return ""


def _matching(name: bytes, patterns: tuple[str, ...]) -> str:
    """Give the first pattern that matches a name, "" if none does."""
    text = os.fsdecode(name).lower()
    return next((one for one in patterns if _patterns((one,)).match(text)), "")


@lru_cache(maxsize=64)
def matcher(patterns: tuple[str, ...]) -> Callable[[str], object]:
    """Give what tells whether a name matches; for `*.dcm` no expression is needed."""
    suffixes = _suffixes(patterns)
    if suffixes is not None:
        return lambda name: name.endswith(suffixes) or name.lower().endswith(suffixes)
    match = _patterns(patterns).match
    return lambda name: match(name.lower())


@lru_cache(maxsize=64)
def chooser(include: tuple[str, ...], exclude: tuple[str, ...]) -> Callable[[str], object]:
    """Give what tells whether a file's name is wanted.

    What ends in `.dcm` need not be asked whether it ends in `.tmp`: that would be a tenth of a scan.
    """
    wanted, unwanted = matcher(include), matcher(exclude)
    if not exclude or _apart(include, exclude):
        return wanted
    return lambda name: wanted(name) and not unwanted(name)


@lru_cache(maxsize=64)
def sieve(include: tuple[str, ...], exclude: tuple[str, ...]) -> Callable[[list[str]], list[str]]:
    """Give what leaves of the names of files those that are wanted.

    That all of them end in `.dcm`, as they nearly always do, is seen of all at once: one by one they would
    take three times as long, which was a thirtieth of a scan.
    """
    takes, ends = chooser(include, exclude), _suffixes(include)
    if ends is None or len(ends) != 1 or not _apart(include, exclude):
        return lambda names: [name for name in names if takes(name)]
    end = ends[0] + "/"  # which no name has in it

    def wanted(names: list[str]) -> list[str]:
        if f"{'/'.join(names)}/".count(end) == len(names):
            return names
        return [name for name in names if takes(name)]

    return wanted


def _apart(patterns: tuple[str, ...], others: tuple[str, ...]) -> bool:
    """Say whether it is plain that no name matches one of both."""
    ends, other_ends = _suffixes(patterns), _suffixes(others)
    if ends is None or other_ends is None:
        return False
    return not any(one.endswith(other) or other.endswith(one) for one in ends for other in other_ends)


def _suffixes(patterns: tuple[str, ...]) -> tuple[str, ...] | None:
    """Give how names end, in small letters, that match; None where that is not all there is to it."""
    found = tuple(one[1:].lower() for one in patterns if _SUFFIX.fullmatch(one))
    return found if len(found) == len(patterns) else None


_SUFFIX = re.compile(r"\*[^*?\[\]]*")


@lru_cache(maxsize=64)
def _patterns(patterns: tuple[str, ...]) -> re.Pattern[str]:
    """Make one expression of name patterns, in small letters; of none, one that matches nothing."""
    return re.compile("|".join(fnmatch.translate(pattern.lower()) for pattern in patterns) or r"(?!)")
