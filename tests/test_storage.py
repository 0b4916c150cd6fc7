"""Where arrays live: memory and files hold the same, files leave nothing behind, and a full disk is one line."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse

from torchlogit.data.encoded_rows import EncodedRows, RowWriter
from torchlogit.errors import InputError
from torchlogit.storage import IN_MEMORY, Keeping, Kept, OnDisk, Spilling, Storage


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(tmp_path)], capture_output=True)
    if mounted.returncode:
        pytest.skip("no small file system can be mounted here: it takes root's rights")
    yield tmp_path
    subprocess.run(["umount", "-l", str(tmp_path)], check=True)


def write(storage: Storage, sparse: bool, weighted: bool) -> RowWriter:
    random = np.random.default_rng(0)
    writer = RowWriter.into(storage, width=5, sparse=sparse, weighted=weighted)
    for n in (3, 0, 1, 1000):
        values = (random.normal(size=(n, 5)) * (random.random((n, 5)) < 0.5)).astype(np.float32)
        features = scipy.sparse.csr_array(values) if sparse else values
        writer.append(EncodedRows(features, random.integers(0, 3, n), random.random(n) if weighted else None))
    return writer


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("sparse", [False, True])
def test_rows_are_the_same_wherever_they_live(sparse: bool, weighted: bool, tmp_path: Path) -> None:
    expected = write(IN_MEMORY, sparse, weighted).rows()
    keeping = Keeping(tmp_path)
    found = [write(storage, sparse, weighted).rows() for storage in (OnDisk(tmp_path), keeping)]
    for most in (0, 100, 5000, 10**9):  # bytes: moved at once, in the middle, or never
        spilling = Spilling(tmp_path, most)
        found.append(write(spilling, sparse, weighted).rows())
        assert spilling.spilled == (most < 10**9)
    kept = Kept(tmp_path, keeping.finished())
    found.append(RowWriter.into(kept, width=5, sparse=sparse, weighted=weighted).rows())
    for rows in found:
        assert len(rows) == len(expected) == 1004
        difference = rows.features - expected.features
        assert not (difference.nnz if sparse else difference.any())
        assert np.array_equal(rows.codes, expected.codes)
        assert np.array_equal(rows.weight, expected.weight) if weighted else rows.weight is None


def test_files_without_names_are_gone_with_their_arrays(tmp_path: Path) -> None:
    rows = write(OnDisk(tmp_path), sparse=True, weighted=True).rows()
    array = OnDisk(tmp_path).empty((1000, 3), np.float64)
    array[:] = 1
    assert array.sum() == 3000
    assert rows.features.nnz
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("fault", ["missing", "shorter"])
def test_what_is_kept_is_not_taken_for_whole(fault: str, tmp_path: Path) -> None:
    keeping = Keeping(tmp_path)
    write(keeping, sparse=False, weighted=False)
    kept = Kept(tmp_path, keeping.finished())
    if fault == "missing":
        (tmp_path / "rows-0").unlink()
    else:
        os.truncate(tmp_path / "rows-0", 8)
    with pytest.raises(LookupError, match="rows-0 is not what it was"):
        RowWriter.into(kept, width=5, sparse=False, weighted=False)


def test_a_full_disk_is_said_before_anything_is_lost(small_disk: Path) -> None:
    with pytest.raises(InputError, match="the disk is full; free some space, or choose another folder"):
        OnDisk(small_disk).empty((1 << 18,), np.float64)
    growing = OnDisk(small_disk).growing(np.float64)
    with pytest.raises(InputError, match="the disk is full"):
        growing.append(np.zeros(1 << 18))
    del growing
    assert OnDisk(small_disk).empty((4,), np.float64).shape == (4,), "what did not fit takes no room"


def test_a_folder_that_cannot_be_written_to(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot write there"):
        OnDisk(tmp_path / "absent").growing(np.float32)
