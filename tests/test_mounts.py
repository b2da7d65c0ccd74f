"""What kind of file system a path is on, by the kernel's table; the tables here are real ones, cut short."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dicomsync import mounts


def table(*lines: str) -> bytes:
    """Write a mount table after a root of ext4; each line is "mount point, kind of file system"."""
    rows = [
        f"{n} 1 8:{n} / {line.replace(', ', ' rw,relatime shared:1 - ')} src rw"
        for n, line in enumerate(lines)
    ]
    return "\n".join(["1 0 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw", *rows]).encode()


@pytest.mark.parametrize(
    ("filesystem", "expected"),
    [
        ("nfs", "network"),
        ("nfs4", "network"),
        ("cifs", "network"),
        ("smb3", "network"),
        ("9p", "network"),
        ("ceph", "network"),
        ("lustre", "network"),
        ("fuse", "fuse"),
        ("fuse.sshfs", "fuse"),
        ("fuse.glusterfs", "fuse"),
        ("fuseblk", "local"),  # a disk (NTFS), though by way of FUSE
        ("ext4", "local"),
        ("xfs", "local"),
        ("tmpfs", "local"),
        ("overlay", "local"),
        ("a-new-one", "local"),
    ],
)
def test_the_kind_follows_from_the_file_system(filesystem: str, expected: str) -> None:
    assert mounts.kind(b"/no-such/mount/dir/file", table(f"/no-such/mount, {filesystem}")) == expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (b"/no-such/mount", "network"),
        (b"/no-such/mount/", "network"),
        (b"/no-such/mount/deep/er", "network"),
        (b"/no-such/mountain", "local"),  # begins alike, is another directory
        (b"/no-such", "local"),
        (b"/", "local"),
        (b"/no-such/mount/../other", "local"),
    ],
)
def test_only_what_lies_below_a_mount_point_is_on_it(path: bytes, expected: str) -> None:
    assert mounts.kind(path, table("/no-such/mount, nfs4")) == expected


def test_of_nested_mounts_the_innermost_counts() -> None:
    listed = table("/no-such/a, nfs4", "/no-such/a/b, ext4", "/no-such/a/b/c, fuse.sshfs")
    assert mounts.kind(b"/no-such/a/x", listed) == "network"
    assert mounts.kind(b"/no-such/a/b/x", listed) == "local"
    assert mounts.kind(b"/no-such/a/b/c/x", listed) == "fuse"


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (("/no-such/a/b, nfs4", "/no-such/a, ext4"), "local"),
        (("/no-such/a/b, ext4", "/no-such/a, nfs4"), "network"),
        (("/no-such/a/b, nfs4", "/no-such/a, ext4", "/no-such/a/b, fuse.sshfs"), "fuse"),
        (("/no-such/a/b, nfs4", "/no-such/a, ext4", "/no-such/a/c, fuse.sshfs"), "local"),
    ],
)
def test_a_later_mount_on_a_parent_hides_an_earlier_one_further_in(
    lines: tuple[str, ...], expected: str
) -> None:
    assert mounts.kind(b"/no-such/a/b/x", table(*lines)) == expected


def test_of_two_mounts_on_one_point_the_later_one_is_on_top() -> None:
    assert mounts.kind(b"/no-such/a/x", table("/no-such/a, nfs4", "/no-such/a, ext4")) == "local"
    assert mounts.kind(b"/no-such/a/x", table("/no-such/a, ext4", "/no-such/a, nfs4")) == "network"


@pytest.mark.parametrize(
    ("point", "path"),
    [
        (r"/no-such/two\040words", b"/no-such/two words/x"),
        (r"/no-such/tab\011bed", b"/no-such/tab\tbed/x"),
        (r"/no-such/line\012break", b"/no-such/line\nbreak/x"),
        (r"/no-such/back\134slash", b"/no-such/back\\slash/x"),
        (r"/no-such/back\134040", b"/no-such/back\\040/x"),  # an escaped backslash, then digits
    ],
)
def test_a_mount_point_with_odd_letters_is_written_in_octal_and_still_found(point: str, path: bytes) -> None:
    assert mounts.kind(path, table(f"{point}, nfs4")) == "network"


def test_a_mount_point_that_is_not_utf8_is_found() -> None:
    listed = table("/no-such/X, nfs4").replace(b"/no-such/X", b"/no-such/\xff\xfe")
    assert mounts.kind(b"/no-such/\xff\xfe/x", listed) == "network"


@pytest.mark.parametrize("tags", ["", "shared:12 ", "shared:12 master:3 propagate_from:1 "])
def test_any_number_of_optional_fields_may_stand_before_the_file_system(tags: str) -> None:
    line = f"40 1 0:50 /export /no-such/a rw,nosuid {tags}- nfs4 server:/export - rw,vers=4.2"
    assert mounts.kind(b"/no-such/a/x", line.encode()) == "network"


@pytest.mark.parametrize("text", [b"", b"\n\n", b"nonsense", b"1 2 3 - nfs4", b"36 35 98:0 / /no-such -"])
def test_a_table_that_cannot_be_read_leaves_a_path_local(text: bytes) -> None:
    assert mounts.kind(b"/no-such/x", text) == "local"


def test_a_symbolic_link_counts_for_where_it_leads(tmp_path: Path) -> None:
    os.symlink("/no-such/mount", tmp_path / "link")
    listed = table("/no-such/mount, nfs4")
    assert mounts.kind(bytes(tmp_path / "link" / "ledger.db"), listed) == "network"
    assert mounts.kind(bytes(tmp_path), listed) == "local"


def test_without_the_kernels_table_a_path_is_local(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(mounts, "_TABLE", tmp_path / "none")
    assert mounts.kind(bytes(tmp_path)) == "local"


def test_the_kernels_own_table_can_be_read(tmp_path: Path) -> None:
    assert mounts.kind(bytes(tmp_path)) in ("local", "network", "fuse")
