"""Files nobody made for these tests: a vendor's samples, and the collection that pydicom brings along."""

from __future__ import annotations

import os
import shutil
import warnings
from pathlib import Path

import pydicom
import pydicom.data
import pytest

from dicomsync.model import FileState, InstanceState
from tests.conftest import AnyArchive, Site, by_uid, same_from_128
from tests.recording_proxy import RecordingProxy

SAMPLES = Path(__file__).parents[2] / "shared" / "samples"
PYDICOM = Path(pydicom.data.__file__).parent


@pytest.mark.samples
@pytest.mark.skipif(not SAMPLES.is_dir(), reason="the sample files are not beside the project")
def test_the_samples_are_stored_and_come_back_as_they_were(archive: AnyArchive, site: Site) -> None:
    files = sorted(SAMPLES.glob("*.dcm"))
    with RecordingProxy(archive.url) as proxy:
        command = ("backfill", SAMPLES, "--archive", proxy.url, "--ledger", site.ledger)
        first = site.run(*command)
        assert first.code == 0, first
        assert same_from_128(archive.stored(), by_uid(files))
        assert site.instances() == {"stored": 3}
        assert site.query("SELECT count(*), count(DISTINCT series_instance_uid) FROM instances") == [(3, 2)]
        stores = len(proxy.stores)
        again = site.run(*command)
        assert again.code == 0, again
        assert len(proxy.stores) == stores == 1


@pytest.fixture
def collection(site: Site) -> list[Path]:
    """All files that pydicom brings along, DICOM or not, as they lie there."""
    shutil.copytree(PYDICOM, site.folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    return [path for path in site.folder.rglob("*") if path.is_file()]


def test_each_of_pydicoms_files_ends_in_one_state_with_a_reason(
    archive: AnyArchive, site: Site, collection: list[Path]
) -> None:
    rules = {"include": ["*"], "exclude": []}
    with RecordingProxy(archive.url) as proxy:
        report = site.backfill(proxy.url, folders=rules)
        assert report.exit_code == 20
        assert report.due == 0
        assert proxy.twice_in_flight() == set()
        asked = len(proxy.stores)
        again = site.backfill(proxy.url, folders=rules)
        assert (again.exit_code, again.requests, len(proxy.stores)) == (20, 0, asked)

    rows = site.query("SELECT path, file_state, file_reason, instance_state, instance_reason FROM file_list")
    assert {os.fsencode(row[0]) for row in rows} == {os.fsencode(path) for path in collection}
    assert len(rows) == len(collection), "each file once"
    final = (InstanceState.STORED, InstanceState.CONFLICT, InstanceState.REJECTED)
    for path, file_state, file_reason, instance_state, instance_reason in rows:
        if file_state == FileState.READY:
            assert instance_state in final, path
            assert instance_state == InstanceState.STORED or instance_reason, path
        else:
            assert file_state in (FileState.HELD, FileState.IGNORED), path
            assert file_reason, path
            assert instance_state is None, path

    kept = archive.stored()
    stored = site.query("SELECT DISTINCT sop_instance_uid FROM instances WHERE state = 'stored'")
    assert {uid for (uid,) in stored} == set(kept)
    assert site.instances()["stored"] == archive.count() == len(kept)
    assert len(kept) > 60, "most of them are good"
    contents = {path.read_bytes()[128:] for path in collection}
    assert {content[128:] for content in kept.values()} <= contents, "what is there is a file's very bytes"


def test_two_of_pydicoms_files_that_claim_one_uid_are_told_apart(
    archive: AnyArchive, site: Site, collection: list[Path]
) -> None:
    claims: dict[str, set[bytes]] = {}
    for path in collection:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                dataset = pydicom.dcmread(path, stop_before_pixels=True)
                claims.setdefault(str(dataset.SOPInstanceUID), set()).add(path.read_bytes()[128:])
            except Exception:
                continue
    contested = {uid for uid, contents in claims.items() if len(contents) > 1}
    assert contested, "there are such files"
    assert site.backfill(archive.url, folders={"include": ["*"], "exclude": []}).exit_code == 20
    rows = site.query("SELECT sop_instance_uid, state, count(*) FROM instances GROUP BY 1, 2")
    per_uid = {(uid, state): n for uid, state, n in rows}
    found = {uid for uid, state in per_uid if state == InstanceState.CONFLICT}
    assert found
    assert found <= contested
    assert all(per_uid.get((uid, str(InstanceState.STORED)), 0) <= 1 for uid in contested)
